-- What an operator has overridden: how many coins more than the rows allow a pool may hold (below zero
-- less).
ALTER TABLE contest ADD COLUMN accepted_gap BIGINT NOT NULL DEFAULT 0
