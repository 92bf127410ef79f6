"""Writes for adopted guests: through the right door, checked before, read back after (P2, P9)."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from guestroom.actions import Hold, LetGo, MakeGuest, OutcomeKind, SetLimit
from guestroom.apply.adopted import AdoptedApplier, Place
from guestroom.apply.processes import read_start_ticks
from guestroom.apply.upkeep import SystemClock
from guestroom.errors import HostError
from guestroom.facts import Adoption, Identity
from guestroom.kernelfs import KernelFiles
from guestroom.ports import Ran
from guestroom.testing import ManualClock
from guestroom.units import UNLIMITED, Limit

from .scripted import ScriptedFiles

CGROUP, FREEZER = "/mem/web", "/frz/web"
LIMIT_FILE = f"{CGROUP}/memory.limit_in_bytes"
ADOPTION = Adoption(CGROUP, FREEZER, 100 * 4096, True, 100 * 4096)
RAISE = SetLimit("web", 100 * 4096, 200 * 4096, 0, 100 * 4096, 90 * 4096, "more")
SHRINK = SetLimit("web", 200 * 4096, 150 * 4096, 100 * 4096, 50 * 4096, 120 * 4096, "back")


class Kernel(ScriptedFiles):
    """A scripted kernel with an adopted guest: process 77, started at tick 5; it takes -1 for no limit."""

    def write(self, path: str, value: str) -> None:
        """As the kernel: -1 is no limit."""
        super().write(path, str((1 << 63) - 4096) if value == "-1" else value)


class Virsh:
    """``ports.Programs`` that is virsh, as told."""

    def __init__(self, files: Kernel, code: int = 0, stderr: str = "", *, writes: bool = True) -> None:
        self.files, self.code, self.stderr, self.writes = files, code, stderr, writes
        self.ran: list[tuple[str, ...]] = []

    def run(self, argv: Sequence[str], timeout_s: float) -> Ran:
        """Set the limit in the kernel, unless told to fail or to do nothing."""
        self.ran.append(tuple(argv))
        if self.code == 0 and self.writes:
            kib = int(next(word for word in argv if word.startswith("--hard-limit=")).split("=")[1])
            self.files.write(LIMIT_FILE, "-1" if kib == -1 else str(kib * 1024))
        return Ran(self.code, "", self.stderr)


@pytest.fixture
def kernel() -> Kernel:
    """The guest as it was adopted."""
    files = Kernel()
    files.mkdir(CGROUP)
    files.mkdir(FREEZER)
    files.texts[f"{CGROUP}/cgroup.procs"] = "77\n78\n"
    files.texts[LIMIT_FILE] = f"{100 * 4096}\n"
    files.texts["/proc/77/stat"] = "77 (qemu (x) y) S 1 " + "0 " * 17 + "5 0\n"
    files.done.clear()
    return files


def applier(files: Kernel, adoption: Adoption = ADOPTION, virsh: Virsh | None = None) -> AdoptedApplier:
    """An applier that knows the guest."""
    identity = Identity("b", files.folders.get(CGROUP, 0), 77, 5)
    return AdoptedApplier(files, ManualClock(), virsh or Virsh(files), {"web": Place(identity, adoption)})


def test_a_limit_is_written_and_read_back(kernel: Kernel) -> None:
    """A raise goes to the one file of its cgroup and is found there."""
    outcome = applier(kernel).carry_out(RAISE)
    assert outcome.ok
    assert outcome.found_bytes == 200 * 4096
    assert kernel.done == [(LIMIT_FILE, str(200 * 4096))]


def test_what_the_kernel_refuses_is_an_outcome(kernel: Kernel) -> None:
    """EBUSY is told as busy, with the limit that still holds."""
    kernel.fail[LIMIT_FILE] = [errno.EBUSY]
    outcome = applier(kernel).carry_out(SHRINK)
    assert (outcome.kind, outcome.found_bytes) == (OutcomeKind.BUSY, 100 * 4096)


def test_a_value_that_did_not_arrive_is_seen(kernel: Kernel) -> None:
    """A write that succeeds and changes nothing is no success."""
    kernel.after_write[LIMIT_FILE] = [f"{100 * 4096}\n"]
    assert applier(kernel).carry_out(RAISE).kind is OutcomeKind.READ_BACK


def test_below_the_floor_is_not_even_tried(kernel: Kernel) -> None:
    """P2 is guarded a last time."""
    assert applier(kernel).carry_out(replace(SHRINK, to_bytes=119 * 4096)).kind is OutcomeKind.FAILED
    assert kernel.done == []


def test_nothing_is_made_or_started(kernel: Kernel) -> None:
    """Adopting makes no cgroup; such a step is refused."""
    assert applier(kernel).carry_out(MakeGuest("web", 1, 1, "no")).kind is OutcomeKind.FAILED
    assert kernel.done == []


@pytest.mark.parametrize("action", [RAISE, SHRINK, Hold("web", 0, 0, 0, "x"), LetGo("web", "x")])
@pytest.mark.parametrize("change", ["another folder", "another process", "moved", "gone"])
def test_another_guest_is_not_written(kernel: Kernel, action: SetLimit | Hold | LetGo, change: str) -> None:
    """P9: a cgroup made anew, a pid used again, a process moved away, an end: nothing is written."""
    ours = applier(kernel)
    match change:
        case "another folder":
            kernel.folders[CGROUP] += 1
        case "another process":
            kernel.texts["/proc/77/stat"] = "77 (qemu) S 1 " + "0 " * 17 + "6 0\n"
        case "moved":
            kernel.texts[f"{CGROUP}/cgroup.procs"] = "78\n"
        case _:
            del kernel.texts["/proc/77/stat"]
    assert ours.carry_out(action).kind is OutcomeKind.VANISHED
    assert kernel.done == []


def test_a_watched_guest_is_never_written(kernel: Kernel) -> None:
    """--watch: no limit, no hold, no killer, no restoring."""
    ours = applier(kernel, replace(ADOPTION, watch=True))
    for action in (RAISE, Hold("web", 0, 0, 0, "x"), LetGo("web", "x")):
        assert not ours.carry_out(action).ok
    ours.killer("web", restore=False)
    ours.restore("web", UNLIMITED)
    assert kernel.done == []


def test_its_own_freezer_holds_it(kernel: Kernel) -> None:
    """Frozen and thawed by its own freezer cgroup, each read back."""
    ours = applier(kernel)
    assert ours.carry_out(Hold("web", 0, 0, 0, "x")).ok
    assert ours.carry_out(LetGo("web", "x")).ok
    assert kernel.done == [(f"{FREEZER}/freezer.state", "FROZEN"), (f"{FREEZER}/freezer.state", "THAWED")]


@pytest.mark.parametrize(("former", "values"), [(True, ["1", "0"]), (False, ["1", "1"]), (None, [])])
def test_the_killer_becomes_what_it_was(kernel: Kernel, former: bool | None, values: list[str]) -> None:
    """Off under care; afterwards on only if it was; one that can't be read is not touched."""
    ours = applier(kernel, replace(ADOPTION, former_killer=former))
    ours.killer("web", restore=False)
    ours.killer("web", restore=True)
    assert kernel.done == [(f"{CGROUP}/memory.oom_control", value) for value in values]


