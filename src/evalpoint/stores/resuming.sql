-- How the rows of the data and those of an evaluation are put beside each other, and how one becomes the other. Each statement bears a
-- name, by which `resuming.py` runs it; :evaluation and :run are the ids of what is resumed.

-- name: make_incoming
-- One row per row of the data and repeat. The content is there where it is needed: for rows that are new or have changed.
CREATE TEMP TABLE incoming (
    row                 INTEGER NOT NULL,
    repeat              INTEGER NOT NULL,
    request_id          TEXT,
    identity            TEXT    NOT NULL,
    digest              TEXT    NOT NULL,
    occurrence          INTEGER NOT NULL,
    given_digest        TEXT,
    expectations_digest TEXT,
    inputs              TEXT,
    expectations        TEXT,
    tags                TEXT,
    given_outputs       TEXT,
    given_trace         TEXT,
    old                 INTEGER UNIQUE, -- rowid of the row of the same identity; NULL where there is none
    old_row             INTEGER,        -- its number
    change              TEXT CHECK (change IN ('edited', 'expected')) -- other inputs or given answer; other expectations or tags; NULL for none
);

-- name: find_old
SELECT rowid, row, digest, given_digest, expectations_digest FROM rows
WHERE evaluation_id = ? AND identity = ? AND repeat = ?;

-- name: add_incoming
INSERT INTO temp.incoming (row, repeat, request_id, identity, digest, occurrence, given_digest, expectations_digest,
    inputs, expectations, tags, given_outputs, given_trace, old, old_row, change)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: count_rows
SELECT count(*) FROM rows WHERE evaluation_id = :evaluation;

-- name: count_changes
SELECT change, count(*) FROM temp.incoming WHERE old IS NOT NULL GROUP BY change;

-- name: note_removed
-- One row per row that the data no longer has.
CREATE TEMP TABLE removed AS
SELECT rowid AS old FROM rows
WHERE evaluation_id = :evaluation AND rowid NOT IN (SELECT old FROM temp.incoming WHERE old IS NOT NULL);

-- name: note_unlinking
-- One row per trace that no longer answers a row: of rows that are removed, edited, or without an answer.
CREATE TEMP TABLE unlinking AS
SELECT trace_id FROM rows WHERE trace_id IS NOT NULL AND rowid IN (SELECT old FROM temp.removed)
UNION
SELECT trace_id FROM rows WHERE trace_id IS NOT NULL AND rowid IN (SELECT old FROM temp.incoming WHERE change = 'edited')
UNION
SELECT trace_id FROM rows
WHERE evaluation_id = :evaluation AND state IN ('target_error', 'timeout', 'skipped_budget', 'cancelled', 'pending') AND outputs IS NULL AND trace_id IS NOT NULL;

-- name: has_unlinking
SELECT 1 FROM temp.unlinking;

-- name: unlink
-- The traces stay in the experiment; one that answers another row of the run stays in the run.
DELETE FROM run_traces WHERE run_id = :run AND trace_id IN (SELECT trace_id FROM temp.unlinking) AND trace_id NOT IN (
    SELECT trace_id FROM rows
    WHERE trace_id IS NOT NULL AND evaluation_id IN (SELECT evaluation_id FROM evaluations WHERE run_id = :run)
);

-- name: changed_traces
SELECT r.trace_id, r.tags, i.tags, i.expectations FROM temp.incoming i JOIN rows r ON r.rowid = i.old
WHERE i.change = 'expected' AND r.outputs IS NOT NULL;

-- name: note_withdrawing
-- One row per verdict on a row that is removed or has changed.
CREATE TEMP TABLE withdrawing AS
SELECT v.row, v.repeat, v.scorer FROM rows r
JOIN verdicts v ON v.evaluation_id = r.evaluation_id AND v.row = r.row AND v.repeat = r.repeat
WHERE r.rowid IN (SELECT old FROM temp.removed UNION ALL SELECT old FROM temp.incoming WHERE old IS NOT NULL AND change IS NOT NULL);

-- name: keep_costs
INSERT INTO withdrawn (evaluation_id, scorer, calls, input_tokens, output_tokens, cost)
SELECT evaluation_id, scorer, sum(calls), sum(input_tokens), sum(output_tokens), sum(cost) FROM verdicts
WHERE evaluation_id = :evaluation AND (row, repeat, scorer) IN (SELECT row, repeat, scorer FROM temp.withdrawing)
GROUP BY evaluation_id, scorer
ON CONFLICT (evaluation_id, scorer) DO UPDATE SET
    calls = calls + excluded.calls, input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens, cost = coalesce(cost + excluded.cost, cost, excluded.cost);

