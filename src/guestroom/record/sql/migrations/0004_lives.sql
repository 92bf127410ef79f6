-- What each guest was promised and the peak it came to: what later sizing learns from.

CREATE TABLE lives (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    guest TEXT NOT NULL,
    started_wall_s REAL NOT NULL,
    at_wall_s REAL NOT NULL,
    ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
    policy TEXT NOT NULL,
    promised_bytes INTEGER NOT NULL,
    grant_bytes INTEGER NOT NULL,
    peak_bytes INTEGER NOT NULL,
    life TEXT NOT NULL,
    UNIQUE (guest, started_wall_s)
) STRICT;

CREATE INDEX lives_at ON lives (at_wall_s);
