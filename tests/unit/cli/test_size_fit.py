"""How many guests fit: exact integer arithmetic on the host's memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.cli.size_fit import Fit, Host, as_dict, fit, headline
from guestroom.config import Settings
from guestroom.errors import InputError
from guestroom.guest import Disk, Guest
from guestroom.size import estimate
from guestroom.units import GIB, MIB

SMALL = Guest(ram_bytes=GIB, vcpus=1)


def fitted(guest: Guest, host: Host, *names: str, settings: Settings | None = None) -> Fit:
    """What fits by these policies."""
    return fit(guest, [estimate(guest, name) for name in names], host, settings or Settings())


def test_each_guest_takes_its_ram_and_its_overhead_of_what_the_host_does_not_keep() -> None:
    """64 GiB less 5 %: 60.8 GiB, of which fixed takes 1.59 GiB a guest and kata 1.31."""
    found = fitted(SMALL, Host(64 * GIB), "fixed", "kata")
    budget = 64 * GIB - 64 * GIB * 5 // 100
    assert found.budget_bytes == budget
    assert dict(found.guests) == {"fixed": budget // (1624 * MIB), "kata": budget // (1344 * MIB)}


def test_a_budget_that_fits_exactly_holds_the_last_guest() -> None:
    """One byte less and it holds one fewer."""
    settings = replace(Settings(), system_reserve_bytes=0)
    exact = Host(3 * 1624 * MIB)
    assert dict(fitted(SMALL, exact, "fixed", settings=settings).guests) == {"fixed": 3}
    assert dict(fitted(SMALL, Host(exact.total_bytes - 1), "fixed", settings=settings).guests) == {"fixed": 2}


def test_policies_without_bursts_keep_one_headroom_for_all() -> None:
    """``measured`` leaves bursts to the headroom: the largest one of this guest, at least 128 MiB, is off once."""
    bursting = replace(SMALL, disks=(Disk(format="qcow2", interface="virtio-blk", cluster_bytes=2 * MIB),))
    found = fitted(bursting, Host(64 * GIB), "measured", "ovirt")
    assert found.headroom_bytes == 256 * 2 * MIB
    limit = estimate(bursting, "measured").limit_bytes
    assert dict(found.guests)["measured"] == (found.budget_bytes - 512 * MIB) // limit
    assert dict(found.guests)["ovirt"] == found.budget_bytes // estimate(bursting, "ovirt").limit_bytes
    assert fitted(SMALL, Host(64 * GIB), "measured").headroom_bytes == 128 * MIB
    assert "128.0 MiB of headroom" in headline(fitted(SMALL, Host(64 * GIB), "measured"))


def test_ram_in_huge_pages_comes_from_their_pool() -> None:
    """Whichever is short first, the pool or the rest, says how many."""
    huge = replace(SMALL, hugepages=True)
    assert dict(fitted(huge, Host(64 * GIB, 4 * GIB), "fixed").guests) == {"fixed": 4}
    assert dict(fitted(huge, Host(10 * GIB, 8 * GIB), "fixed").guests)["fixed"] == 2
    assert dict(fitted(SMALL, Host(64 * GIB, 60 * GIB), "fixed").guests) == {"fixed": 0}


def test_a_host_that_keeps_all_for_itself_is_refused() -> None:
    """At least 512 MiB are the host's own."""
    with pytest.raises(InputError, match=r"a host of 512\.0 MiB keeps 512\.0 MiB for itself"):
        fitted(SMALL, Host(512 * MIB), "fixed")


def test_json_has_every_term() -> None:
    """The budget can be followed from the host's memory."""
    found = as_dict(fitted(SMALL, Host(64 * GIB, GIB), "kata"))
    assert found["host_memory_bytes"] == 64 * GIB
    assert found["budget_bytes"] == 64 * GIB - GIB - int(str(found["system_reserve_bytes"]))
    assert found["guests"] == {"kata": int(str(found["budget_bytes"])) // (1344 * MIB)}
