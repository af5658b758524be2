-- The embedded store, version 1. JSON columns hold JSON text; times are milliseconds since the epoch unless they say otherwise.
-- Nothing here needs a SQLite newer than 3.31: no STRICT tables, no RETURNING, no JSON functions.

-- One row per experiment: a named collection of runs and traces.
CREATE TABLE experiments (
    experiment_id INTEGER PRIMARY KEY AUTOINCREMENT, -- shown as a decimal string, as in MLflow; never used twice
    name          TEXT    NOT NULL UNIQUE CHECK (name <> ''),
    creation_time INTEGER NOT NULL,
    tags          TEXT    NOT NULL DEFAULT '{}'      -- JSON object
);

-- One row per run: what was tried, with what, and how it came out.
CREATE TABLE runs (
    run_id        TEXT    PRIMARY KEY NOT NULL CHECK (run_id <> ''),
    experiment_id INTEGER NOT NULL REFERENCES experiments,
    run_name      TEXT    NOT NULL,
    status        TEXT    NOT NULL CHECK (status IN ('RUNNING', 'FINISHED', 'FAILED', 'KILLED')),
    start_time    INTEGER NOT NULL,
    end_time      INTEGER
);
CREATE INDEX runs_by_experiment ON runs (experiment_id, start_time);
CREATE INDEX runs_by_name ON runs (run_name);

-- One row per evaluation in work: who writes to the run, until when unless renewed. One that outlives its process tells of a kill.
CREATE TABLE leases (
    lease_id  TEXT    PRIMARY KEY NOT NULL CHECK (lease_id <> ''),
    run_id    TEXT    NOT NULL REFERENCES runs ON DELETE CASCADE,
    owner     TEXT    NOT NULL, -- random, made once per process: a pid is used again
    pid       INTEGER NOT NULL,
    host      TEXT    NOT NULL,
    pid_space TEXT    NOT NULL, -- which pids can be compared: containers may share a host's name and not its processes
    since     INTEGER NOT NULL,
    expires   INTEGER NOT NULL
);
CREATE INDEX leases_by_run ON leases (run_id);

-- One row per parameter of a run. Written once: a second value for the same key is refused, so that what was tried stays true.
CREATE TABLE params (
    run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
) WITHOUT ROWID;

