//! Was the access token granted for this?
//!
//! Asked of what policy allows: a caller learns of the scopes of what it may see, and of nothing else. Proofs other than
//! access tokens have no scopes, and are not limited by them. The scopes that everything needs were looked at when the
//! token was.

use std::sync::Arc;

use tollgate_model::{Code, Refusal, ServerId, Stage};

use crate::inbound::Inbound;

/// Refuses what the caller's token was not granted for: a server's things, or one of its tools.
pub(crate) fn check(inbound: &Inbound, server: &ServerId, tool: Option<&str>) -> Result<(), Refusal> {
    let Some(granted) = &inbound.caller.who.scopes else { return Ok(()) };
    let needed = inbound.snapshot.scopes(server, tool);
    if needed.iter().all(|scope| granted.contains(scope)) {
        return Ok(());
    }
    let names: Vec<&str> = needed.iter().map(|scope| &**scope).collect();
    let text = format!("the access token was not granted for this: it needs {}", names.join(", "));
    Err(Refusal::new(Stage::Identity, Code::InsufficientScope, text).of(server.name()).needing(&needed))
}

/// The scopes that a server and a tool of it need, each once.
pub(crate) fn of(facts: &tollgate_catalog::ServerFacts, tool: Option<&str>) -> Vec<Arc<str>> {
    let mut needed = facts.scopes.clone();
    let of_tool = tool.and_then(|native| facts.tools.get(native));
    for scope in of_tool.into_iter().flat_map(|facts| &facts.scopes) {
        if !needed.contains(scope) {
            needed.push(Arc::clone(scope));
        }
    }
    needed
}
