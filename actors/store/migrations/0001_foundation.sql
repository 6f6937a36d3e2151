-- The first shape of the store. Times are milliseconds since 1970 UTC; ids are text; JSON is text.
-- A column that is added later must be nullable or have a default, so that an older file can be brought up.

-- What connectors accepted. The row stays small, so that lists are quick; the raw body has a table of its own.
-- Without AUTOINCREMENT a repeated delivery uses up no position; nobody deletes the newest row.
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    source      TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    repo        TEXT    COLLATE NOCASE,
    sender      TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    envelope    TEXT    NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'recorded',
    outcome     TEXT,
    run_id      TEXT,
    settled_at  INTEGER
) STRICT;

-- Each index ends in the row's seq by itself, so that "newest first" needs no sorting.
-- The settled are the many: a list of them reads the table backwards. Only the few others have an index.
CREATE INDEX events_recorded    ON events (seq) WHERE state = 'recorded';
CREATE INDEX events_quarantined ON events (seq) WHERE state = 'quarantined';
CREATE INDEX events_by_repo     ON events (repo) WHERE repo IS NOT NULL;
CREATE INDEX events_by_type     ON events (type);
CREATE INDEX events_by_sender   ON events (sender);

CREATE TABLE event_bodies (
    seq    INTEGER PRIMARY KEY REFERENCES events (seq) ON DELETE CASCADE,
    format TEXT NOT NULL,
    body   BLOB NOT NULL
) STRICT;

