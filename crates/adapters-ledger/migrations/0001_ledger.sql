-- Double entry: every transfer debits one account and credits another, in one row that is never
-- changed; the balances are kept beside it in the same transaction. Coins are whole, times are
-- milliseconds since 1970 UTC.

CREATE TABLE account (
    account_id INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    balance    INTEGER NOT NULL CHECK (balance >= 0 OR name = 'platform/issuing'),
    -- the position from which on nothing can credit it
    credits_closed_at INTEGER,
    -- takes part in nothing any more
    closed     INTEGER NOT NULL DEFAULT 0 CHECK (closed IN (0, 1)),
    CHECK (balance <= 9007199254740991)
) STRICT;

INSERT INTO account (name, balance)
VALUES ('platform/issuing', 0), ('platform/revenue', 0), ('platform/holding', 0);

CREATE TABLE transfer (
    position   INTEGER NOT NULL PRIMARY KEY,
    order_id   TEXT    NOT NULL UNIQUE,
    debit      INTEGER NOT NULL REFERENCES account (account_id),
    credit     INTEGER NOT NULL REFERENCES account (account_id),
    amount     INTEGER NOT NULL CHECK (amount > 0),
    memo       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL,
    CHECK (debit <> credit)
) STRICT;

CREATE INDEX transfer_debit ON transfer (debit, position);
CREATE INDEX transfer_credit ON transfer (credit, position);

-- The last position given out and the ledger's time then: neither ever goes back.
CREATE TABLE progress (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL,
    at       INTEGER NOT NULL
) STRICT;

INSERT INTO progress (one, position, at) VALUES (1, 0, 0);
