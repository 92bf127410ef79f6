-- Every statement the ledger runs, by name. Parameters are named; nothing is ever pasted into the text.

-- name: put_guest
INSERT INTO guests (name, state, record) VALUES (:name, :state, :record)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, record = excluded.record;

-- name: get_guests
SELECT record FROM guests ORDER BY name;

-- name: get_guest
SELECT record FROM guests WHERE name = :name;

-- name: remove_guest
DELETE FROM guests WHERE name = :name;

-- name: put_ended
INSERT INTO ended_guests
    (name, ended_wall_s, reason, policy, ram_bytes, need_bytes, grant_bytes, overhead_peak_bytes, record)
VALUES
    (:name, :ended_wall_s, :reason, :policy, :ram_bytes, :need_bytes, :grant_bytes, :overhead_peak_bytes, :record);

-- name: thin_ended
DELETE FROM ended_guests WHERE number IN (
    SELECT number FROM ended_guests WHERE number <= (SELECT max(number) FROM ended_guests) - :keep
    ORDER BY number LIMIT :at_once
);

-- name: ended_guests
SELECT record, ended_wall_s, reason FROM (
    SELECT * FROM ended_guests ORDER BY number DESC LIMIT :limit
) ORDER BY number;

-- name: put_life
-- Later reports of one life replace it: its number, and so its place among the oldest, is of its last report.
INSERT OR REPLACE INTO lives
    (guest, started_wall_s, at_wall_s, ended, policy, promised_bytes, grant_bytes, peak_bytes, life)
VALUES
    (:guest, :started_wall_s, :at_wall_s, :ended, :policy, :promised_bytes, :grant_bytes, :peak_bytes, :life);

-- name: thin_lives
DELETE FROM lives WHERE number IN (
    SELECT number FROM lives ORDER BY number LIMIT
        (SELECT min(:at_once, max(0, count(*) - :keep)) FROM lives)
);

-- name: lives
SELECT life FROM (SELECT * FROM lives ORDER BY at_wall_s DESC, number DESC LIMIT :limit) ORDER BY at_wall_s, number;

-- name: put_waiting
INSERT INTO waiting (name, number, entry) VALUES (:name, :number, :entry)
ON CONFLICT (name) DO UPDATE SET number = excluded.number, entry = excluded.entry;

-- name: get_waiting
SELECT entry FROM waiting ORDER BY number;

-- name: remove_waiting
DELETE FROM waiting WHERE name = :name;

-- name: put_decision
INSERT INTO decisions (at_wall_s, reason, inputs, finished_wall_s)
VALUES (:at_wall_s, :reason, :inputs, :finished_wall_s);

-- name: put_step
INSERT INTO steps (decision, position, action, planned, outcome, ended_wall_s)
VALUES (:decision, :position, :action, :planned, :outcome, :ended_wall_s);

-- name: end_step
UPDATE steps SET outcome = :outcome, ended_wall_s = :ended_wall_s
WHERE decision = :decision AND position = :position;

-- name: finish_decision
UPDATE decisions SET finished_wall_s = :finished_wall_s WHERE number = :number;

-- name: has_decision
SELECT 1 FROM decisions WHERE number = :number;

-- name: steps
SELECT position, action, planned, outcome FROM steps WHERE decision = :decision ORDER BY position;

-- name: thin_decisions
-- Never an unfinished one: the next start needs it.
DELETE FROM decisions WHERE number IN (
    SELECT number FROM decisions
    WHERE number <= (SELECT max(number) FROM decisions) - :keep AND finished_wall_s IS NOT NULL
    ORDER BY number LIMIT :at_once
);

-- name: unfinished
SELECT number, at_wall_s, reason, inputs, finished_wall_s FROM decisions
WHERE finished_wall_s IS NULL ORDER BY number;

-- name: decisions
SELECT number, at_wall_s, reason, inputs, finished_wall_s FROM (
    SELECT * FROM decisions ORDER BY number DESC LIMIT :limit
) ORDER BY number;

-- name: put_event
INSERT INTO events (at_wall_s, kind, guest, message, numbers)
VALUES (:at_wall_s, :kind, :guest, :message, :numbers);

-- name: thin_events
DELETE FROM events WHERE number IN (
    SELECT number FROM events WHERE number <= (SELECT max(number) FROM events) - :keep
    ORDER BY number LIMIT :at_once
);

-- name: events
SELECT number, at_wall_s, kind, guest, message, numbers FROM events
WHERE number > :after ORDER BY number LIMIT :limit;

-- name: events_of
SELECT number, at_wall_s, kind, guest, message, numbers FROM events
WHERE guest = :guest AND number > :after ORDER BY number LIMIT :limit;

-- name: last_events
SELECT * FROM (
    SELECT number, at_wall_s, kind, guest, message, numbers FROM events ORDER BY number DESC LIMIT :limit
) ORDER BY number;

-- name: last_events_of
SELECT * FROM (
    SELECT number, at_wall_s, kind, guest, message, numbers FROM events
    WHERE guest = :guest ORDER BY number DESC LIMIT :limit
) ORDER BY number;

-- name: put_reading
INSERT INTO readings
    (guest, at_wall_s, accounting, overhead_bytes, upper_bound_bytes, ram_resident_bytes, cache_bytes,
     limit_bytes, grant_bytes, how, kernel_peak_bytes)
VALUES
    (:guest, :at_wall_s, :accounting, :overhead_bytes, :upper_bound_bytes, :ram_resident_bytes, :cache_bytes,
     :limit_bytes, :grant_bytes, :how, :kernel_peak_bytes);

-- name: thin_readings
DELETE FROM readings WHERE number IN (
    SELECT number FROM readings WHERE number <= (SELECT max(number) FROM readings) - :keep
    ORDER BY number LIMIT :at_once
);

-- name: readings
SELECT * FROM (
    SELECT number, guest, at_wall_s, accounting, overhead_bytes, upper_bound_bytes, ram_resident_bytes, cache_bytes,
           limit_bytes, grant_bytes, how, kernel_peak_bytes
    FROM readings WHERE guest = :guest AND at_wall_s >= :since_wall_s ORDER BY at_wall_s DESC, number DESC LIMIT :limit
) ORDER BY at_wall_s, number;

-- name: every_ended
-- This and the next three are asked by a reader that may meet an older version: columns that every version has.
SELECT record, ended_wall_s, reason FROM ended_guests ORDER BY number;

-- name: every_sample
SELECT guest, at_wall_s, overhead_bytes FROM readings WHERE overhead_bytes IS NOT NULL
ORDER BY guest, at_wall_s, number;

-- name: every_decision
SELECT number, at_wall_s, reason, inputs FROM decisions ORDER BY number;

-- name: every_planned_step
SELECT decision, action FROM steps WHERE planned = 1 ORDER BY decision, position;
