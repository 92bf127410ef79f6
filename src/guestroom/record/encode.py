"""Frozen facts and actions as JSON and back, exactly.

One codec, driven by the dataclasses' own annotations: a new field or a new action is covered the day it is
added, and a text that does not fit its type is refused with its place instead of becoming a wrong fact.
``UNLIMITED`` is the text ``"unlimited"``. Reading is lenient in one way only: a missing field that has a
default takes it, so that yesterday's records can be read today.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections import abc
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from guestroom.actions import Action, Outcome
from guestroom.errors import EntryError, LedgerError
from guestroom.facts import GuestRecord
from guestroom.lives import Life
from guestroom.ports import Figure
from guestroom.turns import QueueEntry
from guestroom.units import UNLIMITED, Limit, Unlimited

_ACTIONS: Mapping[str, type] = {kind.__name__: kind for kind in get_args(Action)}


def action_to_json(action: Action) -> str:
    """``{"type": "SetLimit", ...}``: the same text for equal actions."""
    return _dump({"type": type(action).__name__} | _plain(action))


def action_from_json(text: str) -> Action:
    """The action a text of ``action_to_json`` stands for; raises ``LedgerError``."""
    value = _load(text)
    kind = _ACTIONS.get(value.pop("type", ""))
    if kind is None:
        raise LedgerError(f"an action of the ledger is of no known type: {_shown(text)}", hint=_HINT)
    action: Action = _restore(value, kind, kind.__name__)
    return action


def outcome_detail_to_json(outcome: Outcome) -> str:
    """What an outcome says beyond its action: kind, detail, the limit found."""
    return _dump({key: value for key, value in _plain(outcome).items() if key != "action"})


def outcome_from_json(action: Action, text: str) -> Outcome:
    """The outcome of ``action`` that a text of ``outcome_detail_to_json`` stands for; raises ``LedgerError``."""
    outcome: Outcome = _restore(_load(text), Outcome, "Outcome", given={"action": action})
    return outcome


def record_to_json(record: GuestRecord) -> str:
    """A guest's record as JSON."""
    return _dump(_plain(record))


def record_from_json(text: str) -> GuestRecord:
    """The record a text of ``record_to_json`` stands for; raises ``LedgerError``."""
    record: GuestRecord = _restore(_load(text), GuestRecord, "GuestRecord")
    return record


def entry_to_json(entry: QueueEntry) -> str:
    """A place in the queue as JSON."""
    return _dump(_plain(entry))


def entry_from_json(text: str) -> QueueEntry:
    """The place a text of ``entry_to_json`` stands for; raises ``LedgerError``."""
    entry: QueueEntry = _restore(_load(text), QueueEntry, "QueueEntry")
    return entry


def life_to_json(life: Life) -> str:
    """A life as JSON."""
    return clean(_dump(_plain(life)))


def life_from_json(text: str) -> Life:
    """The life a text of ``life_to_json`` stands for; raises ``LedgerError``."""
    life: Life = _restore(_load(text), Life, "Life")
    return life


def lives_from_rows(rows: Iterable[Sequence[str]]) -> tuple[Life, ...]:
    """The lives of rows of one text each. One that can't be read is left out: a sample less, not an agent less."""
    found = []
    for (text,) in rows:
        with suppress(LedgerError):
            found.append(life_from_json(text))
    return tuple(found)


def numbers_to_json(numbers: Mapping[str, Figure]) -> str:
    """An event's numbers as JSON; a float that JSON can't say (NaN, infinity) becomes its name."""
    return _dump({key: _json_float(value) for key, value in numbers.items()})


def numbers_from_json(text: str) -> dict[str, Figure]:
    """The numbers of an event; raises ``LedgerError``."""
    return _load(text)


def restore(value: Any, kind: Any, where: str) -> Any:
    """``value``, as JSON gave it, as ``kind`` says: a frozen dataclass, or the annotation of one of its fields.

    Raises ``LedgerError`` naming what does not fit.
    """
    return _restore(value, kind, where)


