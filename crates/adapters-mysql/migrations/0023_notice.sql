-- What somebody outside is to be told.
CREATE TABLE notice (
    sequence   BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
    kind       VARCHAR(40) NOT NULL,
    contest_id BINARY(16)  NOT NULL,
    finding_id BINARY(16),
    created_at BIGINT      NOT NULL,
    tries      INT         NOT NULL,
    due_at     BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
