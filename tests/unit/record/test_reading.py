"""The ledger read from beside: nothing is written, the agent is not disturbed."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from guestroom.errors import InputError
from guestroom.record import open_ledger, read_lives
from guestroom.record.ledger import Keep
from guestroom.testing.clock import ManualClock

from .samples import life


def test_lives_are_read_while_the_agent_keeps_the_ledger(tmp_path: Path, clock: ManualClock) -> None:
    """By the folder or the file, with what was written a moment ago; the agent can still write."""
    tmp_path.chmod(0o700)
    with open_ledger(str(tmp_path), clock=clock) as ledger:
        ledger.put_life(life("a"))
        assert read_lives(str(tmp_path)) == read_lives(str(tmp_path / "ledger.db")) == (life("a"),)
        ledger.put_life(life("b", at_wall_s=1_750_000_200.0))
        assert [one.guest for one in read_lives(str(tmp_path))] == ["a", "b"]
    assert len(read_lives(str(tmp_path))) == 2


def test_an_older_ledger_has_no_lives(tmp_path: Path, clock: ManualClock) -> None:
    """It is read as it is and not brought up."""
    tmp_path.chmod(0o700)
    open_ledger(str(tmp_path), clock=clock).close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.executescript("DROP TABLE lives; PRAGMA user_version = 3;")
    connection.close()
    assert read_lives(str(tmp_path)) == ()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()


def test_what_is_no_ledger_is_told(tmp_path: Path) -> None:
    """A missing file, somebody else's database and a text are errors with their place, and nothing is made."""
    for name, content in (("nothing", None), ("text.db", "no database at all, only a text of some length" * 40)):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(InputError) as caught:
            read_lives(str(tmp_path / name))
        assert str(tmp_path / name) in str(caught.value.where)
    assert not (tmp_path / "nothing").exists()
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(InputError, match="not a ledger of guestroom's"):
        read_lives(str(tmp_path / "other.db"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is no regular file is refused at once: opening a FIFO would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        read_lives(str(tmp_path / "pipe"))


def test_a_life_that_cannot_be_read_is_a_sample_less(tmp_path: Path, clock: ManualClock) -> None:
    """A row changed by hand keeps no agent from starting: the others are there."""
    tmp_path.chmod(0o700)
    with open_ledger(str(tmp_path), clock=clock) as ledger:
        ledger.put_life(life("a"))
        ledger.put_life(life("b"))
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("""UPDATE lives SET life = '{"guest": 5}' WHERE guest = 'a'""")
    connection.close()
    with open_ledger(str(tmp_path), clock=clock) as ledger:
        assert ledger.lives() == (life("b"),)


def test_the_oldest_reports_make_room(tmp_path: Path, clock: ManualClock) -> None:
    """However long a host runs, so many lives stay and no more: those reported last."""
    tmp_path.chmod(0o700)
    with open_ledger(str(tmp_path), clock=clock, keep=Keep(lives=3)) as ledger:
        for at in range(6):
            ledger.put_life(life(f"g{at}", at_wall_s=1_750_000_000.0 + at))
            ledger.put_life(life("always", at_wall_s=1_750_000_000.5 + at))
        assert [one.guest for one in ledger.lives()] == ["g4", "g5", "always"]
