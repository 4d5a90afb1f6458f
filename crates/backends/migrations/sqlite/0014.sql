-- Never change this file once it is released: databases that it made are out there.

-- The highest number that each owner's names of a kind ever had: what a name stood for may be forgotten, and the name may still be
-- written down somewhere.
CREATE TABLE tollgate_pseudonym_numbers (
    owner    BLOB NOT NULL, -- a keyed digest
    kind     TEXT NOT NULL, -- as it is written: EMAIL
    highest  INTEGER NOT NULL,
    until_ms INTEGER NOT NULL, -- when it is forgotten
    PRIMARY KEY (owner, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX tollgate_pseudonym_numbers_until ON tollgate_pseudonym_numbers (until_ms);
