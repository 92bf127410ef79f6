"""The settings file: one TOML file, checked as a whole.

All errors are told at once, each with its line, the value found and what is allowed, so that an operator
mends the file once. A file with an error changes nothing: the agent does not start on half of it.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from guestroom.agent.settings_model import GuestSection, HostSection, Section, SizingSection, TimingSection
from guestroom.agent.toml_lines import Path, key_lines
from guestroom.config import GuestSettings, Settings
from guestroom.errors import ConfigError, GuestNameError
from guestroom.guest import check_name
from guestroom.units import MIB, format_bytes

DEFAULT_PATH = "/etc/guestroom/config.toml"
LARGEST_BYTES = MIB
"""A file beyond this is no settings file."""

_SECTIONS: Mapping[str, type[Section]] = {"host": HostSection, "sizing": SizingSection, "timing": TimingSection}
_GUESTS = "guests"
_PLACE = re.compile(r"\(at (?:line ([0-9]+), column [0-9]+|end of document)\)")


@dataclass(frozen=True, slots=True)
class _Problem:
    path: Path
    text: str


def load_settings(path: str | None) -> Settings:
    """The settings in ``path``; ``None``: those in ``DEFAULT_PATH``, or the defaults where that is missing.

    Raises ``ConfigError`` for a file that can't be read or holds an error.
    """
    where = DEFAULT_PATH if path is None else path
    try:
        data = _read(where)
    except FileNotFoundError:
        if path is None:
            return Settings()
        raise ConfigError("there is no settings file here", where=where, hint="check --config") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"the settings file can't be read: {reason}", where=where) from error
    return parse_settings(_decode(data, where), where)


def parse_settings(text: str, where: str) -> Settings:
    """The settings ``text`` says; ``where`` is the file's name for messages.

    Raises ``ConfigError`` that tells every error with its line; its ``where`` is the first one's.
    """
    document = _parse(text, where)
    problems = _unknown_sections(document)
    sections = {name: _section(kind, document.get(name, {}), (name,), problems) for name, kind in _SECTIONS.items()}
    guests = _guests(document.get(_GUESTS, {}), problems)
    problems += _host_misfits(sections["host"])
    problems += _timing_misfits(sections["timing"])
    problems += _sizing_misfits(sections["sizing"], guests)
    if problems:
        raise _all_of(problems, text, where)
    values = {name: value for section in sections.values() for name, value in (section or {}).items()}
    kept = {name: GuestSettings(**found) for name, found in guests.items() if found is not None}
    return Settings(**values, guests=MappingProxyType(kept))


def example_toml() -> str:
    """A settings file with every setting, its default and its meaning. It says what no file says."""
    lines = ["# Settings of guestroom. Every line shows the default; sizes are bytes or KiB, MiB, GiB, TiB.", ""]
    for name, kind in _SECTIONS.items():
        lines += [f"# {kind.__doc__}", f"[{name}]", *_example_of(kind), ""]
    lines += [f"# # {GuestSection.__doc__}", "# [guests.NAME]", *(f"# {line}" for line in _example_of(GuestSection))]
    return "\n".join(lines) + "\n"


def _example_of(kind: type[Section]) -> list[str]:
    lines = []
    for field in kind.model_fields.values():
        extra: Any = field.json_schema_extra
        lines += [f"# {field.description}", f"# Allowed: {extra['allowed']}.", f"{field.alias} = {extra['toml']}"]
    return lines


def _read(path: str) -> bytes:
    """The file's bytes; raises ``OSError``, and ``ConfigError`` for what is no settings file."""
    # Without O_NONBLOCK a FIFO would wait for a writer for ever.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ConfigError("the settings file is not a regular file", where=path)
        data = file.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise ConfigError(
            f"the settings file is larger than {format_bytes(LARGEST_BYTES)}",
            where=path,
            numbers={"largest_bytes": LARGEST_BYTES},
            hint="check --config: this is no settings file",
        )
    return data


