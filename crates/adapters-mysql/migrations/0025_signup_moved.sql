-- What the order of a fee really moved, where an operator has overridden that it was not the fee: it is
-- what goes back.
ALTER TABLE signup ADD COLUMN moved BIGINT, ALGORITHM = INSTANT
