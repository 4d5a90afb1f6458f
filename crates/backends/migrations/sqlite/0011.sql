-- Never change this file once it is released: databases that it made are out there.

-- Policies that are written while gateways run: one row for each set.
CREATE TABLE tollgate_rules (
    tenant     TEXT NOT NULL, -- nothing for the operator's
    name       TEXT NOT NULL,
    revision   INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    used       TEXT NOT NULL, -- JSON: with the texts that decide or look on
    body       TEXT NOT NULL, -- JSON: all of it
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- What guards found, as the ledger says: never the text.
CREATE TABLE tollgate_findings (
    writer    TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    nth       INTEGER NOT NULL, -- among those of its entry
    time_ms   INTEGER NOT NULL,
    tenant    TEXT NOT NULL, -- nothing for what is no tenant's
    call      TEXT NOT NULL, -- nothing for what is of no call
    agent     TEXT NOT NULL, -- a reference
    server    TEXT NOT NULL,
    tool      TEXT NOT NULL,
    rule      TEXT NOT NULL,
    severity  TEXT NOT NULL,
    direction TEXT NOT NULL,
    action    TEXT NOT NULL,
    PRIMARY KEY (writer, seq, nth)
) STRICT, WITHOUT ROWID;
CREATE INDEX tollgate_findings_time ON tollgate_findings (time_ms, writer, seq, nth);

-- How many of them, by day: days since 1970-01-01.
CREATE TABLE tollgate_findings_daily (
    day       INTEGER NOT NULL,
    tenant    TEXT NOT NULL,
    server    TEXT NOT NULL,
    tool      TEXT NOT NULL,
    rule      TEXT NOT NULL,
    severity  TEXT NOT NULL,
    direction TEXT NOT NULL,
    action    TEXT NOT NULL,
    found     INTEGER NOT NULL,
    PRIMARY KEY (day, tenant, server, tool, rule, severity, direction, action)
) STRICT, WITHOUT ROWID;
