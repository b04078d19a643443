-- perdura's whole current schema (version 1). src/store/file/schema.rs is the only reader of this file.
--
-- Conventions: every name begins with perdura_; times are integer milliseconds since 1970 UTC and end in _ms;
-- booleans are 0 or 1. The task row is hot: each claim and settle rewrites it, so it holds integers only, and whatever is
-- large or rarely read lives in a cold table beside it, keyed by the same task_id.

-- One row: what this file is, and who owns it.
CREATE TABLE perdura_meta (
    id             INTEGER PRIMARY KEY CHECK (id = 1), -- exactly one row
    schema_version INTEGER NOT NULL,                   -- the version of this schema; a newer one than the program knows is refused
    file_id        BLOB    NOT NULL,                   -- 16 random bytes, drawn at creation; keys the digests and the jitter
    owner_epoch    INTEGER NOT NULL,                   -- raised by each new owner, checked in each of its transactions
    created_at_ms  INTEGER NOT NULL,                   -- when the file was made
    probes         INTEGER NOT NULL,                   -- commits made only to settle what became of a failed commit
    served         TEXT,                               -- the queues that the owner claims from, a JSON list (NULL: all)
    engines        TEXT,                               -- the engines outside that the owner has, a JSON list (NULL: none)
    retention_ms   INTEGER                             -- how long tasks are kept that succeeded or were cancelled, as the last owner that
                                                       -- said so wants it (NULL: none did; -1: for good)
) STRICT;

-- Queue names, interned; never deleted.
CREATE TABLE perdura_queues (
    queue_id        INTEGER PRIMARY KEY,
    queue           TEXT    NOT NULL UNIQUE, -- 1-200 bytes, no control characters
    paused          INTEGER NOT NULL,        -- 1: nothing is claimed from it
    max_in_flight   INTEGER,                 -- its tasks in flight at once (NULL: no limit)
    rate_count      INTEGER,                 -- its rate: so many starts (NULL: none)
    rate_period_ms  INTEGER,                 -- in so long a time,
    rate_burst      INTEGER,                 -- and so many at once after a rest
    opens_at_us     INTEGER,                 -- when its rate allows the next start, in microseconds since 1970 UTC
    closed_at_ms    INTEGER,                 -- when a handler closed it for a while (NULL: it is open)
    closed_until_ms INTEGER,                 -- until when it is closed
    closed_why      TEXT,                    -- why, if an engine cannot be reached (NULL: a handler wants it so)
    kept_at_ms      INTEGER,                 -- what a handler wants meanwhile: since when it is closed, (NULL: nothing)
    kept_until_ms   INTEGER,                 -- and until when
    CHECK (max_in_flight >= 1),
    CHECK ((rate_count IS NULL) = (opens_at_us IS NULL)),
    CHECK (rate_count IS NULL OR rate_count >= 1 AND rate_period_ms >= 1 AND rate_burst >= 1),
    CHECK ((closed_at_ms IS NULL) = (closed_until_ms IS NULL)),
    CHECK (closed_why IS NULL OR closed_at_ms IS NOT NULL),
    CHECK ((kept_at_ms IS NULL) = (kept_until_ms IS NULL)),
    CHECK (kept_at_ms IS NULL OR closed_why IS NOT NULL)
) STRICT;
-- Those from which not everything that is ready may be claimed.
CREATE INDEX perdura_gated ON perdura_queues (queue_id)
    WHERE paused = 1 OR max_in_flight IS NOT NULL OR opens_at_us IS NOT NULL OR closed_at_ms IS NOT NULL;

-- Task names, interned; never deleted.
CREATE TABLE perdura_task_names (
    name_id   INTEGER PRIMARY KEY,
    task_name TEXT    NOT NULL UNIQUE -- 1-200 bytes, no control characters
) STRICT;

