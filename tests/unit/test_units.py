"""Sizes as people write them, in each program's dialect, and as they are shown."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestroom.errors import SizeError
from guestroom.units import (
    EIB,
    GIB,
    KIB,
    MAX_JSON_INT,
    MIB,
    PAGE_BYTES,
    PIB,
    TIB,
    UNLIMITED,
    Dialect,
    format_bytes,
    format_limit,
    pages_down,
    pages_up,
    parse_size,
    round_down,
    round_up,
)

ALL_DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))


@pytest.mark.parametrize(
    ("text", "dialect", "size_bytes"),
    [
        ("0", Dialect.GUESTROOM, 0),
        ("4096", Dialect.GUESTROOM, 4096),
        ("4096B", Dialect.GUESTROOM, 4096),
        ("1KiB", Dialect.GUESTROOM, KIB),
        ("600MiB", Dialect.GUESTROOM, 600 * MIB),
        ("1.5GiB", Dialect.GUESTROOM, 3 * GIB // 2),
        ("2TiB", Dialect.GUESTROOM, 2 * TIB),
        ("600M", Dialect.QEMU, 600 * MIB),
        ("600m", Dialect.QEMU, 600 * MIB),
        ("4096b", Dialect.QEMU, 4096),
        ("1K", Dialect.QEMU, KIB),
        ("1P", Dialect.QEMU, PIB),
        ("1E", Dialect.QEMU, EIB),
        ("0.5G", Dialect.QEMU, GIB // 2),
        ("1.1G", Dialect.QEMU, 1_181_116_006),
        ("600M", Dialect.SYSTEMD, 600 * MIB),
        ("2T", Dialect.SYSTEMD, 2 * TIB),
        ("600M", Dialect.KUBERNETES, 600_000_000),
        ("600Mi", Dialect.KUBERNETES, 600 * MIB),
        ("1k", Dialect.KUBERNETES, 1000),
        ("1.5Gi", Dialect.KUBERNETES, 3 * GIB // 2),
        ("524288", Dialect.LIBVIRT, 512 * MIB),
        ("1KB", Dialect.LIBVIRT, 1000),
        ("1 KiB", Dialect.LIBVIRT, KIB),
        ("1k", Dialect.LIBVIRT, KIB),
        ("3 MB", Dialect.LIBVIRT, 3_000_000),
        ("3M", Dialect.LIBVIRT, 3 * MIB),
        ("7 bytes", Dialect.LIBVIRT, 7),
    ],
)
def test_each_dialect_means_its_own(text: str, dialect: Dialect, size_bytes: int) -> None:
    """The same text has the meaning of the program it was written for, to the byte."""
    assert parse_size(text, dialect) == size_bytes


def test_a_bare_number_has_the_places_own_unit() -> None:
    """QEMU's ``-m 512`` is MiB, and a unit that is written wins over it."""
    assert parse_size("512", Dialect.QEMU, default_unit_bytes=MIB) == 512 * MIB
    assert parse_size("0.5", Dialect.QEMU, default_unit_bytes=MIB) == MIB // 2
    assert parse_size("512k", Dialect.QEMU, default_unit_bytes=MIB) == 512 * KIB
    assert parse_size("512", Dialect.LIBVIRT, default_unit_bytes=1) == 512


def test_an_ambiguous_size_is_refused_with_both_readings() -> None:
    """600M on our own command line: both figures and the way to write each."""
    with pytest.raises(SizeError) as caught:
        parse_size("600M", Dialect.GUESTROOM)
    message = caught.value.message
    for piece in ("'600M'", "629,145,600", "600,000,000", "write 600MiB or plain bytes"):
        assert piece in message
    assert caught.value.numbers == {"text": "600M", "dialect": "guestroom"}


@pytest.mark.parametrize("text", ["1k", "1K", "1KB", "1.5M", "2G", "2GB", "3t"])
def test_every_unit_without_i_is_ambiguous_to_us(text: str) -> None:
    """Decimal or binary, nobody knows: refused, and never read as one of them."""
    with pytest.raises(SizeError, match="ambiguous"):
        parse_size(text, Dialect.GUESTROOM)


@ALL_DIALECTS
@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "-5MiB",
        "+5",
        "0x10",
        "1e9",
        "1,5",
        "1_000",
        "nan",
        "inf",
        "1.",
        ".5",
        "1 0",
        "1. 5",
        "٣",
        "MiB",
        "1Xi",
        "5 %",
    ],
)
def test_what_is_no_size_is_refused_in_every_dialect(text: str, dialect: Dialect) -> None:
    """Negative, hexadecimal, exponents, split numbers, foreign digits, unknown units: an error that quotes the text."""
    with pytest.raises(SizeError) as caught:
        parse_size(text, dialect)
    assert repr(text) in caught.value.message


