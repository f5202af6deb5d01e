-- The number of the last change of each kind: whoever holds the row makes the next one.
CREATE TABLE change_number (
    kind   VARCHAR(20) NOT NULL PRIMARY KEY,
    number BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
