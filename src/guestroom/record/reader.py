"""A ledger read as it lies there: by anybody who may read the file, beside a running agent, and never changed.

The agent's own way in (``database``) repairs, migrates and locks; this one does none of it. It asks only for what
every version of the tables has, or for nothing where it is not there, so an older ledger is read as well as today's.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from guestroom.actions import Action
from guestroom.errors import InputError, LedgerError
from guestroom.facts import GuestRecord
from guestroom.lives import Life
from guestroom.ports import EndedGuest
from guestroom.record import encode, schema
from guestroom.record.failures import from_sqlite

_DOING = "reading the ledger"
_FILE = "ledger.db"
_HINT = "name the ledger.db of an agent's state folder (/var/lib/guestroom), or the folder"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a guest was seen to use at one moment, in bytes beside its RAM."""

    guest: str
    at_wall_s: float
    overhead_bytes: int


@dataclass(frozen=True, slots=True)
class Made:
    """A decision as it was written down: from what, and which steps were planned."""

    number: int
    at_wall_s: float
    reason: str
    inputs: str
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a ledger holds."""

    path: str
    present: tuple[GuestRecord, ...]
    """Guests under care when it was read."""
    ended: tuple[EndedGuest, ...]
    samples: tuple[Sample, ...]
    """By guest, then by time; readings that told no figure are left out."""
    decisions: tuple[Made, ...]


def read_ledger(path: str) -> Recorded:
    """All of the ledger at ``path``, a file or the state folder that holds it; nothing of it is changed.

    Raises ``InputError`` where there is none or it is not guestroom's, ``LedgerError`` where it can't be read.
    """
    path = _file_of(path)
    with closing(_open(path)) as connection:
        return _told(lambda: _read(connection, path), path)


def read_lives(path: str, limit: int = 20_000) -> tuple[Life, ...]:
    """The last ``limit`` lives in the ledger at ``path``, a file or the state folder that holds it; oldest first.

    None from a ledger that an older guestroom wrote. Raises as ``read_ledger`` does.
    """
    path = _file_of(path)
    with closing(_open(path)) as connection:
        return _told(lambda: _lives(connection, limit), path)


def _file_of(path: str) -> str:
    """The ledger's file where a state folder is named."""
    return f"{path}/{_FILE}" if os.path.isdir(path) else path  # noqa: PTH112 - paths are plain strings here


def _open(path: str) -> sqlite3.Connection:
    """A connection that can't write. Where no agent has it open, not even SQLite's companion files are made."""
    _check_file(path)
    # A write-ahead file holds what is not in the database yet: then it must be looked at, and there it is anyway.
    how = "mode=ro" if os.path.exists(f"{path}-wal") else "mode=ro&immutable=1"  # noqa: PTH110
    connection = _told(lambda: sqlite3.connect(f"file:{quote(path)}?{how}", uri=True, isolation_level=None), path)
    try:
        _told(lambda: connection.execute("PRAGMA query_only = ON"), path)
        _told(lambda: schema.check_owner(connection, path), path)
        if _told(lambda: connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0], path) == 0:
            raise InputError("this ledger is empty", where=path, hint=_HINT)
    except LedgerError as error:
        connection.close()
        if "application_id" in error.numbers or error.numbers.get("sqlite") == "SQLITE_NOTADB":
            raise InputError("this is not a ledger of guestroom's", where=path, hint=_HINT) from error
        raise
    except InputError:
        connection.close()
        raise
    return connection


def _check_file(path: str) -> None:
    """Raise for what is no file that can be read: a FIFO would wait for ever, and SQLite's words say little."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        kind = os.fstat(fd).st_mode
        os.close(fd)
    except FileNotFoundError as error:
        raise InputError("there is no ledger here", where=path, hint=_HINT) from error
    except ValueError as error:  # a NUL in the path
        raise InputError(f"cannot read the ledger: {error}", where=path) from error
    except OSError as error:
        raise InputError(f"cannot read the ledger: {error.strerror}", where=path, hint=_HINT) from error
    if not stat.S_ISREG(kind):
        raise InputError("this is not a ledger of guestroom's: it is not a regular file", where=path, hint=_HINT)


def _told(work: Callable[[], T], path: str) -> T:
    try:
        return work()
    except sqlite3.Error as error:
        raise from_sqlite(error, path, _DOING) from error


def _lives(connection: sqlite3.Connection, limit: int) -> tuple[Life, ...]:
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'lives'").fetchone() is None:
        return ()
    return encode.lives_from_rows(connection.execute(schema.queries()["lives"], {"limit": limit}))


def _read(connection: sqlite3.Connection, path: str) -> Recorded:
    """Everything, as of one moment."""

    def rows(query: str) -> list[Any]:
        return connection.execute(schema.queries()[query]).fetchall()

    connection.execute("BEGIN")
    present = tuple(encode.record_from_json(text) for (text,) in rows("get_guests"))
    ended = tuple(EndedGuest(encode.record_from_json(text), at, why) for text, at, why in rows("every_ended"))
    samples = tuple(Sample(*row) for row in rows("every_sample"))
    steps: dict[int, list[Action]] = {}
    for number, text in rows("every_planned_step"):
        steps.setdefault(number, []).append(encode.action_from_json(text))
    decisions = tuple(
        Made(number, at, reason, inputs, tuple(steps.get(number, ())))
        for number, at, reason, inputs in rows("every_decision")
    )
    connection.execute("ROLLBACK")
    return Recorded(path, present, ended, samples, decisions)
