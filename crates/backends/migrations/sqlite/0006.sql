-- Never change this file once it is released: databases that it made are out there.

-- Agents that seem to have run away.
CREATE TABLE tollgate_pauses (
    tenant   TEXT NOT NULL,
    agent    TEXT NOT NULL,
    why      TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, agent)
) STRICT, WITHOUT ROWID;
