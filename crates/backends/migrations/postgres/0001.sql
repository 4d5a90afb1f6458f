-- Never change this file: databases that it made are out there. Changes of the schema come as files of their own.

-- One row: whoever writes takes it first, so that revisions are given in the order in which they become visible.
CREATE TABLE tollgate_head (
    one      BIGINT PRIMARY KEY CHECK (one = 1),
    revision BIGINT NOT NULL
);

-- Every change of desired state. The oldest are cut off, the latest never is. `mark` is random.
CREATE TABLE tollgate_feed (
    revision BIGINT PRIMARY KEY,
    mark     BIGINT NOT NULL,
    body     TEXT NOT NULL
);

INSERT INTO tollgate_head (one, revision) VALUES (1, 0);
INSERT INTO tollgate_feed (revision, mark, body) VALUES (0, floor(random() * 2147483648)::BIGINT, '');

-- The collation "C" orders texts by their bytes, as everything else here does.
CREATE TABLE tollgate_keys (
    id          TEXT COLLATE "C" PRIMARY KEY,
    tenant      TEXT NOT NULL,
    agent       TEXT NOT NULL,
    groups      TEXT NOT NULL, -- a JSON array
    hash        BYTEA NOT NULL UNIQUE, -- SHA-256 of the whole key
    created_ms  BIGINT NOT NULL,
    expires_ms  BIGINT,
    revoked_ms  BIGINT,
    replaced_by TEXT
);

CREATE TABLE tollgate_revocations (
    kind     TEXT COLLATE "C" NOT NULL, -- token, user, agent
    whose    TEXT COLLATE "C" NOT NULL, -- the issuer or tenant
    name     TEXT COLLATE "C" NOT NULL,
    since_ms BIGINT NOT NULL,
    until_ms BIGINT,
    PRIMARY KEY (kind, whose, name)
);

CREATE TABLE tollgate_definitions (
    shared  BIGINT NOT NULL, -- 1: a server of every tenant, and `tenant` is empty
    tenant  TEXT COLLATE "C" NOT NULL,
    server  TEXT COLLATE "C" NOT NULL,
    list    TEXT COLLATE "C" NOT NULL,
    digest  BYTEA NOT NULL,
    items   BYTEA NOT NULL, -- a JSON array
    seen_ms BIGINT NOT NULL,
    PRIMARY KEY (shared, tenant, server, list)
);

CREATE TABLE tollgate_accepted (
    tenant TEXT NOT NULL,
    digest BYTEA NOT NULL,
    at_ms  BIGINT NOT NULL,
    PRIMARY KEY (tenant, digest)
);
