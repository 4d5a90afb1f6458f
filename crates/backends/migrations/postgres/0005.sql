-- Never change this file once it is released: databases that it made are out there.

-- How much of what is allowed in a window is used up, with what processes have taken and not given out yet.
CREATE TABLE tollgate_allowances (
    of_what  TEXT COLLATE "C" NOT NULL, -- a digest
    from_ms  BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    used     BIGINT NOT NULL,
    PRIMARY KEY (of_what, from_ms)
);
CREATE INDEX tollgate_allowances_until ON tollgate_allowances (until_ms);
