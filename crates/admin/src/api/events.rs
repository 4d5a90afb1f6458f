//! What changes, as it changes: an event stream.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tollgate_model::TenantId;
use tollgate_store::{Blockable, Change, Life, Numbered, Registration};
use utoipa::ToSchema;

use crate::front::{Known, Shared};
use crate::problem::Problem;
use crate::roles::{Act, Operator, Over, Resource};
use crate::sessions::{self, BY_KEY};

/// After so much silence a comment is sent.
const SILENCE: Duration = Duration::from_secs(15);
/// After so long a stream ends, and whoever wants to hear more shows anew who they are.
const STREAM_MAX: Duration = Duration::from_mins(10);

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/events", get(events))
}

/// What stands in the `data` of an event: what is another by now. The `event` is called like the resource, and the `id` is the
/// revision. An event `missed` has an empty object, and says that some were left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeEvent {
    /// What is another by now, as permissions call it: `blocks`, `keys`, `servers`, `policies`, …
    #[schema(pattern = "^[a-z-]+$", example = "blocks")]
    resource: &'static str,
    /// Whose it is; null if it is every tenant's.
    tenant: Option<String>,
    /// How often what is stored had changed by then.
    revision: u64,
}

struct Hearing {
    changes: Receiver<Numbered>,
    who: Operator,
    /// By which a session is found, if it was asked for with one.
    headers: HeaderMap,
    plane: Shared,
    until: Instant,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Hearing {
    /// Whether the session is not over, if it was asked for with one. What somebody may hear is what they may now.
    async fn lasts(&mut self) -> bool {
        if self.who.csrf.is_none() {
            return true;
        }
        match sessions::look(&self.plane, &self.headers).await {
            Ok(Some(who)) => self.who = who,
            Ok(None) => return false,
            // The store is away, and so is what changes.
            Err(_) => {}
        }
        true
    }
}

/// Tells what changes: an event stream (`text/event-stream`). Each event names the resource that is another by now; ask for it
/// to know what it is. The `data` of an event is a `ChangeEvent`. A stream ends after ten minutes: come back.
#[utoipa::path(get, path = "/api/v1/events", tag = "about",
    responses((status = 200, description = "Events until the stream ends", body = String, content_type = "text/event-stream")),
    extensions(("x-tollgate-permission" = json!(null))))]
