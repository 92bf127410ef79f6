"""Writes for adopted guests on v2 and for systemd's units: never below use, told to the owner, verified (P2, P4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from guestroom.actions import Hold, LetGo, OutcomeKind, SetLimit
from guestroom.apply.adopted import AdoptedApplier, Place
from guestroom.errors import HostError
from guestroom.facts import Adoption, Identity
from guestroom.ports import Ran
from guestroom.testing import ManualClock
from guestroom.testing.simv2 import Crash, SimV2
from guestroom.units import MIB, UNLIMITED, Limit

WEB = "/cg/web"
LIMIT, USE = 300 * MIB, 200 * MIB
ADOPTION = Adoption(WEB, WEB, LIMIT, None, LIMIT)
UNIT = replace(ADOPTION, unit="web.scope", unit_limit_bytes=LIMIT)


class Kernel(SimV2):
    """The tree, and process 77 that started at tick 5."""

    def read(self, path: str) -> str:
        """One process's stat, else the tree."""
        return "77 (qemu) S 1 " + "0 " * 17 + "5 0\n" if path == "/proc/77/stat" else super().read(path)


class Systemd:
    """``ports.Programs`` that is systemctl: it writes what it is told, plainly, and writes it again at a reload."""

    def __init__(self, kernel: Kernel, code: int = 0) -> None:
        self.kernel, self.code = kernel, code
        self.ran: list[tuple[str, ...]] = []
        self.has = str(LIMIT)

    def run(self, argv: Sequence[str], timeout_s: float) -> Ran:
        """set-property."""
        self.ran.append(tuple(argv))
        if self.code:
            return Ran(self.code, "", "Failed to set unit properties: Connection timed out")
        assert argv[-1].startswith("MemoryMax=")
        self.has = argv[-1].removeprefix("MemoryMax=").replace("infinity", "max")
        self.reload()
        return Ran(0, "", "")

    def reload(self) -> None:
        """daemon-reload."""
        self.kernel.write(f"{WEB}/memory.max", self.has)


def set_limit(to_bytes: int, frm: int = LIMIT) -> SetLimit:
    """A limit."""
    return SetLimit("web", frm, to_bytes, 0, 0, 0, "why")


def made() -> Kernel:
    """A guest that uses 200 of its 300 MiB."""
    kernel = Kernel()
    kernel.mkdir(WEB)
    kernel.write(f"{WEB}/memory.max", str(LIMIT))
    kernel.write(f"{WEB}/cgroup.procs", "77")
    kernel.charge(WEB, USE)
    kernel.operations.clear()
    return kernel


@pytest.fixture
def kernel() -> Kernel:
    """The guest as it was adopted."""
    return made()


def applier(kernel: Kernel, adoption: Adoption = ADOPTION, programs: Systemd | None = None) -> AdoptedApplier:
    """An applier that knows it."""
    place = Place(Identity("b", kernel.inode(WEB), 77, 5), adoption)
    return AdoptedApplier(kernel, ManualClock(), programs, {"web": place}, 2)


def limit_of(kernel: Kernel) -> str:
    """What the kernel has."""
    return kernel.groups[WEB].files["memory.max"]


def test_a_raise_is_one_write_and_a_shrink_stands_still(kernel: Kernel) -> None:
    """A raise does not stop the guest; a shrink reads its use while it stands still, and lets it go on."""
    ours = applier(kernel)
    assert ours.carry_out(set_limit(400 * MIB)).found_bytes == 400 * MIB
    assert not any("cgroup.freeze" in operation for operation in kernel.operations)
    kernel.operations.clear()
    assert ours.carry_out(set_limit(250 * MIB, 400 * MIB)).ok
    words = [operation for operation in kernel.operations if operation.startswith("write")]
    assert words[0].endswith("cgroup.freeze 1")
    assert words[-1].endswith("cgroup.freeze 0")
    assert limit_of(kernel) == str(250 * MIB)
    assert kernel.killed == set()


def test_a_shrink_below_use_is_busy_and_kills_nobody(kernel: Kernel) -> None:
    """The naive write would: here it is, for comparison."""
    outcome = applier(kernel).carry_out(set_limit(150 * MIB))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.BUSY, LIMIT)
    assert kernel.killed == set()
    kernel.write(f"{WEB}/memory.max", str(150 * MIB))
    assert kernel.killed == {77}


@pytest.mark.parametrize("adoption", [ADOPTION, UNIT], ids=["own", "unit"])
def test_a_growing_guest_is_not_killed_wherever_the_writer_stops(adoption: Adoption) -> None:
    """It grows whenever it runs, up to 230 MiB, and the writer may die at any operation of a shrink to 240."""

    def growing(sim: SimV2, folder: str) -> None:
        if folder == WEB and sim.current(WEB) < 230 * MIB:
            sim.charge(WEB, 2 * MIB)

    for crash_at in range(60):
        kernel = made()
        kernel.grow, kernel.crash_at = growing, crash_at
        try:
            outcome = applier(kernel, adoption, Systemd(kernel)).carry_out(set_limit(240 * MIB))
        except Crash:
            assert kernel.killed == set()
            continue
        assert outcome.ok
        assert (kernel.killed, kernel.groups[WEB].frozen) == (set(), False)
        return
    raise AssertionError("it never came to its end")


