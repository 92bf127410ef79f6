"""Which cgroups are systemd's, and what it says of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from recordedfiles import DictFiles

from guestroom.errors import HostError
from guestroom.facts import Unit
from guestroom.observe.systemd import is_running, unit_limit, unit_of
from guestroom.ports import Ran
from guestroom.units import UNLIMITED

POINT = "/sys/fs/cgroup"
SCOPE = f"{POINT}/system.slice/web.scope"
SHOWN = "LoadState=loaded\nControlGroup=/system.slice/web.scope\nMemoryMax=314572800\n"
"""Printed by systemctl of systemd 252."""


class Systemctl:
    """``ports.Programs`` that is systemctl, as told."""

    def __init__(self, said: str, code: int = 0) -> None:
        self.said, self.code = said, code
        self.ran: list[tuple[str, ...]] = []

    def run(self, argv: Sequence[str], timeout_s: float) -> Ran:
        """Answer."""
        self.ran.append(tuple(argv))
        return Ran(self.code, self.said, "Failed to connect to bus: No such file or directory" if self.code else "")


def test_systemd_runs_where_its_folder_is() -> None:
    """As sd_booted(3) looks: the folder, not a process's name."""
    assert is_running(DictFiles({"/run/systemd/system/x": ""}))
    assert not is_running(DictFiles())


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("system.slice/web.scope", Unit("web.scope", own=True, manager_uid=None)),
        ("machine.slice/machine-qemu\\x2d1\\x2da.scope/libvirt", Unit("machine-qemu\\x2d1\\x2da.scope", False, None)),
        ("system.slice/system-guest.slice/guest@a.service", Unit("guest@a.service", own=True, manager_uid=None)),
        ("system.slice/x.service/sub.scope", Unit("x.service", own=False, manager_uid=None)),
        ("user.slice/user-7.slice/session-1.scope", Unit("session-1.scope", own=True, manager_uid=None)),
        ("user.slice/user-7.slice/user@7.service/app.slice/a.scope", Unit("a.scope", own=True, manager_uid=7)),
        ("user.slice/user-7.slice/user@7.service/app.slice/a.scope/b", Unit("a.scope", own=False, manager_uid=7)),
        ("user.slice/user-7.slice/user@7.service", Unit("user@7.service", own=True, manager_uid=None)),
        ("user.slice/user-7.slice/user@7.service/x", Unit("user@7.service", own=False, manager_uid=None)),
        ("machine.slice", Unit("machine.slice", own=True, manager_uid=None)),
        ("machine.slice/by-hand", Unit("machine.slice", own=False, manager_uid=None)),
        ("system.slice/_cgroup.service", Unit("cgroup.service", own=True, manager_uid=None)),
        ("by-hand/web.scope", None),
        ("", None),
    ],
)
def test_a_unit_is_told_by_its_path(path: str, unit: Unit | None) -> None:
    """Slices nest, then comes one scope or service; below a user's manager it begins again; else it is nobody's."""
    assert unit_of(POINT, f"{POINT}/{path}".rstrip("/")) == unit


@pytest.mark.parametrize(
    ("shown", "limit"),
    [("314572800", 314572800), ("infinity", UNLIMITED), ("18446744073709551615", UNLIMITED)],
)
def test_a_unit_s_limit_is_read(shown: str, limit: object) -> None:
    """A number, or one of the two ways systemd has said "none"."""
    systemctl = Systemctl(SHOWN.replace("314572800", shown))
    assert unit_limit(systemctl, "web.scope", SCOPE) == limit
    assert systemctl.ran[0][-2:] == ("--", "web.scope")


@pytest.mark.parametrize(
    "said",
    [
        SHOWN.replace("loaded", "not-found"),
        SHOWN.replace("/system.slice/web.scope", "/other.slice/web.scope"),
        SHOWN.replace("/system.slice/web.scope", ""),
        "",
        SHOWN.replace("314572800", "much"),
    ],
    ids=["not loaded", "elsewhere", "no cgroup", "nothing", "no size"],
)
def test_a_unit_that_is_not_this_cgroup_s_is_an_error(said: str) -> None:
    """A folder that only looks like a unit's, and an answer that can't be read: never a guess."""
    with pytest.raises(HostError):
        unit_limit(Systemctl(said), "web.scope", SCOPE)


def test_systemctl_s_own_words_are_told() -> None:
    """A systemctl that fails says why."""
    with pytest.raises(HostError, match="Failed to connect to bus"):
        unit_limit(Systemctl("", 1), "web.scope", SCOPE)
