"""Reading a ledger as it lies there: everything is found, and nothing of it is changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from guestroom.errors import InputError, LedgerError
from guestroom.record import SqliteLedger, schema
from guestroom.record.reader import read_ledger

from .samples import SHRINK, done, reading, record


def files(folder: str) -> dict[str, bytes]:
    """Every file of a state folder but SQLite's own shared memory, which holds nobody's data."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if not path.name.endswith("-shm")}


def filled(ledger: SqliteLedger) -> None:
    """One guest that ended, one that is there, a reading of each and a decision."""
    ledger.put_guest(record("old"))
    ledger.reading(reading("old", overhead_bytes=77), None, None)
    ledger.remove_guest("old", "ended")
    ledger.put_guest(record("new"))
    ledger.reading(reading("new", overhead_bytes=None), None, None)
    number = ledger.begin("new grows", '{"guests":[]}', [SHRINK])
    ledger.finish(number, [done(SHRINK)])


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("by_folder", [True, False])
def test_everything_is_read_and_nothing_changed(
    sqlite: SqliteLedger, state_dir: str, *, live: bool, by_folder: bool
) -> None:
    """Beside a writer that has it open as well as after it: guests, samples and decisions, and the same bytes after."""
    filled(sqlite)
    if not live:
        sqlite.close()
    before = files(state_dir)
    found = read_ledger(state_dir if by_folder else f"{state_dir}/ledger.db")
    assert [one.name for one in found.present] == ["new"]
    assert [(one.record.name, one.reason) for one in found.ended] == [("old", "ended")]
    assert [(one.guest, one.overhead_bytes) for one in found.samples] == [("old", 77)]
    assert [(one.reason, one.inputs, one.actions) for one in found.decisions] == [
        ("new grows", '{"guests":[]}', (SHRINK,))
    ]
    assert files(state_dir) == before
    assert live or sorted(before) == sorted(name for name in os.listdir(state_dir))  # noqa: PTH208


def test_a_ledger_in_a_folder_that_may_not_be_written_is_read(sqlite: SqliteLedger, state_dir: str) -> None:
    """A copy on read-only storage is as good as any: no companion file is made beside it."""
    filled(sqlite)
    sqlite.close()
    Path(state_dir).chmod(0o500)
    try:
        assert len(read_ledger(state_dir).present) == 1
    finally:
        Path(state_dir).chmod(0o700)


def test_the_oldest_version_is_read_and_stays_old(tmp_path: Path) -> None:
    """A ledger from the first release has no later columns: they are not asked for, and it is not brought up."""
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as connection:
        schema.prepare(connection, steps=schema.migrations()[:1], fresh=schema.migrations()[0])
    connection.close()
    assert read_ledger(str(path)).decisions == ()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
    connection.close()


def test_what_is_no_ledger_is_wrong_input(tmp_path: Path) -> None:
    """Missing, a folder without one, a FIFO, text, another's database, an empty file: named, with what to do."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text").write_text("not a database, but long enough to be looked at as one\n" * 40)
    (tmp_path / "empty").touch()
    with sqlite3.connect(tmp_path / "foreign") as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    for name in ("missing", "fifo", "text", "foreign", "empty", "nul\0", "text/below", "."):
        path = str(tmp_path / name)
        with pytest.raises(InputError) as caught:
            read_ledger(path)
        assert str(caught.value.where).startswith(path)
        assert caught.value.exit_code == 2


def test_a_newer_ledger_is_refused_with_both_versions(sqlite: SqliteLedger, state_dir: str) -> None:
    """What a newer guestroom wrote may mean something else."""
    sqlite.close()
    path = f"{state_dir}/ledger.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(LedgerError, match="version 9999"):
        read_ledger(path)


def test_a_broken_ledger_is_an_error_with_its_place(sqlite: SqliteLedger, state_dir: str, tmp_path: Path) -> None:
    """Torn pages are told as what they are, never a traceback."""
    filled(sqlite)
    sqlite.close()
    path = tmp_path / "torn.db"
    shutil.copy(f"{state_dir}/ledger.db", path)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xaa" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(LedgerError) as caught:
        read_ledger(str(path))
    assert caught.value.where == str(path)
