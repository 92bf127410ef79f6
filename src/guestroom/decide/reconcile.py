"""What follows when ledger and kernel are held against each other after any end of the agent (promises P8, P9).

The kernel is the truth about what lives and under which limit, the ledger about whose it is, what it was
promised and who was held on purpose. Nothing that lives is lost, nothing that is not ours is touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from guestroom.actions import Action, MakeGuest, SetLimit
from guestroom.facts import GuestRecord, GuestState
from guestroom.units import Limit, format_limit, round_up


@dataclass(frozen=True, slots=True)
class Found:
    """A guest's folder under the host wall as the kernel has it."""

    name: str
    inode: int
    limit_bytes: Limit | None
    populated: bool | None
    """True where processes are in it; None where that could not be read."""
    frozen: bool | None
    identity_alive: bool
    """The record's process (pid and start time) is alive and inside; False where there is no record."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take a guest back under care: it lives and is ours."""

    name: str
    state: GuestState
    grant_bytes: int
    limit_bytes: Limit | None
    held: bool
    reason: str


@dataclass(frozen=True, slots=True)
class KeepHold:
    """A recorded hold stays until the headroom has been decided about."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Thaw:
    """Let a frozen guest go on at once: no hold of it is recorded, a shrink was interrupted."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeepPlace:
    """A guest on its way back (recreated) keeps its grant until its start times out."""

    name: str
    grant_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """A guest that is gone: close its record, remove its folder where one is left, give its room to the others."""

    name: str
    folder: bool
    """Its own empty folder is still there and is removed."""
    reason: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """A folder that is not ours: reported, never written (P9)."""

    name: str
    inode: int
    limit_bytes: Limit | None
    reason: str


Finding = Thaw | KeepHold | Adopt | KeepPlace | Finish | Foreign


def reconcile(
    records: Iterable[GuestRecord],
    found: Iterable[Found],
    boot_id: str,
    unfinished: Iterable[Action] = (),
) -> tuple[Finding, ...]:
    """What is to be done about each recorded guest and each folder; thaws first, then by name.

    ``unfinished`` are the steps of decisions without an outcome, in order: the agent may have died between the
    kernel's write and the ledger's, so a limit that differs from the record is looked up among them.
    """
    folders = {folder.name: folder for folder in found}
    steps = tuple(unfinished)
    findings: list[Finding] = []
    for record in records:
        findings += _about(record, folders.pop(record.name, None), boot_id, steps)
    findings += [Foreign(f.name, f.inode, f.limit_bytes, "no guest of this name is recorded") for f in folders.values()]
    return tuple(sorted(findings, key=lambda finding: (_order(finding), finding.name)))


def _order(finding: Finding) -> int:
    """Thaw before anything else: a guest stands still for no reason."""
    match finding:
        case Thaw():
            return 0
        case KeepHold():
            return 1
        case Adopt() | KeepPlace():
            return 2
        case Finish():
            return 3
        case Foreign():
            return 4
        case _:
            assert_never(finding)


def _about(record: GuestRecord, folder: Found | None, boot_id: str, steps: tuple[Action, ...]) -> list[Finding]:
    """Findings about one record and the folder of its name."""
    name, identity = record.name, record.identity
    if identity is None:
        return _never_ran(record, folder)
    if identity.boot_id != boot_id:
        return [Finish(name, False, "the host has been started anew since"), *_foreign(folder, "made after the record")]
    if folder is None:
        return [Finish(name, False, "its cgroup is gone")]
    if folder.inode != identity.cgroup_inode:
        return [Finish(name, False, "its cgroup is gone"), *_foreign(folder, "made anew under the same name")]
    if folder.populated is False and not folder.identity_alive:
        return [Finish(name, True, "its processes are gone")]
    return _alive(record, folder, steps)


def _never_ran(record: GuestRecord, folder: Found | None) -> list[Finding]:
    """A record without a process: a start that was interrupted, or a guest on its way back."""
    name = record.name
    if folder is not None and folder.populated is not False:
        return [Finish(name, False, "it was never started"), *_foreign(folder, "it holds processes nobody recorded")]
    if record.state is GuestState.QUEUED:
        return [KeepPlace(name, record.grant_bytes, "it is on its way back")]
    return [Finish(name, folder is not None, "it was never started; its reservation died with its connection")]


def _foreign(folder: Found | None, reason: str) -> list[Finding]:
    return [] if folder is None else [Foreign(folder.name, folder.inode, folder.limit_bytes, reason)]


def _alive(record: GuestRecord, folder: Found, steps: tuple[Action, ...]) -> list[Finding]:
    """A guest that lives: adopted back, thawed unless a hold of it is recorded."""
    grant, why = _grant(record, folder.limit_bytes, steps)
    state = record.state if folder.identity_alive else GuestState.STOPPING
    held = record.held and folder.frozen is not False
    findings: list[Finding] = [Adopt(record.name, state, grant, folder.limit_bytes, held, why)]
    if held:
        findings.append(KeepHold(record.name, "its hold is recorded"))
    elif folder.frozen:
        findings.append(Thaw(record.name, "it is frozen and no hold of it is recorded"))
    return findings


def _grant(record: GuestRecord, limit: Limit | None, steps: tuple[Action, ...]) -> tuple[int, str]:
    """Which grant holds under the limit the kernel has, and why.

    The record's where the limits agree. Else the step the agent died in says: the limit is its ``to`` (written,
    the outcome was not) or its ``from``. A limit nobody planned guarantees no more than it leaves above RAM.
    """
    if limit == record.limit_bytes:
        return record.grant_bytes, "limit and record agree"
    for step in reversed(steps):
        match step:
            case SetLimit(name=record.name, to_bytes=to) if to == limit:
                return step.grant_to_bytes, "its limit was written, the outcome was not"
            case SetLimit(name=record.name, from_bytes=before) if before == limit:
                return step.grant_from_bytes, "its limit was not written yet"
            case MakeGuest(name=record.name, limit_bytes=made) if made == limit:
                return step.grant_bytes, "its cgroups were made, the outcome was not written"
            case _:
                continue
    why = f"its limit is {format_limit(limit)}, the record says {format_limit(record.limit_bytes)}"
    if not isinstance(limit, int):
        return record.grant_bytes, why
    return min(record.grant_bytes, max(0, limit - round_up(record.ram_charged_bytes))), why
