-- What operators say of a switch: the whole history, numbered without a gap.
CREATE TABLE switch_change (
    sequence   BIGINT       NOT NULL PRIMARY KEY,
    name       VARCHAR(40)  NOT NULL,
    scope      VARCHAR(80)  NOT NULL,
    enabled    BOOLEAN      NOT NULL,
    changed_by VARCHAR(64)  NOT NULL,
    reason     VARCHAR(500) NOT NULL,
    changed_at BIGINT       NOT NULL,
    KEY switch_change_name (name, sequence),
    KEY switch_change_scope (name, scope, sequence)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
