-- Idempotency-Key of an operator; kept for ever.
CREATE TABLE creation_key (
    operator     VARCHAR(64)  NOT NULL,
    creation_key VARCHAR(128) NOT NULL,
    contest_id   BINARY(16)   NOT NULL,
    PRIMARY KEY (operator, creation_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
