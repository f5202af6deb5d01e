-- How many tickets a user has asked for until when, used ones too: beyond so many, none is given.
CREATE TABLE event_ticket_window (
    user_id VARCHAR(64) NOT NULL PRIMARY KEY,
    asked   BIGINT      NOT NULL,
    ends_at BIGINT      NOT NULL,
    KEY event_ticket_window_end (ends_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
