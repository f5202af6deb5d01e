-- Differences between our rows and the funds system.
CREATE TABLE finding (
    finding_id BINARY(16)   NOT NULL PRIMARY KEY,
    class      VARCHAR(32)  NOT NULL,
    contest_id BINARY(16)   NOT NULL,
    -- UTF-8; bytes, because every collation that both servers know takes two texts for one that differ
    -- in spaces at the end
    subject    VARBINARY(800) NOT NULL,
    evidence   TEXT         NOT NULL,
    found_at   BIGINT       NOT NULL,
    settled_at BIGINT,
    -- 1 while it is open, else null: at most one open finding of a class and subject
    is_open    TINYINT,
    UNIQUE KEY finding_open (contest_id, class, subject, is_open),
    KEY finding_contest (contest_id, finding_id),
    KEY finding_unsettled (is_open, finding_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
