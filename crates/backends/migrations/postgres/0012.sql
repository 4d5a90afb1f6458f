-- Never change this file once it is released: databases that it made are out there.

-- Names that stand for texts. Neither whose they are nor what they stand for can be read here.
CREATE TABLE tollgate_pseudonyms (
    owner    BYTEA NOT NULL, -- a keyed digest
    name     TEXT COLLATE "C" NOT NULL,
    digest   BYTEA NOT NULL, -- of the text, keyed
    sealed   TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (owner, name)
);
CREATE INDEX tollgate_pseudonyms_until ON tollgate_pseudonyms (until_ms);
