-- Never change this file once it is released: databases that it made are out there.

-- Policies that are written while gateways run: one row for each set.
CREATE TABLE tollgate_rules (
    tenant     TEXT COLLATE "C" NOT NULL, -- nothing for the operator's
    name       TEXT COLLATE "C" NOT NULL,
    revision   BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    used       TEXT NOT NULL, -- JSON: with the texts that decide or look on
    body       TEXT NOT NULL, -- JSON: all of it
    PRIMARY KEY (tenant, name)
);

-- What guards found, as the ledger says: never the text.
CREATE TABLE tollgate_findings (
    writer    TEXT COLLATE "C" NOT NULL,
    seq       BIGINT NOT NULL,
    nth       BIGINT NOT NULL, -- among those of its entry
    time_ms   BIGINT NOT NULL,
    tenant    TEXT COLLATE "C" NOT NULL, -- nothing for what is no tenant's
    call      TEXT COLLATE "C" NOT NULL, -- nothing for what is of no call
    agent     TEXT COLLATE "C" NOT NULL, -- a reference
    server    TEXT COLLATE "C" NOT NULL,
    tool      TEXT COLLATE "C" NOT NULL,
    rule      TEXT COLLATE "C" NOT NULL,
    severity  TEXT COLLATE "C" NOT NULL,
    direction TEXT COLLATE "C" NOT NULL,
    action    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (writer, seq, nth)
);
CREATE INDEX tollgate_findings_time ON tollgate_findings (time_ms, writer, seq, nth);

-- How many of them, by day: days since 1970-01-01.
CREATE TABLE tollgate_findings_daily (
    day       BIGINT NOT NULL,
    tenant    TEXT COLLATE "C" NOT NULL,
    server    TEXT COLLATE "C" NOT NULL,
    tool      TEXT COLLATE "C" NOT NULL,
    rule      TEXT COLLATE "C" NOT NULL,
    severity  TEXT COLLATE "C" NOT NULL,
    direction TEXT COLLATE "C" NOT NULL,
    action    TEXT COLLATE "C" NOT NULL,
    found     BIGINT NOT NULL,
    PRIMARY KEY (day, tenant, server, tool, rule, severity, direction, action)
);
