-- What an operator has overridden: how many coins more than the rows allow a pool may hold (below zero
-- less).
ALTER TABLE contest ADD COLUMN accepted_gap INTEGER NOT NULL DEFAULT 0;
-- What the order of a fee really moved, where that was not the fee: it is what goes back.
ALTER TABLE signup ADD COLUMN moved INTEGER;
