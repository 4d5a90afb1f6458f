-- Never change this file once it is released: databases that it made are out there.

-- The index of the ledger. It can be made again from the ledger's segments, all but what was used.

-- Up to where each writer's entries are in. `used`: up to where they are in the sums of what was used.
CREATE TABLE tollgate_audit_writers (
    writer  TEXT PRIMARY KEY NOT NULL,
    segment INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    used    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows of one writer that are complete, as columns. `seq`: the number of the last entry. `small`: 1 while they may be joined
-- with others.
CREATE TABLE tollgate_audit_blocks (
    id       INTEGER PRIMARY KEY,
    writer   TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    small    INTEGER NOT NULL,
    rows     INTEGER NOT NULL,
    from_ms  INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX tollgate_audit_blocks_time ON tollgate_audit_blocks (until_ms, id);
CREATE INDEX tollgate_audit_blocks_writer ON tollgate_audit_blocks (writer, seq);

-- `id`: 16 times that of the block, and which column.
CREATE TABLE tollgate_audit_columns (
    id    INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

-- Intents whose outcome is not in: `body` is a block of one row.
CREATE TABLE tollgate_audit_open (
    writer TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    body   BLOB NOT NULL,
    PRIMARY KEY (writer, seq)
) STRICT;

-- Names behind references, which can be erased.
CREATE TABLE tollgate_audit_names (
    reference TEXT PRIMARY KEY NOT NULL,
    kind      TEXT NOT NULL, -- agent, user
    tenant    TEXT NOT NULL,
    name      TEXT NOT NULL,
    seen_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tollgate_audit_names_name ON tollgate_audit_names (name, kind);

-- What was used. `agent` is a reference; `cost_nano`: billionths of the currency.
CREATE TABLE tollgate_usage (
    day             INTEGER NOT NULL, -- days since 1970-01-01
    tenant          TEXT NOT NULL,
    agent           TEXT NOT NULL,
    server          TEXT NOT NULL,
    tool            TEXT NOT NULL,
    calls           INTEGER NOT NULL,
    errors          INTEGER NOT NULL,
    refused         INTEGER NOT NULL,
    sent_bytes      INTEGER NOT NULL,
    received_bytes  INTEGER NOT NULL,
    sent_tokens     INTEGER NOT NULL,
    received_tokens INTEGER NOT NULL,
    cost_nano       INTEGER NOT NULL,
    PRIMARY KEY (day, tenant, agent, server, tool)
) STRICT, WITHOUT ROWID;
