//! `tollgate policy what-can`: the tools that a caller could be allowed.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_catalog::names::public_name;
use tollgate_model::Decision;

use super::ask::{self, Circumstances};
use super::setting::Setting;
use super::target::{Kind, Target};
use super::who;
use crate::cli::policy::PolicyWhatCan;
use crate::exit::Failure;
use crate::out::{Printer, To, safe};

/// One tool that is listed to the caller.
struct Listed {
    target: Target,
    /// What policy says of a call without any argument: whether the arguments matter.
    bare: Decision,
}

/// Lists them, by server.
pub(crate) async fn run(command: &PolicyWhatCan) -> Result<(), Failure> {
    let setting = Setting::open(&command.basis).await?;
    setting.need_policies()?;
    let who = who::flags(&command.who, command.principal.as_deref(), &setting.keys)?;
    let principal = who.principal()?;
    let tenant = setting.tenant(&principal.tenant)?;
    let set = setting.lenient(tenant, command.scene.environment.as_deref())?;
    let circumstances = Circumstances::from(&command.scene);

    let mut servers: BTreeMap<&str, Vec<Listed>> = BTreeMap::new();
    let (mut shown, mut known) = (0, 0);
    for server in &tenant.known.servers {
        for tool in server.tools.iter().flat_map(|tools| tools.iter()) {
            known += 1;
            let target =
                Target { kind: Kind::Tool, server: server.name.clone(), native: tool.native.to_string() };
            if ask::is_listed(&set, &principal, &target, &circumstances) {
                shown += 1;
                let bare = ask::decide(&set, &principal, &target, None, &circumstances);
                servers.entry(server.name.as_str()).or_default().push(Listed { target, bare });
            }
        }
    }

    let out = Printer::new(To::Out);
    if command.json {
        let tools: Vec<Value> = servers.values().flatten().map(listed_json).collect();
        out.line(json!({ "tools": tools, "known": known }).to_string());
        return Ok(());
    }
    let err = Printer::new(To::Err);
    let scene = circumstances.describe();
    err.line(format!("{} of {known} tools for {}, {scene}", shown, safe(&who::describe(&principal))));
    for (server, tools) in &servers {
        out.line(out.bold(server));
        for tool in tools {
            let note = note(&tool.bare);
            let note = if note.is_empty() { note } else { format!("  {}", out.dim(&safe(&note))) };
            out.line(format!("  {}{note}", safe(&public_name(&tool.target.server, &tool.target.native))));
        }
    }
    Ok(())
}

/// What is to be said of a tool beside its name.
fn note(bare: &Decision) -> String {
    let mut notes = Vec::new();
    if !bare.allowed {
        notes.push("depends on the arguments".to_owned());
    }
    for group in &bare.obligations.approvals {
        notes.push(format!("needs an approval of {group}"));
    }
    for what in &bare.obligations.holds {
        notes.push(format!("needs an approval of {what} in it"));
    }
    for what in &bare.obligations.redactions {
        notes.push(format!("without {what}"));
    }
    notes.join(", ")
}

fn listed_json(tool: &Listed) -> Value {
    json!({
        "tool": public_name(&tool.target.server, &tool.target.native),
        "server": tool.target.server.as_str(),
        "native": tool.target.native,
        "withoutArguments": super::test::decision_json(&tool.bare, true),
    })
}
