-- Who did what with an experiment, and why.
CREATE TABLE experiment_change (
    name       VARCHAR(32)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version    BIGINT        NOT NULL,
    action     VARCHAR(20)   NOT NULL,
    changed_by VARCHAR(64),
    reason     VARCHAR(1000) NOT NULL,
    variant    VARCHAR(32),
    ramp       BIGINT        NOT NULL,
    changed_at BIGINT        NOT NULL,
    PRIMARY KEY (name, version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
