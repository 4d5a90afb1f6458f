-- What a program of version 14 may have stored. `tests` in src/migrations.rs says what any later program finds in it.
INSERT INTO tollgate_keys (id, tenant, agent, groups, hash, created_ms, expires_ms, revoked_ms, replaced_by) VALUES
    ('old', 'acme', 'bot', '["support"]', X'0101010101010101010101010101010101010101010101010101010101010101', 1000, 5000, NULL, 'new'),
    ('new', 'acme', 'bot', '["support"]', X'0202020202020202020202020202020202020202020202020202020202020202', 2000, NULL, 3000, NULL);
INSERT INTO tollgate_revocations (kind, whose, name, since_ms, until_ms) VALUES ('user', 'acme', 'ada', 1000, NULL);
INSERT INTO tollgate_definitions (shared, tenant, server, list, digest, items, seen_ms) VALUES
    (1, '', 'files', 'tools', X'0303030303030303030303030303030303030303030303030303030303030303', CAST('[{"name" : "a"},1.0]' AS BLOB), 1000);
INSERT INTO tollgate_accepted (tenant, digest, at_ms) VALUES
    ('acme', X'0404040404040404040404040404040404040404040404040404040404040404', 1000);
INSERT INTO tollgate_feed (revision, mark, body) VALUES
    (1, 42, '{"change":"revoked","kind":"user","whose":"acme","name":"ada","since":1000,"until":null}');
UPDATE tollgate_head SET revision = 1;
INSERT INTO tollgate_audit_writers (writer, segment, at, seq, used) VALUES ('w1', 1, 2000, 7, 7);
INSERT INTO tollgate_audit_blocks (writer, seq, small, rows, from_ms, until_ms) VALUES ('w1', 6, 1, 1, 1772000000000, 1772000000000);
INSERT INTO tollgate_audit_columns (id, bytes) VALUES
    (16, X'026E55A6'),
    (17, X'020A41D9'),
    (18, X'02178416'),
    (19, X'029F29ED'),
    (20, X'0208A1B1'),
    (21, X'022B803D'),
    (22, X'0290218E'),
    (23, X'01010002DAE5E267E6E300'),
    (24, X'00'),
    (25, X'02197840'),
    (26, X'02DF5A25'),
    (27, X'02EA640B'),
    (28, X'02578141'),
    (29, X'01090461636D65077265662D626F74077265662D6164610363726D0B63726D5F5F73656172636806736561726368026F6B0463616C6C0570311F70321F0000000000070000000000000000000000000000000000000000000000000009020664696765737401A40D05E80780F0B89BC93301D20900000000010203040506070000000000000008090000000001000000');
INSERT INTO tollgate_audit_open (writer, seq, body) VALUES ('w1', 7, X'01080461636D65077265662D626F74077265662D6164610363726D0B63726D5F5F736561726368067365617263680463616C6C0570311F70320F0000000000070000000000000000000000000000000000000000000000000009020664696765737407EC0E80F0B89BC93301D20900000000010203040506000000000000000007080000000001000000');
INSERT INTO tollgate_audit_names (reference, kind, tenant, name, seen_ms) VALUES ('ref-ada', 'user', 'acme', 'ada', 1000);
INSERT INTO tollgate_usage_daily (day, tenant, agent, server, tool, calls, errors, refused, sent_bytes, received_bytes, sent_tokens, received_tokens, cost_nano)
    VALUES (20509, 'acme', 'ref-bot', 'crm', 'search', 1, 0, 0, 10, 20, 3, 4, 5);
INSERT INTO tollgate_anchors (writer, seq, time_ms, first, body) VALUES ('w1', 7, 1000, 1, '{"seq":7}');
INSERT INTO tollgate_erasures (id, "user", tenant, before_ms, asked_ms) VALUES (4, 'ada', NULL, 1000, 2000);
INSERT INTO tollgate_blocks (kind, whose, name, reason, public, by_whom, since_ms) VALUES
    ('tool', '', 'crm/search', 'it leaks', 1, 'ada', 1000), ('agent', 'acme', 'bot', 'amok', 0, 'root', 2000);
INSERT INTO tollgate_allowances (of_what, from_ms, until_ms, used) VALUES
    ('0505050505050505050505050505050505050505050505050505050505050505', 1000, 2000, 6);
INSERT INTO tollgate_pauses (tenant, agent, why, since_ms, until_ms) VALUES ('acme', 'bot', 'repeats', 1000, 2000);
INSERT INTO tollgate_pins (tenant, server, kind, item, approved, approved_text, waiting, waiting_text, by_whom, reason, since_ms, seen_ms) VALUES
    ('', 'crm', 'tool', 'search', X'0909090909090909090909090909090909090909090909090909090909090909', CAST('{"name":"search"}' AS BLOB), X'0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A', X'', 'ada', 'looked at', 1000, 2000);
