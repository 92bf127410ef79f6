"""The seed's story, played for real: ``make run``.

Guest A has 500 MiB of unreclaimable overhead when guest B arrives and equal shares would be 400. On cgroup v1 the
kernel refuses to lower A, on v2 it kills A for it; a plain limit kills it on both. guestroom keeps A at its floor and
gives B the rest, refuses B with numbers, or recreates A, as it was told, and nobody is killed. Every figure shown is
read from the kernel's own files; A and B run a checksummed I/O loop through all of it.
"""

from __future__ import annotations

import argparse
import errno
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from guestroom.actions import OutcomeKind
from guestroom.errors import GuestroomError, HostError
from guestroom.lab.firmware import firmware_machine
from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage, find_image
from guestroom.lab.screen import Screen
from guestroom.lab.vm import PATIENCE_S, Machine, Vm
from guestroom.units import MIB, Limit, format_bytes

SETTINGS = """
[host]
reserve = "800MiB"
headroom = "0"
guard = "0"

[sizing]
policy = "eve"
cap = "600MiB"

[timing]
settle_s = 0
sweep_s = 0.5

[guests.A]
recreatable = true
"""
RAM_BYTES = 256 * MIB
A_OVERHEAD_BYTES = 500 * MIB
NAIVE_SHARE_BYTES = 400 * MIB
BOOT_S = 60.0


class StoryError(Exception):
    """Something the story tells did not come true; the message says what."""


@dataclass(slots=True)
class Finding:
    """One line of the summary."""

    what: str
    figures: str
    ok: bool