def limit_to_column(limit: Limit | None) -> int | str | None:
    """A limit as a database column holds it: bytes, ``unlimited`` or NULL for unknown."""
    return limit.value if isinstance(limit, Unlimited) else limit


def limit_from_column(value: int | str | None) -> Limit | None:
    """The limit a column holds; raises ``LedgerError``."""
    return _restore(value, Limit | None, "limit_bytes")  # type: ignore[no-any-return]


def clean(text: str) -> str:
    """``text`` without lone surrogates (file names that are not UTF-8), which SQLite can't store."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


_HINT = "it was written by a newer guestroom or changed by hand; use that guestroom, or set the record right"


def _plain(value: Any) -> Any:
    """Dataclasses as dicts, enums as their values, tuples as lists."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _json_float(value: Figure) -> Figure:
    unsayable = isinstance(value, float) and (value != value or value in (float("inf"), float("-inf")))
    return str(value) if unsayable else value


def _dump(value: Any) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise EntryError(f"this can't be written down: {error}", where=_shown(repr(value))) from error


def _load(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise LedgerError(f"a record of the ledger is not JSON: {error}: {_shown(text)}", hint=_HINT) from error
    if not isinstance(value, dict):
        raise LedgerError(f"a record of the ledger is not an object: {_shown(text)}", hint=_HINT)
    return value


def _shown(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."


@cache
def _field_hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _restore(value: Any, hint: Any, where: str, given: Mapping[str, Any] | None = None) -> Any:
    """``value`` as what the annotation ``hint`` says; ``given`` are fields that come from elsewhere."""
    if get_origin(hint) in (types.UnionType, Union):
        return _restore_one_of(value, get_args(hint), where)
    if get_origin(hint) is tuple and isinstance(value, list):
        return _restore_tuple(value, get_args(hint), where)
    if get_origin(hint) is abc.Mapping and isinstance(value, dict):
        kind = get_args(hint)[1]
        return {key: _restore(one, kind, f"{where}.{key}") for key, one in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _restore_fields(value, hint, where, given or {})
    if isinstance(hint, type) and issubclass(hint, Enum):
        if any(value == member.value for member in hint):
            return hint(value)
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif hint in (int, str, bool, types.NoneType) and type(value) is hint:
        return value
    raise LedgerError(f"{where} of the ledger does not hold what it should: {_shown(repr(value))}", hint=_HINT)


def _restore_tuple(value: list[Any], hints: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    """A tuple of any length of one kind, or of as many kinds as it has items."""
    kinds = [hints[0]] * len(value) if hints[-1] is Ellipsis else list(hints)
    if len(kinds) != len(value):
        raise LedgerError(f"{where} of the ledger has {len(value)} items, not {len(kinds)}", hint=_HINT)
    return tuple(_restore(one, kind, f"{where}[{i}]") for i, (one, kind) in enumerate(zip(value, kinds, strict=True)))


def _restore_one_of(value: Any, hints: tuple[Any, ...], where: str) -> Any:
    """The first kind of a union that ``value`` fits."""
    if value is None and types.NoneType in hints:
        return None
    if value == UNLIMITED.value and Unlimited in hints:
        return UNLIMITED
    candidates = [hint for hint in hints if hint not in (types.NoneType, Unlimited)]
    for hint in candidates[:-1]:
        try:
            return _restore(value, hint, where)
        except LedgerError:
            continue
    return _restore(value, candidates[-1], where)


def _restore_fields(value: dict[str, Any], kind: Any, where: str, given: Mapping[str, Any]) -> Any:
    """A dataclass from its fields: none unknown, none missing without a default."""
    hints = _field_hints(kind)
    unknown = sorted(value.keys() - hints.keys())
    if unknown:
        raise LedgerError(f"{where} of the ledger has unknown fields: {', '.join(unknown)}", hint=_HINT)
    fields = {name: _restore(one, hints[name], f"{where}.{name}") for name, one in value.items()}
    try:
        return kind(**fields, **given)
    except TypeError as error:
        raise LedgerError(f"{where} of the ledger lacks fields: {error}", hint=_HINT) from error
