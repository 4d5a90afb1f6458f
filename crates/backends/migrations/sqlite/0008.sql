-- Never change this file once it is released: databases that it made are out there.

-- Calls that wait until people agree, or did.
CREATE TABLE tollgate_approvals (
    id        TEXT NOT NULL PRIMARY KEY,
    tenant    TEXT NOT NULL,
    principal TEXT NOT NULL,
    binding   TEXT NOT NULL, -- a digest of the one call that a grant is good for
    standing  TEXT NOT NULL,
    at_ms     INTEGER NOT NULL,
    until_ms  INTEGER NOT NULL,
    body      TEXT NOT NULL -- JSON: all of it
) STRICT, WITHOUT ROWID;
CREATE INDEX tollgate_approvals_binding ON tollgate_approvals (tenant, principal, binding, until_ms);
CREATE INDEX tollgate_approvals_standing ON tollgate_approvals (tenant, standing, until_ms);
CREATE INDEX tollgate_approvals_at ON tollgate_approvals (at_ms, id);
CREATE INDEX tollgate_approvals_until ON tollgate_approvals (until_ms);
