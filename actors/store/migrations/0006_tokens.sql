-- Tokens that were handed out, so that each can be named and taken back; and ways into the audit log.
CREATE TABLE tokens (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    who        TEXT    NOT NULL,
    method     TEXT    NOT NULL,
    label      TEXT,
    scope      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER,
    revoked_at INTEGER,
    revoked_by TEXT
) STRICT;

-- What has run out is swept out from this end.
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

CREATE INDEX audit_by_who ON audit (who);
CREATE INDEX audit_by_who_and_action ON audit (who, action);
CREATE INDEX audit_by_action ON audit (action);
CREATE INDEX audit_by_target ON audit (target);
CREATE INDEX audit_by_time ON audit (at);
