//! Things to store.

use bytes::Bytes;
use tollgate_model::{KeyHash, KeyId, KeyRecord, ServerName, TenantId, Timestamp};

use crate::{
    Blockable, Blocking, Definitions, DefinitionsOf, Digest, List, PinKind, PinShape, Revocable, Revocation,
    Sighting, Sightings,
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
    Sighting { kind: PinKind::Tool, item: item.into(), shape, is_trusted }
}

/// What is seen of a server.
pub fn sightings(tenant: Option<&str>, server: &str, items: Vec<Sighting>) -> Sightings {
    let server = ServerName::new(server).unwrap_or_else(|error| panic!("{server}: {error}"));
    let tenant = tenant.map(TenantId::new);
    Sightings { tenant, server, items, at: Timestamp::from_ms(5), by: "gateway".into() }
}
