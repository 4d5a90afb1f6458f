//! Is what is used still what was approved?
//!
//! Asked once policy has allowed it, so that a definition that waits tells nobody of what is hidden from them. An item whose
//! definition nobody has seen is looked up first.

use tollgate_catalog::ListKind;
use tollgate_mcp::methods;
use tollgate_model::{Code, Refusal, ServerId, Stage};
use tollgate_store::PinKind;

use super::{Resolved, resolve};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::lists;
use crate::pinning::{Found, Why};

/// Refuses what is known to wait.
pub(crate) fn check(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<(), Refusal> {
    if !gateway.pins().is_on() {
        return Ok(());
    }
    match find(gateway, inbound, resolved) {
        Some((kind, Found::Waits(why))) => Err(refusal(kind, why).of(resolved.server().name())),
        _ => Ok(()),
    }
}

/// Finds out how what nobody has seen yet is defined, before it is used for the first time.
pub(crate) async fn settle(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<(), Refusal> {
    if !gateway.pins().is_on() || is_pinned(inbound, resolved).is_none() {
        return Ok(());
    }
    match find(gateway, inbound, resolved) {
        Some((kind, Found::Waits(why))) => Err(refusal(kind, why).of(resolved.server().name())),
        Some((PinKind::Tool | PinKind::Prompt, Found::Unknown)) => Err(resolve::unknown(inbound, resolved)),
        None | Some((_, Found::Passes | Found::Unknown)) => Ok(()),
        Some((kind, Found::Unread)) => Box::pin(look(gateway, inbound, resolved, kind)).await,
    }
}

/// Reads the list in which it has to be.
async fn look(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    kind: PinKind,
) -> Result<(), Refusal> {
    let (server, pins) = (resolved.server(), gateway.pins());
    let lists: &[ListKind] = match kind {
        PinKind::Tool => &[ListKind::Tools],
        PinKind::Prompt => &[ListKind::Prompts],
        _ if pins.has_read(server.id(), kind) => return Ok(()),
        _ => &[ListKind::Resources, ListKind::Templates],
    };
    for list in lists {
        lists::learn(gateway, inbound, server.name(), *list).await?;
    }
    check(gateway, inbound, resolved)?;
    match find(gateway, inbound, resolved) {
        Some((PinKind::Tool | PinKind::Prompt, found)) if found != Found::Passes => {
            Err(resolve::unknown(inbound, resolved))
        }
        _ => Ok(()),
    }
}

/// Whether a resource waits, of whose changes somebody wants to hear.
pub(crate) fn hides_resource(gateway: &Gateway, server: &ServerId, uri: &str) -> bool {
    gateway.pins().is_on() && matches!(of_uri(gateway, server, uri), (_, Found::Waits(_)))
}

/// What kind of thing is used, if it is one that is pinned.
fn is_pinned(inbound: &Inbound, resolved: &Resolved) -> Option<()> {
    let settings = &inbound.snapshot.settings.pins;
    settings.rule(resolved.server().id()).map(drop)
}

fn find(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Option<(PinKind, Found)> {
    let (server, native) = (resolved.server().id(), resolved.native()?);
    let member = resolved.target().key.as_ref().map(|(member, _)| *member)?;
    let kind = match (member, inbound.message.method()) {
        ("name", methods::TOOLS_CALL) => PinKind::Tool,
        ("name", _) => PinKind::Prompt,
        ("uri", _) => return Some(of_uri(gateway, server, native)),
        _ => return None,
    };
    Some((kind, gateway.pins().find(server, kind, native)))
}

/// A URI, or a template that a completion names. What no list names may come of a template.
fn of_uri(gateway: &Gateway, server: &ServerId, uri: &str) -> (PinKind, Found) {
    let pins = gateway.pins();
    match pins.find(server, PinKind::Resource, uri) {
        found @ (Found::Passes | Found::Waits(_)) => return (PinKind::Resource, found),
        Found::Unknown | Found::Unread => {}
    }
    match pins.find(server, PinKind::Template, uri) {
        found @ (Found::Passes | Found::Waits(_)) => (PinKind::Template, found),
        found => match pins.template_waits(server, uri) {
            Some(why) => (PinKind::Template, Found::Waits(why)),
            None => (PinKind::Resource, found),
        },
    }
}

fn refusal(kind: PinKind, why: Why) -> Refusal {
    let what = match kind {
        PinKind::Tool => "this tool",
        PinKind::Prompt => "this prompt",
        PinKind::Resource => "this resource",
        PinKind::Template => "the template of this resource",
        PinKind::Instructions => "these instructions",
    };
    let text = match why {
        Why::Changed => format!("the definition of {what} is not the one that was approved"),
        Why::New => format!("nobody has approved the definition of {what} yet"),
        Why::LookAlike => {
            format!("the name of {what} looks like that of another one, and nobody has approved it")
        }
        Why::Held => {
            format!("a content guard found something in the definition of {what}, and nobody has approved it")
        }
        Why::NotLocked => format!("the definition of {what} is not among those that are approved"),
    };
    let text = format!("{text}: an operator has to approve it before it can be used");
    Refusal::new(Stage::Pins, Code::Quarantined, text)
}
