"""QEMU's configuration files (``-readconfig``), which EVE writes for every guest.

The format is the one ``qemu_config_foreach`` reads (util/qemu-config.c): ``[group]`` or ``[group "id"]``,
``key = "value"``, and comments that begin in the first column. QEMU takes a value without quotes for an
empty one and fails on it later; here it is a syntax error with its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from guestroom.describe.options import MAX_CHARACTERS, quoted
from guestroom.describe.settings import Entry, Settings
from guestroom.errors import DescribeError

_SECTION = re.compile(r'\[(?P<group>[^\s\]"]{1,63})(?:\s+"(?P<id>[^"]{1,63})")?\s*\]')
_PAIR = re.compile(r'\s*(?P<key>[^\s="]{1,63})\s*=\s*"(?P<value>[^"]{0,1023})"')
# EVE writes these names; QEMU 7.2 knows the second ones only.
_RENAMED = {"smp": "smp-opts", "boot": "boot-opts"}


@dataclass(slots=True)
class _Section:
    group: str
    id: str | None
    line: int
    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


def parse_sections(text: str, file: str | None = None) -> list[Entry]:
    """Sections of a configuration file, in order. Raises ``DescribeError`` with ``file:line``."""
    if len(text) > MAX_CHARACTERS:
        raise DescribeError(
            f"the configuration has {len(text)} characters; at most {MAX_CHARACTERS} are read",
            where=file,
            numbers={"characters": len(text), "limit": MAX_CHARACTERS},
        )
    sections: list[_Section] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        place = _place(file, number)
        if line.startswith("["):
            sections.append(_open_section(line, number, place))
        elif pair := _PAIR.match(line):
            if not sections:
                raise DescribeError(
                    f"{quoted(line, 60)} stands before the first [group]",
                    where=place,
                    hint="begin with a section such as [memory]",
                )
            sections[-1].values[pair["key"]] = pair["value"]
            sections[-1].lines[pair["key"]] = number
        else:
            raise DescribeError(
                f"{quoted(line, 60)} is not understood",
                where=place,
                hint='write [group], [group "id"], key = "value" with the quotes, or # in the first column',
            )
    return [_entry(section, file) for section in sections]


def _open_section(line: str, number: int, place: str) -> _Section:
    match = _SECTION.match(line)
    if match is None:
        raise DescribeError(f"{quoted(line, 60)} is not a section", where=place, hint='write [group] or [group "id"]')
    return _Section(_RENAMED.get(match["group"], match["group"]), match["id"], number)


def _entry(section: _Section, file: str | None) -> Entry:
    place = _place(file, section.line)
    values = section.values
    if section.group == "machine":
        # QEMU's keyval_dashify: machine properties may be written with either.
        values = {key.replace("_", "-"): value for key, value in values.items()}
        section.lines |= {key.replace("_", "-"): line for key, line in section.lines.items()}
    return Entry(section.group, values, place, section.id, section.lines, file)


def _place(file: str | None, line: int) -> str:
    return f"{file}:{line}" if file else f"line {line}"


def settings_from_text(text: str) -> Settings:
    """Settings of a configuration file that stands for itself."""
    settings = Settings(source="readconfig")
    for entry in parse_sections(text):
        settings.add(entry)
    return settings