-- name: withdraw
DELETE FROM verdicts
WHERE evaluation_id = :evaluation AND (row, repeat, scorer) IN (SELECT row, repeat, scorer FROM temp.withdrawing);

-- name: remove
DELETE FROM rows WHERE rowid IN (SELECT old FROM temp.removed);

-- name: has_moved
SELECT 1 FROM temp.incoming WHERE old IS NOT NULL AND row <> old_row;

-- name: count_reordered
-- A row that only has another number, because one before it came or went, is at the place among the others where it was.
SELECT count(*) FROM (
    SELECT row_number() OVER (ORDER BY old_row, repeat) AS was, row_number() OVER (ORDER BY row, repeat) AS becomes
    FROM temp.incoming WHERE old IS NOT NULL
) WHERE was <> becomes;

-- name: move_away
-- Beyond every number, so that no two rows have the same on the way.
UPDATE rows SET row = row + 1000000000000 WHERE rowid IN (SELECT old FROM temp.incoming WHERE old IS NOT NULL AND row <> old_row);

-- name: move_back
UPDATE rows SET row = (SELECT i.row FROM temp.incoming i WHERE i.old = rows.rowid)
WHERE evaluation_id = :evaluation AND row >= 1000000000000;

-- name: take_edited
UPDATE rows SET (digest, occurrence, given_digest, expectations_digest, inputs, expectations, tags, given_outputs, given_trace, outputs) = (
    SELECT digest, occurrence, given_digest, expectations_digest, inputs, expectations, tags, given_outputs, given_trace, NULL
    FROM temp.incoming i WHERE i.old = rows.rowid
), state = 'pending'
WHERE rowid IN (SELECT old FROM temp.incoming WHERE change = 'edited');

-- name: take_expected
UPDATE rows SET (expectations_digest, expectations, tags) = (
    SELECT expectations_digest, expectations, tags FROM temp.incoming i WHERE i.old = rows.rowid
), state = 'pending'
WHERE rowid IN (SELECT old FROM temp.incoming WHERE change = 'expected');

-- name: empty_unanswered
-- A row without an answer becomes what it was before it was asked.
UPDATE rows SET state = 'pending', error = NULL, trace_id = NULL, latency_ms = NULL,
    input_tokens = NULL, output_tokens = NULL, total_tokens = NULL, first_token_ms = NULL, tokens_per_second = NULL
WHERE evaluation_id = :evaluation AND state IN ('target_error', 'timeout', 'skipped_budget', 'cancelled', 'pending') AND outputs IS NULL;

-- name: make_asked
-- One row per scorer that is asked now.
CREATE TEMP TABLE asked (scorer TEXT PRIMARY KEY NOT NULL);

-- name: add_asked
INSERT INTO temp.asked (scorer) VALUES (?);

-- name: name_missing
-- An answered row is complete when each scorer's verdict stands. Rows that were ok still are, unless there are new scorers.
UPDATE rows SET state = CASE (
    SELECT count(*) FROM verdicts v
    WHERE v.evaluation_id = rows.evaluation_id AND v.row = rows.row AND v.repeat = rows.repeat
        AND v.outcome <> 'failed' AND v.scorer IN (SELECT scorer FROM temp.asked)
) WHEN (SELECT count(*) FROM temp.asked) THEN 'ok' ELSE 'pending' END
WHERE evaluation_id = :evaluation AND outputs IS NOT NULL
    AND state IN ('judge_error', 'target_error', 'timeout', 'skipped_budget', 'cancelled', 'pending', CASE WHEN :scorers_added THEN 'ok' END);

-- name: count_missing
SELECT outputs IS NULL, count(*) FROM rows WHERE evaluation_id = :evaluation AND state = 'pending' GROUP BY 1;

-- name: add_rows
INSERT INTO rows (evaluation_id, row, repeat, request_id, identity, digest, occurrence, given_digest, expectations_digest,
    inputs, expectations, tags, given_outputs, given_trace)
SELECT :evaluation, row, repeat, request_id, identity, digest, occurrence, given_digest, expectations_digest,
    inputs, expectations, tags, given_outputs, given_trace
FROM temp.incoming WHERE old IS NULL ORDER BY row, repeat;