-- Bundles of workflow definitions: a run goes on with the version that it started with.
CREATE TABLE definitions (
    hash   TEXT PRIMARY KEY,
    name   TEXT NOT NULL,
    bundle TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A run has come to its end exactly when ended_at is set.
-- Of all live runs of one workflow and subject one *holds* the place: it is next in the queue, running or paused.
-- The others wait behind it. When it ends, the oldest that waits takes the place over.
CREATE TABLE runs (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE,
    workflow      TEXT    NOT NULL,
    definition    TEXT    NOT NULL REFERENCES definitions (hash),
    subject       TEXT    NOT NULL,
    repo          TEXT    COLLATE NOCASE,
    number        INTEGER,
    status        TEXT    NOT NULL,
    holds         INTEGER NOT NULL,
    overlap       TEXT    NOT NULL,
    trigger_type  TEXT    NOT NULL,
    triggered_by  TEXT    NOT NULL,
    event_id      TEXT,
    event_seq     INTEGER,
    context       TEXT    NOT NULL,
    reply_to      TEXT    NOT NULL,
    scratch       TEXT    NOT NULL DEFAULT '{}',
    current_phase TEXT,
    error         TEXT,
    restart_count INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    started_at    INTEGER,
    ended_at      INTEGER,
    updated_at    INTEGER NOT NULL
) STRICT;

-- The rule "one live run per workflow and subject", held by the database itself.
CREATE UNIQUE INDEX runs_holder ON runs (workflow, subject) WHERE holds = 1;
CREATE INDEX runs_live          ON runs (workflow, subject, seq) WHERE ended_at IS NULL;
CREATE INDEX runs_ready         ON runs (seq) WHERE status = 'queued' AND holds = 1;
CREATE INDEX runs_by_workflow   ON runs (workflow);
CREATE INDEX runs_by_status     ON runs (status);
CREATE INDEX runs_by_repo       ON runs (repo) WHERE repo IS NOT NULL;
CREATE INDEX runs_by_time       ON runs (created_at);

-- How many runs there are of each kind, so that "how many match in all" does not count a million rows.
CREATE TABLE run_counts (
    workflow TEXT    NOT NULL,
    repo     TEXT    NOT NULL COLLATE NOCASE,
    status   TEXT    NOT NULL,
    n        INTEGER NOT NULL,
    PRIMARY KEY (workflow, repo, status)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER runs_counted_when_opened AFTER INSERT ON runs BEGIN
    INSERT INTO run_counts (workflow, repo, status, n) VALUES (NEW.workflow, ifnull(NEW.repo, ''), NEW.status, 1)
        ON CONFLICT (workflow, repo, status) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER runs_counted_when_moved AFTER UPDATE OF status ON runs WHEN OLD.status <> NEW.status BEGIN
    UPDATE run_counts SET n = n - 1
        WHERE workflow = OLD.workflow AND repo = ifnull(OLD.repo, '') AND status = OLD.status;
    INSERT INTO run_counts (workflow, repo, status, n) VALUES (NEW.workflow, ifnull(NEW.repo, ''), NEW.status, 1)
        ON CONFLICT (workflow, repo, status) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER runs_counted_when_removed AFTER DELETE ON runs BEGIN
    UPDATE run_counts SET n = n - 1
        WHERE workflow = OLD.workflow AND repo = ifnull(OLD.repo, '') AND status = OLD.status;
END;

CREATE TABLE phase_executions (
    seq        INTEGER PRIMARY KEY,
    run_seq    INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    phase      TEXT    NOT NULL,
    attempt    INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    output     TEXT,
    reason     TEXT,
    exit_code  INTEGER,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    UNIQUE (run_seq, phase, attempt)
) STRICT;

CREATE TABLE approvals (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    run_seq      INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    subject      TEXT    NOT NULL,
    phase        TEXT    NOT NULL,
    gate         TEXT    NOT NULL,
    summary      TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    status       TEXT    NOT NULL DEFAULT 'pending',
    requested_by TEXT    NOT NULL,
    responded_by TEXT,
    response     TEXT,
    responded_at INTEGER,
    created_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX approvals_pending  ON approvals (seq) WHERE status = 'pending';
CREATE INDEX approvals_about    ON approvals (subject) WHERE status = 'pending';
CREATE INDEX approvals_of_run   ON approvals (run_seq);

-- The outbox. An effect is final exactly when settled_at is set. The earliest of a lane that is not final is its head:
-- only heads are looked at, so that neither one long lane nor many short ones make the look slow.
CREATE TABLE effects (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT    NOT NULL UNIQUE,
    kind       TEXT    NOT NULL,
    lane       TEXT    NOT NULL,
    effect     TEXT    NOT NULL,
    run_id     TEXT,
    event_id   TEXT,
    state      TEXT    NOT NULL DEFAULT 'pending',
    head       INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL,
    result     TEXT,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    settled_at INTEGER
) STRICT;

CREATE UNIQUE INDEX effects_one_head ON effects (lane) WHERE head = 1;
CREATE INDEX effects_heads           ON effects (kind, due_at) WHERE head = 1;
CREATE INDEX effects_open            ON effects (lane, seq) WHERE settled_at IS NULL;
CREATE INDEX effects_of_run          ON effects (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX effects_of_event        ON effects (event_id) WHERE event_id IS NOT NULL;

-- Every attempt is written down before it is made; one without an end was cut off by a crash.
CREATE TABLE attempts (
    effect_seq INTEGER NOT NULL REFERENCES effects (seq) ON DELETE CASCADE,
    attempt    INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    outcome    TEXT,
    result     TEXT,
    error      TEXT,
    PRIMARY KEY (effect_seq, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE workflow_overrides (
    workflow   TEXT PRIMARY KEY,
    enabled    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- A null means: as the file says.
CREATE TABLE cron_overrides (
    name       TEXT PRIMARY KEY,
    enabled    INTEGER,
    schedule   TEXT,
    updated_at INTEGER NOT NULL,
    updated_by TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE chat_sessions (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT    NOT NULL UNIQUE,
    platform         TEXT    NOT NULL,
    channel          TEXT    NOT NULL,
    thread           TEXT    NOT NULL,
    user_id          TEXT    NOT NULL,
    active           INTEGER NOT NULL DEFAULT 1,
    message_count    INTEGER NOT NULL DEFAULT 0,
    created_at       INTEGER NOT NULL,
    last_activity_at INTEGER NOT NULL
) STRICT;

-- One active session per place and person; its first three columns also answer "are we in this thread already?".
CREATE UNIQUE INDEX chat_sessions_active ON chat_sessions (platform, channel, thread, user_id) WHERE active = 1;
CREATE INDEX chat_sessions_by_activity   ON chat_sessions (active, last_activity_at);

CREATE TABLE chat_messages (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    session_seq INTEGER NOT NULL REFERENCES chat_sessions (seq) ON DELETE CASCADE,
    message_id  TEXT,
    role        TEXT    NOT NULL,
    author      TEXT    NOT NULL,
    text        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX chat_messages_of_session        ON chat_messages (session_seq);
CREATE UNIQUE INDEX chat_messages_said_once  ON chat_messages (session_seq, message_id) WHERE message_id IS NOT NULL;

CREATE TABLE idempotency_keys (
    key         TEXT PRIMARY KEY,
    request     TEXT    NOT NULL,
    status      INTEGER,
    body        TEXT,
    claimed_at  INTEGER NOT NULL,
    answered_at INTEGER
) STRICT;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (claimed_at);

-- Who did what. Each row carries the hash of the one before it, so that a changed or missing row shows.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    who        TEXT    NOT NULL,
    from_addr  TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    result     TEXT    NOT NULL,
    prev_hash  TEXT    NOT NULL,
    hash       TEXT    NOT NULL
) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
