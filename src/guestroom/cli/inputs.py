"""What commands read: files named by the user, standard input, sizes among the options.

A file that is not there, too large or not text is wrong input (exit 2) with its name, never a traceback and
never an endless read.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import click

from guestroom.errors import InputError, SizeError
from guestroom.units import MIB, Dialect, format_bytes, parse_size

if TYPE_CHECKING:
    _IntType = click.ParamType[int]
else:
    _IntType = click.ParamType  # click before 8.2 has no type arguments at run time

MOST_BYTES = 16 * MIB
"""Far more than any configuration file has."""

STDIN = "stdin"


def read_text(path: str, *, most_bytes: int = MOST_BYTES) -> str:
    """Text of the file at ``path`` (``-``: standard input) as UTF-8.

    Raises ``InputError`` when it can't be read, is larger than ``most_bytes`` or is not UTF-8.
    """
    where = STDIN if path == "-" else path
    try:
        data = _stdin(most_bytes) if path == "-" else _file(path, most_bytes)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot read the input: {why}", where=where) from error
    return _decoded(data, where, most_bytes)


def _decoded(data: bytes, where: str, most_bytes: int) -> str:
    if len(data) > most_bytes:
        raise InputError(f"the input is larger than {format_bytes(most_bytes)}", where=where)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"the input is not UTF-8 text: byte {error.start} is no character", where=f"{where}:{line}"
        ) from error


def read_again(path: str, *, most_bytes: int) -> str:
    """Text of a file that another program will read too: only a regular file says the same twice.

    Raises ``InputError`` as ``read_text`` does, also for a pipe, a device or a folder.
    """
    try:
        # Without O_NONBLOCK a FIFO would wait for a writer for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise InputError("cannot read the input: it is not a regular file", where=path)
            data = _read(file, most_bytes)
    except OSError as error:
        raise InputError(f"cannot read the input: {error.strerror}", where=path) from error
    return _decoded(data, path, most_bytes)


def check_argv(argv: Sequence[str]) -> None:
    """Raise ``InputError`` for an argument that is not UTF-8: it could not be sent to the agent as it is."""
    for number, word in enumerate(argv):
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"argument {number} of the command line, {word[:60]!r}, is not UTF-8 text",
                hint="rename the file, or write the value in UTF-8",
            ) from error


def _file(path: str, most_bytes: int) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - the path is the user's text, as written
        return _read(file, most_bytes)


def _stdin(most_bytes: int) -> bytes:
    if sys.stdin is None:
        raise InputError("there is no standard input", hint="name a file")
    return _read(sys.stdin.buffer, most_bytes)


def _read(file: IO[bytes], most_bytes: int) -> bytes:
    """At most one byte more than ``most_bytes``, so that ``/dev/zero`` ends too."""
    return file.read(most_bytes + 1)


class SizeType(_IntType):
    """A size option: plain bytes or KiB, MiB, GiB, TiB; ``600M`` is wrong usage. Gives bytes."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes that ``value`` means; raises ``SizeError`` naming the option."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value), Dialect.GUESTROOM)
        except SizeError as error:
            error.where = param.opts[0] if param is not None and param.opts else None
            raise


SIZE = SizeType()
