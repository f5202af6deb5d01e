-- Contests that were there before.
INSERT IGNORE INTO watch (contest_id, position, walk_at, due_at) SELECT contest_id, 0, 0, 0 FROM contest
