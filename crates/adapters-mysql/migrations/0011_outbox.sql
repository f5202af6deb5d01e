-- Effects that were saved with a change, until they have been carried out.
CREATE TABLE outbox (
    -- a place, not a time: entries are removed when they are done, so one that commits late is not passed over
    sequence   BIGINT      NOT NULL PRIMARY KEY AUTO_INCREMENT,
    effect     VARCHAR(32) NOT NULL,
    contest_id BINARY(16)  NOT NULL,
    -- null where events came for a viewer who may not have signed up
    signup_id  BINARY(16),
    user_id    VARCHAR(64) NOT NULL,
    version    BIGINT      NOT NULL,
    due_at     BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
