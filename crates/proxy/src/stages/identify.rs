//! Who calls?
//!
//! Found out from a request's headers and its connection alone, before anything else of it is looked at and before its
//! body is read. While no identity is configured, whoever reaches this machine's loopback address is the local caller.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use tollgate_identity::{NotKnown, Presented};
use tollgate_model::{Code, Principal, Refusal, Stage};

use crate::downstream::Peer;
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;
use crate::standing::Mark;

/// A caller who is known. Only this module makes one, but for a client on standard input always from a request of its
/// own: a session, a connection or a task is a handle, never a proof.
#[derive(Debug, Clone)]
pub(crate) struct Identified {
    who: Arc<Principal>,
    source: Option<IpAddr>,
    as_of: Mark,
}

impl Identified {
    /// Who it is.
    pub(crate) fn who(&self) -> &Arc<Principal> {
        &self.who
    }

    /// Where the request comes from; none for a client on standard input.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Up to when what was taken back is known not to concern the caller.
    pub(crate) fn as_of(&self) -> Mark {
        self.as_of
    }

    /// Whether the caller is still let in: what it sent took its time to come.
    pub(crate) fn check(&self, gateway: &Gateway) -> Result<(), Refusal> {
        if gateway.was_taken_back(&self.who, self.as_of) { Err(taken_back()) } else { Ok(()) }
    }
}

#[cfg(test)]
impl Identified {
    /// A caller of a test's own.
    pub(crate) fn as_if(who: Arc<Principal>) -> Self {
        Self { who, source: None, as_of: crate::standing::Standing::default().mark() }
    }
}

/// Finds out who sends a request. `resource` is the endpoint's canonical URI.
pub(crate) async fn over_http(
    gateway: &Gateway,
    snapshot: &Snapshot,
    (peer, headers): (&Peer, &HeaderMap),
    source: IpAddr,
    resource: &str,
) -> Result<Identified, Box<NotKnown>> {
    refuse_in_the_clear(snapshot, peer)?;
    // Before: what is taken back meanwhile has to be seen.
    let as_of = gateway.standing().mark();
    let presented = Presented { headers, certificate: peer.certificate.as_deref(), resource, source };
    let who = snapshot.identity.authenticate(presented).await.map_err(Box::new)?;
    Ok(Identified { who, source: Some(source), as_of })
}

/// A proof that came over a network unencrypted is not looked at: others could have read it. Encryption may end at a trusted
/// proxy.
fn refuse_in_the_clear(snapshot: &Snapshot, peer: &Peer) -> Result<(), Box<NotKnown>> {
    let address = peer.address.ip().to_canonical();
    let is_proxy = || snapshot.settings.trusted_proxies.iter().any(|block| block.contains(address));
    if peer.tls || address.is_loopback() || is_proxy() {
        return Ok(());
    }
    let text = "this address is served over TLS, or through the proxies that are named for it";
    let refusal = Refusal::new(Stage::Transport, Code::InsecureTransport, text);
    Err(Box::new(NotKnown { refusal, challenge: None, retry_after_s: None }))
}

/// The answer to a request whose caller is no longer let in when it could be answered. Whoever knows its endpoint's address
/// adds the challenge.
pub(crate) fn taken_back() -> Refusal {
    let text = "what the request proved of its caller was taken back meanwhile";
    Refusal::new(Stage::Identity, Code::Unauthenticated, text)
}

/// Whoever reaches this machine's loopback address, while no identity is configured. The configuration lets the gateway
/// listen nowhere else then; but it may be another than when it began to listen.
pub(crate) fn on_loopback(
    gateway: &Gateway,
    peer: &Peer,
    source: IpAddr,
) -> Result<Identified, Box<NotKnown>> {
    if peer.address.ip().to_canonical().is_loopback() {
        return Ok(local(gateway, Some(source)));
    }
    let text = "no identity is configured: only callers on this machine are let in";
    let refusal = Refusal::new(Stage::Identity, Code::Unauthenticated, text);
    let challenge = Some("Bearer realm=\"tollgate\"".to_owned());
    Err(Box::new(NotKnown { refusal, challenge, retry_after_s: None }))
}

/// Whoever is at the other end of a connection that only this machine can open.
pub(crate) fn local(gateway: &Gateway, source: Option<IpAddr>) -> Identified {
    Identified { as_of: gateway.standing().mark(), who: gateway.local_caller(), source }
}
