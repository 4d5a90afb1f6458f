//! Things to store.

use std::time::Duration;

use bytes::Bytes;
use tollgate_model::{KeyHash, KeyId, KeyRecord, PrincipalId, ServerName, TenantId, Timestamp};

use crate::{
    About, Approval, ApprovalId, ApprovalOf, Asked, Blockable, Blocking, Definitions, DefinitionsOf, Digest,
    Doing, List, Needed, PinKind, PinShape, Registration, RegistrationId, Revocable, Revocation, Sighting,
    Sightings, Standing,
};

/// A key of the tenant `acme` and the agent `bot`.
pub fn key(id: &str) -> KeyRecord {
    KeyRecord {
        id: KeyId::new(id),
        tenant: TenantId::new("acme"),
        agent: "bot".into(),
        groups: vec!["support".into(), "tier \"2\"".into()],
        hash: KeyHash(Digest::of([id.as_bytes()]).0),
        created: Timestamp::from_ms(1_000),
        expires: None,
        revoked: None,
        replaced_by: None,
    }
}

/// A user of the tenant `acme` whose everything is taken back.
pub fn revoked_user(name: &str) -> Revocation {
    let what = Revocable::User { tenant: TenantId::new("acme"), user: name.into() };
    Revocation { what, since: Timestamp::from_ms(1_000), until: None }
}

/// An agent of the tenant `acme` that is stopped.
pub fn blocked_agent(name: &str) -> Blocking {
    let what = Blockable::Agent { tenant: TenantId::new("acme"), agent: name.into() };
    Blocking {
        what,
        reason: "it runs \"amok\"".into(),
        is_public: false,
        by: "ops".into(),
        since: Timestamp::from_ms(3),
    }
}

/// A draft of the tenant `acme`.
pub fn registered(name: &str, version: &str) -> Registration {
    let name = ServerName::new(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let id = RegistrationId { tenant: TenantId::new("acme"), name, version: version.into() };
    let about = About { owner: Some("Ünï".into()), tags: vec!["a \"b\"".into()], ..About::default() };
    let doing = Doing { by: "ada".into(), reason: "needed".into(), at: Timestamp::from_ms(1_000) };
    Registration::draft(id, "{\"url\":\"https://crm.example/mcp\"}".into(), about, "cli", &doing)
}

/// Tools of a server.
pub fn definitions(tenant: Option<&str>, server: &str, items: &[&'static str]) -> Definitions {
    let server = ServerName::new(server).unwrap_or_else(|error| panic!("{server}: {error}"));
    let of = DefinitionsOf { tenant: tenant.map(TenantId::new), server, list: List::Tools };
    let items = items.iter().map(|item| Bytes::from_static(item.as_bytes())).collect();
    Definitions::new(of, items, Timestamp::from_ms(7))
}

/// A tool as it is seen, by its definition.
pub fn sighting(item: &str, text: &'static str, is_trusted: bool) -> Sighting {
    let shape = PinShape::new(Digest::of([text.as_bytes()]), Bytes::from_static(text.as_bytes()));
    Sighting { kind: PinKind::Tool, item: item.into(), shape, is_trusted, is_held: false }
}

/// What is seen of a server.
pub fn sightings(tenant: Option<&str>, server: &str, items: Vec<Sighting>) -> Sightings {
    let server = ServerName::new(server).unwrap_or_else(|error| panic!("{server}: {error}"));
    let tenant = tenant.map(TenantId::new);
    Sightings { tenant, server, items, at: Timestamp::from_ms(5), by: "gateway".into() }
}

/// A call of the agent `bot`, on behalf of the user `ada` of the tenant `acme`, about which somebody of `finance` is asked. What
/// it is about is another thing for each number.
pub fn approval(id: &str, about: u64) -> Approval {
    let digest = Digest::of([&about.to_be_bytes()[..]]);
    Approval {
        id: ApprovalId::new(id),
        of: ApprovalOf {
            tenant: TenantId::new("acme"),
            principal: PrincipalId::new("bot/ada"),
            binding: digest,
        },
        asked: Asked {
            agent: Some("bot".into()),
            user: Some("ada".into()),
            callers: vec!["bot".into(), "ada".into()],
            endpoint: "".into(),
            method: "tools/call".into(),
            server: "bank".into(),
            native: "pay".into(),
            arguments_digest: digest.to_string().into(),
            arguments: Some("{\"amount\":10000,\"to\":\"[redacted:email]\"}".into()),
            arguments_whole: Some("{\"amount\":10000,\"to\":\"eve@example.com\"}".into()),
            definition: "d".into(),
            policy: "p".into(),
            rules: vec!["pay \"big\"".into()],
            why: "a policy demands it".into(),
            risk: "write".into(),
            call: "c0".into(),
        },
        needs: vec![Needed { group: "finance".into(), people: 1 }],
        at: Timestamp::from_ms(1_000),
        grant_for: Duration::from_mins(1),
        standing: Standing::Waiting,
        until: Timestamp::from_ms(10_000),
        votes: Vec::new(),
        replaces: None,
        replaced_by: None,
        edited: None,
        used_by: None,
    }
}
