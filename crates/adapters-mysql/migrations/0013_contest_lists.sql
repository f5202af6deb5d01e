-- Lists of contests by phase or by room, newest first, without walking past all the others.
ALTER TABLE contest
    ADD KEY contest_of_phase (phase, contest_id),
    ADD KEY contest_of_room (room_id, contest_id),
    ALGORITHM = INPLACE, LOCK = NONE
