"""Bytes, pages, and the sizes people write.

The same text means different things to different programs: ``600M`` is 600 x 2^20 bytes to QEMU and
systemd, 600 x 10^6 to Kubernetes, and libvirt writes the unit beside the number. So every size is read in
a named dialect, anything ambiguous is refused with the text quoted, and past this module the program
knows only integers of bytes (or pages, where the name says so).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from guestroom.errors import SizeError

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40
PIB = 1 << 50
EIB = 1 << 60

PAGE_BYTES = 4096
"""Page size of x86-64 and the default everywhere a page size may be given."""

MAX_JSON_INT = 2**53 - 1
"""Largest integer that survives a JSON reader which stores numbers as doubles (RFC 8259 section 6)."""


class Unlimited(Enum):
    """The limit that is no limit: a value of its own, never 0, -1 or a huge number."""

    UNLIMITED = "unlimited"

    def __repr__(self) -> str:
        return "UNLIMITED"


UNLIMITED = Unlimited.UNLIMITED
Limit = int | Unlimited
"""Bytes a kernel limit allows, or ``UNLIMITED``."""


class Dialect(Enum):
    """Whose rules a size text follows."""

    GUESTROOM = "guestroom"
    """Command line and TOML: plain bytes or KiB, MiB, GiB, TiB. ``600M`` is refused."""
    QEMU = "qemu"
    """QEMU's ``-m`` and object sizes: B, K, M, G, T, P, E are 2^10-based (``qemu_strtosz``, util/cutils.c)."""
    SYSTEMD = "systemd"
    """systemd.resource-control: K, M, G, T are 2^10-based."""
    KUBERNETES = "kubernetes"
    """resource.Quantity: k, M, G, T are 10^3-based, Ki, Mi, Gi, Ti 2^10-based."""
    LIBVIRT = "libvirt"
    """libvirt ``unit=``: b/bytes, KB 10^3, k/KiB 2^10, MB, M/MiB and so on; without a unit KiB."""


def _binary(letters: str) -> dict[str, int]:
    return {letter: 1 << (10 * (i + 1)) for i, letter in enumerate(letters)}


