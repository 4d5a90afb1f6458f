-- Never change this file once it is released: databases that it made are out there.

-- Servers that are registered while gateways run: one row for each version.
CREATE TABLE tollgate_registrations (
    tenant     TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    version    TEXT COLLATE "C" NOT NULL,
    life       TEXT NOT NULL, -- draft, in_review, approved, deprecated, retired
    revision   BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    body       TEXT NOT NULL, -- JSON: all of it
    PRIMARY KEY (tenant, name, version)
);
