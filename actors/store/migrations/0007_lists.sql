-- Lists stay quick whatever is asked of them, and what happened is counted by the hour.

-- Absent where an event has none; kept beside the envelope so that a search for words need not understand it.
ALTER TABLE events ADD COLUMN title     TEXT;
-- The event that this one repeats on somebody's order.
ALTER TABLE events ADD COLUMN replay_of TEXT;
UPDATE events SET title = json_extract(envelope, '$.title') WHERE json_extract(envelope, '$.title') IS NOT NULL;

CREATE INDEX events_by_time ON events (received_at);

-- Runs of one workflow or repository in one state, newest first, without a look at those of the other states.
CREATE INDEX runs_by_workflow_status ON runs (workflow, status);
CREATE INDEX runs_by_repo_status     ON runs (repo, status) WHERE repo IS NOT NULL;
CREATE INDEX runs_by_all             ON runs (repo, workflow, status) WHERE repo IS NOT NULL;
-- A total since an instant is counted along this one alone.
DROP INDEX runs_by_time;
CREATE INDEX runs_by_time            ON runs (created_at, status, workflow, repo);

-- What happened in each hour since 1970 UTC. What retention removes stays counted here. Events are counted when they are
-- settled, many at a time: a counter at each would cost the intake.
CREATE TABLE hours (
    hour INTEGER NOT NULL,
    what TEXT    NOT NULL,
    n    INTEGER NOT NULL,
    PRIMARY KEY (hour, what)
) STRICT, WITHOUT ROWID;

INSERT INTO hours SELECT received_at / 3600000, 'events', count(*) FROM events WHERE state <> 'recorded' GROUP BY 1;
INSERT INTO hours SELECT created_at / 3600000, 'runs', count(*) FROM runs GROUP BY 1;
INSERT INTO hours SELECT ended_at / 3600000, status, count(*) FROM runs WHERE ended_at IS NOT NULL GROUP BY 1, 2;
INSERT INTO hours SELECT settled_at / 3600000, 'delivered', count(*) FROM effects
    WHERE delivery IS NOT NULL AND state = 'done' AND settled_at IS NOT NULL GROUP BY 1;
INSERT INTO hours SELECT settled_at / 3600000, 'dead', count(*) FROM effects
    WHERE delivery IS NOT NULL AND state = 'dead' AND settled_at IS NOT NULL GROUP BY 1;

CREATE TRIGGER hours_of_runs AFTER INSERT ON runs BEGIN
    INSERT INTO hours VALUES (NEW.created_at / 3600000, 'runs', 1) ON CONFLICT (hour, what) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER hours_of_ends AFTER UPDATE OF ended_at ON runs WHEN OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL BEGIN
    INSERT INTO hours VALUES (NEW.ended_at / 3600000, NEW.status, 1) ON CONFLICT (hour, what) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER hours_of_deliveries AFTER UPDATE OF settled_at ON effects
    WHEN NEW.delivery IS NOT NULL AND OLD.settled_at IS NULL AND NEW.settled_at IS NOT NULL AND NEW.state IN ('done', 'dead')
BEGIN
    INSERT INTO hours
        VALUES (NEW.settled_at / 3600000, CASE NEW.state WHEN 'done' THEN 'delivered' ELSE 'dead' END, 1)
        ON CONFLICT (hour, what) DO UPDATE SET n = n + 1;
END;