def test_held_by_its_own_freezer(kernel: Kernel) -> None:
    """Frozen and thawed, and a shrink while it is held leaves it held."""
    ours = applier(kernel)
    assert ours.carry_out(Hold("web", 0, 0, 0, "x")).ok
    assert kernel.groups[WEB].frozen
    assert ours.carry_out(set_limit(250 * MIB)).ok
    assert kernel.groups[WEB].frozen
    assert ours.carry_out(LetGo("web", "x")).ok
    assert not kernel.groups[WEB].frozen


@pytest.mark.parametrize(("limit", "text"), [(UNLIMITED, "max"), (220 * MIB, str(220 * MIB))])
def test_what_was_there_is_put_back(kernel: Kernel, limit: Limit, text: str) -> None:
    """A limit or none; there is no killer to switch on v2."""
    applier(kernel).restore("web", limit)
    applier(kernel).killer("web", restore=True)
    assert limit_of(kernel) == text


# --- systemd -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_bytes", [400 * MIB, 250 * MIB])
def test_systemd_is_told_and_a_reload_changes_nothing(kernel: Kernel, to_bytes: int) -> None:
    """Raised or lowered, the limit is what systemd writes at its next reload; only written, it is lost."""
    programs = Systemd(kernel)
    assert applier(kernel, UNIT, programs).carry_out(set_limit(to_bytes)).ok
    words = ("systemctl", "--no-ask-password", "set-property", "--runtime", "--", "web.scope", f"MemoryMax={to_bytes}")
    assert programs.ran == [words]
    programs.reload()
    assert limit_of(kernel) == str(to_bytes)
    applier(kernel, ADOPTION, programs).carry_out(set_limit(350 * MIB))
    programs.reload()
    assert limit_of(kernel) == str(to_bytes), "the control: systemd takes back what it was not told"


def test_systemd_is_never_told_a_limit_below_use(kernel: Kernel) -> None:
    """It writes plainly, so it hears only of limits that hold already."""
    programs = Systemd(kernel)
    assert applier(kernel, UNIT, programs).carry_out(set_limit(150 * MIB)).kind is OutcomeKind.BUSY
    assert programs.ran == []
    assert kernel.killed == set()


def test_a_raise_does_not_wait_for_systemd_and_a_shrink_is_taken_back(kernel: Kernel) -> None:
    """P5 and P4: the room is there although systemd fails, and that is told; a shrink it has not taken is none."""
    programs = Systemd(kernel, 1)
    outcome = applier(kernel, UNIT, programs).carry_out(set_limit(400 * MIB))
    assert outcome.ok
    assert "Connection timed out" in outcome.detail
    assert limit_of(kernel) == str(400 * MIB)
    outcome = applier(kernel, UNIT, programs).carry_out(set_limit(250 * MIB, 400 * MIB))
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.FAILED, 400 * MIB)
    assert "Connection timed out" in outcome.detail


def test_what_systemd_was_not_told_is_remembered_until_it_is(kernel: Kernel) -> None:
    """A raise that is only in the file would be lost at a reload: it is told again, and then it lasts."""
    programs = Systemd(kernel, 1)
    ours = applier(kernel, UNIT, programs)
    ours.carry_out(set_limit(400 * MIB))
    assert "Connection timed out" in ours.untold["web"]
    with pytest.raises(HostError):
        ours.secure("web", 400 * MIB)
    assert (limit_of(kernel), list(ours.untold)) == (str(400 * MIB), ["web"])
    programs.code = 0
    ours.secure("web", 400 * MIB)
    programs.reload()
    assert (limit_of(kernel), ours.untold) == (str(400 * MIB), {})


def test_systemd_s_yes_proves_nothing(kernel: Kernel) -> None:
    """A set-property that succeeds and puts another limit into the kernel is no success."""

    class Other(Systemd):
        def reload(self) -> None:
            self.kernel.write(f"{WEB}/memory.max", str(LIMIT))

    assert applier(kernel, UNIT, Other(kernel)).carry_out(set_limit(400 * MIB)).kind is OutcomeKind.READ_BACK


def test_a_unit_gets_back_what_it_had(kernel: Kernel) -> None:
    """A limit somebody wrote past systemd, and none in systemd: both are put back, each in its place."""
    programs = Systemd(kernel)
    ours = applier(kernel, replace(UNIT, unit_limit_bytes=UNLIMITED), programs)
    ours.secure("web", LIMIT)
    assert programs.has == str(LIMIT), "while it is under care its limit must last"
    ours.carry_out(set_limit(400 * MIB))
    ours.restore("web", LIMIT)
    assert (programs.has, limit_of(kernel)) == ("max", str(LIMIT))


def test_a_limit_that_may_not_be_written_is_found_at_once(kernel: Kernel) -> None:
    """Adopting ends with an error, not with a guest that can't be raised later."""
    kernel.faults = dict.fromkeys(range(60), 13)
    ours = applier(kernel)
    with pytest.raises(HostError):
        ours.secure("web", LIMIT)
