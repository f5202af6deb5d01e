-- Events as they were sent; unique by sender and id.
CREATE TABLE task_event (
    sender_id   VARCHAR(64)  NOT NULL,
    event_id    VARCHAR(128) NOT NULL,
    user_id     VARCHAR(64)  NOT NULL,
    room_id     VARCHAR(64)  NOT NULL,
    kind        VARCHAR(64)  NOT NULL,
    quantity    BIGINT       NOT NULL,
    occurred_at BIGINT       NOT NULL,
    received_at BIGINT       NOT NULL,
    PRIMARY KEY (sender_id, event_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
