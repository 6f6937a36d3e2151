-- Where each schedule stands. Every instant up to the cursor has been decided on, so that none fires twice.
CREATE TABLE cron_states (
    name       TEXT PRIMARY KEY,
    cursor     INTEGER,
    expression TEXT    NOT NULL,
    failures   INTEGER NOT NULL DEFAULT 0,
    alarms     TEXT    NOT NULL DEFAULT '[]'
) STRICT, WITHOUT ROWID;

-- The ledger. A row is written before anything is dispatched.
CREATE TABLE cron_firings (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    cron         TEXT    NOT NULL,
    scheduled_at INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    due_at       INTEGER NOT NULL,
    who          TEXT    NOT NULL,
    instants     INTEGER NOT NULL,
    total        INTEGER NOT NULL DEFAULT 0,
    dispatched   INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0,
    note         TEXT,
    seed         TEXT    NOT NULL,
    context      TEXT,
    created_at   INTEGER NOT NULL,
    started_at   INTEGER,
    ended_at     INTEGER,
    UNIQUE (cron, scheduled_at)
) STRICT;

CREATE INDEX cron_firings_open    ON cron_firings (seq) WHERE ended_at IS NULL;
CREATE INDEX cron_firings_by_cron ON cron_firings (cron, seq);

CREATE TABLE cron_targets (
    firing_seq INTEGER NOT NULL REFERENCES cron_firings (seq) ON DELETE CASCADE,
    n          INTEGER NOT NULL,
    repo       TEXT,
    state      TEXT    NOT NULL,
    run_id     TEXT,
    note       TEXT,
    PRIMARY KEY (firing_seq, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX cron_targets_live ON cron_targets (run_id) WHERE state = 'live';
