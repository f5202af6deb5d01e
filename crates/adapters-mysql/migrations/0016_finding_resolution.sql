-- The viewer, and a person's word on a finding.
ALTER TABLE finding
    ADD COLUMN user_id     VARCHAR(64),
    ADD COLUMN resolved_by VARCHAR(64),
    ADD COLUMN note        VARCHAR(1000),
    ADD KEY finding_kind (contest_id, class, subject, finding_id),
    ADD KEY finding_class (is_open, class, found_at)
