-- Never change this file once it is released: databases that it made are out there.

-- Keys of machines that administer.
CREATE TABLE tollgate_admin_keys (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    grants     TEXT NOT NULL, -- a JSON array of roles and tenants
    hash       BYTEA NOT NULL UNIQUE, -- SHA-256 of the whole key
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT,
    by_whom    TEXT NOT NULL
);

-- Sessions of people who have signed in.
CREATE TABLE tollgate_admin_sessions (
    digest     TEXT COLLATE "C" PRIMARY KEY NOT NULL, -- SHA-256 of what the browser holds
    how        TEXT NOT NULL,
    proof      TEXT NOT NULL,
    subject    TEXT NOT NULL,
    name       TEXT NOT NULL,
    groups     TEXT NOT NULL, -- a JSON array
    created_ms BIGINT NOT NULL,
    seen_ms    BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX tollgate_admin_sessions_seen ON tollgate_admin_sessions (seen_ms);

-- What was answered to requests that are to be carried out once.
CREATE TABLE tollgate_admin_once (
    digest  TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    request TEXT NOT NULL,
    at_ms   BIGINT NOT NULL,
    status  BIGINT,
    body    TEXT
);
CREATE INDEX tollgate_admin_once_at ON tollgate_admin_once (at_ms);
