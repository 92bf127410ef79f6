"""What a description says, in QEMU's own groups, before it is given a meaning.

Command lines and configuration files set the same groups (``memory``, ``smp-opts``, ``drive``, ...), so both
are brought into this form, and everything that interprets them is written once. Each value remembers where
it was written, so an error can say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from guestroom.describe.options import quoted
from guestroom.errors import DescribeError, SizeError
from guestroom.units import Dialect, parse_size

_DECIMAL = re.compile(r"\s*\+?(?P<whole>[0-9]{1,20})(?:\.(?P<fraction>[0-9]{0,15}))?(?P<unit>[A-Za-z]?)\Z")
_HEX_SIZE = re.compile(r"\s*\+?0[xX](?P<digits>[0-9a-fA-F]{1,16})(?P<unit>[kKmMgGtTpP]?)\Z")
_INTEGER = re.compile(
    r"\s*\+?(?:0[xX](?P<hex>[0-9a-fA-F]{1,16})|0(?P<octal>[0-7]{0,21})|(?P<decimal>[1-9][0-9]{0,19}))\Z"
)
_ON = frozenset({"on", "yes", "true", "y"})
_OFF = frozenset({"off", "no", "false", "n"})
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Value:
    """A text with its key and place."""

    key: str
    text: str
    where: str

    def size(self, unit_bytes: int = 1) -> int:
        """Bytes, by ``qemu_strtosz`` (util/cutils.c): decimal with a fraction, or hexadecimal, and a 2^10-based
        suffix. ``unit_bytes`` is what a number without a suffix counts. Raises ``DescribeError``.
        """
        if hexadecimal := _HEX_SIZE.match(self.text):
            whole, fraction, unit = int(hexadecimal["digits"], 16), "", hexadecimal["unit"]
        elif decimal := _DECIMAL.match(self.text):
            whole, fraction, unit = int(decimal["whole"]), decimal["fraction"] or "", decimal["unit"]
        else:
            raise self._wrong("it is not a number with one of the suffixes B, K, M, G, T, P, E")
        try:
            one = parse_size(f"1{unit}", Dialect.QEMU, default_unit_bytes=unit_bytes)
        except SizeError as error:
            raise self._wrong("its suffix is none of B, K, M, G, T, P, E") from error
        if one == 1 and int(fraction or "0"):
            raise self._wrong("there is no part of a byte")
        # QEMU rounds the part after the point to the nearest byte; it computes it as a double, which is why no
        # more digits are taken here than a double keeps.
        part = Fraction(int(fraction or "0"), 10 ** len(fraction)) * one
        total = whole * one + int(part + Fraction(1, 2))
        if total > _LARGEST:
            raise self._wrong("it is larger than 2^63 - 1 bytes")
        return total

    def number(self) -> int:
        """A whole number as ``strtoull`` with base 0 reads it: decimal, ``0x`` hexadecimal, ``0`` octal."""
        match = _INTEGER.match(self.text)
        if match is None:
            raise self._wrong("it is not a whole number")
        if match["hex"]:
            return int(match["hex"], 16)
        return int(match["decimal"]) if match["decimal"] else int(match["octal"] or "0", 8)

    def boolean(self) -> bool:
        """``on`` or ``off`` in any of QEMU's spellings."""
        if self.text in _ON:
            return True
        if self.text in _OFF:
            return False
        raise self._wrong("it is neither 'on' nor 'off'")

    def _wrong(self, why: str) -> DescribeError:
        return DescribeError(
            f"{self.key} {quoted(self.text, 60)} is not understood: {why}",
            where=self.where,
            numbers={"key": self.key, "text": self.text[:60]},
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One option or section: a group, maybe an id, and its values."""

    group: str
    values: Mapping[str, str]
    where: str
    id: str | None = None
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line of each key, where it came from a file."""
    file: str | None = None
    """The configuration file it came from; None for the command line."""
    index: int | None = None
    """Place of its option in the argv; None for a file."""

    def get(self, key: str) -> str | None:
        """Text of a key."""
        return self.values.get(key)

    def value(self, key: str) -> Value | None:
        """A key's text with its place."""
        text = self.values.get(key)
        return None if text is None else Value(key, text, self.place(key))

    def place(self, key: str) -> str:
        """Where a key stands."""
        if key not in self.lines:
            return self.where
        return f"{self.file}:{self.lines[key]}" if self.file else f"line {self.lines[key]}"

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A boolean key."""
        value = self.value(key)
        return default if value is None or value.text == "auto" else value.boolean()

    def sub(self, prefix: str) -> dict[str, str]:
        """Values below a dotted prefix, without it."""
        cut = f"{prefix}."
        return {key[len(cut) :]: text for key, text in self.values.items() if key.startswith(cut)}


@dataclass(slots=True)
class Settings:
    """All that a description says. Built up by one reader, then only read.

    Entries are kept by group: a hostile command line of thousands of devices must not take quadratic time.
    """

    source: str
    program: str | None = None
    flags: set[str] = field(default_factory=set)
    """Options without an argument, without dashes."""
    unread: list[Value] = field(default_factory=list)
    """Configuration files that nobody read: what they set is unknown."""
    unknown: list[str] = field(default_factory=list)
    _groups: dict[str, list[tuple[int, Entry]]] = field(default_factory=dict)
    _globals: dict[tuple[str, str], Value] = field(default_factory=dict)
    _count: int = 0

    @property
    def partial(self) -> bool:
        """True where other parts of the description exist and were not seen: defaults can't be assumed."""
        return bool(self.unread) or self.source == "readconfig"

    def add(self, entry: Entry) -> None:
        """Put an entry after all others."""
        self._groups.setdefault(entry.group, []).append((self._count, entry))
        self._count += 1
        if entry.group == "global":
            driver, key = entry.get("driver") or "", entry.get("property") or ""
            self._globals[driver, key] = Value(key, entry.get("value") or "", entry.where)

    def change(self, group: str, identity: str, key: str, text: str, where: str) -> bool:
        """Set one value of an entry that is there; False where it is not."""
        entries = self._groups.get(group, [])
        for place, (order, entry) in enumerate(entries):
            if entry.id == identity:
                lines = {each: line for each, line in entry.lines.items() if each != key}
                changed = replace(entry, values={**entry.values, key: text}, where=where, lines=lines)
                entries[place] = (order, changed)
                return True
        return False

    def of(self, *groups: str) -> list[Entry]:
        """Entries of these groups, in the order they were written."""
        if len(groups) == 1:
            return [entry for _, entry in self._groups.get(groups[0], [])]
        found = [each for group in groups for each in self._groups.get(group, [])]
        return [entry for _, entry in sorted(found, key=lambda each: each[0])]

    def last(self, group: str, key: str) -> Value | None:
        """The value that counts in a group QEMU merges: the last one."""
        for _, entry in reversed(self._groups.get(group, [])):
            if value := entry.value(key):
                return value
        return None

    def text(self, group: str, key: str) -> str | None:
        """Text of the value that counts."""
        value = self.last(group, key)
        return None if value is None else value.text

    def device_value(self, device: Entry, *keys: str) -> Value | None:
        """A device's property: its own, else the last ``-global`` for its driver or the driver's base type."""
        driver = device.get("driver") or ""
        for key in keys:
            if own := device.value(key):
                return own
        for key in keys:
            for kind in (driver, driver.removesuffix("-pci") + "-device"):
                if default := self._globals.get((kind, key)):
                    return default
        return None
