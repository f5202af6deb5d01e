-- The same, once for every contest that it counts for.
CREATE TABLE task_progress (
    contest_id  BINARY(16)   NOT NULL,
    user_id     VARCHAR(64)  NOT NULL,
    occurred_at BIGINT       NOT NULL,
    sender_id   VARCHAR(64)  NOT NULL,
    event_id    VARCHAR(128) NOT NULL,
    quantity    BIGINT       NOT NULL,
    PRIMARY KEY (contest_id, user_id, occurred_at, sender_id, event_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
