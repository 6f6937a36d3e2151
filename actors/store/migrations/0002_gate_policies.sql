-- Questions have rules: who may answer, how many must, by when. A question of the first shape has none of them.
ALTER TABLE approvals ADD COLUMN rules       TEXT NOT NULL DEFAULT '{}';
ALTER TABLE approvals ADD COLUMN shown       TEXT;
ALTER TABLE approvals ADD COLUMN head_sha    TEXT;
ALTER TABLE approvals ADD COLUMN deadline_at INTEGER;
-- Null once somebody was told.
ALTER TABLE approvals ADD COLUMN escalate_at INTEGER;

CREATE INDEX approvals_by_deadline   ON approvals (deadline_at) WHERE status = 'pending' AND deadline_at IS NOT NULL;
CREATE INDEX approvals_by_escalation ON approvals (escalate_at) WHERE status = 'pending' AND escalate_at IS NOT NULL;

-- Approvals that count and were not enough. Who is the same person is decided by the rules, not here.
CREATE TABLE approval_votes (
    approval_seq INTEGER NOT NULL REFERENCES approvals (seq) ON DELETE CASCADE,
    n            INTEGER NOT NULL,
    voter        TEXT    NOT NULL,
    response     TEXT,
    at           INTEGER NOT NULL,
    PRIMARY KEY (approval_seq, n)
) STRICT, WITHOUT ROWID;
