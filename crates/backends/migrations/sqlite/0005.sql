-- Never change this file once it is released: databases that it made are out there.

-- How much of what is allowed in a window is used up, with what processes have taken and not given out yet.
CREATE TABLE tollgate_allowances (
    of_what  TEXT NOT NULL, -- a digest
    from_ms  INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    used     INTEGER NOT NULL,
    PRIMARY KEY (of_what, from_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX tollgate_allowances_until ON tollgate_allowances (until_ms);
