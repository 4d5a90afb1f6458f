-- Never change this file: databases that it made are out there. Changes of the schema come as files of their own.

-- One row: whoever writes takes it first, so that revisions are given in the order in which they become visible.
CREATE TABLE tollgate_head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL
) STRICT;

-- Every change of desired state. The oldest are cut off, the latest never is. `mark` is random.
CREATE TABLE tollgate_feed (
    revision INTEGER PRIMARY KEY,
    mark     INTEGER NOT NULL,
    body     TEXT NOT NULL
) STRICT;

INSERT INTO tollgate_head (one, revision) VALUES (1, 0);
INSERT INTO tollgate_feed (revision, mark, body) VALUES (0, abs(random() % 2147483648), '');

CREATE TABLE tollgate_keys (
    id          TEXT PRIMARY KEY NOT NULL,
    tenant      TEXT NOT NULL,
    agent       TEXT NOT NULL,
    groups      TEXT NOT NULL, -- a JSON array
    hash        BLOB NOT NULL UNIQUE, -- SHA-256 of the whole key
    created_ms  INTEGER NOT NULL,
    expires_ms  INTEGER,
    revoked_ms  INTEGER,
    replaced_by TEXT
) STRICT;

CREATE TABLE tollgate_revocations (
    kind     TEXT NOT NULL, -- token, user, agent
    whose    TEXT NOT NULL, -- the issuer or tenant
    name     TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER,
    PRIMARY KEY (kind, whose, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE tollgate_definitions (
    shared  INTEGER NOT NULL, -- 1: a server of every tenant, and `tenant` is empty
    tenant  TEXT NOT NULL,
    server  TEXT NOT NULL,
    list    TEXT NOT NULL,
    digest  BLOB NOT NULL,
    items   BLOB NOT NULL, -- a JSON array
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (shared, tenant, server, list)
) STRICT;

CREATE TABLE tollgate_accepted (
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL,
    at_ms  INTEGER NOT NULL,
    PRIMARY KEY (tenant, digest)
) STRICT, WITHOUT ROWID;
