-- Since when nothing leaves the pool because the books differ, and for how long that was so while prizes
-- could be claimed.
ALTER TABLE contest
    ADD COLUMN stopped_since BIGINT,
    ADD COLUMN stopped_ms    BIGINT NOT NULL DEFAULT 0
