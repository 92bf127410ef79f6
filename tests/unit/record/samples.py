"""Facts and actions for the ledger's tests, made by hand and by Hypothesis."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st

from guestroom.actions import Action, Hold, LetGo, Outcome, OutcomeKind, SetLimit
from guestroom.facts import Accounting, GuestRecord, GuestState, Identity, Newcomer, OverheadReading
from guestroom.lives import Life, Likeness, Promised
from guestroom.turns import Process, QueueEntry
from guestroom.units import MIB, UNLIMITED

SHRINK = SetLimit("a", 700 * MIB, 600 * MIB, 300 * MIB, 200 * MIB, 500 * MIB, "b starts")
RAISE = SetLimit("b", UNLIMITED, 900 * MIB, 100 * MIB, 400 * MIB, 450 * MIB, "more room")
HOLD = Hold("a", 5 * MIB, 60 * MIB, 64 * MIB, "headroom is at the guard")
LET_GO = LetGo("a", "there is room again")


def done(action: Action, detail: str = "") -> Outcome:
    """The outcome of a step that holds."""
    return Outcome(action, OutcomeKind.DONE, detail)


def record(name: str = "a", **changes: Any) -> GuestRecord:
    """A running guest's record."""
    plain = GuestRecord(
        name=name,
        state=GuestState.RUNNING,
        accounting=Accounting.SPLIT,
        identity=Identity("3f1c", 42, 1234, 99),
        ram_bytes=1024 * MIB,
        ram_charged_bytes=1024 * MIB,
        weight=1024 * MIB,
        need_bytes=400 * MIB,
        boot_floor_bytes=128 * MIB,
        cap_bytes=None,
        grant_bytes=500 * MIB,
        admitted_grant_bytes=450 * MIB,
        limit_bytes=1700 * MIB,
        overhead_peak_bytes=None,
        started_wall_s=1_750_000_000.25,
        policy="eve",
        on_short="refuse",
        ram_block_bytes=(1024 * MIB,),
    )
    return dataclasses.replace(plain, **changes)


def entry(name: str = "a", number: int = 1, timeout_s: float | None = None) -> QueueEntry:
    """The place of one that waits."""
    newcomer = Newcomer(name, 512 * MIB, 512 * MIB, 512 * MIB, 379 * MIB, 128 * MIB, None, "wait")
    return QueueEntry(number, newcomer, 64 * MIB, 12.5, timeout_s, Process("3f1c", 77, 4711))


def life(name: str = "a", *, at_wall_s: float = 1_750_000_100.5, started_wall_s: float = 5.25, **changes: Any) -> Life:
    """What a guest came to."""
    like = Likeness("ram=1 disk=raw", "ram<=1", "tcg", "7.2")
    promised = Promised("learned", 400 * MIB, like, "eve", 380 * MIB, 0.95, 0.9, "guests of this shape", 45)
    plain = Life(name, started_wall_s, at_wall_s, 3600.0, False, 90 * MIB, 400 * MIB, promised)
    return dataclasses.replace(plain, **changes)


def reading(name: str = "a", at_s: float = 1000.0, overhead_bytes: int | None = 100 * MIB) -> OverheadReading:
    """A split guest's reading."""
    return OverheadReading(
        name=name,
        at_s=at_s,
        accounting=Accounting.SPLIT,
        overhead_bytes=overhead_bytes,
        upper_bound_bytes=120 * MIB,
        ram_resident_bytes=1024 * MIB,
        cache_bytes=0,
        how="memory.stat of ram and vmm",
        kernel_peak_bytes=130 * MIB,
    )


_WHOLE = st.integers(min_value=-(2**63), max_value=2**63 - 1)
_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    int: _WHOLE,
    str: st.text(max_size=20),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    type(None): st.none(),
}


def made_of(kind: Any) -> st.SearchStrategy[Any]:
    """Every value the annotation ``kind`` allows, found from the dataclasses' own annotations."""
    if kind in _LEAVES:
        return _LEAVES[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: made_of(hints[field.name]) for field in dataclasses.fields(kind)})
    if getattr(kind, "__origin__", None) is tuple:
        return st.lists(made_of(get_args(kind)[0]), max_size=3).map(tuple)
    return st.one_of(*(made_of(one) for one in get_args(kind)))


ACTIONS = made_of(Action)
OUTCOMES = made_of(Outcome)
RECORDS = made_of(GuestRecord)
ENTRIES = made_of(QueueEntry)
