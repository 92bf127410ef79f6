"""The tree of errors: complete, with stable codes, and every lower error mapped to it."""

import errno
import inspect
import json
import re

import pytest

from guestroom import errors
from guestroom.errors import (
    BusyError,
    GuestroomError,
    HostError,
    InputError,
    InterruptedWriteError,
    InvalidWriteError,
    NoRoomError,
    NotPermittedError,
    ReadError,
    SizeError,
    VanishedError,
    WriteError,
    from_read,
    from_write,
)

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, GuestroomError) and found.__module__ == errors.__name__
]


def test_the_drawing_at_the_top_is_the_tree() -> None:
    """Every error is drawn under its parent, and nothing is drawn that is not there."""
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in str(errors.__doc__).splitlines():
        found = re.match(r"^([ |+-]*)([A-Z][A-Za-z]+Error)\b", line)
        if found is None:
            continue
        depth, name = len(found[1]), found[2]
        while above and above[-1][0] >= depth:
            above.pop()
        if above:
            drawn[name] = above[-1][1]
        above.append((depth, name))
    assert drawn == {found.__name__: found.__bases__[0].__name__ for found in CLASSES if found is not GuestroomError}


def test_codes_are_stable_and_none_is_used_twice() -> None:
    """Programs match on the code: it is short, lower case and each error's own."""
    codes = [found.code for found in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


@pytest.mark.parametrize("kind", CLASSES)
def test_exit_codes_follow_the_branch(kind: type[GuestroomError]) -> None:
    """Wrong input 2, no room 3, everything else 1."""
    expected = 2 if issubclass(kind, InputError) else 3 if issubclass(kind, NoRoomError) else 1
    assert kind.exit_code == expected


def test_a_line_says_what_where_and_what_to_do_on_one_line() -> None:
    """Missing pieces leave no empty brackets, and a newline in them makes no second line."""
    assert GuestroomError("it broke").line() == "it broke"
    assert GuestroomError("it broke", where="f:3").line() == "it broke (f:3)"
    full = GuestroomError("it\nbroke", where="f:3", hint="mend it")
    assert full.line() == "it\\nbroke (f:3): mend it"


def test_the_object_has_all_keys_always() -> None:
    """``--json`` readers find code, message, where, numbers and hint in every error."""
    plain = NoRoomError("full").to_dict()
    assert plain == {"error": {"code": "no_room", "message": "full", "where": None, "numbers": {}, "hint": None}}
    full = HostError("x", where="w", numbers={"n": 1, "none": None}, hint="h").to_dict()
    assert json.loads(json.dumps(full))["error"]["numbers"] == {"n": 1, "none": None}


def test_the_numbers_of_an_error_are_its_own() -> None:
    """Changing the mapping afterwards does not change the error."""
    numbers = {"n": 1}
    error = GuestroomError("x", numbers=numbers)
    numbers["n"] = 2
    assert error.numbers == {"n": 1}


def test_a_long_size_text_is_shortened() -> None:
    """A megabyte of garbage is not echoed."""
    error = SizeError("9" * 10**6, "qemu", "it is too long")
    assert len(error.message) < 150
    assert "..." in error.message


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EBUSY, BusyError),
        (errno.EINTR, InterruptedWriteError),
        (errno.EINVAL, InvalidWriteError),
        (errno.EACCES, NotPermittedError),
        (errno.EPERM, NotPermittedError),
        (errno.EROFS, NotPermittedError),
        (errno.ENOENT, VanishedError),
        (errno.ENODEV, VanishedError),
        (errno.ESRCH, VanishedError),
        (errno.ENOSPC, WriteError),
        (errno.EIO, WriteError),
    ],
)
def test_every_write_error_is_mapped(number: int, kind: type[HostError]) -> None:
    """What the kernel answers to a write becomes exactly one type of the tree, with path and value."""
    error = from_write(OSError(number, "why"), "/sys/x", "123")
    assert type(error) is kind
    assert error.where == "/sys/x"
    if isinstance(error, WriteError):
        assert (error.path, error.value) == ("/sys/x", "123")
        assert errno.errorcode[number] in error.message
        assert "'123'" in error.message
        assert (error.hint is not None) is (kind is NotPermittedError)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, VanishedError),
        (errno.ENODEV, VanishedError),
        (errno.ESRCH, VanishedError),
        (errno.EACCES, ReadError),
    ],
)
def test_every_read_error_is_mapped(number: int, kind: type[HostError]) -> None:
    """A file that is gone is expected and has its own type; any other failure carries path and reason."""
    error = from_read(OSError(number, "why"), "/proc/x")
    assert type(error) is kind
    assert error.where == "/proc/x"
    assert "/proc/x" in error.message


def test_errors_without_a_number_are_mapped_too() -> None:
    """An ``OSError`` made by hand crashes nothing."""
    assert type(from_write(OSError("odd"), "/x", "1")) is WriteError
    assert type(from_read(OSError("odd"), "/x")) is ReadError


def test_a_read_error_names_file_line_and_text() -> None:
    """The place is file:line, what was found is quoted and shortened."""
    error = ReadError("/proc/x", "no number", line=3, text="y" * 500)
    assert error.where == "/proc/x:3"
    assert "'" + "y" * 80 + "'" in error.message
    assert "y" * 81 not in error.message
    assert ReadError("/proc/x", "no number").where == "/proc/x"