_QEMU_UNITS = {"b": 1} | _binary("kmgtpe")
_SYSTEMD_UNITS = {"B": 1} | _binary("KMGTPE")
_GUESTROOM_UNITS = {"": 1, "B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
_KUBERNETES_UNITS = (
    {"": 1}
    | {letter: 10 ** (3 * (i + 1)) for i, letter in enumerate("kMGTPE")}
    | {f"{letter}i": 1 << (10 * (i + 1)) for i, letter in enumerate("KMGTPE")}
)
_LIBVIRT_UNITS = (
    {"b": 1, "byte": 1, "bytes": 1}
    | _binary("kmgtpe")
    | {f"{letter}ib": 1 << (10 * (i + 1)) for i, letter in enumerate("kmgtpe")}
    | {f"{letter}b": 10 ** (3 * (i + 1)) for i, letter in enumerate("kmgtpe")}
)

_NUMBER = re.compile(r"(?P<whole>[0-9]{1,20})(?:\.(?P<fraction>[0-9]{1,18}))?(?P<space> *)(?P<unit>[A-Za-z]*)\Z")
_LARGEST = 2**63 - 1


def parse_size(text: str, dialect: Dialect, *, default_unit_bytes: int | None = None) -> int:
    """Return the bytes that ``text`` means in ``dialect``.

    ``default_unit_bytes`` is the unit of a bare number where the place defines one (QEMU's ``-m 512`` is
    MiB: pass ``MIB``); without it a bare number is bytes, except in libvirt's dialect, where it is KiB
    (libvirt formatdomain, ``memory``). Fractions are accepted only if they come to whole bytes, except in
    QEMU's dialect, which cuts them to bytes (``qemu_strtosz``; QEMU starts with ``-m 1.1G``). Raises
    ``SizeError`` with the text quoted for anything else, including negative, empty, hexadecimal, exponent and
    over-large sizes.
    """
    stripped = text.strip() if dialect is not Dialect.GUESTROOM else text
    match = _NUMBER.match(stripped)
    if match is None or (match["space"] and dialect is not Dialect.LIBVIRT):
        raise SizeError(text, dialect.value, _why_not(stripped))
    unit_text = match["unit"]
    unit_bytes = _unit_bytes(text, unit_text, dialect, default_unit_bytes)
    whole, fraction = int(match["whole"]), match["fraction"]
    digits: int = int(match["whole"] + (fraction or ""))
    scale: int = 10 ** len(fraction or "")
    total, rest = divmod(digits * unit_bytes, scale)
    if (rest and dialect is not Dialect.QEMU) or (fraction and unit_bytes == 1):
        raise SizeError(text, dialect.value, "it does not come to whole bytes")
    if total > _LARGEST or whole > _LARGEST:
        raise SizeError(text, dialect.value, "it is larger than 2^63 - 1 bytes")
    return total


def _unit_bytes(text: str, unit: str, dialect: Dialect, default: int | None) -> int:
    """Bytes of one unit, or ``SizeError``."""
    if not unit and default is not None:
        return default
    table: Mapping[str, int]
    match dialect:
        case Dialect.GUESTROOM:
            table = _GUESTROOM_UNITS
        case Dialect.QEMU:
            table, unit = {"": 1} | _QEMU_UNITS, unit.lower()
        case Dialect.SYSTEMD:
            table = {"": 1} | _SYSTEMD_UNITS
        case Dialect.KUBERNETES:
            table = _KUBERNETES_UNITS
        case Dialect.LIBVIRT:
            table, unit = {"": KIB} | _LIBVIRT_UNITS, unit.lower()
    if unit in table:
        return table[unit]
    number = text.strip()[: len(text.strip()) - len(unit)].rstrip()
    if dialect is Dialect.GUESTROOM and unit.upper().rstrip("B") in ("K", "M", "G", "T"):
        letter = unit[0].upper()
        power = "KMGT".index(letter) + 1
        binary, decimal = 1 << (10 * power), 10 ** (3 * power)
        raise SizeError(
            text,
            dialect.value,
            f"it is ambiguous: {number}{letter}iB is {_times(number, binary)} bytes and "
            f"{number} x 10^{3 * power} is {_times(number, decimal)} bytes; write {number}{letter}iB or plain bytes",
        )
    raise SizeError(text, dialect.value, f"unknown unit {unit!r}; known: {', '.join(u for u in table if u)}")


def _times(number: str, unit: int) -> str:
    whole, _, fraction = number.partition(".")
    return f"{int(whole + fraction) * unit // 10 ** len(fraction):,}"


def _why_not(text: str) -> str:
    if not text:
        return "it is empty"
    if text.startswith("-"):
        return "it is negative"
    return "it is not a whole or decimal number with a unit"


_NAMES = MappingProxyType({TIB: "TiB", GIB: "GiB", MIB: "MiB", KIB: "KiB"})


def format_bytes(size_bytes: int) -> str:
    """Human text of a size with one decimal: ``401.6 MiB``, ``12 B``, ``-1.0 KiB``. For people, not for parsing."""
    for unit, name in _NAMES.items():
        # 1023.95 and more would print as 1024.0 of the smaller unit, so it moves up.
        if abs(size_bytes) >= unit - unit // 20480:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} B"


def format_limit(limit: Limit | None) -> str:
    """Human text of a limit: its size, ``unlimited``, or ``unknown`` for ``None``."""
    match limit:
        case None:
            return "unknown"
        case Unlimited():
            return "unlimited"
        case _:
            return format_bytes(limit)


def pages_up(size_bytes: int, page_bytes: int = PAGE_BYTES) -> int:
    """Pages that hold ``size_bytes``: rounded up."""
    return -(-size_bytes // page_bytes)


def pages_down(size_bytes: int, page_bytes: int = PAGE_BYTES) -> int:
    """Whole pages within ``size_bytes``: rounded down."""
    return size_bytes // page_bytes


def round_up(size_bytes: int, page_bytes: int = PAGE_BYTES) -> int:
    """``size_bytes`` rounded up to whole pages, in bytes."""
    return pages_up(size_bytes, page_bytes) * page_bytes


def round_down(size_bytes: int, page_bytes: int = PAGE_BYTES) -> int:
    """``size_bytes`` rounded down to whole pages, in bytes."""
    return pages_down(size_bytes, page_bytes) * page_bytes
