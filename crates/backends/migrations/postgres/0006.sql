-- Never change this file once it is released: databases that it made are out there.

-- Agents that seem to have run away.
CREATE TABLE tollgate_pauses (
    tenant   TEXT COLLATE "C" NOT NULL,
    agent    TEXT COLLATE "C" NOT NULL,
    why      TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, agent)
);
