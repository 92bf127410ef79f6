"""The way in: bring ledger, kernel and room together again after any end of the last agent (promise P8).

A guest lives as long as its cgroup is populated, whatever happened to us. So what the ledger has is held
against what the kernel has; ``decide.reconcile`` says what follows, and here it is done: interrupted shrinks
are thawed at once, holds that were meant stay until the room has been divided again, a start that had not
come to its first instruction is ended, everything else is taken back as it is.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from guestroom import decide
from guestroom.actions import Action, LetGo, Outcome, OutcomeKind, SetLimit
from guestroom.agent.adopt import Adoptions, split_off
from guestroom.agent.care import Care
from guestroom.agent.clocks import ago_s
from guestroom.agent.peaks import PeakWindow
from guestroom.agent.room import Room
from guestroom.decide import Found
from guestroom.decide.reconcile import Adopt, Finding, Finish, Foreign, KeepHold, KeepPlace, Thaw
from guestroom.errors import HostError, VanishedError
from guestroom.facts import GuestRecord, GuestState
from guestroom.ports import Decision
from guestroom.units import Limit, format_limit

_MONITOR_S = 2.0


async def recover(room: Room, adoptions: Adoptions) -> None:
    """Take everything back that lives, finish what ended, then divide the room again. The caller holds the lock."""
    deps = room.deps
    await room.learning.load()
    recorded = {record.name: record for record in await deps.book(deps.ledger.get_guests)}
    records, adopted = split_off(recorded)
    await adoptions.take_back(adopted)
    unfinished = await deps.book(deps.ledger.unfinished)
    found = {folder.name: folder for folder in await deps.kernel(_look, room, records)}
    pending = tuple(action for decision in unfinished for action in decision.actions)
    boot_id = await deps.kernel(deps.machine.boot_id)
    for finding in decide.reconcile(records.values(), found.values(), boot_id, pending):
        await _do(room, finding, records.get(finding.name))
    for decision in unfinished:
        deps.late.finish(decision.number, _outcomes(decision, found))
    await _wall(room)
    if unfinished or recorded:
        message = (
            f"{len(room.cares)} of {len(recorded)} recorded guests live; {len(unfinished)} decisions were cut short"
        )
        deps.event("reconciled", None, message, {"guests": len(room.cares), "decisions": len(unfinished)})
    await room.divide_again("the agent started")
    for care in room.cares.values():
        room.tell_alarm(care, held=care.record.held)


def _look(room: Room, records: Mapping[str, GuestRecord]) -> tuple[Found, ...]:
    """Every folder under the host wall as the kernel has it."""
    deps, found = room.deps, []
    for name in deps.machine.guests_there():
        try:
            inode = deps.machine.inode(name)
            limit = deps.observer.cgroup(deps.layout.guest(name)).limit_bytes
        except VanishedError:
            continue
        inside = deps.machine.members(name, "ram") + deps.machine.members(name, "vmm")
        record = records.get(name)
        identity = record.identity if record is not None else None
        alive = identity is not None and identity.pid in inside and _is_it(room, identity.pid, identity.start_ticks)
        found.append(Found(name, inode, limit, bool(inside), deps.machine.frozen(name), alive))
    return tuple(found)


def _is_it(room: Room, pid: int, start_ticks: int) -> bool:
    try:
        return room.deps.machine.start_ticks(pid) == start_ticks
    except HostError:
        return False


async def _do(room: Room, finding: Finding, record: GuestRecord | None) -> None:
    """Carry one finding out."""
    deps = room.deps
    match finding:
        case Thaw():
            await room.transact(
                f"thaw {finding.name}", {"reason": finding.reason}, (LetGo(finding.name, finding.reason),)
            )
            deps.event("thawed", finding.name, f"{finding.name} is thawed: {finding.reason}")
        case KeepHold():
            deps.event("held", finding.name, f"{finding.name} stays held until room is divided again: {finding.reason}")
        case Adopt():
            assert record is not None
            await _adopt(room, finding, record)
        case KeepPlace():
            assert record is not None
            care = _care(room, record, record.limit_bytes)
            care.recreation, care.started_s = finding.grant_bytes, deps.clock.monotonic()
            room.cares[record.name] = care
        case Finish():
            assert record is not None
            if not await _runs_elsewhere(room, finding, record):
                await _finish(room, finding, record)
        case Foreign():
            message = (
                f"{deps.layout.guest(finding.name)} (inode {finding.inode}, limit {format_limit(finding.limit_bytes)}) "
                f"is not guestroom's: {finding.reason}; it is left alone"
            )
            deps.event("foreign", None, message, {"name": finding.name, "inode": finding.inode})
        case _:
            assert_never(finding)


async def _adopt(room: Room, finding: Adopt, record: GuestRecord) -> None:
    """Take a guest back. One that had not come to its first instruction is ended: its reservation is gone."""
    deps, identity = room.deps, record.identity
    assert identity is not None
    limit = finding.limit_bytes if isinstance(finding.limit_bytes, int) else record.limit_bytes
    kept = replace(record, state=finding.state, grant_bytes=finding.grant_bytes, limit_bytes=limit, held=finding.held)
    care = _care(room, kept, finding.limit_bytes)
    if record.state is GuestState.STARTING:
        for part in ("ram", "vmm"):
            for pid in await deps.kernel(deps.machine.members, record.name, part):
                await deps.kernel(_kill, room, pid)
        await room.retire(care, "its start was cut short: it never ran")
        deps.event("not_started", record.name, f"{record.name} had not run when the agent ended; it is gone")
        return
    room.cares[record.name] = care
    deps.inodes[record.name] = identity.cgroup_inode
    try:
        care.pidfd = await deps.kernel(deps.machine.pidfd, identity.pid, identity.start_ticks)
    except VanishedError:
        care.ended.set()  # its helpers live on; the sweep gives its room back when they have ended
        return
    if record.own_stop and record.state is GuestState.RUNNING and not finding.held:
        await _continue(room, record)
    room.note(care)


def _kill(room: Room, pid: int) -> None:
    try:
        room.deps.machine.kill(pid, room.deps.machine.start_ticks(pid), signal.SIGKILL)
    except HostError:
        return


async def _continue(room: Room, record: GuestRecord) -> None:
    """The last agent may have ended between writing that the guest runs and continuing it."""
    if record.qmp_path is None:
        return
    try:
        await room.deps.kernel(_cont_if_stopped, room, record.qmp_path)
    except HostError as error:
        room.deps.event("monitor", record.name, f"its own monitor does not answer: {error.line()}")


def _cont_if_stopped(room: Room, path: str) -> None:
    monitor = room.deps.machine.monitor(path, _MONITOR_S)
    try:
        if monitor.query_status() == "prelaunch":
            monitor.cont()
    finally:
        monitor.close()


async def _runs_elsewhere(room: Room, finding: Finish, record: GuestRecord) -> bool:
    """A QEMU whose cgroup was taken away and that lives: its memory stays charged to the wall, so its room counts."""
    deps, identity = room.deps, record.identity
    if record.state is GuestState.STARTING and finding.folder:
        return False  # written down and never placed: a child of its ``run`` that waits yet, not a QEMU
    if identity is None or identity.boot_id != await deps.kernel(deps.machine.boot_id):
        return False
    try:
        pidfd = await deps.kernel(deps.machine.pidfd, identity.pid, identity.start_ticks)
        where = await deps.kernel(deps.machine.place, identity.pid)
    except HostError:
        return False
    care = _care(room, replace(record, released=True, held=False), record.limit_bytes)
    care.pidfd, care.gone = pidfd, True
    deps.inodes[record.name] = identity.cgroup_inode
    room.cares[record.name] = care
    room.note(care)
    message = f"{finding.reason}, and {record.name} runs on in {where} (pid {identity.pid}): nothing limits it there"
    deps.event("gone", record.name, message, {"pid": identity.pid, "grant_bytes": record.grant_bytes})
    return True


async def _finish(room: Room, finding: Finish, record: GuestRecord) -> None:
    deps = room.deps
    if finding.folder:
        await room.retire(_care(room, record, record.limit_bytes), finding.reason, left_over=True)
    else:
        deps.late.remove_guest(record.name, finding.reason)
    deps.event("ended", record.name, f"{record.name} ended while no agent ran: {finding.reason}")


def _care(room: Room, record: GuestRecord, limit: Limit | None) -> Care:
    """A guest under care from its record; times since the epoch become times of the present clock."""
    clock, settings = room.deps.clock, room.deps.settings
    now_s = clock.monotonic()
    started_s = now_s - ago_s(clock, record.started_wall_s, record.identity)
    # A life is written at once, a record when something changes: after a kill -9 the life may know more.
    life = room.learning.history.get((record.name, record.started_wall_s))
    if life is not None and life.peak_bytes > (record.life_peak_bytes or 0):
        record = replace(record, life_peak_bytes=life.peak_bytes)
    care = Care(record, started_s, PeakWindow(settings.peak_window_s), limit_bytes=limit)
    care.peaks.restore(now_s, record.overhead_peak_bytes, record.life_peak_bytes)
    care.held_since_s = now_s if record.held else None
    if record.recreated_wall_s is not None:
        care.recreated_s = now_s - ago_s(clock, record.recreated_wall_s, record.identity)
    return care


def _outcomes(decision: Decision, found: Mapping[str, Found]) -> tuple[Outcome, ...]:
    """How the steps of a decision that was cut short stand, by what the kernel has."""
    known = {_key(outcome.action): outcome for outcome in decision.outcomes}
    outcomes = []
    for action in decision.actions:
        outcome = known.get(_key(action))
        if outcome is None and isinstance(action, SetLimit) and action.name in found:
            limit = found[action.name].limit_bytes
            kind = OutcomeKind.DONE if limit == action.to_bytes else OutcomeKind.SKIPPED
            outcome = Outcome(action, kind, "seen by the next agent", limit)
        outcomes.append(outcome or Outcome(action, OutcomeKind.SKIPPED, "the agent ended before it was known"))
    return tuple(outcomes)


def _key(action: Action) -> str:
    return repr(action)


async def _wall(room: Room) -> None:
    """Make the host wall where there is none; killers off on it and on every guest."""
    deps = room.deps
    host = await room.host()
    budget = room.make_budget(host)
    if not isinstance(host.wall_limit_bytes, int):
        await deps.kernel(deps.machine.make_wall, budget.wall_bytes)
    names = [care.name for care in room.cares.values() if care.record.identity is not None and not care.record.released]
    await deps.kernel(lambda: deps.machine.killers(names, enabled=False))
