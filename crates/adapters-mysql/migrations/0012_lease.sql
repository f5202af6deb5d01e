-- Who does which work, and until when. A row stays: its fence rises for ever.
CREATE TABLE lease (
    name       VARCHAR(100) NOT NULL PRIMARY KEY,
    owner      BINARY(16)   NOT NULL,
    fence      BIGINT       NOT NULL,
    ends_at    BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
