-- The coins that a contest moves in its own name; the amount stands here before it is first sent.
CREATE TABLE contest_leg (
    contest_id BINARY(16)  NOT NULL,
    leg        VARCHAR(16) NOT NULL,
    order_id   BINARY(16)  NOT NULL,
    amount     BIGINT      NOT NULL,
    -- pending, applied, void
    outcome    VARCHAR(16) NOT NULL,
    position   BIGINT,
    applied_at BIGINT,
    PRIMARY KEY (contest_id, leg),
    CONSTRAINT contest_leg_amount CHECK (amount > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
