-- The variants that a contest and a signup got of experiments: experiment:variant, with commas between.
ALTER TABLE contest ADD COLUMN variants TEXT;
ALTER TABLE signup ADD COLUMN variants TEXT;

-- Experiments; what one is, is a JSON object.
CREATE TABLE experiment (
    name       TEXT    NOT NULL PRIMARY KEY,
    salt       TEXT    NOT NULL,
    definition TEXT    NOT NULL,
    ramp       INTEGER NOT NULL,
    status     TEXT    NOT NULL,
    started_at INTEGER,
    ended_at   INTEGER,
    end_reason TEXT,
    stopped    TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who did what with an experiment, and why.
CREATE TABLE experiment_change (
    name       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    action     TEXT    NOT NULL,
    changed_by TEXT,
    reason     TEXT    NOT NULL,
    variant    TEXT,
    ramp       INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

-- Who met an experiment, in which contest; without a viewer: the contest itself.
CREATE TABLE exposure (
    experiment TEXT    NOT NULL,
    unit       TEXT    NOT NULL,
    contest_id TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    variant    TEXT    NOT NULL,
    met_at     INTEGER NOT NULL,
    PRIMARY KEY (experiment, unit, contest_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX exposure_contest ON exposure (contest_id, experiment, variant, user_id);
