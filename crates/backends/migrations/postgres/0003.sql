-- Never change this file once it is released: databases that it made are out there.

-- Checkpoints of ledgers. `first`: 1 for the first of its hour, which is kept longer.
CREATE TABLE tollgate_anchors (
    writer  TEXT COLLATE "C" NOT NULL,
    seq     BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    first   BIGINT NOT NULL,
    body    TEXT NOT NULL, -- the checkpoint, as JSON
    PRIMARY KEY (writer, seq)
);
CREATE INDEX tollgate_anchors_time ON tollgate_anchors (time_ms);
CREATE INDEX tollgate_anchors_first ON tollgate_anchors (writer, first, seq);

-- Who has to be erased from the ledgers: a user, of one tenant or of all, or all of a tenant.
CREATE TABLE tollgate_erasures (
    id        BIGINT PRIMARY KEY,
    "user"    TEXT,
    tenant    TEXT,
    before_ms BIGINT NOT NULL,
    asked_ms  BIGINT NOT NULL
);
