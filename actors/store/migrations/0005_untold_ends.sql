-- Runs of a chat that were ended from outside their runner, by a rejection, a cancel or a stop too many: their thread is told afterwards.
ALTER TABLE runs ADD COLUMN untold INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_untold ON runs (seq) WHERE untold = 1;
