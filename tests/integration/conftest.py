"""Real agents and real guests: each test gets a host of its own (socket, ledger, cgroup) and leaves none behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage, find_image

MakeHost = Callable[..., Host]


@pytest.fixture(scope="session")
def image() -> GuestImage:
    """The test guest's kernel and initramfs; `make setup` builds them."""
    return find_image()


@pytest.fixture
def make_host(request: pytest.FixtureRequest) -> Iterator[MakeHost]:
    """Makes hosts with the settings given; cleaned up afterwards, with the agent's log shown when the test failed."""
    made: list[Host] = []

    def make(settings_toml: str, *, start: bool = True) -> Host:
        host = Host(settings_toml)
        made.append(host)
        if start:
            host.start()
        return host

    yield make
    for host in made:
        print(f"--- agent log of {host.cgroup}\n{host.log()}")
        for vm in host.vms:
            print(f"--- {vm.machine.name}: {vm.stderr()}{vm.signs}")
        host.clean_up()
