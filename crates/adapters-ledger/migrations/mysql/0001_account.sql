CREATE TABLE account (
    account_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- compared byte for byte
    name VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    balance BIGINT NOT NULL,
    -- the position from which on nothing can credit it
    credits_closed_at BIGINT NULL,
    -- takes part in nothing any more
    closed TINYINT NOT NULL DEFAULT 0,
    CONSTRAINT account_name UNIQUE (name),
    CONSTRAINT account_never_owes CHECK (balance >= 0 OR name = 'platform/issuing'),
    CONSTRAINT account_limit CHECK (balance <= 9007199254740991),
    CONSTRAINT account_closed CHECK (closed IN (0, 1))
) ENGINE = InnoDB