-- The hot row of each task.
CREATE TABLE perdura_tasks (
    task_id          INTEGER PRIMARY KEY AUTOINCREMENT, -- rises with each commit, never reused
    queue_id         INTEGER NOT NULL,                  -- perdura_queues
    name_id          INTEGER NOT NULL,                  -- perdura_task_names
    state            INTEGER NOT NULL,                  -- 0 QUEUED, 1 RUNNING, 2 SUCCEEDED, 3 FAILED, 4 CANCELLED, 5 LOST
    hold             INTEGER NOT NULL,                  -- why a QUEUED task may not be claimed: 0 ready, 1 its previous attempt, 2 the runs before it, 3 its time, 4 its name, 5 a condition, 6 a limit of its key, 7 its turn among suspects
    reasons          INTEGER NOT NULL,                  -- all that it waits for: the sum of 1 << (hold - 1); the lowest bit is the hold
    priority         INTEGER NOT NULL,                  -- higher first, within its queue
    attempt_number   INTEGER NOT NULL,                  -- attempts started since enqueue or manual retry, less refunds
    max_attempts     INTEGER NOT NULL,                  -- counts the first one
    generation       INTEGER NOT NULL,                  -- claims over the whole life; the fence of every write for a running task
    in_flight        INTEGER NOT NULL,                  -- 1: a thread of the owner executes this generation (whatever the state), or its work is outside
    cancel_requested INTEGER NOT NULL,                  -- 1: anything but Ok ends it as CANCELLED
    suspect          INTEGER NOT NULL,                  -- 1: it was running when a process died; suspects run one at a time
    extras           INTEGER NOT NULL,                  -- what it has beside its row, to be mended when it ends: 1 a row of perdura_keys names it, 2 its unique key is one until it starts, 4 its key has a limit, 8 it holds a permit of that, 16 it is serial and has started, 32 steps of it are done, 64 it has a row of perdura_needs, 128 its work is outside: it has a row of perdura_outside, 1 << 16 it has a row of perdura_runs
    late             INTEGER NOT NULL,                  -- 1: it succeeded after its deadline
    snoozes          INTEGER NOT NULL,                  -- how often its handler snoozed
    created_at_ms    INTEGER NOT NULL,
    run_at_ms        INTEGER,                           -- when a waiting task falls due
    anchor_ms        INTEGER,                           -- when a relative wait began (NULL: run_at_ms is absolute)
    expires_at_ms    INTEGER,                           -- a task still QUEUED then is cancelled
    started_at_ms    INTEGER,                           -- of the newest attempt
    finished_at_ms   INTEGER,                           -- when it reached its end state
    -- "A implies B" is written NOT A OR B, and a set of states as a range: for `IN` as a value SQLite builds a table at each write.
    CHECK (attempt_number BETWEEN 0 AND max_attempts),
    CHECK (generation >= attempt_number),
    CHECK (state <> 1 OR (started_at_ms IS NOT NULL AND in_flight = 1 AND attempt_number >= 1)),
    CHECK (state <> 0 OR attempt_number < max_attempts),
    CHECK (state NOT BETWEEN 2 AND 3 OR in_flight = 0),
    CHECK (state NOT BETWEEN 2 AND 4 OR finished_at_ms IS NOT NULL),
    CHECK (state <> 5 OR in_flight <> 0 OR finished_at_ms IS NOT NULL),
    CHECK (hold = 0 OR state = 0),
    CHECK (hold = 0 AND reasons = 0 OR hold BETWEEN 1 AND 7 AND reasons & ((1 << hold) - 1) = 1 << (hold - 1)),
    CHECK (reasons & 4 = 0 OR run_at_ms IS NOT NULL),
    CHECK (anchor_ms IS NULL OR run_at_ms IS NOT NULL)
) STRICT;

-- What may be claimed now, in the order of claiming, and nothing else.
CREATE INDEX perdura_ready ON perdura_tasks (queue_id, priority DESC, task_id) WHERE state = 0 AND hold = 0;
-- What waits for its time.
CREATE INDEX perdura_waiting ON perdura_tasks (run_at_ms) WHERE state = 0 AND hold = 3;
-- Relative waits by their beginning: one that lies in the future shows that the clock jumped back.
CREATE INDEX perdura_anchors ON perdura_tasks (anchor_ms) WHERE state = 0 AND hold = 3 AND anchor_ms IS NOT NULL;
-- What waits for a handler that knows its name.
CREATE INDEX perdura_unknown ON perdura_tasks (name_id, task_id) WHERE state = 0 AND hold = 4;
-- Whatever waits, by its id: for lists.
CREATE INDEX perdura_held ON perdura_tasks (task_id) WHERE state = 0 AND hold > 0;
-- What must be cancelled if nobody claims it in time.
CREATE INDEX perdura_expiring ON perdura_tasks (expires_at_ms) WHERE state = 0 AND expires_at_ms IS NOT NULL;
-- What a thread executes, and what is outside: all that recovery has to look at, and what a limit counts.
CREATE INDEX perdura_in_flight ON perdura_tasks (queue_id, task_id) WHERE in_flight = 1;
-- Who was running when a process died, until it has proved harmless.
CREATE INDEX perdura_suspects ON perdura_tasks (task_id) WHERE suspect = 1;
-- What ended in another way than success: what people list and retry.
CREATE INDEX perdura_ended ON perdura_tasks (state, task_id) WHERE state > 2;

