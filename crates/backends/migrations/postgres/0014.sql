-- Never change this file once it is released: databases that it made are out there.

-- The highest number that each owner's names of a kind ever had: what a name stood for may be forgotten, and the name may still be
-- written down somewhere.
CREATE TABLE tollgate_pseudonym_numbers (
    owner    BYTEA NOT NULL, -- a keyed digest
    kind     TEXT COLLATE "C" NOT NULL, -- as it is written: EMAIL
    highest  BIGINT NOT NULL,
    until_ms BIGINT NOT NULL, -- when it is forgotten
    PRIMARY KEY (owner, kind)
);
CREATE INDEX tollgate_pseudonym_numbers_until ON tollgate_pseudonym_numbers (until_ms);
