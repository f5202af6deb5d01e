-- Contests, signups and what is known of viewers' tasks. Ids are text, so that the file can be
-- read with any tool; coins are whole, times are milliseconds since 1970 UTC.

CREATE TABLE contest (
    contest_id       TEXT    NOT NULL PRIMARY KEY,
    title            TEXT    NOT NULL,
    room_id          TEXT    NOT NULL,
    fee              INTEGER NOT NULL CHECK (fee > 0),
    task_kind        TEXT    NOT NULL,
    task_target      INTEGER NOT NULL CHECK (task_target > 0),
    rule             TEXT    NOT NULL,
    rake_bps         INTEGER NOT NULL,
    guaranteed_pool  INTEGER NOT NULL,
    series_id        TEXT,
    carry            INTEGER NOT NULL,
    claim_mode       TEXT    NOT NULL,
    no_winner        TEXT    NOT NULL,
    remainder        TEXT    NOT NULL,
    unclaimed        TEXT    NOT NULL,
    grace_ms         INTEGER NOT NULL,
    signup_opens_at  INTEGER NOT NULL,
    signup_closes_at INTEGER NOT NULL,
    tasks_end_at     INTEGER NOT NULL,
    claim_closes_at  INTEGER NOT NULL,
    -- preparing, funding, draft, running, judging, listing, claimable, closed, cancelling, cancelled
    phase            TEXT    NOT NULL,
    cancel_reason    TEXT,
    close_position   INTEGER,
    frozen_at        INTEGER,
    fees             INTEGER,
    rake             INTEGER,
    pool             INTEGER,
    guarantee_return INTEGER,
    finishers        INTEGER,
    -- decimal digits: a sum of weights may exceed 64 bits
    weight_sum       TEXT,
    sheet_after      TEXT,
    sheet_before     TEXT,
    sheet_lines      INTEGER,
    sheet_prizes     INTEGER,
    claimable_at     INTEGER,
    version          INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    wake_at          INTEGER
) STRICT;

CREATE INDEX contest_awake ON contest (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX contest_room ON contest (room_id, task_kind, tasks_end_at);

-- The coins that a contest moves in its own name; the amount stands here before it is first sent.
CREATE TABLE contest_leg (
    contest_id TEXT    NOT NULL REFERENCES contest (contest_id),
    leg        TEXT    NOT NULL,
    order_id   TEXT    NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    -- pending, applied, void
    outcome    TEXT    NOT NULL,
    position   INTEGER,
    applied_at INTEGER,
    PRIMARY KEY (contest_id, leg)
) STRICT, WITHOUT ROWID;

CREATE TABLE contest_history (
    contest_id TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    phase      TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (contest_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE signup (
    contest_id      TEXT    NOT NULL REFERENCES contest (contest_id),
    signup_id       TEXT    NOT NULL UNIQUE,
    user_id         TEXT    NOT NULL,
    fee             INTEGER NOT NULL CHECK (fee > 0),
    fee_order_id    TEXT    NOT NULL,
    -- the snake-case states of the API
    state           TEXT    NOT NULL,
    -- initialized: unknown or refused; claiming and refunding: unknown or parked
    last_try        TEXT,
    refusal         TEXT,
    tries           INTEGER NOT NULL,
    fee_position    INTEGER,
    paid_at         INTEGER,
    quantity        INTEGER,
    met_at          INTEGER,
    -- null until it is fixed
    weight          INTEGER,
    prize           INTEGER,
    claim_order_id  TEXT,
    -- of the prize or the refund: viewer or holding
    payee           TEXT,
    payout_position INTEGER,
    payout_at       INTEGER,
    version         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    wake_at         INTEGER,
    PRIMARY KEY (contest_id, signup_id),
    UNIQUE (contest_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX signup_state ON signup (contest_id, state, signup_id);
CREATE INDEX signup_provisional ON signup (contest_id, signup_id) WHERE state = 'completed' AND weight IS NULL;
CREATE INDEX signup_user ON signup (user_id, signup_id);
CREATE INDEX signup_awake ON signup (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX signup_parked ON signup (signup_id) WHERE last_try = 'parked';

-- The states that a signup went through, in order: several lines may share a version.
CREATE TABLE signup_history (
    signup_id TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    step      INTEGER NOT NULL,
    state     TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (signup_id, version, step)
) STRICT, WITHOUT ROWID;

-- The settlement sheet; a line is written once.
CREATE TABLE sheet_line (
    contest_id    TEXT    NOT NULL REFERENCES contest (contest_id),
    signup_id     TEXT    NOT NULL,
    user_id       TEXT    NOT NULL,
    weight        INTEGER NOT NULL,
    weight_before TEXT    NOT NULL,
    prize         INTEGER NOT NULL,
    PRIMARY KEY (contest_id, signup_id)
) STRICT, WITHOUT ROWID;

-- Events as they were sent; unique by sender and id.
CREATE TABLE task_event (
    sender_id   TEXT    NOT NULL,
    event_id    TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    room_id     TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    quantity    INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (sender_id, event_id)
) STRICT, WITHOUT ROWID;

-- The same, once for every contest that it counts for.
CREATE TABLE task_progress (
    contest_id  TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    occurred_at INTEGER NOT NULL,
    sender_id   TEXT    NOT NULL,
    event_id    TEXT    NOT NULL,
    quantity    INTEGER NOT NULL,
    PRIMARY KEY (contest_id, user_id, occurred_at, sender_id, event_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE finding (
    finding_id TEXT    NOT NULL PRIMARY KEY,
    class      TEXT    NOT NULL,
    contest_id TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    evidence   TEXT    NOT NULL,
    found_at   INTEGER NOT NULL,
    settled_at INTEGER
) STRICT;

CREATE UNIQUE INDEX finding_open ON finding (contest_id, class, subject) WHERE settled_at IS NULL;
CREATE INDEX finding_contest ON finding (contest_id, finding_id);

-- Effects that were saved with a change, until they have been carried out.
CREATE TABLE outbox (
    sequence   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    effect     TEXT    NOT NULL,
    contest_id TEXT    NOT NULL,
    signup_id  TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    due_at     INTEGER NOT NULL
) STRICT;

CREATE INDEX outbox_due ON outbox (due_at);