@pytest.mark.parametrize(("limit", "found"), [(UNLIMITED, (1 << 63) - 4096), (80 * 4096, 80 * 4096)])
def test_what_was_there_is_put_back(kernel: Kernel, limit: Limit, found: int) -> None:
    """A limit or none, then the killer."""
    applier(kernel).restore("web", limit)
    assert kernel.texts[LIMIT_FILE] == f"{found}\n"
    assert "oom_kill_disable 0" in kernel.texts[f"{CGROUP}/memory.oom_control"]


# --- through libvirt ---------------------------------------------------------------------------------------

DOMAIN = replace(ADOPTION, domain="web.1")


def test_libvirt_sets_the_limits_of_its_guests(kernel: Kernel) -> None:
    """In KiB, live, by the domain's name, and then verified in the file."""
    virsh = Virsh(kernel)
    assert applier(kernel, DOMAIN, virsh).carry_out(RAISE).ok
    assert virsh.ran == [("virsh", "-q", "memtune", "--domain=web.1", "--hard-limit=800", "--live")]
    applier(kernel, DOMAIN, virsh).restore("web", UNLIMITED)
    assert virsh.ran[-1][-2] == "--hard-limit=-1"


def test_libvirt_s_yes_proves_nothing(kernel: Kernel) -> None:
    """A command that succeeds and does not reach the kernel is no success."""
    assert applier(kernel, DOMAIN, Virsh(kernel, writes=False)).carry_out(RAISE).kind is OutcomeKind.READ_BACK