-- One row per measured value: the whole history of a metric. The one of the highest step, then the latest, is the metric's value.
CREATE TABLE metrics (
    metric_id INTEGER PRIMARY KEY, -- order of logging: it decides between values of the same step and time
    run_id    TEXT    NOT NULL REFERENCES runs ON DELETE CASCADE,
    key       TEXT    NOT NULL,
    value     REAL,                -- NULL stands for NaN, which SQLite cannot hold
    timestamp INTEGER NOT NULL,
    step      INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX metrics_by_run ON metrics (run_id, key, step, timestamp);

-- One row per tag of a run. The last value wins.
CREATE TABLE tags (
    run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
) WITHOUT ROWID;

-- One row per call of `evaluate` inside a run.
CREATE TABLE evaluations (
    evaluation_id TEXT    PRIMARY KEY NOT NULL CHECK (evaluation_id <> ''),
    run_id        TEXT    NOT NULL REFERENCES runs ON DELETE CASCADE,
    number        INTEGER NOT NULL CHECK (number >= 1), -- within its run, in order of creation
    created       INTEGER NOT NULL,
    scorers       TEXT    NOT NULL,                     -- JSON list: name, aggregations, threshold, has_pass_if
    repeats       INTEGER NOT NULL CHECK (repeats >= 1),
    min_valid     REAL    NOT NULL CHECK (min_valid BETWEEN 0 AND 1),
    target        TEXT,                                 -- NULL for an answer sheet: nothing was called
    summary       TEXT,                                 -- JSON; NULL while it runs and after a kill
    UNIQUE (run_id, number)
);

-- One row per data set that a run used; `evaluate` notes its own, with the evaluation that read it.
CREATE TABLE datasets (
    dataset_id    INTEGER PRIMARY KEY,
    run_id        TEXT    NOT NULL REFERENCES runs ON DELETE CASCADE,
    evaluation_id TEXT    UNIQUE REFERENCES evaluations ON DELETE CASCADE, -- NULL for one that no evaluation read
    name          TEXT    NOT NULL,
    digest        TEXT                                                     -- NULL until all its rows are read
);
CREATE INDEX datasets_by_run ON datasets (run_id);

-- One row per trace. It lives in an experiment of this store, whatever store it came from.
CREATE TABLE traces (
    trace_id              TEXT    PRIMARY KEY NOT NULL CHECK (trace_id <> ''),
    experiment_id         INTEGER NOT NULL REFERENCES experiments,
    request_time_ms       INTEGER NOT NULL,
    execution_duration_ms INTEGER,                       -- NULL while it runs
    state                 TEXT    NOT NULL CHECK (state IN ('OK', 'ERROR', 'IN_PROGRESS', 'STATE_UNSPECIFIED')),
    name                  TEXT,                          -- the tag mlflow.traceName, here so that it can be searched
    client_request_id     TEXT,
    root_span_id          TEXT,                          -- where feedback goes that names no span
    request_preview       TEXT,
    response_preview      TEXT,
    tags                  TEXT    NOT NULL DEFAULT '{}', -- JSON object of strings
    metadata              TEXT    NOT NULL DEFAULT '{}', -- JSON object of strings
    spans                 TEXT    NOT NULL               -- JSON list; last and large, so that a listing never reads its pages
);
CREATE INDEX traces_by_experiment ON traces (experiment_id, request_time_ms);

-- One row per trace of a run. A table of its own because one trace may serve several runs: it is linked, not copied.
CREATE TABLE run_traces (
    run_id   TEXT NOT NULL REFERENCES runs ON DELETE CASCADE,
    trace_id TEXT NOT NULL REFERENCES traces ON DELETE CASCADE,
    PRIMARY KEY (run_id, trace_id)
) WITHOUT ROWID;

-- One row per row of the data and repeat. Written as 'pending' before the first call, and never removed while its evaluation exists.
CREATE TABLE rows (
    evaluation_id       TEXT    NOT NULL REFERENCES evaluations ON DELETE CASCADE,
    row                 INTEGER NOT NULL CHECK (row >= 0),
    repeat              INTEGER NOT NULL CHECK (repeat >= 0),
    state               TEXT    NOT NULL DEFAULT 'pending'
        CHECK (state IN ('ok', 'judge_error', 'target_error', 'timeout', 'skipped_budget', 'cancelled', 'pending')),
    request_id          TEXT,
    identity            TEXT    NOT NULL, -- what it is known by when the data comes again: its request_id, else its digest and occurrence
    digest              TEXT    NOT NULL, -- of the inputs
    occurrence          INTEGER NOT NULL CHECK (occurrence >= 0), -- the how-manieth among rows with equal inputs
    given_digest        TEXT,             -- of the answer that came with the data, so that a resume sees it change
    expectations_digest TEXT,             -- of expectations and tags: when only they change, only the scorers are asked again
    trace_id            TEXT    REFERENCES traces,
    latency_ms          REAL,
    first_token_ms      REAL,             -- of an answer that was streamed
    tokens_per_second   REAL,             -- the same, after the first token
    input_tokens        INTEGER,
    output_tokens       INTEGER,
    total_tokens        INTEGER,
    inputs              TEXT    NOT NULL, -- JSON object
    expectations        TEXT    NOT NULL, -- JSON object
    tags                TEXT    NOT NULL, -- JSON object of strings
    outputs             TEXT,             -- JSON of the committed answer; SQL's NULL says that there is none, JSON's null is an answer
    error               TEXT,             -- JSON: why there is no answer
    given_outputs       TEXT,             -- JSON of the answer that came with the data; SQL's NULL says that none came
    given_trace         TEXT,             -- JSON of the trace that came with it
    PRIMARY KEY (evaluation_id, row, repeat),
    CHECK (outputs IS NULL OR error IS NULL),
    CHECK (state NOT IN ('ok', 'judge_error') OR outputs IS NOT NULL),
    CHECK (given_trace IS NULL OR given_outputs IS NOT NULL)
);
CREATE INDEX rows_by_state ON rows (evaluation_id, state, row, repeat);
-- Everything that a resume compares, so that it reads no row that has stayed as it was.
CREATE INDEX rows_by_identity ON rows (evaluation_id, identity, repeat, row, digest, given_digest, expectations_digest);

-- One row per row of the data, repeat and scorer that was asked and has answered: its verdict, and what it cost.
CREATE TABLE verdicts (
    evaluation_id TEXT    NOT NULL,
    row           INTEGER NOT NULL,
    repeat        INTEGER NOT NULL,
    scorer        TEXT    NOT NULL,
    outcome       TEXT    NOT NULL CHECK (outcome IN ('scored', 'skipped', 'failed')),
    error         TEXT,                       -- JSON: the scorer's own error; one of a feedback is with the feedback
    calls         INTEGER NOT NULL DEFAULT 0,
    input_tokens  INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cost          REAL,                       -- US dollars; NULL where no price is known, which is not 0
    PRIMARY KEY (evaluation_id, row, repeat, scorer),
    FOREIGN KEY (evaluation_id, row, repeat) REFERENCES rows (evaluation_id, row, repeat)
        ON DELETE CASCADE ON UPDATE CASCADE, -- a resume gives rows new numbers where the data has a new order
    CHECK (error IS NULL OR outcome = 'failed')
) WITHOUT ROWID;

-- One row per evaluation and scorer whose verdicts a resume has taken back, because their rows have changed: what they cost stays spent.
CREATE TABLE withdrawn (
    evaluation_id TEXT    NOT NULL REFERENCES evaluations ON DELETE CASCADE,
    scorer        TEXT    NOT NULL,
    calls         INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost          REAL, -- US dollars; NULL where no price is known
    PRIMARY KEY (evaluation_id, scorer)
) WITHOUT ROWID;

-- One row per assessment of a trace: feedback by a scorer, a judge or a person; or an expectation.
CREATE TABLE assessments (
    trace_id            TEXT    NOT NULL REFERENCES traces ON DELETE CASCADE,
    assessment_id       TEXT    NOT NULL,            -- unique within its trace: a copied trace keeps the ids
    kind                TEXT    NOT NULL CHECK (kind IN ('feedback', 'expectation')),
    name                TEXT    NOT NULL,
    value               TEXT,                        -- JSON; NULL where there is only an error
    error               TEXT,                        -- JSON
    source_type         TEXT    NOT NULL CHECK (source_type IN ('HUMAN', 'LLM_JUDGE', 'CODE', 'SOURCE_TYPE_UNSPECIFIED')),
    source_id           TEXT    NOT NULL,
    span_id             TEXT,
    rationale           TEXT,
    metadata            TEXT    NOT NULL DEFAULT '{}', -- JSON object of strings
    create_time_ms      INTEGER NOT NULL,
    last_update_time_ms INTEGER NOT NULL,
    overrides           TEXT,                        -- the assessment_id that this one replaces
    valid               INTEGER NOT NULL DEFAULT 1 CHECK (valid IN (0, 1)), -- 0 once another one has replaced it
    run_id              TEXT,                        -- the run that made it; NULL for a person's
    evaluation_id       TEXT,                        -- with row, repeat and scorer: the verdict that it belongs to; else NULL
    row                 INTEGER,
    repeat              INTEGER,
    scorer              TEXT,
    position            INTEGER,                     -- among the verdict's feedback, from 0; NULL for one that only tells of a scorer's error
    passed              INTEGER CHECK (passed IN (0, 1)), -- what pass_if says; NULL without one
    PRIMARY KEY (trace_id, assessment_id),
    FOREIGN KEY (evaluation_id, row, repeat, scorer) REFERENCES verdicts (evaluation_id, row, repeat, scorer)
        ON DELETE CASCADE ON UPDATE CASCADE,
    CHECK (value IS NOT NULL OR error IS NOT NULL),
    CHECK (kind = 'feedback' OR value IS NOT NULL)
);
CREATE INDEX assessments_by_verdict ON assessments (evaluation_id, row, repeat, scorer) WHERE evaluation_id IS NOT NULL;
