-- The ledger's tables. Sizes in bytes, times in seconds since the epoch; NULL is unknown, never zero.

CREATE TABLE guests (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE ended_guests (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    ended_wall_s REAL NOT NULL,
    reason TEXT NOT NULL,
    policy TEXT NOT NULL,
    ram_bytes INTEGER NOT NULL,
    need_bytes INTEGER NOT NULL,
    grant_bytes INTEGER NOT NULL,
    overhead_peak_bytes INTEGER,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_wall_s REAL NOT NULL,
    reason TEXT NOT NULL,
    inputs TEXT NOT NULL,
    finished_wall_s REAL
) STRICT;

CREATE INDEX decisions_unfinished ON decisions (number) WHERE finished_wall_s IS NULL;

CREATE TABLE steps (
    decision INTEGER NOT NULL REFERENCES decisions (number) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    action TEXT NOT NULL,
    planned INTEGER NOT NULL CHECK (planned IN (0, 1)),
    outcome TEXT,
    ended_wall_s REAL,
    PRIMARY KEY (decision, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_wall_s REAL NOT NULL,
    kind TEXT NOT NULL,
    guest TEXT,
    message TEXT NOT NULL,
    numbers TEXT NOT NULL
) STRICT;

CREATE INDEX events_guest ON events (guest, number) WHERE guest IS NOT NULL;

CREATE TABLE readings (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    guest TEXT NOT NULL,
    at_wall_s REAL NOT NULL,
    accounting TEXT NOT NULL,
    overhead_bytes INTEGER,
    upper_bound_bytes INTEGER,
    ram_resident_bytes INTEGER,
    cache_bytes INTEGER,
    limit_bytes ANY CHECK (typeof(limit_bytes) IN ('integer', 'null') OR limit_bytes = 'unlimited'),
    grant_bytes INTEGER,
    how TEXT NOT NULL,
    kernel_peak_bytes INTEGER
) STRICT;

CREATE INDEX readings_guest ON readings (guest, at_wall_s);

CREATE TABLE waiting (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    entry TEXT NOT NULL
) STRICT;

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
