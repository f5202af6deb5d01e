-- How far the log of a contest's pool account has been read.
CREATE TABLE watch (
    contest_id BINARY(16) NOT NULL PRIMARY KEY,
    position   BIGINT     NOT NULL,
    walked     BINARY(16),
    walk_at    BIGINT     NOT NULL,
    due_at     BIGINT     NOT NULL,
    final_run  BINARY(16),
    KEY watch_due (due_at, contest_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
