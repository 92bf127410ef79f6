"""The ledger read by somebody who does not keep it: nothing is written, no lock is taken, the agent goes on."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from guestroom.errors import LedgerError
from guestroom.lives import Life
from guestroom.record import schema
from guestroom.record.encode import lives_from_rows
from guestroom.record.failures import from_sqlite

_DOING = "reading the peaks of guests"


def read_lives(path: str, limit: int = 20_000) -> tuple[Life, ...]:
    """The last ``limit`` lives in the ledger at ``path``, a file or the state folder it is in; oldest first.

    None from a ledger that an older guestroom wrote. Raises ``LedgerError`` for what is no ledger or can't be read.
    """
    if os.path.isdir(path):  # noqa: PTH112 - paths are plain strings here
        path = f"{path}/ledger.db"
    if not os.path.exists(path):  # noqa: PTH110
        raise LedgerError("there is no ledger", where=path, hint="name the agent's state folder or its ledger.db")
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    try:
        with closing(sqlite3.connect(f"file:{quoted}?mode=ro", uri=True)) as connection:
            schema.check_owner(connection, path)
            known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'lives'").fetchone()
            if known is None:
                return ()
            return lives_from_rows(connection.execute(schema.queries()["lives"], {"limit": limit}))
    except sqlite3.Error as error:
        raise from_sqlite(error, path, _DOING) from error
