//! May they?
//!
//! While no identity and no policy are configured, there is one built-in policy: whoever reaches this machine's
//! loopback address may use everything, and nobody else may use anything. The data plane then binds nowhere else.

use tollgate_model::{Caller, Code, PrincipalId, Refusal, Stage};

use super::Resolved;

/// Policy has allowed this request. Only [`decide`] makes one.
pub(crate) struct Permit(());

/// Decides on exactly what will leave.
pub(crate) fn decide(caller: &Caller, resolved: &Resolved) -> Result<Permit, Refusal> {
    if *caller.principal() == PrincipalId::local() {
        return Ok(Permit(()));
    }
    let refusal = Refusal::new(Stage::Policy, Code::Denied, "no policy allows this caller to use it");
    Err(refusal.of(resolved.server().name()))
}

/// Decides on a server's list. What a list shows is for the list itself to filter.
pub(crate) fn decide_list(caller: &Caller) -> Result<Permit, Refusal> {
    if *caller.principal() == PrincipalId::local() {
        return Ok(Permit(()));
    }
    Err(Refusal::new(Stage::Policy, Code::Denied, "no policy allows this caller to use it"))
}
