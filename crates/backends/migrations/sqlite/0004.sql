-- Never change this file once it is released: databases that it made are out there.

-- What operators have stopped. `public`: 1 if those who are stopped are told why.
CREATE TABLE tollgate_blocks (
    kind     TEXT NOT NULL, -- agent, key, server, tenant, tool, user
    whose    TEXT NOT NULL, -- the tenant; empty for every tenant, and for keys and tenants themselves
    name     TEXT NOT NULL, -- of a tool: server/tool
    reason   TEXT NOT NULL,
    public   INTEGER NOT NULL,
    by_whom  TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, whose, name)
) STRICT, WITHOUT ROWID;
