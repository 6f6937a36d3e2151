-- Deliveries: effects that go to an endpoint at its own pace instead of along a lane, and how the endpoints do.

-- What all deliveries of one event have in common: the end of their bodies, stored once.
CREATE TABLE webhook_messages (
    id   TEXT PRIMARY KEY,
    rest TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- An effect is a delivery exactly when it has a delivery id; it is never the head of a lane then. Between claim and
-- outcome its due_at is the end of the claim. Rounds count the steps of its schedule that failed.
ALTER TABLE effects ADD COLUMN delivery    TEXT;
ALTER TABLE effects ADD COLUMN endpoint    TEXT;
ALTER TABLE effects ADD COLUMN topic       TEXT;
ALTER TABLE effects ADD COLUMN webhook     TEXT;
ALTER TABLE effects ADD COLUMN message     TEXT REFERENCES webhook_messages (id);
ALTER TABLE effects ADD COLUMN round       INTEGER NOT NULL DEFAULT 0;
ALTER TABLE effects ADD COLUMN http_status INTEGER;

CREATE UNIQUE INDEX effects_delivery     ON effects (delivery) WHERE delivery IS NOT NULL;
CREATE INDEX effects_deliveries_due      ON effects (endpoint, due_at) WHERE endpoint IS NOT NULL AND settled_at IS NULL;
-- Lists read these backwards. The delivered are the many, so the others have an index of their own.
CREATE INDEX effects_deliveries          ON effects (seq) WHERE delivery IS NOT NULL;
CREATE INDEX effects_deliveries_not_done ON effects (state) WHERE delivery IS NOT NULL AND state <> 'done';
CREATE INDEX effects_deliveries_webhook  ON effects (webhook) WHERE webhook IS NOT NULL;

ALTER TABLE attempts ADD COLUMN http_status INTEGER;
ALTER TABLE attempts ADD COLUMN excerpt     TEXT;
ALTER TABLE attempts ADD COLUMN duration_ms INTEGER;

-- A webhook without a row was never tried and never switched: it is on.
CREATE TABLE webhook_stats (
    webhook         TEXT    PRIMARY KEY,
    enabled         INTEGER NOT NULL DEFAULT 1,
    disabled_reason TEXT,
    delivered       INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0,
    last_ok_at      INTEGER,
    failing_since   INTEGER,
    failures        INTEGER NOT NULL DEFAULT 0,
    last_error      TEXT,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
