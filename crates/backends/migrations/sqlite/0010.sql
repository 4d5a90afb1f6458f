-- Never change this file once it is released: databases that it made are out there.

-- Servers that are registered while gateways run: one row for each version.
CREATE TABLE tollgate_registrations (
    tenant     TEXT NOT NULL,
    name       TEXT NOT NULL,
    version    TEXT NOT NULL,
    life       TEXT NOT NULL, -- draft, in_review, approved, deprecated, retired
    revision   INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    body       TEXT NOT NULL, -- JSON: all of it
    PRIMARY KEY (tenant, name, version)
) STRICT, WITHOUT ROWID;