INSERT INTO tollgate_approvals (id, tenant, principal, binding, standing, at_ms, until_ms, body) VALUES
    ('apr_1', 'acme', 'bot/ada', '0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 'waiting', 1000, 9000, '{"id":"apr_1","tenant":"acme","principal":"bot/ada","binding":"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b","asked":{"agent":"bot","user":"ada","callers":["bot","ada"],"endpoint":"","method":"tools/call","server":"bank","native":"pay","arguments_digest":"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c","arguments":"{\"amount\":1}","arguments_whole":null,"definition":"d","policy":"p","rules":["big"],"why":"a policy demands it","risk":"write","call":"c0"},"needs":[{"group":"finance","people":2}],"at":1000,"grant_ms":60000,"standing":"waiting","until":9000,"votes":[{"by":"bob","via":"console","agrees":true,"groups":["finance"],"reason":"fine","at":1500}],"replaces":null,"replaced_by":null,"edited":null,"used_by":null}');
INSERT INTO tollgate_admin_keys (id, name, grants, hash, created_ms, expires_ms, revoked_ms, by_whom) VALUES
    ('a1', 'deploy', '[["operator","acme"],["viewer",null]]', X'0707070707070707070707070707070707070707070707070707070707070707', 1000, NULL, 3000, 'ada');
INSERT INTO tollgate_admin_sessions (digest, how, proof, subject, name, groups, created_ms, seen_ms, expires_ms) VALUES
    ('0808080808080808080808080808080808080808080808080808080808080808', 'oidc', 'https://idp.example', 'ada', 'Ada', '["ops"]', 1000, 2000, 9000);
INSERT INTO tollgate_admin_once (digest, request, at_ms, status, body) VALUES
    ('0909090909090909090909090909090909090909090909090909090909090909', '0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', 1000, 201, '{}');
INSERT INTO tollgate_registrations (tenant, name, version, life, revision, changed_ms, body) VALUES
    ('acme', 'crm', '1', 'approved', 3, 3000, '{"tenant":"acme","name":"crm","version":"1","life":"approved","share":100,"about":{"owner":"sales"},"reach":"{\"url\":\"https://crm.example/mcp\"}","origin":"cli","revision":3,"created":1000,"approved":3000,"act":"approved","by":"ada","reason":"looked at","at":3000}');
INSERT INTO tollgate_rules (tenant, name, revision, changed_ms, used, body) VALUES
    ('acme', 'pay', 2, 2000, '{"tenant":"acme","name":"pay","revision":2,"latest":1,"versions":[{"number":1,"text":"permit (principal, action, resource);","by":"ada","reason":"needed","at":1000}],"in_force":1,"shadow":null,"past":[null],"act":"promoted","by":"bob","reason":"","at":2000}', '{"tenant":"acme","name":"pay","revision":2,"latest":1,"versions":[{"number":1,"text":"permit (principal, action, resource);","by":"ada","reason":"needed","at":1000}],"in_force":1,"shadow":null,"past":[null],"act":"promoted","by":"bob","reason":"","at":2000}');
INSERT INTO tollgate_findings (writer, seq, nth, time_ms, tenant, call, agent, server, tool, rule, severity, direction, action) VALUES
    ('w1', 7, 0, 1000, 'acme', '', 'ref-bot', 'crm', 'search', 'personal.email', 'medium', 'result', 'mask');
INSERT INTO tollgate_findings_daily (day, tenant, server, tool, rule, severity, direction, action, found) VALUES
    (0, 'acme', 'crm', 'search', 'personal.email', 'medium', 'result', 'mask', 1);
INSERT INTO tollgate_pseudonyms (owner, name, digest, sealed, until_ms) VALUES
    (x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', '<EMAIL_1>', x'0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c', 'sealed', 9000);
INSERT INTO tollgate_usage_sums (cut, day, tenant, agent, server, tool, calls, errors, refused, sent_bytes, received_bytes, sent_tokens, received_tokens, cost_nano) VALUES
    (1, 20509, 'acme', '', '', '', 1, 0, 0, 10, 20, 3, 4, 5),
    (2, 20509, 'acme', 'ref-bot', '', '', 1, 0, 0, 10, 20, 3, 4, 5),
    (3, 20509, 'acme', '', 'crm', '', 1, 0, 0, 10, 20, 3, 4, 5),
    (4, 20504, 'acme', 'ref-bot', 'crm', 'search', 1, 0, 0, 10, 20, 3, 4, 5);
INSERT INTO tollgate_pseudonym_numbers (owner, kind, highest, until_ms) VALUES
    (x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 'EMAIL', 7, 9000);
