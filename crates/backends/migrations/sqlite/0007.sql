-- Never change this file once it is released: databases that it made are out there.

-- Definitions of servers' items: what is approved, and what waits to be. No bytes: there is none.
CREATE TABLE tollgate_pins (
    tenant        TEXT NOT NULL, -- empty for shared servers
    server        TEXT NOT NULL,
    kind          TEXT NOT NULL, -- instructions, prompt, resource, template, tool
    item          TEXT NOT NULL,
    approved      BLOB NOT NULL,
    approved_text BLOB NOT NULL,
    waiting       BLOB NOT NULL,
    waiting_text  BLOB NOT NULL,
    by_whom       TEXT NOT NULL,
    reason        TEXT NOT NULL,
    since_ms      INTEGER,
    seen_ms       INTEGER,
    PRIMARY KEY (tenant, server, kind, item)
) STRICT;
