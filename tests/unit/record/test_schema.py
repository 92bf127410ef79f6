"""A fresh schema equals a migrated one, old ones are brought up, newer ones are refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from guestroom.errors import LedgerError
from guestroom.record import open_ledger, schema
from guestroom.testing.clock import ManualClock

from .samples import SHRINK, done, life, record


def memory() -> sqlite3.Connection:
    """An empty database."""
    return sqlite3.connect(":memory:", isolation_level=None)


def shape(connection: sqlite3.Connection) -> object:
    """Everything about the tables but the wording of the statements that made them."""
    names = connection.execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY type, name").fetchall()
    tables = [name for kind, name, _ in names if kind == "table"]
    indexes = [name for kind, name, _ in names if kind == "index"]
    return (
        names,
        {name: connection.execute(f"PRAGMA table_xinfo({name})").fetchall() for name in tables},
        {name: connection.execute(f"PRAGMA index_xinfo({name})").fetchall() for name in indexes},
        {name: connection.execute(f"PRAGMA foreign_key_list({name})").fetchall() for name in tables},
        connection.execute("SELECT name, ncol, wr, strict FROM pragma_table_list ORDER BY name").fetchall(),
        connection.execute("PRAGMA user_version").fetchone(),
        connection.execute("PRAGMA application_id").fetchone(),
    )


def migrated(upto: int | None = None) -> sqlite3.Connection:
    """A database as an older guestroom left it, brought up step by step."""
    connection = memory()
    steps = schema.migrations()
    schema.prepare(connection, steps=steps[:1], fresh=steps[0])
    schema.prepare(connection, steps=steps[:upto], fresh="")
    return connection


def test_a_fresh_ledger_equals_a_migrated_one() -> None:
    """Whether made today or brought up from the first version, the tables are the same."""
    fresh = memory()
    schema.prepare(fresh, steps=schema.migrations(), fresh=schema.fresh_schema())
    assert shape(fresh) == shape(migrated())
    assert len(schema.migrations()) >= 2


def test_the_comparison_sees_a_missing_column() -> None:
    """The test above can fail: a database one version behind has another shape."""
    fresh = memory()
    schema.prepare(fresh, steps=schema.migrations(), fresh=schema.fresh_schema())
    assert shape(fresh) != shape(migrated(upto=1))


def test_every_table_is_strict() -> None:
    """SQLite itself refuses a text where bytes belong."""
    rows = migrated().execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall()
    assert {name for name, strict in rows if not strict} <= {"sqlite_schema", "sqlite_sequence"}


def test_an_old_ledger_is_brought_up_with_its_rows(tmp_path: Path, clock: ManualClock) -> None:
    """An upgrade of guestroom loses no guest, no open decision and no reading."""
    tmp_path.chmod(0o700)
    with open_ledger(str(tmp_path), clock=clock) as ledger:
        ledger.put_guest(record())
        ledger.begin("b starts", "{}", [SHRINK])
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "ALTER TABLE readings DROP COLUMN kernel_peak_bytes;"
        "DROP TABLE waiting;"
        "DROP TABLE lives;"
        "INSERT INTO readings VALUES (1, 'a', 5.0, 'split', 1, 2, NULL, 4, 'unlimited', 6, 'then');"
        "PRAGMA user_version = 1;"
    )
    connection.close()
    with open_ledger(str(tmp_path), clock=clock) as ledger:
        assert ledger.get_guests() == (record(),)
        (decision,) = ledger.unfinished()
        ledger.finish(decision.number, [done(SHRINK)])
        assert ledger.lives() == ()
        ledger.put_life(life("a"))
        assert ledger.lives() == (life("a"),)
        (kept,) = ledger.readings("a")
        assert (kept.how, kept.kernel_peak_bytes) == ("then", None)
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (len(schema.migrations()),)


def test_a_failing_migration_leaves_the_version_before_it() -> None:
    """An upgrade that breaks in the middle is undone as a whole and can be tried again."""
    connection = migrated(upto=1)
    before = shape(connection)
    bad = (schema.migrations()[0], "CREATE TABLE half (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)")
    with pytest.raises(sqlite3.Error, match="nowhere"):
        schema.prepare(connection, steps=bad, fresh="")
    assert shape(connection) == before
    assert not connection.in_transaction


def test_a_newer_ledger_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    """An older guestroom does not touch what a newer one wrote, and says both versions."""
    tmp_path.chmod(0o700)
    open_ledger(str(tmp_path), clock=clock).close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match=f"version 99.*up to {len(schema.migrations())}") as caught:
        open_ledger(str(tmp_path), clock=clock)
    assert caught.value.where == str(tmp_path / "ledger.db")
    assert caught.value.hint is not None


def test_somebody_elses_database_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    """A database of another program under our name is left exactly as it is."""
    tmp_path.chmod(0o700)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    before = (tmp_path / "ledger.db").read_bytes()
    with pytest.raises(LedgerError, match="not guestroom's"):
        open_ledger(str(tmp_path), clock=clock)
    assert (tmp_path / "ledger.db").read_bytes() == before


def test_every_statement_fits_the_tables() -> None:
    """No statement names a column that is not there, and every query runs by an index or a bounded scan."""
    connection = migrated()
    for name, text in schema.queries().items():
        names = {word[1:].strip("(),;") for word in text.replace("(", " ").split() if word.startswith(":")}
        connection.execute(f"EXPLAIN {text}", dict.fromkeys(names, 1)).fetchall()
        assert text.endswith(";"), name
        assert text.count(";") == 1, name


def test_a_record_from_before_promises_is_read(tmp_path: Path, clock: ManualClock) -> None:
    """A guest that an older guestroom wrote down comes back; nothing is known of what it was promised."""
    tmp_path.chmod(0o700)
    with open_ledger(str(tmp_path), clock=clock) as ledger:
        ledger.put_guest(record())
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE guests SET record = json_remove(record, '$.promised', '$.life_peak_bytes')")
    connection.close()
    with open_ledger(str(tmp_path), clock=clock) as ledger:
        (found,) = ledger.get_guests()
    assert (found.promised, found.life_peak_bytes) == (None, None)
