"""The database's tables and statements, from files of SQL shipped with the package.

A new database is made from ``schema.sql`` in one step; an older one is brought up by the numbered files in
``migrations``, each in a transaction of its own that also writes its number (``user_version``), so that a
crash leaves either the old or the new version. Tests hold both ways against each other.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from guestroom.errors import LedgerError

APPLICATION_ID = 0x67726F6D
"""``grom``: SQLite's ``application_id``, which tells our database from anybody else's (sqlite.org/pragma)."""

_SQL = files("guestroom.record") / "sql"
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_MIGRATION = re.compile(r"([0-9]{4})_\w+\.sql\Z")


@cache
def queries() -> Mapping[str, str]:
    """The statements of ``queries.sql`` by name."""
    parts = _NAME.split((_SQL / "queries.sql").read_text(encoding="utf-8"))
    return MappingProxyType(dict(zip(parts[1::2], (text.strip() for text in parts[2::2]), strict=True)))


@cache
def migrations() -> Sequence[str]:
    """The migrations in order: the first makes version 1."""
    found = {
        int(match[1]): entry.read_text(encoding="utf-8")
        for entry in (_SQL / "migrations").iterdir()
        if (match := _MIGRATION.match(entry.name))
    }
    return tuple(found[number] for number in range(1, len(found) + 1))


def fresh_schema() -> str:
    """The tables of the newest version."""
    return (_SQL / "schema.sql").read_text(encoding="utf-8")


def check_owner(connection: sqlite3.Connection, path: str) -> None:
    """Raise ``LedgerError`` for a database that is not guestroom's or was written by a newer one."""
    version, owner, tables = _look(connection)
    if owner != APPLICATION_ID and (owner, version, tables) != (0, 0, 0):
        raise LedgerError(
            "this database is not guestroom's",
            where=path,
            numbers={"application_id": owner, "user_version": version},
            hint="name a state folder of guestroom's own with --state",
        )
    known = len(migrations())
    if version > known:
        raise LedgerError(
            f"this ledger has version {version}, this guestroom knows up to {known}",
            where=path,
            numbers={"version": version, "known": known},
            hint="start the newer guestroom that wrote it, or name another state folder with --state",
        )


def prepare(connection: sqlite3.Connection, *, steps: Sequence[str], fresh: str) -> None:
    """Make the tables, or bring older ones up; ``steps`` are the migrations, ``fresh`` their sum.

    Raises ``sqlite3.Error``, and then the version is the one before the step that failed.
    """
    version, _, tables = _look(connection)
    if tables == 0:
        _run(connection, f"{fresh};PRAGMA application_id = {APPLICATION_ID}", len(steps))
        return
    for number in range(version + 1, len(steps) + 1):
        _run(connection, steps[number - 1], number)


def _look(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Version, owner and number of tables of a database."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    owner: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    return version, owner, tables


def _run(connection: sqlite3.Connection, script: str, version: int) -> None:
    """Run a script and write the version, both or neither."""
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script};\nPRAGMA user_version = {version};\nCOMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise
