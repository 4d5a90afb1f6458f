//! The section of identity: what it means, and what is said of one that is wrong.

use std::sync::Arc;
use std::time::Duration;

use super::yaml;
use tollgate_identity::{Algorithm, CertificatePart, ClaimPath, TenantSource};

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[test]
fn without_the_section_identity_is_off_and_an_empty_one_turns_it_on() {
    let servers = "servers: { a: { command: x } }\n";
    assert!(yaml(servers).good("tollgate.yaml").identity.is_off());
    assert!(!yaml(&format!("identity: {{}}\n{servers}")).good("tollgate.yaml").identity.is_off());
}

#[test]
fn a_key_that_switches_security_on_needs_a_value() {
    let servers = "servers: { a: { command: x } }\n";
    for (written, place, help) in [
        ("identity:\n", "1:1: identity", "`identity: {}`"),
        ("identity: ~\n", "1:1: identity", "`identity: {}`"),
        ("policy:\n", "1:1: policy", "`policy: {}`"),
        ("tenants:\n", "1:1: tenants", "name a tenant"),
        ("tenants:\n  acme:\n    policy:\n", "3:5: tenants.acme.policy", "`policy: {}`"),
    ] {
        let bench = yaml(&format!("{written}{servers}"));
        let text = bench.bad("tollgate.yaml");
        assert!(
            text.contains(&format!("tollgate.yaml:{place}: nothing is written under this key")),
            "{text}"
        );
        let shown = bench.load("tollgate.yaml").expect_err("it is refused").render(false);
        assert!(shown.contains(help), "{shown}");
    }
}

#[test]
fn every_key_of_identity_reaches_its_setting() {
    let bench = yaml(&format!(
        "servers: {{ a: {{ command: x }} }}
tls: {{ certificate: ca.pem, key: ca.pem }}
identity:
  anonymous: {{ groups: [guests] }}
  keys:
    - {{ id: ci, agent: ci-bot, groups: [b, a, b], sha256: {DIGEST}, expires: 2099-01-01T00:00:00Z }}
  issuers:
    - issuer: https://idp.example.com/a
      jwks_uri: https://keys.example.com/jwks
      introspection: {{ url: https://idp.example.com/ask, client_id: gate, client_secret: '${{SECRET}}', cache_ms: 5 }}
      audiences: [api://tools]
      algorithms: [ES256, EdDSA]
      types: [application/AT+JWT, \"\"]
      clock_skew_ms: 1
      ca_file: ca.pem
      prefix: 'a:'
      claims: {{ user: [email, sub], agent: azp, groups: realm_access.groups, roles: https://x.example/roles }}
      timeout_ms: 2
      body_bytes_max: 2048
      keys_again_ms_min: 3
      keys_fresh_ms: 4000
      keys_fresh_ms_max: 5000
      keys_stale_ms_max: 6
    - issuer: http://127.0.0.1:9/
      allow_private_addresses: true
      prefix: 'b:'
      claims: {{ tenant: org }}
  certificates:
    ca_file: ca.pem
    required: true
    map:
      - {{ spiffe: spiffe://example.org/agent/*, agent: '*', agent_groups: [mesh] }}
      - {{ email: '*@example.org', user: '*', groups: [staff], roles: [r] }}
  scopes: [mcp, mcp, files.read]
  failures_max: 7
  failures_window_ms: 8000
  failures_sources_max: 99
  remembered_max: 100
"
    ))
    .file("ca.pem", "-----BEGIN CERTIFICATE-----\n")
    .var("SECRET", "hush");
    let config = bench.good("tollgate.yaml");
    assert!(config.files.iter().any(|file| file.ends_with("ca.pem")));
    assert!(config.client_certificates.expect("client certificates").required);
    let identity = config.identity;
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
    assert_eq!(identity.anonymous.expect("anonymous").groups, names(&["guests"]));
    let key = &identity.keys[0];
    assert_eq!((key.id.as_str(), &*key.agent, &key.groups), ("ci", "ci-bot", &names(&["a", "b"])));
    assert_eq!(key.hash.0[..2], [0x9f, 0x86]);
    assert_eq!(key.expires.map(|expires| expires.to_string()).as_deref(), Some("2099-01-01T00:00:00Z"));

    let issuer = &identity.issuers[0];
    assert_eq!(&*issuer.issuer, "https://idp.example.com/a");
    assert_eq!(
        issuer.jwks_uri.as_ref().map(ToString::to_string).as_deref(),
        Some("https://keys.example.com/jwks")
    );
    let introspection = issuer.introspection.as_ref().expect("introspection");
    assert_eq!((introspection.client_id.as_str(), introspection.client_secret.expose()), ("gate", "hush"));
    assert_eq!(introspection.cache, Duration::from_millis(5));
    assert_eq!(issuer.audiences, names(&["api://tools"]));
    assert_eq!(issuer.algorithms, [Algorithm::Es256, Algorithm::EdDsa]);
    assert_eq!(issuer.types, names(&["at+jwt", ""]));
    assert_eq!((issuer.clock_skew, &*issuer.prefix), (Duration::from_millis(1), "a:"));
    assert!(issuer.ca_pem.is_some());
    let claim = |text: &str| ClaimPath::read(text).expect("a path");
    assert_eq!(issuer.claims.user, [claim("email"), claim("sub")]);
    assert_eq!(issuer.claims.groups, [claim("realm_access.groups")]);
    assert_eq!(issuer.claims.scopes, [claim("scope"), claim("scp")], "the default stays");
    assert_eq!(issuer.fetch.timeout, Duration::from_millis(2));
    assert_eq!((issuer.fetch.body_bytes_max, issuer.fetch.again_min), (2048, Duration::from_millis(3)));
    assert_eq!(issuer.fetch.fresh, Duration::from_secs(4));
    assert_eq!(
        (issuer.fetch.fresh_max, issuer.fetch.stale_max),
        (Duration::from_secs(5), Duration::from_millis(6))
    );
    assert!(matches!(issuer.tenant, TenantSource::Fixed(_)));
    assert_eq!(&*identity.issuers[1].issuer, "http://127.0.0.1:9/", "to the letter");
    assert_eq!(identity.issuers[1].tenant, TenantSource::Claim(claim("org")));

    let rule = &identity.certificates[0];
    assert_eq!((rule.part, rule.agent.as_deref()), (CertificatePart::Spiffe, Some("*")));
    assert_eq!(identity.certificates[1].groups, names(&["staff"]));
    assert_eq!(identity.scopes, names(&["mcp", "files.read"]));
    assert_eq!((identity.failures.max, identity.failures.window), (7, Duration::from_secs(8)));
    assert_eq!((identity.failures.sources_max, identity.remembered_max), (99, 100));
}

#[test]
fn what_would_not_hold_is_refused() {
    let bench = yaml(&format!(
        "servers: {{ a: {{ command: x }} }}
identity:
  anonymous: {{ tenant: nowhere }}
  keys:
    - {{ id: a, agent: local, sha256: {DIGEST} }}
    - {{ id: a, agent: b, sha256: {DIGEST} }}
    - {{ id: b, agent: c, sha256: \"{}\" }}
    - {{ id: c, agent: d, sha256: {} }}
  issuers:
    - {{ issuer: https://one.example }}
    - {{ issuer: https://two.example, prefix: 'b:' }}
    - {{ issuer: http://127.0.0.1:1 }}
    - {{ issuer: https://three.example, prefix: 'b:c', algorithms: [HS256, none], claims: {{ groups: a..b }} }}
    - {{ issuer: https://one.example }}
    - {{ jwks_uri: https://x.example }}
  certificates:
    map:
      - {{ dns: a, uri: b, agent: c }}
      - {{ spiffe: '*/*', agent: 'x' }}
      - {{ dns: a, agent: '*' }}
      - {{ dns: a }}
  scopes: ['a b']
",
        "z".repeat(64),
        "a".repeat(64),
    ));
    let said = bench.bad("tollgate.yaml");
    let expected = "\
3:24: identity.anonymous.tenant: there is no tenant `nowhere` (name it under `tenants`)
5:23: identity.keys[0].agent: `local` and `anonymous` are the gateway's own names
6:13: identity.keys[1].id: `a` is already the id of another key
6:34: identity.keys[1].sha256: the digest of another key above
7:34: identity.keys[2].sha256: no SHA-256 digest in hexadecimal (`tollgate keys hash` prints it)
11:46: identity.issuers[1].prefix: its tokens could name the same users as those of `https://one.example` (give both a `prefix`, neither of which begins with the other, or each a `tenant` of its own)
12:17: identity.issuers[2].issuer: whoever is on the way could forge tokens (use https; http is only for a loopback address, with `allow_private_addresses: true`)
13:48: identity.issuers[3].prefix: its tokens could name the same users as those of `https://one.example` (give both a `prefix`, neither of which begins with the other, or each a `tenant` of its own)
13:68: identity.issuers[3].algorithms[0]: `HS256` is none of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`
14:17: identity.issuers[4].issuer: this issuer stands above already
15:7: identity.issuers[5]: `issuer` is missing
";
    for line in expected.lines() {
        assert!(said.contains(line), "missing: {line}\n in:\n{said}");
    }
    for part in [
        "certificates: only TLS has",
        "certificates: `ca_file` is missing",
        "certificates.map[0]: needs exactly one",
        "map[1].spiffe: has one `*`",
        "begins with `spiffe://`",
        "map[2].agent: there is no `*`",
        "map[3]: needs an `agent` or a `user`",
        "scopes[0]: `a b` is no scope (write each",
        "claims.groups: `a..b` is no place",
    ] {
        assert!(said.contains(part), "missing: {part}\n in:\n{said}");
    }
}

#[test]
fn the_secret_of_introspection_is_never_shown() {
    let bench = yaml(
        "servers: { a: { command: x } }
identity: { issuers: [{ issuer: ftp://x, introspection: { client_id: g, client_secret: hunter2, url: nope } }] }
",
    );
    match bench.load("tollgate.yaml") {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => {
            let shown = error.render(false);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
