//! `tollgate block`, `tollgate unblock` and `tollgate blocks`: the kill switch.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use tollgate_catalog::names::{self as public_names, PublicName};
use tollgate_identity::{key, names};
use tollgate_model::{KeyId, ServerName, TenantId, Timestamp};
use tollgate_store::{
    Blockable, Blocking, DefinitionsOf, List, Store, StoreError, Unblocking, WhichKeys, WhichRegistrations,
};

use crate::cli::StoreArgs;
use crate::cli::blocks::{Block, Blocks, Kind, Unblock, What};
use crate::config::Config;
use crate::door::{self, Gateway};
use crate::exit::Failure;
use crate::keys::{self, table};
use crate::out::{Printer, To, safe};
use crate::serve;
use crate::state::{config_file, failure, kept, open_store};

/// How many are read at once.
const PAGE: usize = 500;
/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// Stops something.
pub(crate) async fn block(command: &Block) -> Result<(), Failure> {
    let config = config_of(&command.store);
    let what = blockable(&command.what, config.as_ref())?;
    let reason = reason(&command.reason)?;
    if reason.trim().is_empty() {
        return Err(Failure::usage("--reason: say why"));
    }
    let blocking =
        Blocking { what, reason, is_public: command.show_reason, by: user(), since: Timestamp::now() };
    let (blocking, is_new, store) = match door::running(&command.store).await? {
        Some(gateway) => {
            let (blocking, is_new) = block_there(&gateway, blocking).await?;
            (blocking, is_new, config.as_ref().and_then(kept))
        }
        None => {
            let store = open_store(&command.store).await?;
            let is_new = store.block(blocking.clone()).await.map_err(|error| failure(&error))?;
            (blocking, is_new, Some(store))
        }
    };
    let out = Printer::new(To::Out);
    if command.json {
        let mut object = object(&blocking);
        object["new"] = is_new.into();
        out.line(object.to_string());
    } else {
        let again = if is_new { "" } else { "; it was before, and what was said of it is replaced" };
        out.line(format!("{} {} is blocked{again}", out.green("ok:"), shown(&blocking.what)));
    }
    // What is said of it comes after what was done: that is urgent.
    let Some(store) = store else { return Ok(()) };
    let unknown = unknown(&*store, &blocking.what, config.as_ref()).await.map_err(|error| failure(&error))?;
    if let Some(note) = unknown {
        let err = Printer::new(To::Err);
        err.line(format!("{} {note}", err.bold("note:")));
    }
    Ok(())
}

/// Has the gateway that runs stop it.
async fn block_there(gateway: &Gateway, blocking: Blocking) -> Result<(Blocking, bool), Failure> {
    let (kind, whose, name) = blocking.what.parts();
    let mut body =
        json!({ "kind": kind, "name": name, "reason": &*blocking.reason, "shown": blocking.is_public });
    if !whose.is_empty() {
        body["tenant"] = whose.into();
    }
    let (status, made) = gateway.post(&door::path(&["blocks"], &[]), &body).await?;
    let by = door::text(&made, "by")?.into();
    let since = door::time(&made, "since").unwrap_or(blocking.since);
    Ok((Blocking { by, since, ..blocking }, status == StatusCode::CREATED))
}

/// Lets it go on.
pub(crate) async fn unblock(command: &Unblock) -> Result<(), Failure> {
    let what = blockable(&command.what, config_of(&command.store).as_ref())?;
    let reason = reason(&command.reason)?;
    let was_blocked = if let Some(gateway) = door::running(&command.store).await? {
        let (kind, whose, name) = what.parts();
        let id = tollgate_admin::pack(&[kind, &whose, &name]);
        gateway.remove(&door::path(&["blocks", &id], &[("reason", &reason)])).await?
    } else {
        let store = open_store(&command.store).await?;
        let unblocking = Unblocking { what: what.clone(), reason, by: user() };
        store.unblock(unblocking).await.map_err(|error| failure(&error))?
    };
    if !was_blocked {
        let text = format!("{} is not blocked; `tollgate blocks` lists what is", shown(&what));
        return Err(Failure::usage(text));
    }
    let out = Printer::new(To::Out);
    if command.json {
        out.line(json!({ "unblocked": true }).to_string());
    } else {
        out.line(format!("{} {} is no longer blocked", out.green("ok:"), shown(&what)));
    }
    Ok(())
}

