"""What SQLite and the system say, as errors that name the file and what to do."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from guestroom.errors import EntryError, LedgerError
from guestroom.record.failures import from_os, from_sqlite


def said(name: str) -> sqlite3.OperationalError:
    """What sqlite3 raises for one of SQLite's codes."""
    error = sqlite3.OperationalError("it went wrong")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SQLITE_FULL", "make room"),
        ("SQLITE_IOERR_SHMSIZE", "make room"),
        ("SQLITE_READONLY_DIRECTORY", "--state"),
        ("SQLITE_CANTOPEN", "--state"),
        ("SQLITE_CORRUPT", "never overwrites"),
        ("SQLITE_NOTADB", "never overwrites"),
        ("SQLITE_BUSY", "another program"),
        ("SQLITE_IOERR_FSYNC", "dmesg"),
        ("SQLITE_SOMETHING_NEW", "dmesg"),
    ],
)
def test_each_failure_of_the_database_says_what_to_do(name: str, hint: str) -> None:
    """The operator reads the file, the code and a step to take."""
    error = from_sqlite(said(name), "/var/lib/guestroom/ledger.db", "recording an event")
    assert type(error) is LedgerError
    assert error.where == "/var/lib/guestroom/ledger.db"
    assert error.message.startswith("recording an event failed: ")
    assert name in error.message
    assert hint in (error.hint or "")


def test_a_full_disk_carries_its_errno() -> None:
    """A full disk is ENOSPC to whoever handles it, whichever layer met it."""
    assert from_sqlite(said("SQLITE_FULL"), "p", "d").numbers["errno"] == errno.ENOSPC
    assert from_os(OSError(errno.ENOSPC, "No space left on device"), "p", "d").numbers["errno"] == errno.ENOSPC


def test_a_broken_rule_is_an_entry_error() -> None:
    """What the tables refuse will be refused again: it must not be tried for ever."""
    for kind in (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError):
        assert type(from_sqlite(kind("refused"), "p", "d")) is EntryError


@pytest.mark.parametrize(
    ("code", "hint"), [(errno.EROFS, "--state"), (errno.EDQUOT, "make room"), (errno.EIO, "dmesg")]
)
def test_each_failure_of_the_system_says_what_to_do(code: int, hint: str) -> None:
    """An errno is named and comes with a step to take."""
    error = from_os(OSError(code, "text"), "/p", "opening")
    assert errno.errorcode[code] in error.message
    assert hint in (error.hint or "")
