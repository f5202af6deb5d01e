-- What operators say of a switch: the whole history, numbered without a gap.
CREATE TABLE switch_change (
    sequence   INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    enabled    INTEGER NOT NULL,
    changed_by TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX switch_change_name ON switch_change (name, sequence);
CREATE INDEX switch_change_scope ON switch_change (name, scope, sequence);

-- Since when claims are switched off, and up to when stops are counted in stopped_ms.
ALTER TABLE contest ADD COLUMN claims_off_since INTEGER;
ALTER TABLE contest ADD COLUMN stops_counted_until INTEGER NOT NULL DEFAULT 0;