-- What each task was given: written once, read at its claim.
CREATE TABLE perdura_args (
    task_id       INTEGER PRIMARY KEY, -- of perdura_tasks or of perdura_dead_letters
    args          TEXT    NOT NULL,    -- JSON
    version       INTEGER NOT NULL,    -- Task::VERSION of the program that enqueued it
    token         INTEGER NOT NULL,    -- random, drawn by the enqueue; proves whose commit this row came from
    backoff_ms    INTEGER,             -- the base of its backoff (NULL: the configuration's)
    timeout_ms    INTEGER,             -- the limit of one attempt (NULL: the configuration's)
    unique_digest BLOB,                -- keyed digest of its unique key
    tag           TEXT,                -- the user's own mark
    replay_of     INTEGER,             -- the dead letter that it was made from
    until_started INTEGER,             -- 1: its unique key is one until it starts (NULL: while it is live)
    unique_for_ms INTEGER,             -- how long its unique key is taken at least (NULL: no longer than it needs it)
    replace_token INTEGER,             -- of the newest enqueue that gave it other args
    first_task    INTEGER,             -- the task at the beginning of its line of replays: its idempotency keys are that one's (NULL: its own)
    first_token   INTEGER              -- the token of that one
) STRICT;
-- Tasks and dead letters by their tag.
CREATE INDEX perdura_tags ON perdura_args (tag) WHERE tag IS NOT NULL;

-- The newest error of each task that has one.
CREATE TABLE perdura_errors (
    task_id         INTEGER PRIMARY KEY,
    error_type      TEXT NOT NULL,
    error_message   TEXT NOT NULL,
    error_traceback TEXT NOT NULL
) STRICT;

-- Attempts that did not succeed: the first 10 and the last 10 of each task.
CREATE TABLE perdura_attempts (
    task_id         INTEGER NOT NULL,
    generation      INTEGER NOT NULL,
    attempt_number  INTEGER NOT NULL,
    started_at_ms   INTEGER NOT NULL,
    finished_at_ms  INTEGER NOT NULL,
    outcome         TEXT    NOT NULL, -- failed, timed_out, lost, cancelled
    error_type      TEXT    NOT NULL,
    error_message   TEXT    NOT NULL,
    error_traceback TEXT    NOT NULL,
    PRIMARY KEY (task_id, generation)
) STRICT, WITHOUT ROWID;

-- Results of tasks that succeeded (a result that is JSON null has no row).
CREATE TABLE perdura_results (
    task_id INTEGER PRIMARY KEY,
    result  TEXT NOT NULL -- JSON
) STRICT;

-- Saved progress: the newest checkpoint of each task.
CREATE TABLE perdura_checkpoints (
    task_id    INTEGER PRIMARY KEY,
    checkpoint TEXT NOT NULL -- JSON
) STRICT;

-- Steps of tasks that are done: the next attempts get what they gave. They go when the task succeeds.
CREATE TABLE perdura_steps (
    step_id    INTEGER PRIMARY KEY, -- rises with the steps of a task
    task_id    INTEGER NOT NULL, -- of perdura_tasks or of perdura_dead_letters
    step       TEXT    NOT NULL, -- its name: 1-200 bytes, no control characters
    number     INTEGER NOT NULL, -- which one of its name, in a loop; -1: it stands alone
    done_at_ms INTEGER NOT NULL, -- when it was done; of a sleep: when it began
    result     TEXT,             -- JSON (NULL: it is a sleep)
    CHECK (number >= -1)
) STRICT;
-- The steps of a task.
CREATE UNIQUE INDEX perdura_steps_by_task ON perdura_steps (task_id, step, number);

-- How far each task says it is: two's complement of unsigned numbers.
CREATE TABLE perdura_progress (
    task_id INTEGER PRIMARY KEY,
    done    INTEGER NOT NULL,
    total   INTEGER NOT NULL
) STRICT;

-- What attempts have written, by stream: of the newest attempt of a task, and of those that are kept in perdura_attempts.
CREATE TABLE perdura_output (
    task_id    INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    stream     INTEGER NOT NULL, -- 0 stdout, 1 stderr
    bytes      INTEGER NOT NULL, -- all that was written, what was left out included
    first      BLOB    NOT NULL, -- the first 16 KiB
    last       BLOB    NOT NULL, -- the last 48 KiB of the rest
    PRIMARY KEY (task_id, generation, stream)
) STRICT, WITHOUT ROWID;

-- Unique keys that are taken. A task needs its key while it is live (QUEUED, RUNNING, or LOST while its thread still runs); if it is one until
-- the start, while it is QUEUED.
CREATE TABLE perdura_keys (
    queue_id INTEGER NOT NULL,
    digest   BLOB    NOT NULL, -- of the key; the key itself is not kept
    task_id  INTEGER NOT NULL, -- who took it; with until_ms, the task may be gone
    until_ms INTEGER,          -- it is taken until then in any case (NULL: as long as the task needs it)
    since_ms INTEGER,          -- when that time began
    PRIMARY KEY (queue_id, digest),
    CHECK (until_ms IS NULL OR since_ms IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX perdura_key_holders ON perdura_keys (task_id);
-- Keys whose time may be over.
CREATE INDEX perdura_key_times ON perdura_keys (until_ms, task_id) WHERE until_ms IS NOT NULL;
-- Keys by the beginning of their time: one that lies in the future shows that the clock jumped back.
CREATE INDEX perdura_key_anchors ON perdura_keys (since_ms) WHERE since_ms IS NOT NULL;

-- Schedules: what makes tasks by itself, and when it does so next.
CREATE TABLE perdura_schedules (
    schedule_id     INTEGER PRIMARY KEY,
    schedule        TEXT    NOT NULL UNIQUE, -- its name: 1-200 bytes, no control characters
    definition      TEXT    NOT NULL,        -- JSON: rhythm (cron, every_ms or after_end_ms), missed, grace_ms, overlap, jitter_ms, until_ms, and
                                             -- name, version of args and options of its tasks
    declared        INTEGER NOT NULL,        -- 1: by the program of an owner; 0: made at run time
    paused          INTEGER NOT NULL,        -- 1: it makes no tasks until somebody resumes it
    disabled        INTEGER NOT NULL,        -- 1: an owner has declared it once, and the newest that declared any has not
    broken          TEXT,                    -- why it cannot make tasks
    next_tick_ms    INTEGER,                 -- its next tick (NULL: it has none, or not before its run has ended)
    due_ms          INTEGER,                 -- when that is fired, its jitter included (NULL: it has none, or is paused, disabled or broken)
    last_tick_ms    INTEGER NOT NULL,        -- no tick up to this one fires (again)
    highest_tick_ms INTEGER,                 -- the highest tick that ever fired
    fired           INTEGER NOT NULL,        -- ticks that made a task
    missed          INTEGER NOT NULL,        -- ticks that made none, because nobody fired them in their time
    left_out        INTEGER NOT NULL         -- ticks that made none, because of a run before, or of a task with the same unique key
) STRICT;
-- What is to be fired, and when.
CREATE INDEX perdura_due_schedules ON perdura_schedules (due_ms) WHERE due_ms IS NOT NULL;
-- What cannot make tasks: the next owner tries it again.
CREATE INDEX perdura_broken_schedules ON perdura_schedules (schedule_id) WHERE broken IS NOT NULL;
-- Those that a clock has written that was ahead.
CREATE INDEX perdura_last_ticks ON perdura_schedules (last_tick_ms);

-- The args of each schedule's tasks.
CREATE TABLE perdura_schedule_args (
    schedule_id INTEGER PRIMARY KEY,
    args        TEXT NOT NULL -- JSON
) STRICT;

-- Runs: the tasks that schedules have made, and the dead letters that they became.
CREATE TABLE perdura_runs (
    task_id     INTEGER PRIMARY KEY,
    schedule_id INTEGER NOT NULL, -- of perdura_schedules; of one that was removed, perhaps
    tick_ms     INTEGER NOT NULL, -- whose run it is
    by_hand     INTEGER NOT NULL, -- 1: somebody made it, not its tick
    live        INTEGER NOT NULL  -- 0: it has ended; 1: it may run, or does; 2: it waits until those before it have ended
) STRICT;
-- Each tick makes one task.
CREATE UNIQUE INDEX perdura_run_ticks ON perdura_runs (schedule_id, tick_ms) WHERE by_hand = 0;
-- What is under way of each schedule, and what waits.
CREATE INDEX perdura_live_runs ON perdura_runs (schedule_id, live, tick_ms, task_id) WHERE live > 0;

-- Tasks whose key has a limit: who holds a permit of the key, and who waits for one. A permit is a bit of its task's own row too; there is no counter.
CREATE TABLE perdura_limits (
    task_id  INTEGER PRIMARY KEY, -- of perdura_tasks or of perdura_dead_letters
    queue_id INTEGER NOT NULL,
    digest   BLOB    NOT NULL,    -- of the key; the key itself is not kept
    permits  INTEGER NOT NULL,    -- it gets one while fewer of its key are held
    serial   INTEGER NOT NULL,    -- 1: from its first start on it keeps its permit until it has ended
    priority INTEGER NOT NULL,    -- of the task
    standing INTEGER NOT NULL,    -- 0 apart, 1 holds a permit, 2 waits for one
    CHECK (permits >= 1),
    CHECK (serial = 0 OR permits = 1),
    CHECK (standing BETWEEN 0 AND 2)
) STRICT;
CREATE INDEX perdura_permits ON perdura_limits (queue_id, digest) WHERE standing = 1;
-- Who waits for a permit of a key, the best first.
CREATE INDEX perdura_permit_waiters ON perdura_limits (queue_id, digest, priority DESC, task_id) WHERE standing = 2;

-- Conditions that tasks need, and what programs say of them.
CREATE TABLE perdura_conditions (
    condition_id INTEGER PRIMARY KEY,  -- which bit of perdura_needs it is: 0-61
    condition    TEXT NOT NULL UNIQUE, -- its name: 1-200 bytes, no control characters
    is_met       INTEGER,              -- what was said last: 1 it is, 0 it is not (NULL: nothing yet)
    set_at_ms    INTEGER,              -- when that was said
    owner_epoch  INTEGER,              -- by the program that owned the file, and it counts as long as that does (NULL: by another, and it counts until it is said anew)
    CHECK (condition_id BETWEEN 0 AND 61),
    CHECK (is_met IS NULL OR is_met BETWEEN 0 AND 1),
    CHECK ((is_met IS NULL) = (set_at_ms IS NULL)),
    CHECK (owner_epoch IS NULL OR is_met IS NOT NULL)
) STRICT;

-- What tasks need beside their time and their turn.
CREATE TABLE perdura_needs (
    task_id    INTEGER PRIMARY KEY, -- of perdura_tasks or of perdura_dead_letters
    needs      INTEGER NOT NULL,    -- conditions, to start: the sum of 1 << condition_id
    throughout INTEGER NOT NULL,    -- those of them that it needs while it runs, too
    free_bytes INTEGER NOT NULL,    -- so much free disk, to start (0: any)
    priority   INTEGER NOT NULL,    -- of the task
    waits_for  INTEGER,             -- the condition that it waits for; 62: for free disk (NULL: for none)
    CHECK (needs BETWEEN 0 AND 4611686018427387903),
    CHECK (throughout & ~needs = 0),
    CHECK (free_bytes >= 0),
    CHECK (waits_for IS NULL OR waits_for BETWEEN 0 AND 62)
) STRICT;
-- Who waits for a condition, the best first.
CREATE INDEX perdura_condition_waiters ON perdura_needs (waits_for, priority DESC, task_id) WHERE waits_for < 62;
-- Who waits for free disk, who needs least first.
CREATE INDEX perdura_disk_waiters ON perdura_needs (free_bytes, task_id) WHERE waits_for = 62;

-- Work that is outside: tasks that are RUNNING without a thread. The row goes with the end of the attempt.
CREATE TABLE perdura_outside (
    task_id        INTEGER PRIMARY KEY,
    engine         TEXT,             -- who does it (NULL: none; somebody says how it ends)
    job            TEXT,             -- under which id the engine knows it
    spec           TEXT,             -- what the engine is asked to do, JSON
    waits_for      TEXT,             -- what it waits for without an engine, in the words of its handler
    since_ms       INTEGER NOT NULL, -- when its handler returned
    owner_epoch    INTEGER NOT NULL, -- of the owner whose handler that was: a later one does not know what has been asked of the engine
    accepted_at_ms INTEGER,          -- when the engine had it for certain (NULL: it was to be asked, and may have been)
    time_left_ms   INTEGER,          -- what was left of the time for the attempt; of a job it begins when the engine has it (NULL: no limit)
    deadline_ms    INTEGER,          -- when the attempt has taken too long (NULL: it may take its time, or that has not begun)
    CHECK ((engine IS NULL) = (job IS NULL)),
    CHECK ((engine IS NULL) = (spec IS NULL)),
    CHECK ((engine IS NULL) = (waits_for IS NOT NULL)),
    CHECK (accepted_at_ms IS NULL OR engine IS NOT NULL)
) STRICT;
-- The work of each engine.
CREATE INDEX perdura_jobs ON perdura_outside (engine, task_id) WHERE engine IS NOT NULL;
-- When somebody has not said in time how it ends.
CREATE INDEX perdura_outside_due ON perdura_outside (deadline_ms) WHERE engine IS NULL AND deadline_ms IS NOT NULL;
-- The same by their beginning: one that lies in the future shows that the clock jumped back.
CREATE INDEX perdura_outside_anchors ON perdura_outside (since_ms) WHERE engine IS NULL AND deadline_ms IS NOT NULL;

-- How many tasks each queue has in each state and hold, kept by the writes themselves.

CREATE TABLE perdura_counts (
    queue_id INTEGER NOT NULL,
    state    INTEGER NOT NULL,
    hold     INTEGER NOT NULL,
    n        INTEGER NOT NULL CHECK (n >= 0),
    PRIMARY KEY (queue_id, state, hold)
) STRICT, WITHOUT ROWID;

-- Tasks that were moved out of the task table; their args, error, attempts and checkpoint stay in the cold tables.
CREATE TABLE perdura_dead_letters (
    task_id        INTEGER PRIMARY KEY, -- the id that it had as a task
    queue_id       INTEGER NOT NULL,
    name_id        INTEGER NOT NULL,
    state          INTEGER NOT NULL,    -- 3 FAILED or 5 LOST
    priority       INTEGER NOT NULL,
    attempt_number INTEGER NOT NULL,
    max_attempts   INTEGER NOT NULL,
    generation     INTEGER NOT NULL,
    created_at_ms  INTEGER NOT NULL,
    started_at_ms  INTEGER,
    finished_at_ms INTEGER NOT NULL,
    moved_at_ms    INTEGER NOT NULL,
    replayed_at_ms INTEGER,             -- when a new task was made of it
    replayed_as    INTEGER              -- the newest of those tasks
) STRICT;
CREATE INDEX perdura_letters_by_age ON perdura_dead_letters (moved_at_ms);

-- What attempts did lately, by minute and task name: how many, and for how long. A day of it is kept.
CREATE TABLE perdura_rollups (
    minute  INTEGER NOT NULL, -- minutes since 1970 UTC
    name_id INTEGER NOT NULL,
    measure INTEGER NOT NULL, -- 0-4 attempts by how long they ran: SUCCEEDED, to be retried, FAILED, LOST, CANCELLED; 5 attempts by how long they had been ready
    bucket  INTEGER NOT NULL, -- the length of time, by the scale of src/task/histogram.rs; 255: nobody knows it
    n       INTEGER NOT NULL,
    PRIMARY KEY (minute, name_id, measure, bucket)
) STRICT, WITHOUT ROWID;

-- Room that is kept for a full disk: nothing but zeroes (src/store/file/reserve.rs).
CREATE TABLE perdura_padding (
    id      INTEGER PRIMARY KEY, -- up to 0: what the file grows by just now; from 1: the reserve
    padding BLOB    NOT NULL
) STRICT;
