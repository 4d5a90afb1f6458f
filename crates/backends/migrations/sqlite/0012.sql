-- Never change this file once it is released: databases that it made are out there.

-- Names that stand for texts. Neither whose they are nor what they stand for can be read here.
CREATE TABLE tollgate_pseudonyms (
    owner    BLOB NOT NULL, -- a keyed digest
    name     TEXT NOT NULL,
    digest   BLOB NOT NULL, -- of the text, keyed
    sealed   TEXT NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (owner, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tollgate_pseudonyms_until ON tollgate_pseudonyms (until_ms);
