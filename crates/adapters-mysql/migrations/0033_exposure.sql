-- Who met an experiment, in which contest; without a viewer: the contest itself.
CREATE TABLE exposure (
    experiment VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    unit       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    contest_id BINARY(16)  NOT NULL,
    user_id    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    variant    VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    met_at     BIGINT      NOT NULL,
    PRIMARY KEY (experiment, unit, contest_id, user_id),
    KEY exposure_contest (contest_id, experiment, variant, user_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