class Story:
    """The story on one host. ``play`` tells all of it; ``findings`` is what came of it."""

    def __init__(self, host: Host, screen: Screen, *, patience: float = 1.0, firmware: bool = False) -> None:
        self.host = host
        self.patience = patience
        """How much longer than on a usual machine everything may take."""
        self.screen = screen
        self.image = None if firmware else find_image()
        """None: guests run their firmware only."""
        self.findings: list[Finding] = []
        self.gaps: dict[str, float] = {}

    def play(self) -> tuple[Vm, Vm]:
        """Everything, with both guests running at the end. Raises ``StoryError``."""
        a = self.start("A")
        self.expect("A alone has what it may have at most", self.row("A")["grant_bytes"], 600 * MIB, slack=0)
        self.grow_a(a)
        self.naive(a)
        self.squeeze(a)
        self.refuse(a)
        b = self.recreate(a)
        self.kernel_agrees(a, b)
        if self.image is None:
            return a, b  # where only firmware runs, QEMU is emulated itself, and two more starts take minutes
        return self.wait(a, b)

    # --- chapters --------------------------------------------------------------------------------------

    def machine(self, name: str, extra: tuple[str, ...] = ()) -> Machine:
        """The shape of a guest."""
        if self.image is None:
            return firmware_machine(self.host.machine(name, GuestImage("", ""), extra=extra))
        return self.host.machine(name, self.image, extra=extra)

    def start(self, name: str, *options: str) -> Vm:
        """Start a guest the guestroom way and wait until it beats and its I/O was verified."""
        words = " ".join(("guestroom run --name", name, *options, "-- qemu-system-x86_64 ..."))
        self.screen.say(f"guest {name} starts: {words}")
        vm = self.host.run(self.machine(name), *options)
        if not self.waiting(lambda: vm.wait_alive(0.5), BOOT_S, lambda: vm.process.poll() is not None):
            raise StoryError(f"guest {name} did not come alive: {vm.stderr()} {vm.signs.lines[-3:]}")
        vm.forget_gaps()
        return vm

    def grow_a(self, a: Vm) -> None:
        """A's overhead reaches 500 MiB in total, all of it touched and unreclaimable."""
        self.screen.say("A experiences load: its QEMU takes anonymous memory until its overhead is 500 MiB in total")
        for number in range(4):
            missing = A_OVERHEAD_BYTES - self.overhead("A")
            if missing < MIB:
                break
            self.load(a, missing // MIB * MIB, f"load{number}")
            time.sleep(0.3)
        self.expect("A's overhead in total", self.overhead("A"), A_OVERHEAD_BYTES, slack=8 * MIB)

    def load(self, vm: Vm, size_bytes: int, name: str) -> None:
        """Have a guest's QEMU take memory."""
        vm.grow(size_bytes, name, threads=2, timeout_s=30.0 * self.patience)

    def naive(self, a: Vm) -> None:
        """The naive way: equal shares, so lower A's limit to RAM + 400 MiB.

        v1 refuses it by itself. v2 takes it and kills (the control run shows it), so there guestroom's own hand is
        asked.
        """
        limit = RAM_BYTES + NAIVE_SHARE_BYTES
        before = self.limit("A")
        self.screen.say(f"the naive way: equal shares are 400 MiB each, so A's limit is set to {format_bytes(limit)}")
        who = "the kernel" if self.host.layout.version == 1 else "guestroom"
        code = self._answer(limit)
        ok = code == "EBUSY" and self.limit("A") == before
        self.finding(f"{who}'s answer to {format_bytes(limit)} for A", f"{code}; A keeps {format_bytes(before)}", ok)
        self.alive(a)

    def _answer(self, limit_bytes: int) -> str:
        """What comes of lowering A, as an errno's name."""
        if self.host.layout.version == 1:
            error = self.host.set_limit("A", limit_bytes)
            return errno.errorcode.get(error.errno or 0, "?") if error is not None else "accepted"
        outcome = self.host.lower("A", limit_bytes)
        return "EBUSY" if outcome.kind is OutcomeKind.BUSY else f"{outcome.kind.value} {outcome.detail}"

    def squeeze(self, a: Vm) -> None:
        """B arrives and may be squeezed: it starts with what A's floor leaves."""
        b = self.start("B", "--on-short", "squeeze")
        rows = {name: self.row(name) for name in ("A", "B")}
        left = 800 * MIB - rows["A"]["grant_bytes"]
        figures = (
            f"A keeps {format_bytes(rows['A']['grant_bytes'])}, B starts with {format_bytes(rows['B']['grant_bytes'])}"
        )
        ok = rows["B"]["squeezed"] and abs(rows["B"]["grant_bytes"] - left) <= MIB
        ok = ok and rows["A"]["grant_bytes"] >= rows["A"]["overhead_bytes"]
        self.finding("squeeze", figures, ok)
        self.show_for(3.0)
        self.alive(a, b)
        self.stop(b)
        self.waiting(lambda: self.row("A")["grant_bytes"] == 600 * MIB, 10.0)
        self.expect("A's grant after B left", self.row("A")["grant_bytes"], 600 * MIB, slack=0)

    def refuse(self, a: Vm) -> None:
        """B arrives and must have its need in full: it is refused, with the numbers, and never runs."""
        self.screen.say("guest B asks again, with --on-short refuse")
        b = self.host.run(self.machine("B"), "--on-short", "refuse")
        self.waiting(lambda: b.process.poll() is not None, 20.0)
        said = [line for line in b.stderr().splitlines() if line.startswith("guestroom:")]
        for line in said:
            self.screen.say(f"    {line}")
        told = any(event["guest"] == "B" for event in self.host.events("refused"))
        ok = b.process.returncode == 3 and bool(said) and told and b.signs.beats == 0
        self.finding("refuse", f"exit code {b.process.returncode}, B never ran, the event log has the numbers", ok)
        self.alive(a)

    def recreate(self, a: Vm) -> Vm:
        """B arrives and A may be recreated: A's own run stops it and starts it again under a lower limit."""
        beats = a.signs.beats
        b = self.start("B", "--on-short", "recreate")
        self.waiting(lambda: self.row("A")["state"] == "running", BOOT_S)
        grants = {name: self.row(name)["grant_bytes"] for name in ("A", "B")}
        ok = all(abs(grant - NAIVE_SHARE_BYTES) <= MIB for grant in grants.values())
        self.finding("recreate", ", ".join(f"{n} {format_bytes(g)}" for n, g in grants.items()), ok)
        if not self.waiting(lambda: a.came_back(beats, 2.0 * self.patience), BOOT_S):
            raise StoryError(f"A did not come back: {a.alive()} {a.stderr()}")
        a.forget_gaps()
        self.show_for(3.0)
        self.alive(a, b)
        return b

    def wait(self, a: Vm, b: Vm) -> tuple[Vm, Vm]:
        """A is under load again and B may wait: it starts by itself when A's user stops A; then A comes back."""
        self.stop(b)
        self.waiting(lambda: self.row("A")["grant_bytes"] == 600 * MIB, 10.0)
        self.grow_a(a)
        self.screen.say("guest B asks again, with --on-short wait")
        b = self.host.run(self.machine("B"), "--on-short", "wait")
        self.waiting(lambda: "waits at place" in b.stderr(), 20.0, lambda: b.process.poll() is not None)
        self.show_for(2.0)
        for line in b.stderr().splitlines():
            self.screen.say(f"    {line}")
        row = self.row("B")
        waits = row["state"] == "queued" and b.signs.beats == 0
        self.finding("wait", f"B is {row['state']} at place {row.get('place')} and has not run", waits)
        self.alive(a)
        self.stop(a)
        if not self.waiting(lambda: b.wait_alive(0.5), BOOT_S, lambda: b.process.poll() is not None):
            raise StoryError(f"B did not start when A was gone: {b.stderr()}")
        b.forget_gaps()
        self.expect("B started by itself when A was gone; it has", self.row("B")["grant_bytes"], 600 * MIB, slack=0)
        a = self.start("A")
        self.alive(a, b)
        return a, b

    def kernel_agrees(self, *vms: Vm) -> None:
        """What guestroom shows is what the kernel has."""
        for vm in vms:
            row, limit = self.row(vm.machine.name), self.limit(vm.machine.name)
            self.finding(
                f"{vm.machine.name}'s limit: shown and the kernel's",
                f"{format_bytes(row['limit_bytes'])} and {format_bytes(limit)}",
                row["limit_bytes"] == limit == row["ram_bytes"] + row["grant_bytes"],
            )
        wall = self._bytes(self.host.limit(self.host.layout.memory))
        self.expect("the host wall: promised RAM + reserve", wall, 2 * RAM_BYTES + 800 * MIB, slack=0)
        killed = sum(self.host.kills(self.host.layout.guest(vm.machine.name)) for vm in vms)
        self.finding("killed by the OOM killer", str(killed), killed == 0)

    # --- figures and checks ----------------------------------------------------------------------------

    def row(self, name: str) -> dict[str, Any]:
        """A guest as ``guestroom ps`` shows it."""
        return self.host.ps().get(name, {"grant_bytes": 0, "state": "gone"})

    def overhead(self, name: str) -> int:
        """Overhead from the cgroup files, past the agent: all that can't be reclaimed, less guest RAM."""
        return self.host.overhead(name, RAM_BYTES)

    def limit(self, name: str) -> int:
        """The kernel's limit of a guest."""
        return self._bytes(self.host.limit(self.host.layout.guest(name)))

    @staticmethod
    def _bytes(limit: Limit) -> int:
        if not isinstance(limit, int):
            raise StoryError("a cgroup of the story has no limit")
        return limit

    def expect(self, what: str, found: int, wanted: int, *, slack: int) -> None:
        """A figure within ``slack`` bytes of what the story says."""
        self.finding(
            what, f"{format_bytes(found)} (the story says {format_bytes(wanted)})", abs(found - wanted) <= slack
        )

    def finding(self, what: str, figures: str, ok: bool) -> None:
        """Note what was seen; what is not as told ends the story."""
        self.findings.append(Finding(what, figures, ok))
        self.screen.say(f"  {'ok ' if ok else 'NOT'} {what}: {figures}")
        if not ok:
            raise StoryError(f"{what}: {figures}")

    def alive(self, *vms: Vm) -> None:
        """Heartbeat goes on, I/O goes on, no error, no wrong checksum."""
        for vm in vms:
            wrong = vm.alive(PATIENCE_S * self.patience)
            self.finding(f"{vm.machine.name} alive", wrong or vm.evidence(), wrong is None)

    def stop(self, vm: Vm) -> None:
        """End a guest as its user would."""
        self.screen.say(f"guest {vm.machine.name} is stopped by its user")
        vm.stop()
        self.waiting(lambda: vm.machine.name not in self.host.ps(), 10.0)

    def waiting(self, done: Callable[[], bool], limit_s: float, hopeless: Callable[[], bool] = lambda: False) -> bool:
        """Wait for something with the table live; False when it took too long or can't come any more."""
        deadline_s = time.monotonic() + limit_s * self.patience
        while time.monotonic() < deadline_s:
            if done():
                return True
            if hopeless():
                return False
            self.screen.table(self.host)
            time.sleep(0.1 * self.patience)
        return False

    def show_for(self, seconds: float) -> None:
        """Let time pass with the table live."""
        self.waiting(lambda: False, seconds / self.patience)


def main() -> int:
    """Play the story; with ``--once`` end by itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="exit when the story is told (0 if all came true)")
    parser.add_argument("--no-control", action="store_true", help="leave out the run without guestroom")
    parser.add_argument("--firmware", action="store_true", help="guests run their firmware only, no Linux")
    parser.add_argument("--patience", type=float, default=1.0, help="allow this many times the usual time")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began_s = time.monotonic()
    screen = Screen()
    try:
        if not options.firmware:
            find_image()
        host = Host(SETTINGS)
    except HostError as error:
        return _can_not(error)
    story = None
    try:
        host.start(timeout_s=20.0 * options.patience)
        story = Story(host, screen, patience=options.patience, firmware=options.firmware)
        screen.say(f"the agent runs: socket {host.socket}, settings {host.config}")
        story.play()
        if not options.no_control:
            from guestroom.lab.control import without_guestroom

            without_guestroom(story)
        screen.summary(story.findings, time.monotonic() - began_s)
        while not options.once:
            screen.hint(host)
            story.show_for(3600.0)
    except StoryError as failed:
        screen.say(f"the story did not come true: {failed}")
        screen.say(host.log()[-3000:])
        return 1
    except GuestroomError as error:
        screen.say(error.line())
        screen.say(host.log()[-3000:])
        return error.exit_code
    except KeyboardInterrupt:
        screen.say("ending guests and agent")
        return 0 if story is not None and story.findings and all(f.ok for f in story.findings) else 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        screen.close()
        host.clean_up()
    return 0


def _can_not(error: HostError) -> int:
    sys.stderr.write(
        f"guestroom: the story can't be played here: {error.line()}\n"
        "guestroom: it needs root, or memory cgroups of its own, and the test guest. What works without: guestroom "
        "size, guestroom divide, guestroom doctor, and make test-unit\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
