-- The highest number of a lease under which a contest was written.
ALTER TABLE contest ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
