
-- Fee tiers, the draw of a lucky split, the digest of a settlement sheet, and names for creations.

-- A JSON list of whole coins; null where there is no choice.
ALTER TABLE contest ADD COLUMN fee_tiers TEXT;
-- 64 hexadecimal digits, secret until the freeze; null unless the rule is lucky.
ALTER TABLE contest ADD COLUMN draw_secret TEXT;
-- 64 hexadecimal digits; null until the sheet is complete, and where it was settled before digests were kept.
ALTER TABLE contest ADD COLUMN sheet_sha256 TEXT;

-- Idempotency-Key of an operator; kept for ever.
CREATE TABLE creation_key (
    operator   TEXT NOT NULL,
    key        TEXT NOT NULL,
    contest_id TEXT NOT NULL REFERENCES contest (contest_id),
    PRIMARY KEY (operator, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX finding_unsettled ON finding (finding_id) WHERE settled_at IS NULL;
