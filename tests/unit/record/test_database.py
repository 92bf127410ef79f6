"""The database file: its pragmas, its locks, and what it does when it can not be opened."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from guestroom.errors import EntryError, LedgerError
from guestroom.record.database import Database

EVENT = {"at_wall_s": 1.0, "kind": "k", "guest": None, "message": "m", "numbers": "{}"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An open ledger file."""
    opened = Database(str(tmp_path / "ledger.db"))
    yield opened
    opened.close()


def put(database: Database, *rows: Mapping[str, object]) -> None:
    """Write events in one transaction."""
    with database.write("recording x"):
        for row in rows:
            database.run("put_event", row)


def fail_after(database: Database, row: Mapping[str, object]) -> None:
    """Meet an error that is not SQLite's in the middle of a transaction."""
    with database.write("recording x"):
        database.run("put_event", row)
        raise KeyError("no such")


def count(database: Database) -> int:
    """Events in the file."""
    with database.read("counting"):
        return len(database.rows("events", after=0, limit=1000))


def test_the_files_are_private(database: Database, tmp_path: Path) -> None:
    """The ledger and its companions can be read by their owner alone."""
    put(database, EVENT)
    names = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert names == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


def test_a_block_that_fails_leaves_nothing(database: Database) -> None:
    """Half a decision is never in the ledger."""
    with pytest.raises(KeyError, match="no such"):
        fail_after(database, EVENT)
    assert count(database) == 0
    put(database, EVENT)
    assert count(database) == 1


def test_a_broken_rule_is_told_and_undone(database: Database) -> None:
    """SQLite's strict types catch what ours let through, and nothing of the transaction stays."""
    with pytest.raises(EntryError, match="recording x failed"):
        put(database, EVENT, EVENT | {"at_wall_s": "noon"})
    assert count(database) == 0


def test_a_number_beyond_64_bits_is_an_entry_error(database: Database) -> None:
    """A figure SQLite can't hold is refused with the ledger's own error."""
    with pytest.raises(EntryError):
        put(database, EVENT, EVENT | {"at_wall_s": 2**64})
    assert count(database) == 0


def test_a_closed_ledger_says_so(database: Database) -> None:
    """Work after the end is an error of the ledger, not of SQLite."""
    database.close()
    database.close()
    with pytest.raises(LedgerError, match="closed"), database.write("writing"):
        pass
    with pytest.raises(LedgerError, match="closed"), database.read("reading"):
        pass


def test_threads_wait_for_each_other(database: Database) -> None:
    """Calls from several threads neither mix their transactions nor lose an entry."""

    def work() -> None:
        for _ in range(20):
            with database.write("writing", synced=False):
                database.run("put_event", EVENT)
                database.run("put_event", EVENT)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database) == 160


def test_only_what_may_be_lost_is_written_unsynced(database: Database) -> None:
    """Decisions are on the disk, not only in the kernel, when the call returns (synchronous FULL is 2)."""
    for synced, level in ((True, 2), (False, 1), (True, 2)):
        with database.write("writing", synced=synced):
            assert database._connection.execute("PRAGMA synchronous").fetchone()[0] == level


def test_a_writer_from_outside_is_waited_for_and_named(database: Database) -> None:
    """Somebody with the file open for writing delays the ledger and is then told of, nothing worse."""
    database._connection.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="SQLITE_BUSY") as caught:
        put(database, EVENT)
    assert "another program" in (caught.value.hint or "")
    other.close()
    put(database, EVENT)


def test_a_transaction_holds_the_write_lock_from_its_beginning(database: Database) -> None:
    """What is read to be changed can't be changed by another program in between."""
    other = sqlite3.connect(database.path, isolation_level=None, timeout=0)
    with database.write("writing"), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()


@pytest.mark.parametrize("content", [b"SQLite format 3\0" + b"\xff" * 4096, b"not a database at all" * 100, b"x" * 50])
def test_a_broken_file_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    """What can't be read is never overwritten: the operator is told how to look at it and go on."""
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"SQLITE_(NOTADB|CORRUPT)") as caught:
        Database(str(path))
    assert "move ledger.db" in (caught.value.hint or "")
    assert path.read_bytes() == content


def test_damage_inside_is_found_at_the_start(database: Database, tmp_path: Path) -> None:
    """A page that was overwritten is found before anything is decided from it."""
    put(database, *[EVENT | {"message": "m" * 100}] * 500)
    database.close()
    path = tmp_path / "ledger.db"
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * (len(data) // 4096)] = b"\x5a" * (4096 * (len(data) // 4096 - 3))
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="SQLITE_CORRUPT"):
        Database(str(path))
    assert path.read_bytes() == bytes(data)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    """A path that can't be opened comes with its errno."""
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(LedgerError, match="EISDIR"):
        Database(str(tmp_path / "ledger.db"))
