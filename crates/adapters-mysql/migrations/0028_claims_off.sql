-- Since when claims are switched off, and up to when stops are counted in stopped_ms.
ALTER TABLE contest
    ADD COLUMN claims_off_since    BIGINT,
    ADD COLUMN stops_counted_until BIGINT NOT NULL DEFAULT 0
