-- What a run found.
CREATE TABLE reconciliation_finding (
    run_id     BINARY(16) NOT NULL,
    finding_id BINARY(16) NOT NULL,
    PRIMARY KEY (run_id, finding_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
