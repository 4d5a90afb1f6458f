-- Never change this file once it is released: databases that it made are out there.

-- A program that is older, and still runs, adds nothing without its sums: it goes on where it was once it is replaced.
ALTER TABLE tollgate_usage RENAME TO tollgate_usage_daily;

-- Sums of what was used, over what most questions do not tell apart. They are added to with `tollgate_usage_daily`, and say the same:
--   1: each day of a tenant          2: each day of an agent
--   3: each day of a server          4: all that is told apart, eight days at once
CREATE TABLE tollgate_usage_sums (
    cut             BIGINT NOT NULL, -- which of these
    day             BIGINT NOT NULL, -- the first one, in days since 1970-01-01
    tenant          TEXT COLLATE "C" NOT NULL, -- nothing where it is not told apart
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
    PRIMARY KEY (cut, day, tenant, agent, server, tool)
);

-- Of what was used before.
INSERT INTO tollgate_usage_sums (cut, day, tenant, agent, server, tool, calls, errors, refused,
    sent_bytes, received_bytes, sent_tokens, received_tokens, cost_nano)
SELECT 1, day, tenant, '', '', '', sum(calls), sum(errors), sum(refused),
    sum(sent_bytes), sum(received_bytes), sum(sent_tokens), sum(received_tokens), sum(cost_nano)
    FROM tollgate_usage_daily GROUP BY day, tenant;
INSERT INTO tollgate_usage_sums (cut, day, tenant, agent, server, tool, calls, errors, refused,
    sent_bytes, received_bytes, sent_tokens, received_tokens, cost_nano)
SELECT 2, day, tenant, agent, '', '', sum(calls), sum(errors), sum(refused),
    sum(sent_bytes), sum(received_bytes), sum(sent_tokens), sum(received_tokens), sum(cost_nano)
    FROM tollgate_usage_daily GROUP BY day, tenant, agent;
INSERT INTO tollgate_usage_sums (cut, day, tenant, agent, server, tool, calls, errors, refused,
    sent_bytes, received_bytes, sent_tokens, received_tokens, cost_nano)
SELECT 3, day, tenant, '', server, '', sum(calls), sum(errors), sum(refused),
    sum(sent_bytes), sum(received_bytes), sum(sent_tokens), sum(received_tokens), sum(cost_nano)
    FROM tollgate_usage_daily GROUP BY day, tenant, server;
INSERT INTO tollgate_usage_sums (cut, day, tenant, agent, server, tool, calls, errors, refused,
    sent_bytes, received_bytes, sent_tokens, received_tokens, cost_nano)
SELECT 4, day - day % 8, tenant, agent, server, tool, sum(calls), sum(errors), sum(refused),
    sum(sent_bytes), sum(received_bytes), sum(sent_tokens), sum(received_tokens), sum(cost_nano)
    FROM tollgate_usage_daily GROUP BY day - day % 8, tenant, agent, server, tool;
