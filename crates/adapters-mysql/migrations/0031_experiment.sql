-- Experiments; what one is, is a JSON object.
CREATE TABLE experiment (
    name       VARCHAR(32)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    salt       VARCHAR(64)  NOT NULL,
    definition MEDIUMTEXT   NOT NULL,
    ramp       BIGINT       NOT NULL,
    status     VARCHAR(16)  NOT NULL,
    started_at BIGINT,
    ended_at   BIGINT,
    end_reason VARCHAR(1000),
    stopped    TEXT         NOT NULL,
    version    BIGINT       NOT NULL,
    created_at BIGINT       NOT NULL,
    updated_at BIGINT       NOT NULL,
    KEY experiment_status (status, name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
