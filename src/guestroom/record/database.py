"""One SQLite file with one writer: opening, transactions, statements by name.

The path from a statement to the disk lives here, so that ``ledger`` only says what is written. A
transaction is ``BEGIN IMMEDIATE`` (the write lock is taken first, so it can't fail half way for want of it)
and is either on the disk when its block is left or undone.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from guestroom.errors import EntryError, LedgerError
from guestroom.record import schema
from guestroom.record.failures import from_os, from_sqlite

BUSY_S = 5.0
"""How long a write waits for another program that has the database open."""
WAL_KEPT_BYTES = 4 << 20
"""The write-ahead file is cut back to this after a checkpoint (SQLite checkpoints every 1,000 pages of 4 KiB)."""

_OPENING = "opening the ledger"


class Database:
    """An open ledger file. Safe to use from several threads: they wait for each other."""

    def __init__(self, path: str) -> None:
        """Open ``path`` or make it (mode 0600). Raises ``LedgerError`` and then leaves it as it is."""
        self.path = path
        self._connection = _connect(path)
        self._mutex = threading.RLock()
        self._sql = schema.queries()
        self._synced = True
        self._closed = False

    def close(self) -> None:
        """Close the file. May be repeated."""
        with self._mutex:
            self._closed = True
            self._connection.close()

    def run(self, name: str, row: Mapping[str, object]) -> int:
        """Run the named statement inside ``write``; return the number of the row it made."""
        return self._connection.execute(self._sql[name], row).lastrowid or 0

    def rows(self, query: str, /, **values: object) -> list[Any]:
        """All rows of the named query, inside ``read`` or ``write``."""
        return self._connection.execute(self._sql[query], values).fetchall()

    @contextmanager
    def read(self, doing: str) -> Iterator[None]:
        """Hold the file for queries; raises ``LedgerError`` that names what was being done."""
        with self._mutex:
            self._check_open(doing)
            try:
                yield
            except sqlite3.Error as error:
                raise from_sqlite(error, self.path, doing) from error

    @contextmanager
    def write(self, doing: str, *, synced: bool = True) -> Iterator[None]:
        """One transaction: all of it written when the block is left, or nothing and ``LedgerError``.

        ``synced``: flushed to the disk before the block is left (``synchronous = FULL``). Without, a power
        cut may lose it, a crash of this process does not (sqlite.org/pragma, synchronous).
        """
        with self._mutex:
            self._check_open(doing)
            try:
                self._sync(synced)
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise from_sqlite(error, self.path, doing) from error
            except (OverflowError, UnicodeEncodeError) as error:
                raise EntryError(f"{doing} failed: {error}", where=self.path) from error
            finally:
                self._roll_back()

    def _sync(self, synced: bool) -> None:
        if synced is not self._synced:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._synced = synced

    def _roll_back(self) -> None:
        """Leave no transaction open. On a full disk SQLite has often ended it by itself."""
        if self._connection.in_transaction:
            # What went wrong is already on its way up; a failing ROLLBACK is undone by SQLite at the next open.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _check_open(self, doing: str) -> None:
        if self._closed:
            raise LedgerError(f"{doing} failed: the ledger is closed", where=self.path)


class _Corrupt(sqlite3.DatabaseError):
    """What ``quick_check`` found, told like any other corruption."""

    sqlite_errorname = "SQLITE_CORRUPT"


def _connect(path: str) -> sqlite3.Connection:
    try:
        # SQLite would make it readable for all; its companions take this file's mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise from_os(error, path, _OPENING) from error
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise from_sqlite(error, path, _OPENING) from error
    connection.row_factory = sqlite3.Row
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise from_sqlite(error, path, _OPENING) from error
    except LedgerError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Check the file, switch to write-ahead logging, bring the tables up to date."""
    complaint: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if complaint != "ok":
        raise _Corrupt(complaint.replace("\n", " "))
    schema.check_owner(connection, path)
    mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise LedgerError(
            f"the ledger's file system can't do write-ahead logging (mode {mode})",
            where=path,
            hint="put the state folder on a local disk with --state",
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    schema.prepare(connection, steps=schema.migrations(), fresh=schema.fresh_schema())
