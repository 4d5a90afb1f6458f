-- Never change this file once it is released: databases that it made are out there.

-- The index of the ledger. It can be made again from the ledger's segments, all but what was used.

-- Up to where each writer's entries are in. `used`: up to where they are in the sums of what was used.
CREATE TABLE tollgate_audit_writers (
    writer  TEXT COLLATE "C" PRIMARY KEY,
    segment BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    seq     BIGINT NOT NULL,
    used    BIGINT NOT NULL
);

-- Rows of one writer that are complete, as columns. `seq`: the number of the last entry. `small`: 1 while they may be joined
-- with others.
CREATE TABLE tollgate_audit_blocks (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    writer   TEXT COLLATE "C" NOT NULL,
    seq      BIGINT NOT NULL,
    small    BIGINT NOT NULL,
    rows     BIGINT NOT NULL,
    from_ms  BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);
CREATE INDEX tollgate_audit_blocks_time ON tollgate_audit_blocks (until_ms, id);
CREATE INDEX tollgate_audit_blocks_writer ON tollgate_audit_blocks (writer, seq);

-- `id`: 16 times that of the block, and which column.
CREATE TABLE tollgate_audit_columns (
    id    BIGINT PRIMARY KEY,
    bytes BYTEA NOT NULL
);

-- Intents whose outcome is not in: `body` is a block of one row.
CREATE TABLE tollgate_audit_open (
    writer TEXT COLLATE "C" NOT NULL,
    seq    BIGINT NOT NULL,
    body   BYTEA NOT NULL,
    PRIMARY KEY (writer, seq)
);

-- Names behind references, which can be erased.
CREATE TABLE tollgate_audit_names (
    reference TEXT COLLATE "C" PRIMARY KEY,
    kind      TEXT COLLATE "C" NOT NULL, -- agent, user
    tenant    TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    seen_ms   BIGINT NOT NULL
);
CREATE INDEX tollgate_audit_names_name ON tollgate_audit_names (name, kind);

-- What was used. `agent` is a reference; `cost_nano`: billionths of the currency.
CREATE TABLE tollgate_usage (
    day             BIGINT NOT NULL, -- days since 1970-01-01
    tenant          TEXT COLLATE "C" NOT NULL,
    agent           TEXT COLLATE "C" NOT NULL,
    server          TEXT COLLATE "C" NOT NULL,
    tool            TEXT COLLATE "C" NOT NULL,
    calls           BIGINT NOT NULL,
    errors          BIGINT NOT NULL,
    refused         BIGINT NOT NULL,
    sent_bytes      BIGINT NOT NULL,
    received_bytes  BIGINT NOT NULL,
    sent_tokens     BIGINT NOT NULL,
    received_tokens BIGINT NOT NULL,
    cost_nano       BIGINT NOT NULL,
    PRIMARY KEY (day, tenant, agent, server, tool)
);
