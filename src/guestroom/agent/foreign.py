"""What others do to guestroom's cgroups: noticed at each sweep, told with both numbers, put right where that is safe.

A guest's limit or the host wall, the OOM killers, the place of a QEMU, a folder made anew: an administrator, another
tool or a script may touch each of them at any moment, and none of it comes with an event. Whoever does it again and
again is not fought (``decide.Patience``), and what is somebody else's is never touched (P9).

A guest whose cgroup was taken away while it runs can't be held or limited any more. Its pages stay charged to the host
wall until it ends (measured on kernel 6.18: a removed cgroup's charges count for its parent), so it keeps its place and
its room until then: nothing is promised to others that the kernel would not give.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from guestroom import decide
from guestroom.actions import SetWall
from guestroom.agent.care import Care
from guestroom.agent.readable import is_readable
from guestroom.agent.room import Room
from guestroom.errors import HostError, LedgerError, VanishedError
from guestroom.facts import GuestState, MemoryReading
from guestroom.units import Limit, format_limit

_RUNS = (GuestState.RUNNING, GuestState.PAUSED)


class Foreign:
    """Foreign hands on one host's guests."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.deps = room.deps
        self.patience = decide.Patience()
        self._names: set[str] = set()
        self._told: dict[str, object] = {}
        """What was found and left as it is, so that it is told once."""

    # --- limits ----------------------------------------------------------------------------------------

    async def limit(self, care: Care, found: Limit | None, mark: int | None) -> None:
        """Compare a guest's limit as it was read with the one that was meant.

        ``mark`` is ``room.mark()`` from before the reading: with a step of our own in between nothing is known.
        """
        room, record, what = self.room, care.record, f"limit of {care.name}"
        if mark is None or mark != room.mark() or record.released or record.adoption is not None:
            return
        if found is None or found == record.limit_bytes:
            self._told.pop(what, None)
            return
        care.limit_bytes = found
        now_s = self.deps.clock.monotonic()
        meant = record.limit_bytes
        lowered = isinstance(found, int) and found < meant
        action = decide.put_right(care.facts(), meant, self.deps.settings, now_s)
        wait_s = self.patience.wait_s(what, now_s)
        if action is None:
            self._leave(care.name, what, found, meant, "a shrink would not be safe now")
            return
        if wait_s > 0 and not (lowered and decide.is_pressing(care.facts())):
            self._leave(care.name, what, found, meant, f"it was put right before, the next time in {wait_s:.0f} s")
            return
        if lowered:
            times = self.patience.put_right(what, now_s)
            await room.raise_now(action.reason, {"found_bytes": found}, (action,), takes=False)
        else:
            if room.lock.locked():
                return  # what is being decided now sets limits too; the next sweep looks again
            async with room.lock:
                try:
                    await room.transact(action.reason, {"found_bytes": format_limit(found)}, (action,))
                except LedgerError as error:
                    self._leave(care.name, what, found, meant, f"the ledger can't be written: {error.line()}")
                    return
            times = self.patience.put_right(what, now_s)
        self._set_again(care.name, what, found, meant, care.record.limit_bytes, care.limit_bytes, times)

    async def wall(self, reading: MemoryReading, mark: int | None) -> None:
        """The same for the host wall. A wall that was raised is lowered where the kernel lets it."""
        room, found, meant, what = self.room, reading.limit_bytes, self.room.wall_bytes, "host wall"
        if mark is None or mark != room.mark() or not isinstance(meant, int):
            return
        await self._killer(None, reading)
        if found is None or found == meant:
            self._told.pop(what, None)
            return
        now_s = self.deps.clock.monotonic()
        lowered = isinstance(found, int) and found < meant
        wait_s = self.patience.wait_s(what, now_s)
        if wait_s > 0:
            self._leave(None, what, found, meant, f"it was put right before, the next time in {wait_s:.0f} s")
            return
        action = SetWall(found, meant, f"somebody else set it to {format_limit(found)}")
        if lowered:
            await room.raise_now(action.reason, {"found_bytes": found}, (action,), takes=False)
        elif room.lock.locked():
            return
        else:
            async with room.lock:
                await room.transact(action.reason, {"found_bytes": format_limit(found)}, (action,))
        times = self.patience.put_right(what, now_s)
        self._set_again(None, what, found, meant, meant, room.wall_bytes, times)

    def _set_again(
        self, name: str | None, what: str, found: Limit, meant: int, wanted: int, now: Limit | None, times: int
    ) -> None:
        done = "it is set again" if now == wanted else "it could not be set again, see step_failed"
        again = "" if times == 1 else f", for the {times}th time"
        message = f"somebody else set the {what} from {format_limit(meant)} to {format_limit(found)}; {done}{again}"
        self._event("limit_moved", name, message, found, meant, times)

    def _leave(self, name: str | None, what: str, found: Limit, meant: int, why: str) -> None:
        if self._told.get(what) == found:
            return
        self._told[what] = found
        message = f"somebody else set the {what} from {format_limit(meant)} to {format_limit(found)}; left so: {why}"
        self._event("limit_moved", name, message, found, meant, 0)

    def _event(self, kind: str, name: str | None, message: str, found: Limit, meant: int, times: int) -> None:
        limit = found if isinstance(found, int) else "unlimited"
        self.deps.event(kind, name, message, {"limit_bytes": limit, "meant_bytes": meant, "times": times})

    # --- killers ---------------------------------------------------------------------------------------

    async def killer(self, care: Care, reading: MemoryReading) -> None:
        """A guest's OOM killer that somebody switched on; not one that we switched on so that it can end."""
        record = care.record
        meant_on = care.may_be_killed or record.released or record.state not in _RUNS or record.adoption is not None
        if not meant_on:
            await self._killer(care.name, reading)

    async def _killer(self, name: str | None, reading: MemoryReading) -> None:
        what = f"OOM killer of {name or 'the host wall'}"
        if not reading.killer_on:
            self._told.pop(what, None)
            return
        deps, now_s = self.deps, self.deps.clock.monotonic()
        wait_s = self.patience.wait_s(what, now_s)
        if wait_s > 0:
            if what not in self._told:
                self._told[what] = True
                message = f"somebody else switched the {what} on again; left so for {wait_s:.0f} s"
                deps.event("killer_on", name, message, {"times": 0})
            return
        times = self.patience.put_right(what, now_s)
        names = [name] if name is not None else []
        try:
            await deps.kernel(lambda: deps.machine.killers(names, enabled=False, wall=name is None))
        except HostError as error:
            deps.event("killer_on", name, f"somebody else switched the {what} on: {error.line()}", {"times": times})
            return
        deps.event("killer_on", name, f"somebody else switched the {what} on; it is off again", {"times": times})

    # --- places ----------------------------------------------------------------------------------------

    async def place(self, care: Care, members: tuple[int, ...]) -> bool:
        """Look where a guest's QEMU and its cgroup are; False where it has ended, however that came."""
        record, identity = care.record, care.record.identity
        if identity is None or record.adoption is not None:
            return bool(members)
        if not _lives(care):
            return bool(set(members) - care.strangers)
        if record.released:
            return True
        try:
            ours = await self.deps.kernel(self.deps.machine.inode, care.name) == identity.cgroup_inode
        except VanishedError:
            ours = False
        care.outside = not ours or identity.pid not in members
        if not care.outside:
            await self._look_for_strangers(care, members)
            return True
        await self._moved(care, identity.pid, ours)
        return True

    async def _moved(self, care: Care, pid: int, ours: bool) -> None:
        """It lives, but not where it was put."""
        deps, what, now_s = self.deps, f"place of {care.name}", self.deps.clock.monotonic()
        try:
            where = await deps.kernel(deps.machine.place, pid)
            there = ours and await deps.kernel(deps.machine.has, care.name, "vmm")
        except VanishedError:
            return  # it has ended this moment, which its pidfd tells
        if not there:
            self._gone(care, pid, where)
            return
        # What it is charged from now on is charged elsewhere: what was seen of it last is no longer true (P6).
        care.reading = None
        if (wait_s := self.patience.wait_s(what, now_s)) > 0:
            if self._told.get(what) != where:
                self._told[what] = where
                message = f"somebody else moved {care.name} (pid {pid}) to {where} again; left so for {wait_s:.0f} s"
                deps.event("moved", care.name, message, {"pid": pid, "times": 0})
            return
        times = self.patience.put_right(what, now_s)
        self._told.pop(what, None)
        message = f"somebody else moved {care.name} (pid {pid}) to {where}"
        try:
            await deps.kernel(deps.machine.put, pid, care.name, "vmm")
        except HostError as error:
            deps.event("moved", care.name, f"{message}; not moved back: {error.line()}", {"pid": pid, "times": times})
            return
        care.outside = False
        deps.event("moved", care.name, f"{message}; it is back in its cgroup", {"pid": pid, "times": times})

    def _gone(self, care: Care, pid: int, where: str) -> None:
        """Its cgroup was removed, or is another's by now: out of care, and counted until it ends."""
        deps = self.deps
        deps.alarms.forget(care.name)
        care.hold(held=False, now_s=deps.clock.monotonic())
        care.record = replace(care.record, released=True)
        care.gone, care.reading = True, None
        self.room.note(care)
        message = (
            f"somebody else removed the cgroup of {care.name} or made it anew, and it runs on in {where} (pid {pid}); "
            "it is out of care, nothing limits it there. Its room counts until it ends: its memory stays charged here"
        )
        deps.event("gone", care.name, message, {"pid": pid, "grant_bytes": care.record.grant_bytes})

    async def _look_for_strangers(self, care: Care, members: tuple[int, ...]) -> None:
        """Processes that nobody of the guest's own started: told, never moved or ended (P9)."""
        present = set(members)
        care.strangers &= present
        if care.family is None:
            care.family = present  # what was there when it began to run was put there by its start
            return
        new = present - care.family - care.strangers
        care.family &= present
        for pid in sorted(new):
            try:
                parent = await self.deps.kernel(self.deps.machine.parent, pid)
            except HostError:
                continue
            if parent in present - care.strangers:
                care.family.add(pid)
                continue
            care.strangers.add(pid)
            message = (
                f"process {pid}, which {care.name} did not start, is in its cgroup: what it uses counts as overhead of "
                f"{care.name}, and it is held with it"
            )
            self.deps.event("stranger", care.name, message, {"pid": pid})

    def keep(self, present: Iterable[str]) -> None:
        """Forget those that are not among the guests present: another of the same name begins anew."""
        now = set(present)
        for name in self._names - now:
            for what in (f"limit of {name}", f"OOM killer of {name}", f"place of {name}"):
                self.patience.forget(what)
                self._told.pop(what, None)
        self._names = now


def _lives(care: Care) -> bool:
    """Whether its QEMU has not ended: its pidfd would be readable."""
    return care.pidfd is not None and not is_readable(care.pidfd)
