-- Who waits for room, in turn: a place outlives the agent.

CREATE TABLE waiting (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    entry TEXT NOT NULL
) STRICT;
