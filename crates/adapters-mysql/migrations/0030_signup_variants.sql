-- The variants that a signup got of experiments, those of its contest and those of its viewer.
ALTER TABLE signup ADD COLUMN variants VARCHAR(1400) CHARACTER SET ascii COLLATE ascii_bin, ALGORITHM = INSTANT
