-- What a program of version 1 may have stored. `tests` in src/migrations.rs says what any later program finds in it.
INSERT INTO tollgate_keys (id, tenant, agent, groups, hash, created_ms, expires_ms, revoked_ms, replaced_by) VALUES
    ('old', 'acme', 'bot', '["support"]', '\x0101010101010101010101010101010101010101010101010101010101010101', 1000, 5000, NULL, 'new'),
    ('new', 'acme', 'bot', '["support"]', '\x0202020202020202020202020202020202020202020202020202020202020202', 2000, NULL, 3000, NULL);
INSERT INTO tollgate_revocations (kind, whose, name, since_ms, until_ms) VALUES ('user', 'acme', 'ada', 1000, NULL);
INSERT INTO tollgate_definitions (shared, tenant, server, list, digest, items, seen_ms) VALUES
    (1, '', 'files', 'tools', '\x0303030303030303030303030303030303030303030303030303030303030303', convert_to('[{"name" : "a"},1.0]', 'UTF8'), 1000);
INSERT INTO tollgate_accepted (tenant, digest, at_ms) VALUES
    ('acme', '\x0404040404040404040404040404040404040404040404040404040404040404', 1000);
INSERT INTO tollgate_feed (revision, mark, body) VALUES
    (1, 42, '{"change":"revoked","kind":"user","whose":"acme","name":"ada","since":1000,"until":null}');
UPDATE tollgate_head SET revision = 1;
