"""Disk and database failures as ``LedgerError``: the file, the number, what to do.

The database's own code is kept in the numbers (``sqlite``), because SQLite does not hand on the system's
errno; where an ``OSError`` was met its errno is there instead.
"""

from __future__ import annotations

import errno
import sqlite3

from guestroom.errors import EntryError, LedgerError

_ROOM = "make room on its file system (df, quota); nothing recorded so far is lost and guests run on"
_RIGHTS = "let the agent's user own the folder and write there, or name another one with --state"
_DISK = "look at the disk (dmesg); nothing is repaired or overwritten by guestroom"
_BROKEN = (
    "guestroom never overwrites it: copy the folder for a look, then move ledger.db, ledger.db-wal and ledger.db-shm "
    "away together and start again; guests that run keep their limits"
)
_BUSY = "another program holds it open for writing: close that one"

_HINTS = {
    "SQLITE_FULL": _ROOM,
    "SQLITE_READONLY": _RIGHTS,
    "SQLITE_CANTOPEN": _RIGHTS,
    "SQLITE_PERM": _RIGHTS,
    "SQLITE_AUTH": _RIGHTS,
    "SQLITE_CORRUPT": _BROKEN,
    "SQLITE_NOTADB": _BROKEN,
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_IOERR_SHMSIZE": _ROOM,
    "SQLITE_IOERR": _DISK,
}
# By type, not by code: Python 3.11 has no name for SQLITE_CONSTRAINT_DATATYPE, which STRICT tables raise.
_ENTRY = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
_OS_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOTDIR: _RIGHTS,
    errno.ELOOP: _RIGHTS,
}


def from_sqlite(error: sqlite3.Error, path: str, doing: str) -> LedgerError:
    """The ledger's error for what SQLite said while ``doing``."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    kind = EntryError if isinstance(error, _ENTRY) else LedgerError
    hint = next((text for code, text in _HINTS.items() if name.startswith(code)), _DISK)
    number = errno.ENOSPC if hint is _ROOM else None
    told = f"ENOSPC, {name}" if number is not None else name
    return kind(
        f"{doing} failed: {error} ({told})",
        where=path,
        numbers={"sqlite": name, "errno": number},
        hint=None if kind is EntryError else hint,
    )


def from_os(error: OSError, path: str, doing: str) -> LedgerError:
    """The ledger's error for what the system said while ``doing``."""
    code = error.errno or 0
    return LedgerError(
        f"{doing} failed: {errno.errorcode.get(code, '?')} {error.strerror}",
        where=path,
        numbers={"errno": code},
        hint=_OS_HINTS.get(code, _DISK),
    )