/// Lists what is stopped.
pub(crate) async fn list(command: &Blocks) -> Result<(), Failure> {
    let store = open_store(&command.store).await?;
    let mut found: Vec<Blocking> = Vec::new();
    loop {
        let after = found.last().map(|last| last.what.clone());
        let page = store.blocks(after.as_ref(), PAGE).await.map_err(|error| failure(&error))?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            break;
        }
    }
    if command.json {
        Printer::new(To::Out).line(found.iter().map(object).collect::<Value>().to_string());
    } else if found.is_empty() {
        Printer::new(To::Err).line("Nothing is blocked.");
    } else {
        let rows: Vec<Vec<String>> = found.iter().map(row).collect();
        table(&["KIND", "NAME", "TENANT", "SINCE", "BY", "REASON"].map(str::to_owned), &rows);
    }
    Ok(())
}

/// The configuration, if it can be read: what is wrong with it is said where the store is opened.
pub(crate) fn config_of(store: &StoreArgs) -> Option<Config> {
    serve::read(&config_file(store)?).ok()
}

/// What the command line names.
fn blockable(what: &What, config: Option<&Config>) -> Result<Blockable, Failure> {
    let meant = match what.kind {
        Kind::Key => Some(keys::named(&what.name)),
        // It would be kept, and be on record.
        _ if key::is_within(&what.name) => {
            return Err(Failure::usage("NAME: there is an API key in it: `tollgate block key` takes one"));
        }
        _ => None,
    };
    let name = meant.as_ref().map_or(&*what.name, KeyId::as_str);
    let checked = |option: &str, name: &str| {
        names::check(name).map_err(|bad| Failure::usage(format!("{option}: {bad}")))
    };
    if let Some(tenant) = &what.tenant {
        checked("--tenant", tenant)?;
    }
    let callers = || what.tenant.as_deref().map(TenantId::new);
    match what.kind {
        Kind::Tool => {
            let (server, native) = tool(name)?;
            Ok(Blockable::Tool { tenant: callers(), server, native })
        }
        Kind::Server => {
            let server = ServerName::new(name)
                .map_err(|bad| Failure::usage(format!("{name:?} is no name of a server: {bad}")))?;
            Ok(Blockable::Server { tenant: callers(), server })
        }
        Kind::Agent | Kind::User => {
            checked("NAME", name)?;
            let (tenant, name) = (tenant_of(what.tenant.as_deref(), config)?, Arc::from(name));
            Ok(match what.kind {
                Kind::Agent => Blockable::Agent { tenant, agent: name },
                _ => Blockable::User { tenant, user: name },
            })
        }
        Kind::Key | Kind::Tenant => {
            checked("NAME", name)?;
            if what.tenant.is_some() {
                return Err(Failure::usage("--tenant: a key or a tenant is named without it"));
            }
            Ok(match what.kind {
                Kind::Key => Blockable::Key { id: KeyId::new(name) },
                _ => Blockable::Tenant { tenant: TenantId::new(name) },
            })
        }
    }
}

/// A tool, by the name that clients see, or by its server and the server's own name of it.
fn tool(name: &str) -> Result<(ServerName, Arc<str>), Failure> {
    let parts =
        name.split_once('/').and_then(|(server, native)| Some((ServerName::new(server).ok()?, native)));
    let (server, native) = match (parts, PublicName::read(name)) {
        (Some(parts), _) => parts,
        (None, PublicName::Plain(server, native)) => {
            let server = ServerName::new(server)
                .map_err(|bad| Failure::usage(format!("{server:?} is no name of a server: {bad}")))?;
            (server, native)
        }
        (None, PublicName::Cut(server)) => {
            let text = format!(
                "{name:?} is a name that was shortened: write {server}/ and the server's own name of the tool"
            );
            return Err(Failure::usage(text));
        }
        (None, PublicName::Native(_)) => {
            let text = format!("{name:?} names no server: write SERVER__TOOL or SERVER/TOOL");
            return Err(Failure::usage(text));
        }
    };
    if native.is_empty() || native.chars().any(char::is_control) {
        return Err(Failure::usage(format!("{name:?} names no tool: write SERVER__TOOL or SERVER/TOOL")));
    }
    Ok((server, Arc::from(native)))
}

