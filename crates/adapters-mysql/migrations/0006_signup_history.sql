-- The states that a signup went through, in order: several lines may share a version.
CREATE TABLE signup_history (
    signup_id BINARY(16)  NOT NULL,
    version   BIGINT      NOT NULL,
    step      BIGINT      NOT NULL,
    state     VARCHAR(16) NOT NULL,
    at        BIGINT      NOT NULL,
    PRIMARY KEY (signup_id, version, step)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
