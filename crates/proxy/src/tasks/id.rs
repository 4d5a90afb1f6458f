//! The ids of tasks as clients know them.
//!
//! A server's own id says nothing of the server, and is no proof of who may use it. What a client gets is sealed: it
//! holds the server and the native id, opens only for the tenant and principal that it was made for, and is the same
//! whenever it is made, since clients compare ids. Nothing is remembered for it; it is good for as long as the process
//! lives.

use tollgate_model::{Caller, Code, Holder, Refusal, ServerId, ServerName, Stage};

use crate::seal::Sealer;

/// What a task's id is sealed for.
const PURPOSE: &str = "task";
/// Stands before the name of a server that is every tenant's; any other is of the tenant that the id is sealed for.
const SHARED: &str = "*";

/// Whose task it is, and what its server calls it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TaskId {
    /// The server that runs the task.
    pub(crate) server: ServerId,
    /// The server's own id for it, to the letter.
    pub(crate) native: String,
}

/// The id under which this caller may know a server's task.
pub(crate) fn wrap(
    sealer: &Sealer,
    caller: &Caller,
    server: &ServerId,
    native: &str,
) -> Result<String, Refusal> {
    let holder = if *server.holder() == Holder::Shared { SHARED } else { "" };
    // A server's name holds no NUL, and does not begin with the mark.
    let bytes = [[holder, server.name().as_str()].concat().as_bytes(), native.as_bytes()].join(&0);
    sealer.seal_repeatably(&purpose(caller), bytes).map_err(|error| {
        Refusal::new(Stage::Resolve, Code::Internal, "the id of a task could not be sealed")
            .because(error.to_string())
    })
}

/// The task that this caller means; none if the id was not made for it.
pub(crate) fn unwrap(sealer: &Sealer, caller: &Caller, id: &str) -> Option<TaskId> {
    let bytes = sealer.open(&purpose(caller), id)?;
    let place = bytes.iter().position(|byte| *byte == 0)?;
    let server = std::str::from_utf8(bytes.get(..place)?).ok()?;
    let (holder, name) = match server.strip_prefix(SHARED) {
        Some(name) => (Holder::Shared, name),
        None => (Holder::Tenant(caller.tenant().clone()), server),
    };
    let server = ServerId::new(holder, ServerName::new(name).ok()?);
    let native = String::from_utf8(bytes.get(place + 1..)?.to_vec()).ok()?;
    Some(TaskId { server, native })
}

/// The refusal of an id that opens to nothing this caller may use. It says no more, whatever the reason.
pub(crate) fn unknown() -> Refusal {
    Refusal::new(Stage::Resolve, Code::UnknownTask, "Unknown task")
}

/// No part can hold a NUL, so no two purposes are one text.
fn purpose(caller: &Caller) -> String {
    [PURPOSE, caller.tenant().as_str(), caller.principal().as_str()].join("\0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;
    use tollgate_model::{ClientProfile, Principal, PrincipalId, Proof, Revision, TenantId};

    fn server(name: &str) -> ServerId {
        ServerId::new(Holder::Tenant(TenantId::new("t")), ServerName::new(name).expect("a name"))
    }

    fn caller(tenant: &str, principal: &str) -> Caller {
        let client =
            ClientProfile { revision: Revision::LATEST, capabilities: Bytes::from_static(b"{}"), info: None };
        Caller {
            who: Arc::new(Principal::new(TenantId::new(tenant), PrincipalId::new(principal), Proof::Local)),
            session: None,
            client: Arc::new(client),
            source: None,
        }
    }

    #[test]
    fn an_id_opens_for_its_owner_alone_and_is_stable() {
        let sealer = Sealer::new().expect("randomness");
        let (alice, server) = (caller("t", "alice"), server("files"));
        for native in ["786512e2-9e0d-44bd-8f29-789f320fe840", "", "a\0b", "ü \"\\"] {
            let id = wrap(&sealer, &alice, &server, native).expect("sealed");
            assert_eq!(id, wrap(&sealer, &alice, &server, native).expect("sealed"));
            let opened = unwrap(&sealer, &alice, &id).expect("its owner's");
            assert_eq!((opened.server, opened.native.as_str()), (server.clone(), native));
            assert_eq!(unwrap(&sealer, &caller("t", "mallory"), &id), None);
            assert_eq!(unwrap(&sealer, &caller("u", "alice"), &id), None);
            assert_eq!(unwrap(&sealer, &alice, native), None);
        }
        let id = wrap(&sealer, &alice, &server, "786512e2-9e0d-44bd-8f29-789f320fe840").expect("sealed");
        assert!(id.len() <= 100, "clients show and store it: {}", id.len());
    }
}