/// Whose an agent or user is. Where there are several tenants nobody guesses.
pub(crate) fn tenant_of(tenant: Option<&str>, config: Option<&Config>) -> Result<TenantId, Failure> {
    if let Some(tenant) = tenant {
        return Ok(TenantId::new(tenant));
    }
    match config.map(|config| config.tenants.as_slice()) {
        None => Ok(TenantId::default()),
        Some([only]) => Ok(only.id.clone()),
        Some(tenants) => {
            let known: Vec<&str> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
            Err(Failure::usage(format!("say whose it is: --tenant, one of {}", known.join(", "))))
        }
    }
}

pub(crate) fn reason(text: &str) -> Result<Arc<str>, Failure> {
    if text.len() > REASON_BYTES_MAX {
        return Err(Failure::usage(format!("--reason: more than {REASON_BYTES_MAX} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(Failure::usage("--reason: it is one line of text"));
    }
    if key::is_within(text) {
        return Err(Failure::usage("--reason: there is an API key in it, and it goes on record"));
    }
    Ok(Arc::from(text))
}

/// What to say of something that nobody here knows: it may come yet, or be misspelt.
async fn unknown(
    store: &dyn Store,
    what: &Blockable,
    config: Option<&Config>,
) -> Result<Option<String>, StoreError> {
    let tenant_is_known = |tenant: &TenantId| {
        config.is_none_or(|config| config.tenants.iter().any(|known| known.id == *tenant))
    };
    if let Some(tenant) = what.tenant().filter(|tenant| !tenant_is_known(tenant)) {
        let text =
            format!("the configuration has no tenant {:?}: it is blocked if it comes", tenant.as_str());
        return Ok(Some(text));
    }
    let note = match what {
        Blockable::Server { server, .. } | Blockable::Tool { server, .. }
            if config.is_some_and(|config| !config.servers.iter().any(|known| known.name == *server))
                && !is_registered(store, server).await? =>
        {
            Some(format!("the configuration has no server `{server}`: it is blocked if it comes"))
        }
        Blockable::Tool { server, native, .. } => {
            let is_known = tool_is_known(store, server, native, config).await?;
            let text = "no list of its server has shown such a tool so far: it is blocked if it comes";
            (is_known == Some(false)).then(|| text.to_owned())
        }
        Blockable::Key { id } => {
            let is_declared =
                config.is_some_and(|config| config.identity.keys.iter().any(|key| key.id == *id));
            let is_known = is_declared || store.key(id).await?.is_some();
            (!is_known).then(|| "there is no such key: it is blocked if it comes".to_owned())
        }
        Blockable::Agent { tenant, agent } if matches!(&**agent, "local" | "anonymous") => {
            config.and_then(|config| nameless(config, tenant, agent)).map(str::to_owned)
        }
        Blockable::Agent { tenant, agent } => {
            let is_declared = config.is_some_and(|config| {
                config.identity.keys.iter().any(|key| key.agent == *agent && key.tenant == *tenant)
            });
            let which = WhichKeys {
                tenant: Some(tenant.clone()),
                agent: Some(Arc::clone(agent)),
                after: None,
                most: 1,
            };
            let is_known = is_declared || !store.keys(&which).await?.is_empty();
            let text = "no key is of such an agent: it is blocked if it comes by a token or a certificate";
            (!is_known).then(|| text.to_owned())
        }
        _ => None,
    };
    Ok(note)
}

/// Whether a server of this name is registered, whoever's it is.
async fn is_registered(store: &dyn Store, server: &ServerName) -> Result<bool, StoreError> {
    let which = WhichRegistrations { name: Some(server.clone()), most: 1, ..WhichRegistrations::default() };
    Ok(!store.registrations(&which).await?.is_empty())
}

/// What to say of a caller that has its name from the gateway, since it proves nothing, if there can be none.
fn nameless(config: &Config, tenant: &TenantId, agent: &str) -> Option<&'static str> {
    let identity = &config.identity;
    if agent == "anonymous" {
        let is_let_in = identity.anonymous.as_ref().is_some_and(|anonymous| anonymous.tenant == *tenant);
        let text =
            "the configuration lets nobody in who proves nothing (`identity.anonymous`) as this tenant's";
        return (!is_let_in).then_some(text);
    }
    if *tenant != TenantId::default() {
        return Some("`local` is of the tenant `default`: this tenant has no such agent");
    }
    let text = "with `identity` only the client of `tollgate serve --stdio` is `local`: whoever comes by HTTP proves who it is";
    (!identity.is_off()).then_some(text)
}

/// Whether a server has listed such a tool; none if no list of it is kept.
async fn tool_is_known(
    store: &dyn Store,
    server: &ServerName,
    native: &str,
    config: Option<&Config>,
) -> Result<Option<bool>, StoreError> {
    let tenants =
        config.into_iter().flat_map(|config| config.tenants.iter().map(|tenant| Some(tenant.id.clone())));
    let mut listed = None;
    for tenant in tenants.chain([None]) {
        let of = DefinitionsOf { tenant, server: server.clone(), list: List::Tools };
        let Some(definitions) = store.definitions(&of).await? else { continue };
        let name_of = |item: &[u8]| {
            let item: Value = serde_json::from_slice(item).ok()?;
            Some(item.get("name")?.as_str() == Some(native))
        };
        let has_it = definitions.items.iter().any(|item| name_of(item) == Some(true));
        listed = Some(listed.unwrap_or(false) || has_it);
    }
    Ok(listed)
}

/// Who types: the name of the operating system's user.
pub(crate) fn user() -> Arc<str> {
    user_of(rustix::process::getuid().as_raw())
}

/// What the operating system calls a user.
pub(crate) fn user_of(id: u32) -> Arc<str> {
    let id = id.to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {id}")).into()
}

fn shown(what: &Blockable) -> String {
    let name = match what {
        Blockable::Tool { server, native, .. } => public_names::public_name(server, native),
        _ => what.name(),
    };
    let of = match what {
        Blockable::Tool { tenant: Some(tenant), .. } | Blockable::Server { tenant: Some(tenant), .. } => {
            format!(" for callers of {}", safe(tenant.as_str()))
        }
        Blockable::Agent { tenant, .. } | Blockable::User { tenant, .. } => {
            format!(" of {}", safe(tenant.as_str()))
        }
        _ => String::new(),
    };
    format!("the {} {}{of}", what.kind(), safe(&name))
}

fn object(blocking: &Blocking) -> Value {
    let Blocking { what, reason, is_public, by, since } = blocking;
    json!({
        "kind": what.kind(),
        "name": what.name(),
        "tenant": what.tenant().map(TenantId::as_str),
        "reason": &**reason,
        "shown": is_public,
        "by": &**by,
        "since": since.to_string(),
    })
}

fn row(blocking: &Blocking) -> Vec<String> {
    let Blocking { what, reason, by, since, .. } = blocking;
    let tenant = what.tenant().map_or("-", TenantId::as_str);
    [what.kind(), &what.name(), tenant, &since.to_string(), by, reason].map(safe).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_read_by_either_name() {
        for name in ["crm__search", "crm/search"] {
            let (server, native) = tool(name).expect("a tool");
            assert_eq!((server.as_str(), &*native), ("crm", "search"), "{name}");
        }
        let (_, native) = tool("crm/a/b__c").expect("a tool");
        assert_eq!(&*native, "a/b__c");
        let long = public_names::public_name(&ServerName::new("crm").expect("a name"), "a b");
        for bad in ["search", "crm/", "__x", "/x", "crm__", long.as_str()] {
            assert!(tool(bad).is_err(), "{bad}");
        }
        assert!(tool(&long).expect_err("cut").text.contains("crm/"));
    }
}