def test_the_reason_is_named() -> None:
    """Empty, negative, unknown unit and half bytes each say what is wrong."""
    for text, why in (("", "empty"), ("-1", "negative"), ("1Qi", "unknown unit 'Qi'"), ("1.5", "whole bytes")):
        with pytest.raises(SizeError, match=why):
            parse_size(text, Dialect.GUESTROOM)


@ALL_DIALECTS
@pytest.mark.parametrize("text", ["9223372036854775808", "99999999999999999999", "9" * 5000])
def test_sizes_beyond_the_kernels_are_refused(text: str, dialect: Dialect) -> None:
    """2^63 bytes and more do not fit into the kernel's own numbers; a long text is shortened in the message."""
    with pytest.raises(SizeError) as caught:
        parse_size(text, dialect)
    assert len(caught.value.message) < 200


def test_the_largest_size_is_taken() -> None:
    """2^63 - 1 is the last one."""
    assert parse_size("9223372036854775807", Dialect.QEMU) == 2**63 - 1
    with pytest.raises(SizeError, match="larger than"):
        parse_size("8E", Dialect.QEMU)


def test_space_is_ours_to_refuse() -> None:
    """On our own command line a size has no spaces at all; libvirt may part number and unit."""
    for text in (" 1GiB", "1GiB ", "1 GiB", "1GiB\n"):
        with pytest.raises(SizeError):
            parse_size(text, Dialect.GUESTROOM)
    assert parse_size(" 1 GiB\n", Dialect.LIBVIRT) == GIB
    with pytest.raises(SizeError):
        parse_size("1 G", Dialect.QEMU)


@given(st.integers(0, 2**63 - 1), st.sampled_from(list(Dialect)))
def test_plain_bytes_survive_every_dialect(size_bytes: int, dialect: Dialect) -> None:
    """A bare number of bytes comes back as it was, whatever its size: no float is in between."""
    assert parse_size(str(size_bytes), dialect, default_unit_bytes=1) == size_bytes


@given(st.text(max_size=20), st.sampled_from(list(Dialect)))
def test_no_text_crashes_the_parser(text: str, dialect: Dialect) -> None:
    """Every text is a size within the kernel's numbers, or a ``SizeError``."""
    with contextlib.suppress(SizeError):
        assert 0 <= parse_size(text, dialect) < 2**63


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (-1024, "-1.0 KiB"),
        (1536, "1.5 KiB"),
        (421_108_121, "401.6 MiB"),
        (MIB - 1, "1.0 MiB"),
        (MIB - 52, "1023.9 KiB"),
        (GIB - 1, "1.0 GiB"),
        (5000 * TIB, "5000.0 TiB"),
    ],
)
def test_sizes_are_shown_with_one_decimal_of_the_right_unit(size_bytes: int, shown: str) -> None:
    """Never "1024.0 MiB", never a unit too small."""
    assert format_bytes(size_bytes) == shown


@given(st.integers(-MAX_JSON_INT, MAX_JSON_INT))
def test_a_shown_size_is_within_its_last_digit(size_bytes: int) -> None:
    """What is shown is the size rounded, in the unit that keeps the number below 1,024 (up to TiB)."""
    number, unit = format_bytes(size_bytes).split()
    unit_bytes = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}[unit]
    assert abs(float(number) * unit_bytes - size_bytes) <= unit_bytes * 0.0501
    assert unit == "TiB" or abs(float(number)) < 1024


def test_limits_are_shown_as_what_they_are() -> None:
    """Unknown and unlimited are words, not numbers."""
    assert format_limit(None) == "unknown"
    assert format_limit(UNLIMITED) == "unlimited"
    assert format_limit(MIB) == "1.0 MiB"
    assert repr(UNLIMITED) == "UNLIMITED"


@given(st.integers(0, 2**63), st.sampled_from([1, 512, PAGE_BYTES, 2 * MIB]))
def test_pages_round_as_their_names_say(size_bytes: int, page_bytes: int) -> None:
    """Up is the least that holds it, down the most within it, both whole pages, less than a page apart."""
    up, down = round_up(size_bytes, page_bytes), round_down(size_bytes, page_bytes)
    assert down <= size_bytes <= up
    assert up - size_bytes < page_bytes
    assert size_bytes - down < page_bytes
    assert (pages_up(size_bytes, page_bytes) * page_bytes, pages_down(size_bytes, page_bytes) * page_bytes) == (
        up,
        down,
    )
