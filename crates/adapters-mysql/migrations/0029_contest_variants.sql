-- The variants that a contest got of experiments: experiment:variant, with commas between.
ALTER TABLE contest ADD COLUMN variants VARCHAR(1400) CHARACTER SET ascii COLLATE ascii_bin