async fn events(
    Known(who): Known,
    State(plane): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = std::sync::Arc::clone(&plane.hearing).try_acquire_owned();
    let place = place.map_err(|_| Problem::unavailable("too many hear what changes"))?;
    let changes = plane.parts()?.follower.applied();
    let until = Instant::now() + STREAM_MAX;
    let hearing = Hearing { changes, who, headers, plane, until, _place: place };
    let heard = stream::unfold((hearing, true), |(mut hearing, is_first)| async move {
        if is_first {
            // Whoever waits for the first event knows that it is heard from now on.
            return Some((Ok::<_, Infallible>(Bytes::from_static(b": hearing\n\n")), (hearing, false)));
        }
        let text = next(&mut hearing).await?;
        Some((Ok(Bytes::from(text)), (hearing, false)))
    });
    let mut response = Body::from_stream(heard).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn next(hearing: &mut Hearing) -> Option<String> {
    loop {
        let silence = Instant::now() + SILENCE;
        tokio::select! {
            change = hearing.changes.recv() => match change {
                // Whoever's key is revoked hears no more.
                Ok(numbered) if is_end(&numbered.change, &hearing.who) => return None,
                Ok(numbered) => {
                    if !hearing.lasts().await {
                        return None;
                    }
                    if let Some(text) = told(&numbered, &hearing.who) {
                        return Some(text);
                    }
                },
                Err(RecvError::Lagged(_)) => return Some("event: missed\ndata: {}\n\n".to_owned()),
                // Another configuration follows another store.
                Err(RecvError::Closed) => return None,
            },
            () = tokio::time::sleep_until(hearing.until) => return None,
            () = tokio::time::sleep_until(silence) => {
                return hearing.lasts().await.then(|| ": \n\n".to_owned());
            },
        }
    }
}

/// Whether it is the end of the key with which whoever hears has come.
fn is_end(change: &Change, who: &Operator) -> bool {
    let Change::AdminKey(key) = change else { return false };
    key.revoked.is_some() && &*who.how == BY_KEY && who.by == sessions::by(BY_KEY, key.id.as_str())
}

/// The event of a change, if whoever hears may know of it.
fn told(Numbered { cursor, change }: &Numbered, who: &Operator) -> Option<String> {
    let (resource, tenant): (Resource, Option<&TenantId>) = match change {
        Change::Key(key) => (Resource::Keys, Some(&key.tenant)),
        Change::Revoked(revocation) => {
            (Resource::Revocations, crate::acts::revocations::tenant_of(&revocation.what))
        }
        Change::Reinstated(what) => (Resource::Revocations, crate::acts::revocations::tenant_of(what)),
        Change::Blocked(blocking) => (Resource::Blocks, blocking.what.tenant()),
        Change::Unblocked(unblocking) => (Resource::Blocks, unblocking.what.tenant()),
        Change::Paused(pausing) => (Resource::Pauses, Some(&pausing.who.tenant)),
        Change::Resumed(resuming) => (Resource::Pauses, Some(&resuming.who.tenant)),
        Change::AdminKey(_) => (Resource::AdminKeys, None),
        Change::Approval(approval) => (Resource::Approvals, Some(&approval.of.tenant)),
        Change::Pinned(change) => (Resource::Pins, change.of.tenant.as_ref()),
        Change::Defined(of, _) | Change::Forgotten(of) => (Resource::Tools, of.tenant.as_ref()),
        Change::Ruled(set) => (Resource::Policies, set.id.tenant.as_ref()),
        Change::Registered(one) => (Resource::Servers, (!is_everybodys(one)).then_some(&one.id.tenant)),
    };
    let is_seen = match Over::of(&who.grants, resource, Act::Read)? {
        Over::All => true,
        Over::These(tenants) => tenant.map_or(is_shown(change), |tenant| tenants.contains(tenant)),
    };
    let tenant = tenant.map(|tenant| tenant.as_str().to_owned());
    let data = ChangeEvent { resource: resource.as_str(), tenant, revision: cursor.revision };
    let data = serde_json::to_string(&data).unwrap_or_default();
    is_seen.then(|| format!("event: {}\nid: {}\ndata: {data}\n\n", resource.as_str(), cursor.revision))
}

/// Whether a server is, or was, served to every tenant.
fn is_everybodys(one: &Registration) -> bool {
    !matches!(one.life, Life::Draft | Life::InReview) && crate::acts::servers::is_shared(one)
}

/// Whether those who read in one tenant see what is no tenant's: of what is every tenant's they do, and of what may be anybody's (a
/// token, a key that is stopped, a key of a machine) they do not.
fn is_shown(change: &Change) -> bool {
    let is_key = |what: &Blockable| matches!(what, Blockable::Key { .. });
    match change {
        Change::Blocked(blocking) => !is_key(&blocking.what),
        Change::Unblocked(unblocking) => !is_key(&unblocking.what),
        Change::Pinned(_)
        | Change::Defined(..)
        | Change::Forgotten(_)
        | Change::Ruled(_)
        | Change::Registered(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tollgate_model::{ServerName, Timestamp};
    use tollgate_store::{AdminKey, Blocking, Revocable};

    use super::*;
    use crate::roles::{Grant, Role};

    #[test]
    fn those_of_one_tenant_hear_of_what_is_theirs_and_of_what_is_everybodys() {
        let grants = vec![Grant { role: Role::Security, tenant: Some(TenantId::new("acme")) }];
        let who = Operator {
            by: "ada".into(),
            name: "Ada".into(),
            how: "key".into(),
            groups: Vec::new(),
            grants,
            csrf: None,
        };
        let hears = |change: Change| {
            let cursor = tollgate_store::Cursor { revision: 7, ..Default::default() };
            told(&Numbered { cursor, change }, &who)
        };
        let server = |tenant: Option<&str>| Blockable::Server {
            tenant: tenant.map(TenantId::new),
            server: ServerName::new("crm").expect("a name"),
        };
        let blocked = |what| {
            let since = Timestamp::from_ms(1);
            Change::Blocked(Blocking { what, reason: "r".into(), is_public: false, by: "b".into(), since })
        };
        assert!(hears(blocked(server(Some("acme")))).is_some_and(|text| text.starts_with("event: blocks\n")));
        assert!(hears(blocked(server(None))).is_some_and(|text| text.contains("\"tenant\":null")));
        assert_eq!(hears(blocked(server(Some("globex")))), None);
        let key = Blockable::Key { id: tollgate_model::KeyId::new("k") };
        assert_eq!(hears(blocked(key)), None, "it may be anybody's");
        let token = Revocable::from_parts("token", "https://idp.example", "t").expect("a token");
        assert_eq!(hears(Change::Reinstated(token)), None);
        let key = |id: &str, revoked| {
            Change::AdminKey(Arc::new(AdminKey {
                id: tollgate_model::KeyId::new(id),
                name: "deploy".into(),
                grants: Vec::new(),
                hash: tollgate_model::KeyHash([0; 32]),
                created: Timestamp::from_ms(1),
                expires: None,
                revoked,
                by: "root".into(),
            }))
        };
        let theirs = Operator { by: "admin key k1".into(), ..who.clone() };
        let ends = |id, revoked, who| is_end(&key(id, revoked), who);
        assert!(ends("k1", Some(Timestamp::from_ms(2)), &theirs));
        assert!(!ends("k1", None, &theirs) && !ends("k2", Some(Timestamp::from_ms(2)), &theirs));
        let named = Operator { how: "oidc".into(), ..theirs.clone() };
        assert!(!ends("k1", Some(Timestamp::from_ms(2)), &named), "somebody who is called like a key");
    }
}
