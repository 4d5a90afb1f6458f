-- Never change this file once it is released: databases that it made are out there.

-- Definitions of servers' items: what is approved, and what waits to be. No bytes: there is none.
CREATE TABLE tollgate_pins (
    tenant        TEXT COLLATE "C" NOT NULL, -- empty for shared servers
    server        TEXT COLLATE "C" NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL, -- instructions, prompt, resource, template, tool
    item          TEXT COLLATE "C" NOT NULL,
    approved      BYTEA NOT NULL,
    approved_text BYTEA NOT NULL,
    waiting       BYTEA NOT NULL,
    waiting_text  BYTEA NOT NULL,
    by_whom       TEXT NOT NULL,
    reason        TEXT NOT NULL,
    since_ms      BIGINT,
    seen_ms       BIGINT,
    PRIMARY KEY (tenant, server, kind, item)
);
