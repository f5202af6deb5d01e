-- The settlement sheet; a line is written once.
CREATE TABLE sheet_line (
    contest_id    BINARY(16)  NOT NULL,
    signup_id     BINARY(16)  NOT NULL,
    user_id       VARCHAR(64) NOT NULL,
    weight        BIGINT      NOT NULL,
    weight_before VARCHAR(40) NOT NULL,
    prize         BIGINT      NOT NULL,
    PRIMARY KEY (contest_id, signup_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