def test_a_raise_does_not_depend_on_libvirt(kernel: Kernel) -> None:
    """Room before the wall: where libvirt does not do it, the file is written."""
    virsh = Virsh(kernel, 1, "error: Timed out during operation")
    assert applier(kernel, DOMAIN, virsh).carry_out(RAISE).ok
    assert kernel.done == [(LIMIT_FILE, str(200 * 4096))]


def test_a_shrink_is_libvirt_s_alone(kernel: Kernel) -> None:
    """A shrink can wait; libvirt's words are told, the kernel's EBUSY is known in them."""
    busy = "error: Unable to write to '/x/memory.limit_in_bytes': Device or resource busy"
    for text, kind in ((busy, OutcomeKind.BUSY), ("error: Timed out", OutcomeKind.FAILED)):
        outcome = applier(kernel, DOMAIN, Virsh(kernel, 1, text)).carry_out(SHRINK)
        assert outcome.kind is kind
        assert text[:14] in outcome.detail
    assert kernel.done == []


def test_a_virsh_that_is_not_there_is_told(kernel: Kernel) -> None:
    """No program, or one too slow, is a failed write for a shrink."""

    class NoVirsh(Virsh):
        def run(self, argv: Sequence[str], timeout_s: float) -> Ran:
            raise HostError("virsh is not there")

    outcome = applier(kernel, DOMAIN, NoVirsh(kernel)).carry_out(SHRINK)
    assert outcome.kind is OutcomeKind.FAILED
    assert "virsh is not there" in outcome.detail


# --- by signals, on real processes -------------------------------------------------------------------------


class OneCgroup(KernelFiles):
    """The real /proc, and one cgroup that holds the given processes."""

    def __init__(self, pids: list[int]) -> None:
        self.pids = pids

    def read(self, path: str) -> str:
        """The cgroup's processes, else the real file."""
        return "".join(f"{pid}\n" for pid in self.pids) if path == f"{CGROUP}/cgroup.procs" else super().read(path)

    def inode(self, path: str) -> int:
        """The cgroup's inode."""
        return 3


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """A process and its helper."""
    made = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield made
    for process in made:
        process.kill()
        process.wait()


def state(pid: int) -> str:
    """Its state letter."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_without_a_freezer_of_its_own_it_is_stopped(sleepers: list[subprocess.Popen[bytes]]) -> None:
    """SIGSTOP to it and its helpers, seen to have worked; SIGCONT lets all of them go on."""
    first, helper = (process.pid for process in sleepers)
    identity = Identity("b", 3, first, read_start_ticks(first))
    files = OneCgroup([helper, first, 1 << 21])
    places = {"web": Place(identity, replace(ADOPTION, freezer=None))}
    ours = AdoptedApplier(files, SystemClock(), None, places)
    outcome = ours.carry_out(Hold("web", 0, 0, 0, "x"))
    assert outcome.ok, outcome
    assert (state(first), state(helper)) == ("T", "T")
    assert ours.carry_out(LetGo("web", "x")).ok
    assert {state(first), state(helper)} <= {"S", "R", "D"}
    files.pids = [first]
    assert ours.carry_out(Hold("web", 0, 0, 0, "x")).ok
    assert state(helper) != "T", "who is not in its cgroup is not its helper"
    os.kill(first, signal.SIGCONT)
