-- The last position given out and the ledger's time then: neither ever goes back. Whoever writes
-- to the books locks this row first, so that one transaction at a time gives out positions.
CREATE TABLE progress (
    one TINYINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL,
    at BIGINT NOT NULL,
    -- writes that mean nothing
    probes BIGINT NOT NULL,
    CONSTRAINT progress_one CHECK (one = 1)
) ENGINE = InnoDB
