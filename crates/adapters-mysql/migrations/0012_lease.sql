-- Who does which work, and until when. A row stays: its fence rises for ever.
CREATE TABLE lease (
    -- bytes: as text, "a" and "a " were one name
    name       VARBINARY(100) NOT NULL PRIMARY KEY,
    owner      BINARY(16)   NOT NULL,
    fence      BIGINT       NOT NULL,
    ends_at    BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
