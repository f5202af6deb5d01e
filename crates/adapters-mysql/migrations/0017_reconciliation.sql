-- Runs of the reconciliation over whole contests.
CREATE TABLE reconciliation (
    run_id        BINARY(16)  NOT NULL PRIMARY KEY,
    -- the contests it looks at, the first and the last one
    from_contest  BINARY(16)  NOT NULL,
    to_contest    BINARY(16)  NOT NULL,
    asked_by      VARCHAR(64),
    is_dry        TINYINT     NOT NULL,
    asked_at      BIGINT      NOT NULL,
    ended_at      BIGINT,
    -- the contest after which it goes on
    after_contest BINARY(16),
    contests      BIGINT      NOT NULL,
    failed        BIGINT      NOT NULL,
    signups       BIGINT      NOT NULL,
    transfers     BIGINT      NOT NULL,
    differences   BIGINT      NOT NULL,
    repaired      BIGINT      NOT NULL,
    -- coins that repairs may have moved
    repaired_coins BIGINT     NOT NULL,
    over_limits   BIGINT      NOT NULL,
    version       BIGINT      NOT NULL,
    KEY reconciliation_open (ended_at, run_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
