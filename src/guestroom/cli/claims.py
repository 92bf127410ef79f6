"""The input of ``guestroom divide``: JSON read strictly, every fault with its place.

A share computed from a misread number starves a guest, so nothing is guessed: integers only (no 1.0, no
true, no NaN), no key twice, no unknown key, nothing left out. ``where`` of every error names the file and
the value: ``stdin: guests[3].cap_bytes``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from guestroom.errors import ClaimsError, GuestNameError
from guestroom.guest import check_name
from guestroom.units import MAX_JSON_INT, PAGE_BYTES, round_down, round_up

MOST_PAGE_BYTES = 1 << 40
_INPUT_KEYS = ("reserve_bytes", "guests")
_GUEST_KEYS = ("name", "weight", "floor_bytes", "cap_bytes")


@dataclass(frozen=True, slots=True)
class GivenClaim:
    """One guest's claim as given, each value checked. Sizes in bytes; ``cap_bytes`` None: no cap."""

    name: str
    weight: int
    floor_bytes: int
    cap_bytes: int | None


@dataclass(frozen=True, slots=True)
class Given:
    """The whole input, checked."""

    reserve_bytes: int
    page_bytes: int
    claims: tuple[GivenClaim, ...]


class _Object(dict[str, object]):
    """A JSON object that remembers a key given twice."""

    twice: str | None = None


class _NotInteger:
    """A JSON number that is no integer, as written."""

    def __init__(self, text: str) -> None:
        self.text = text


def parse_claims(text: str, source: str) -> Given:
    """Check and return the input ``text``; ``source`` is its file's name for errors. Raises ``ClaimsError``."""
    data = _load(text, source)
    if not isinstance(data, _Object):
        raise _fault(source, "", f"the input is {_kind(data)}, not an object")
    _check_keys(data, _INPUT_KEYS, ("page_bytes",), source, "")
    reserve_bytes = _integer(data["reserve_bytes"], source, "reserve_bytes")
    page_bytes = _page(data.get("page_bytes", PAGE_BYTES), source)
    guests = data["guests"]
    if not isinstance(guests, list):
        raise _fault(source, "guests", f"it is {_kind(guests)}, not a list")
    claims = tuple(_claims(guests, page_bytes, source))
    floors = sum(round_up(claim.floor_bytes, page_bytes) for claim in claims)
    if floors > MAX_JSON_INT:
        raise _fault(source, "guests", "the floors sum to more than 2^53 - 1 bytes", floors_bytes=str(floors))
    return Given(reserve_bytes, page_bytes, claims)


def _load(text: str, source: str) -> object:
    if not text.strip():
        raise ClaimsError("the input is empty", where=source, hint="give a JSON object with reserve_bytes and guests")
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_float=_NotInteger, parse_constant=_NotInteger)
    except json.JSONDecodeError as error:
        raise ClaimsError(
            f"the input is not JSON: {error.msg}", where=f"{source}:{error.lineno}:{error.colno}"
        ) from error
    except RecursionError as error:
        raise ClaimsError("the input is nested too deeply to be a list of claims", where=source) from error
    except ValueError as error:  # Python refuses to convert integers of more than 4,300 digits
        raise ClaimsError("a number in the input has thousands of digits", where=source) from error


def _pairs(pairs: list[tuple[str, object]]) -> _Object:
    made = _Object(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                made.twice = key
            seen.add(key)
    return made


def _claims(guests: list[object], page_bytes: int, source: str) -> Iterator[GivenClaim]:
    first: dict[str, int] = {}
    for index, guest in enumerate(guests):
        path = f"guests[{index}]"
        if not isinstance(guest, _Object):
            raise _fault(source, path, f"it is {_kind(guest)}, not an object")
        _check_keys(guest, _GUEST_KEYS, (), source, path)
        claim = _claim(guest, page_bytes, source, path)
        if claim.name in first:
            raise _fault(source, f"{path}.name", f"{claim.name!r} is also the name of guests[{first[claim.name]}]")
        first[claim.name] = index
        yield claim


def _claim(guest: Mapping[str, object], page_bytes: int, source: str, path: str) -> GivenClaim:
    name = _name(guest["name"], source, f"{path}.name")
    weight = _integer(guest["weight"], source, f"{path}.weight", least=1)
    floor_bytes = _integer(guest["floor_bytes"], source, f"{path}.floor_bytes")
    if guest["cap_bytes"] is None:
        return GivenClaim(name, weight, floor_bytes, None)
    cap_bytes = _integer(guest["cap_bytes"], source, f"{path}.cap_bytes")
    floor_rounded, cap_rounded = round_up(floor_bytes, page_bytes), round_down(cap_bytes, page_bytes)
    if cap_rounded < floor_rounded:
        raise _fault(
            source,
            f"{path}.cap_bytes",
            f"the cap of {name}, {cap_rounded} bytes in whole pages, is below its floor of {floor_rounded}",
            floor_bytes=floor_bytes,
            cap_bytes=cap_bytes,
            page_bytes=page_bytes,
        )
    return GivenClaim(name, weight, floor_bytes, cap_bytes)


def _name(value: object, source: str, path: str) -> str:
    if not isinstance(value, str):
        raise _fault(source, path, f"it is {_kind(value)}, not a string")
    try:
        return check_name(value)
    except GuestNameError as error:
        raise ClaimsError(error.message, where=f"{source}: {path}", numbers=error.numbers, hint=error.hint) from error


def _integer(value: object, source: str, path: str, *, least: int = 0) -> int:
    if isinstance(value, _NotInteger):
        raise _fault(source, path, f"{value.text[:40]} is not an integer")
    if not isinstance(value, int) or isinstance(value, bool):
        raise _fault(source, path, f"it is {_kind(value)}, not an integer")
    if value < least:
        raise _fault(source, path, f"{_digits(value)} is less than {least}")
    if value > MAX_JSON_INT:
        raise _fault(source, path, f"{_digits(value)} is more than 2^53 - 1")
    return value


def _page(value: object, source: str) -> int:
    page_bytes = _integer(value, source, "page_bytes", least=1)
    if page_bytes & (page_bytes - 1) or page_bytes > MOST_PAGE_BYTES:
        raise _fault(source, "page_bytes", f"{page_bytes} is not a page size: a power of two, at most 2^40")
    return page_bytes


def _check_keys(found: _Object, needed: tuple[str, ...], optional: tuple[str, ...], source: str, path: str) -> None:
    if found.twice is not None:
        raise _fault(source, path, f"the key {_shown(found.twice)} is given twice")
    missing = [key for key in needed if key not in found]
    if missing:
        hint = "write null for no cap" if "cap_bytes" in missing else None
        raise _fault(source, path, f"{', '.join(missing)} missing", hint)
    unknown = [key for key in found if key not in needed and key not in optional]
    if unknown:
        raise _fault(source, path, f"unknown key {_shown(unknown[0])}", f"known: {', '.join((*needed, *optional))}")


def _fault(source: str, path: str, message: str, hint: str | None = None, **numbers: int | str) -> ClaimsError:
    return ClaimsError(message, where=f"{source}: {path}" if path else source, numbers=numbers, hint=hint)


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {_shown(value)}"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _NotInteger():
            return f"the number {value.text[:40]}"
        case _:
            return "a number"


def _digits(value: int) -> str:
    """An integer for a message, shortened where it is absurdly long."""
    return str(value) if abs(value) < 10**30 else f"{'-' if value < 0 else ''}10^30 or more"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
