ALTER TABLE finding ADD COLUMN user_id TEXT;
-- A person's word on a finding.
ALTER TABLE finding ADD COLUMN resolved_by TEXT;
ALTER TABLE finding ADD COLUMN note TEXT;
CREATE INDEX finding_kind ON finding (contest_id, class, subject, finding_id);

-- Runs of the reconciliation over whole contests.
CREATE TABLE reconciliation (
    run_id        TEXT    NOT NULL PRIMARY KEY,
    -- the contests it looks at, the first and the last one
    from_contest  TEXT    NOT NULL,
    to_contest    TEXT    NOT NULL,
    asked_by      TEXT,
    is_dry        INTEGER NOT NULL,
    asked_at      INTEGER NOT NULL,
    ended_at      INTEGER,
    -- the contest after which it goes on
    after_contest TEXT,
    contests      INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    signups       INTEGER NOT NULL,
    transfers     INTEGER NOT NULL,
    differences   INTEGER NOT NULL,
    repaired      INTEGER NOT NULL,
    -- coins that repairs may have moved
    repaired_coins INTEGER NOT NULL,
    over_limits   INTEGER NOT NULL,
    version       INTEGER NOT NULL
) STRICT;

CREATE INDEX reconciliation_open ON reconciliation (run_id) WHERE ended_at IS NULL;

-- What a run found.
CREATE TABLE reconciliation_finding (
    run_id     TEXT NOT NULL,
    finding_id TEXT NOT NULL,
    PRIMARY KEY (run_id, finding_id)
) STRICT, WITHOUT ROWID;

-- Repairs, each written down before it is made.
CREATE TABLE repair (
    repair_id   TEXT    NOT NULL PRIMARY KEY,
    finding_id  TEXT    NOT NULL,
    run_id      TEXT,
    repaired_by TEXT,
    contest_id  TEXT    NOT NULL,
    order_id    TEXT    NOT NULL,
    what        TEXT    NOT NULL,
    evidence    TEXT    NOT NULL,
    coins       INTEGER NOT NULL,
    begun_at    INTEGER NOT NULL,
    ended_at    INTEGER,
    outcome     TEXT
) STRICT;

CREATE INDEX repair_finding ON repair (finding_id, repair_id);

-- How far the log of a contest's pool account has been read.
CREATE TABLE watch (
    contest_id TEXT    NOT NULL PRIMARY KEY,
    position   INTEGER NOT NULL,
    walked     TEXT,
    walk_at    INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    final_run  TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX watch_due ON watch (due_at, contest_id);

INSERT INTO watch (contest_id, position, walk_at, due_at) SELECT contest_id, 0, 0, 0 FROM contest;

-- Since when nothing leaves the pool because the books differ, and for how long that was so while prizes
-- could be claimed.
ALTER TABLE contest ADD COLUMN stopped_since INTEGER;
ALTER TABLE contest ADD COLUMN stopped_ms INTEGER NOT NULL DEFAULT 0;

-- What somebody outside is to be told.
CREATE TABLE notice (
    sequence   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL,
    contest_id TEXT    NOT NULL,
    finding_id TEXT,
    created_at INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    due_at     INTEGER NOT NULL
) STRICT;

CREATE INDEX notice_due ON notice (due_at);
