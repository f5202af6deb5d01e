-- Signups: one row for a viewer in a contest.
CREATE TABLE signup (
    contest_id      BINARY(16)  NOT NULL,
    signup_id       BINARY(16)  NOT NULL,
    user_id         VARCHAR(64) NOT NULL,
    fee             BIGINT      NOT NULL,
    fee_order_id    BINARY(16)  NOT NULL,
    -- the snake-case states of the API
    state           VARCHAR(16) NOT NULL,
    -- initialized: unknown or refused; claiming and refunding: unknown or parked
    last_try        VARCHAR(16),
    refusal         VARCHAR(32),
    tries           BIGINT      NOT NULL,
    fee_position    BIGINT,
    paid_at         BIGINT,
    quantity        BIGINT,
    met_at          BIGINT,
    -- null until it is fixed
    weight          BIGINT,
    prize           BIGINT,
    claim_order_id  BINARY(16),
    -- of the prize or the refund: viewer or holding
    payee           VARCHAR(16),
    payout_position BIGINT,
    payout_at       BIGINT,
    version         BIGINT      NOT NULL,
    created_at      BIGINT      NOT NULL,
    updated_at      BIGINT      NOT NULL,
    wake_at         BIGINT,
    -- 1 where last_try is parked, else null: an index over few rows, where a partial one is not to be had
    is_parked       TINYINT,
    -- 1 where it is completed and its weight is not fixed, else null
    is_provisional  TINYINT,
    PRIMARY KEY (contest_id, signup_id),
    UNIQUE KEY signup_id (signup_id),
    UNIQUE KEY signup_viewer (contest_id, user_id),
    KEY signup_state (contest_id, state, signup_id),
    KEY signup_provisional (contest_id, is_provisional),
    KEY signup_user (user_id, signup_id),
    KEY signup_awake (wake_at),
    KEY signup_parked (is_parked, signup_id),
    CONSTRAINT signup_fee CHECK (fee > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
