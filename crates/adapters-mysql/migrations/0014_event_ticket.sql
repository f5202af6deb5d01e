-- Tickets for event streams that were given and not used yet. Who reads this table cannot use them.
CREATE TABLE event_ticket (
    ticket_hash BINARY(32)  NOT NULL PRIMARY KEY,
    user_id     VARCHAR(64) NOT NULL,
    ends_at     BIGINT      NOT NULL,
    KEY event_ticket_end (ends_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