def _decode(data: bytes, where: str) -> str:
    """The text of the file: UTF-8 without a byte order mark, as TOML demands."""
    marks = {b"\xef\xbb\xbf": "a UTF-8 byte order mark", b"\xff\xfe": "UTF-16 text", b"\xfe\xff": "UTF-16 text"}
    for mark, meaning in marks.items():
        if data.startswith(mark):
            raise ConfigError(f"the settings file begins with {meaning}", where=f"{where}:1", hint="save it as UTF-8")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise ConfigError("the settings file is binary (a zero byte)", where=f"{where}:{line}", hint="check --config")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"the settings file is not UTF-8: byte 0x{data[error.start]:02x}",
            where=f"{where}:{line}",
            hint="save it as UTF-8",
        ) from error


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        last = text.count("\n") + (not text.endswith("\n"))
        line = int(place[1]) if place is not None and place[1] else last
        what = _PLACE.sub("", str(error)).strip()
        raise ConfigError(f"this is not TOML: {what}", where=f"{where}:{line}", hint=_line_of(text, line)) from error
    except RecursionError as error:
        raise ConfigError("this is nested too deeply for settings", where=where) from error
    except ValueError as error:
        raise ConfigError(f"this is not TOML: {error}", where=where) from error


def _line_of(text: str, line: int) -> str | None:
    """The line's text, to show what was found."""
    lines = text.split("\n")
    return f"found {_shown(lines[line - 1].strip())}" if 0 < line <= len(lines) else None


def _unknown_sections(document: Mapping[str, Any]) -> list[_Problem]:
    problems = []
    for name, value in document.items():
        if name in _SECTIONS or name == _GUESTS:
            continue
        homes = [f"[{section}]" for section, kind in _SECTIONS.items() if name in _keys(kind)]
        if homes and not isinstance(value, dict):
            advice = f"it belongs in {' or '.join(homes)}"
        else:
            advice = f"known sections: {', '.join([*_SECTIONS, _GUESTS])}"
        problems.append(_Problem((name,), f"there is no such setting at the top; {advice}"))
    return problems


def _keys(kind: type[Section]) -> list[str]:
    return [field.alias or name for name, field in kind.model_fields.items()]


def _section(kind: type[Section], value: object, path: Path, problems: list[_Problem]) -> dict[str, Any] | None:
    """The values of a section by the names of ``Settings``, or None with the problems noted."""
    if not isinstance(value, dict):
        problems.append(_Problem(path, f"it must be a table, [{'.'.join(path)}], but is {_shown(value)}"))
        return None
    try:
        return dict(kind.model_validate(value))
    except ValidationError as error:
        for one in error.errors(include_url=False):
            problems.append(_told(kind, path, one["type"], str(one["loc"][0]), one["input"], one))
        return None


def _told(kind: type[Section], path: Path, fault: str, key: str, value: object, error: Any) -> _Problem:
    """One of pydantic's errors in our words: the value, why not, what is allowed."""
    if fault == "extra_forbidden":
        near = difflib.get_close_matches(key, _keys(kind), 1)
        advice = f"did you mean {near[0]}?" if near else f"known: {', '.join(_keys(kind))}"
        return _Problem((*path, key), f"there is no such setting; {advice}")
    extra: Any = next(field for field in kind.model_fields.values() if field.alias == key).json_schema_extra
    why = str(error["ctx"]["error"]) if fault == "value_error" else _lower(error["msg"])
    return _Problem((*path, key), f"{_shown(value)} is not allowed: {why}; allowed: {extra['allowed']}")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _guests(value: object, problems: list[_Problem]) -> dict[str, dict[str, Any] | None]:
    """The sections of the guests by name; None for one with problems."""
    if not isinstance(value, dict):
        problems.append(_Problem((_GUESTS,), f"it must hold tables [guests.NAME], but is {_shown(value)}"))
        return {}
    found = {}
    for name, section in value.items():
        try:
            check_name(name)
        except GuestNameError as error:
            problems.append(_Problem((_GUESTS, name), f"{error.message}: {error.hint}"))
        found[name] = _section(GuestSection, section, (_GUESTS, name), problems)
    return found


