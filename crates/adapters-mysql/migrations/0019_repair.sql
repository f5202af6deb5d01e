-- Repairs, each written down before it is made.
CREATE TABLE repair (
    repair_id   BINARY(16)   NOT NULL PRIMARY KEY,
    finding_id  BINARY(16)   NOT NULL,
    run_id      BINARY(16),
    repaired_by VARCHAR(64),
    contest_id  BINARY(16)   NOT NULL,
    order_id    BINARY(16)   NOT NULL,
    what        VARCHAR(400) NOT NULL,
    evidence    TEXT         NOT NULL,
    coins       BIGINT       NOT NULL,
    begun_at    BIGINT       NOT NULL,
    ended_at    BIGINT,
    outcome     VARCHAR(16),
    KEY repair_finding (finding_id, repair_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
