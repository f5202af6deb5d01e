INSERT INTO progress (one, position, at, probes) VALUES (1, 0, 0, 0)