def _host_misfits(host: Mapping[str, Any] | None) -> list[_Problem]:
    """What does not fit together in [host]: the guard lies within the headroom, the headroom within the reserve."""
    if host is None:
        return []
    problems = []
    headroom, guard, reserve = host["headroom_bytes"], host["guard_bytes"], host["reserve"]
    if guard and headroom is not None and guard >= headroom:
        problems.append(
            _Problem(
                ("host", "guard"),
                f"{guard} bytes are not less than the headroom of {headroom}; make it smaller, or 0 to hold nobody",
            )
        )
    if isinstance(reserve, int) and headroom is not None and headroom > reserve:
        problems.append(_Problem(("host", "headroom"), f"{headroom} bytes are more than the reserve of {reserve}"))
    return problems


def _timing_misfits(timing: Mapping[str, Any] | None) -> list[_Problem]:
    """What does not fit together in [timing]: a sweep must come before anything it is to keep up with."""
    if timing is None:
        return []
    sweep = timing["sweep_s"]
    return [
        _Problem(("timing", key), f"{timing[key]:g} s are shorter than one sweep ({sweep:g} s)")
        for key in ("peak_window_s", "agent_lost_s")
        if timing[key] < sweep
    ]


def _sizing_misfits(sizing: Mapping[str, Any] | None, guests: Mapping[str, Mapping[str, Any] | None]) -> list[_Problem]:
    """Fixed needs above the cap that holds for them, and what only a recreatable guest can have."""
    common = sizing or {"cap_bytes": None, "overhead_bytes": None}
    problems = _above(common["overhead_bytes"], common["cap_bytes"], ("sizing", "overhead"))
    for name, guest in guests.items():
        if guest is None:
            continue
        path: Path = (_GUESTS, name)
        cap = guest["cap_bytes"] if guest["cap_bytes"] is not None else common["cap_bytes"]
        if guest["overhead_bytes"] is not None:
            problems += _above(guest["overhead_bytes"], cap, (*path, "overhead"))
        elif guest["cap_bytes"] is not None:
            problems += _above(common["overhead_bytes"], cap, (*path, "cap"), "the overhead of [sizing], ")
        problems += _above(guest["recreate_need_bytes"], cap, (*path, "recreate_need"))
        if guest["recreate_need_bytes"] is not None and not guest["recreatable"]:
            problems.append(_Problem((*path, "recreate_need"), "it only means something with recreatable = true"))
    return problems


def _above(size_bytes: int | None, cap_bytes: int | None, path: Path, who: str = "") -> list[_Problem]:
    if size_bytes is None or cap_bytes is None or size_bytes <= cap_bytes:
        return []
    return [_Problem(path, f"{who}{size_bytes} bytes, is more than the cap of {cap_bytes}")]


def _all_of(problems: list[_Problem], text: str, where: str) -> ConfigError:
    """One error that tells all problems in the order of the file."""
    lines = key_lines(text)
    placed = sorted(((_line(lines, one.path), one) for one in problems), key=lambda pair: pair[0])
    told = [f"{where}:{line}: {_dotted(one.path)}: {one.text}" for line, one in placed]
    first = placed[0][0]
    message = f"{len(told)} errors in the settings: " + "; ".join(told)
    if len(told) == 1:
        message = f"{_dotted(placed[0][1].path)}: {placed[0][1].text}"
    return ConfigError(message, where=f"{where}:{first}", numbers={"errors": len(told)})


def _line(lines: Mapping[Path, int], path: Path) -> int:
    """The line of a key, or of the nearest table around it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _dotted(path: Path) -> str:
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else _shown(part) for part in path)


def _shown(value: object) -> str:
    """A value nearly as the file has it, not too long for a line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
