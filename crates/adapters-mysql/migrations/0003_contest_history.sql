-- The phases that a contest went through.
CREATE TABLE contest_history (
    contest_id BINARY(16)  NOT NULL,
    version    BIGINT      NOT NULL,
    phase      VARCHAR(16) NOT NULL,
    at         BIGINT      NOT NULL,
    PRIMARY KEY (contest_id, version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
