//! Who declares that it can do tasks, and declaring it for those who cannot.

use bytes::Bytes;
use tollgate_mcp::{Change, Edit, JsonKind, Span, find, kind_of, meta};
use tollgate_model::{Caller, ClientProfile, Code, Era, Refusal, Revision, Stage};
use tollgate_upstream::Hello;

/// Whether a modern client declares the extension in this very request.
pub(crate) fn declares_extension(client: &ClientProfile) -> bool {
    let capabilities = &client.capabilities;
    client.revision.era() == Era::Modern
        && find(capabilities, Span::all(capabilities), "extensions")
            .and_then(|extensions| find(capabilities, extensions, meta::TASKS_EXTENSION))
            .is_some_and(|extension| kind_of(capabilities, extension) == JsonKind::Object)
}

/// Refuses what needs the extension to a modern client that does not declare it (tasks extension, protocol errors).
pub(crate) fn require_extension(caller: &Caller) -> Result<(), Refusal> {
    if declares_extension(&caller.client) {
        return Ok(());
    }
    let text = format!("the request needs the client capability `extensions[\"{}\"]`", meta::TASKS_EXTENSION);
    Err(Refusal::new(Stage::Envelope, Code::MissingCapability, text).with_data(format!(
        "\"requiredCapabilities\":{{\"extensions\":{{\"{}\":{{}}}}}}",
        meta::TASKS_EXTENSION
    )))
}

/// The client as a modern server hears of it while the gateway follows tasks on its behalf: with the extension.
pub(crate) fn declaring(client: &ClientProfile) -> ClientProfile {
    ClientProfile { capabilities: with_extension(&client.capabilities), ..client.clone() }
}

/// Capabilities with the extension among them.
pub(crate) fn with_extension(capabilities: &Bytes) -> Bytes {
    let mut edit = Edit::new(capabilities);
    let extension = Change::Set(meta::TASKS_EXTENSION, Bytes::from_static(b"{}"));
    edit.within(Span::all(capabilities), "extensions", &[extension]);
    edit.finish().into_bytes()
}

/// What an endpoint that serves one server says of tasks, put into the capabilities that it shows otherwise. To a
/// client of 2025-11-25 the server's own words, for a server of that kind; a modern client is told of the extension,
/// which is carried to servers of both kinds.
pub(crate) fn with_tasks(shown: &Bytes, hello: &Hello, client: Revision) -> Bytes {
    if !hello.tasks {
        return shown.clone();
    }
    match (client.era(), experiment(hello)) {
        (Era::Modern, _) => with_extension(shown),
        (Era::Legacy, Some(tasks)) if client == Revision::V2025_11_25 => with_experiment(shown, tasks),
        _ => shown.clone(),
    }
}

/// What an endpoint of several servers says of tasks to a legacy client, if one of the servers has them: that they can
/// be made and cancelled. A call whose server has none is answered at once, as the revision asks.
pub(crate) fn with_merged_tasks<'h>(
    shown: &Bytes,
    hellos: impl IntoIterator<Item = &'h Hello>,
    client: Revision,
) -> Bytes {
    let has_any = |hello: &Hello| hello.tasks && experiment(hello).is_some();
    if client != Revision::V2025_11_25 || !hellos.into_iter().any(has_any) {
        return shown.clone();
    }
    with_experiment(shown, Bytes::from_static(br#"{"cancel":{},"requests":{"tools":{"call":{}}}}"#))
}

fn with_experiment(shown: &Bytes, tasks: Bytes) -> Bytes {
    let mut edit = Edit::new(shown);
    edit.object(Span::all(shown), &[Change::Set("tasks", tasks)]);
    edit.finish().into_bytes()
}

/// What a server of 2025-11-25 says of tasks.
fn experiment(hello: &Hello) -> Option<Bytes> {
    let own = &hello.capabilities;
    find(own, Span::all(own), "tasks").map(|tasks| tasks.slice(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(revision: Revision, capabilities: &'static str) -> ClientProfile {
        ClientProfile { revision, capabilities: Bytes::from_static(capabilities.as_bytes()), info: None }
    }

    #[test]
    fn the_extension_is_declared_beside_what_is_there() {
        for (before, after) in [
            ("{}", r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#),
            (r#"{"roots":{}}"#, r#"{"roots":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#),
            (
                r#"{"extensions":{"a/b":{"x":1}}}"#,
                r#"{"extensions":{"a/b":{"x":1},"io.modelcontextprotocol/tasks":{}}}"#,
            ),
            (r#"{"extensions":null}"#, r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#),
        ] {
            let capabilities = with_extension(&Bytes::from_static(before.as_bytes()));
            assert_eq!(capabilities, after);
            assert!(declares_extension(&ClientProfile { capabilities, ..client(Revision::LATEST, "{}") }));
            assert!(!declares_extension(&client(Revision::LATEST, before)));
        }
    }

    #[test]
    fn a_legacy_client_cannot_declare_an_extension_of_the_modern_era() {
        let declared = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        assert!(!declares_extension(&client(Revision::V2025_11_25, declared)));
    }
}
