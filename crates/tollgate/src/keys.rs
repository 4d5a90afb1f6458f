//! `tollgate keys`: API keys, made, listed, rotated and revoked in the store that gateways follow.

use std::io::Read as _;
use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_identity::key::{self, MintedKey};
use tollgate_identity::names;
use tollgate_model::{KeyHash, KeyId, KeyRecord, Secret, TenantId, Timestamp};
use tollgate_store::{Store, WhichKeys};

use crate::cli::StoreArgs;
use crate::cli::keys::{Keys, KeysCreate, KeysHash, KeysList, KeysRevoke, KeysRotate};
use crate::door::{self, Gateway};
use crate::exit::Failure;
use crate::out::{Printer, To, safe};
use crate::serve;
use crate::state::{config_file, failure, open_store};

/// How many keys are read at once.
const PAGE: usize = 500;
/// The longest input that could be a key, with line ends.
const INPUT_BYTES_MAX: u64 = 1024;

/// Runs one of the commands.
pub(crate) async fn run(command: Keys) -> Result<(), Failure> {
    match command {
        Keys::Create(command) => create(&command).await,
        Keys::List(command) => list(&command).await,
        Keys::Rotate(command) => rotate(&command).await,
        Keys::Revoke(command) => revoke(&command).await,
        Keys::Hash(command) => hash(&command),
    }
}

async fn create(command: &KeysCreate) -> Result<(), Failure> {
    let wrong = |option: &str, bad: names::BadName| Failure::usage(format!("{option}: {bad}"));
    names::check_caller(&command.agent).map_err(|bad| wrong("--agent", bad))?;
    for group in &command.groups {
        names::check(group).map_err(|bad| wrong("--group", bad))?;
    }
    if command.groups.len() > names::NAMES_MAX {
        return Err(Failure::usage(format!("--group: more than {} groups", names::NAMES_MAX)));
    }
    check_tenant(&command.store, &command.tenant)?;
    let now = Timestamp::now();
    let expires = command.expires.map(|expires| expires.from(now));
    if expires.is_some_and(|expires| expires <= now) {
        return Err(Failure::usage("--expires: this time is over"));
    }
    let mut groups: Vec<Arc<str>> = command.groups.iter().map(|group| Arc::from(group.as_str())).collect();
    groups.sort();
    groups.dedup();
    if !command.declare
        && let Some(gateway) = door::running(&command.store).await?
    {
        let mut body =
            json!({ "tenant": command.tenant, "agent": command.agent, "groups": groups_of(&groups) });
        door::ends(&mut body, ("seconds", "expires"), command.expires);
        let (_, made) = gateway.post(&door::path(&["keys"], &[]), &body).await?;
        let (text, record) = made_there(&made)?;
        show_new(&text, &record, command.json);
        return Ok(());
    }
    let minted = mint()?;
    let record = KeyRecord {
        id: minted.id.clone(),
        tenant: TenantId::new(&command.tenant),
        agent: Arc::from(command.agent.as_str()),
        groups,
        hash: minted.hash,
        created: now,
        expires,
        revoked: None,
        replaced_by: None,
    };
    if !command.declare {
        let store = open_store(&command.store).await?;
        store.add_key(record.clone()).await.map_err(|error| failure(&error))?;
    }
    show_new(&minted.text, &record, command.json);
    if command.declare && !command.json {
        let err = Printer::new(To::Err);
        err.line("\nIt is stored nowhere. In the configuration, under `identity.keys`:\n");
        err.line(format!("  - {}", declaration(&record)));
    }
    Ok(())
}

async fn list(command: &KeysList) -> Result<(), Failure> {
    let store = open_store(&command.store).await?;
    let mut which = WhichKeys {
        tenant: command.tenant.as_deref().map(TenantId::new),
        agent: command.agent.as_deref().map(Arc::from),
        after: None,
        most: PAGE,
    };
    let now = Timestamp::now();
    let (mut rows, mut objects) = (Vec::new(), Vec::new());
    loop {
        let page = store.keys(&which).await.map_err(|error| failure(&error))?;
        which.after = page.last().map(|key| key.id.clone());
        let is_last = page.len() < PAGE;
        for key in &page {
            if command.json {
                objects.push(object(key, now));
            } else {
                rows.push(row(key, now));
            }
        }
        if is_last {
            break;
        }
    }
    let out = Printer::new(To::Out);
    if command.json {
        out.line(Value::from(objects).to_string());
    } else if rows.is_empty() {
        Printer::new(To::Err).line("There are no keys. `tollgate keys create --agent NAME` makes one.");
    } else {
        table(&["ID", "AGENT", "TENANT", "GROUPS", "CREATED", "EXPIRES", "STATE"].map(str::to_owned), &rows);
    }
    Ok(())
}

async fn rotate(command: &KeysRotate) -> Result<(), Failure> {
    let id = named(&command.id);
    if let Some(gateway) = door::running(&command.store).await? {
        return rotate_there(command, &gateway, &id).await;
    }
    let store = open_store(&command.store).await?;
    let old = found(&*store, &id).await?;
    let now = Timestamp::now();
    let expires = match command.expires {
        Some(expires) => Some(expires.from(now)),
        None => old.expires.map(|expires| now.after(expires.since(old.created))),
    };
    if expires.is_some_and(|expires| expires <= now) {
        return Err(Failure::usage("--expires: this time is over"));
    }
    let minted = mint()?;
    let new = KeyRecord {
        id: minted.id.clone(),
        hash: minted.hash,
        created: now,
        expires,
        revoked: None,
        replaced_by: None,
        ..old
    };
    let until = now.after(command.overlap);
    let old = store.rotate_key(&id, new.clone(), until).await;
    let old = old.map_err(|error| failure(&error))?;
    show_new(&minted.text, &new, command.json);
    tell_of_old(command, old.id.as_str(), old.expires);
    Ok(())
}

fn tell_of_old(command: &KeysRotate, id: &str, expires: Option<Timestamp>) {
    if !command.json
        && let Some(expires) = expires
    {
        Printer::new(To::Err).line(format!("The old key {} stays good until {expires}.", safe(id)));
    }
}

/// Has the gateway that runs make a key in the place of another.
async fn rotate_there(command: &KeysRotate, gateway: &Gateway, id: &KeyId) -> Result<(), Failure> {
    let old = door::path(&["keys", id.as_str()], &[]);
    if gateway.find(&old).await?.is_none() {
        return Err(no_such_key(id));
    }
    let mut body = json!({ "overlapSeconds": command.overlap.as_secs() });
    door::ends(&mut body, ("seconds", "expires"), command.expires);
    let (_, made) = gateway.post(&format!("{old}/rotate"), &body).await?;
    let (text, record) = made_there(&made)?;
    show_new(&text, &record, command.json);
    let old = gateway.find(&old).await?.unwrap_or_default();
    tell_of_old(command, id.as_str(), door::time(&old, "expires"));
    Ok(())
}

/// A key that the gateway has made, and what it keeps of it.
fn made_there(made: &Value) -> Result<(Secret, KeyRecord), Failure> {
    let text = Secret::new(door::text(made, "key")?.to_owned());
    let hash = key::hash(text.expose()).ok_or_else(|| Failure::failed("the gateway's answer has no key"))?;
    Ok((text, KeyRecord { hash, ..shown_there(made)? }))
}

/// What the gateway says of a key: all but the digest, which it keeps to itself.
fn shown_there(key: &Value) -> Result<KeyRecord, Failure> {
    let groups = key["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(KeyRecord {
        id: KeyId::new(door::text(key, "id")?),
        tenant: TenantId::new(door::text(key, "tenant")?),
        agent: door::text(key, "agent")?.into(),
        groups: groups.iter().filter_map(Value::as_str).map(Arc::from).collect(),
        hash: KeyHash([0; 32]),
        created: door::time(key, "created").unwrap_or_default(),
        expires: door::time(key, "expires"),
        revoked: door::time(key, "revoked"),
        replaced_by: key["replacedBy"].as_str().map(KeyId::new),
    })
}

async fn revoke(command: &KeysRevoke) -> Result<(), Failure> {
    let id = named(&command.id);
    let key = match door::running(&command.store).await? {
        Some(gateway) => revoke_there(&gateway, &id).await?,
        None => revoke_here(&command.store, &id).await?,
    };
    let out = Printer::new(To::Out);
    if command.json {
        out.line(object(&key, Timestamp::now()).to_string());
    } else {
        out.line(format!(
            "{} {} of {} is revoked",
            out.green("ok:"),
            safe(key.id.as_str()),
            safe(&key.agent)
        ));
    }
    Ok(())
}

async fn revoke_there(gateway: &Gateway, id: &KeyId) -> Result<KeyRecord, Failure> {
    let path = door::path(&["keys", id.as_str()], &[]);
    if !gateway.remove(&path).await? {
        return Err(no_such_key(id));
    }
    shown_there(&gateway.find(&path).await?.ok_or_else(|| no_such_key(id))?)
}

async fn revoke_here(store: &StoreArgs, id: &KeyId) -> Result<KeyRecord, Failure> {
    let store = open_store(store).await?;
    let revoked = store.revoke_key(id, Timestamp::now()).await;
    revoked.map_err(|error| match error {
        tollgate_store::StoreError::NoSuchKey => no_such_key(id),
        error => failure(&error),
    })
}

fn groups_of(groups: &[Arc<str>]) -> Vec<&str> {
    groups.iter().map(|group| &**group).collect()
}

fn hash(command: &KeysHash) -> Result<(), Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(INPUT_BYTES_MAX).read_to_string(&mut text);
    let text = Secret::new(text);
    read.map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")))?;
    let key = text.expose().trim();
    let Some(hash) = key::hash(key) else {
        return Err(Failure::usage(
            "what is on standard input is no API key: a character is missing or another than it was",
        ));
    };
    let out = Printer::new(To::Out);
    if command.json {
        let id = key::id(key).map(|id| id.as_str().to_owned());
        out.line(json!({ "sha256": hash.to_string(), "id": id }).to_string());
    } else {
        out.line(hash.to_string());
    }
    Ok(())
}

/// Refuses a tenant that the configuration does not have, and says if it asks nobody for a key.
pub(crate) fn check_tenant(store: &StoreArgs, tenant: &str) -> Result<(), Failure> {
    let Some(file) = config_file(store) else {
        return names::check(tenant).map_err(|bad| Failure::usage(format!("--tenant: {bad}")));
    };
    // What is wrong with it is said where the store is opened.
    let Ok(config) = serve::read(&file) else { return Ok(()) };
    if !config.tenants.iter().any(|known| known.id.as_str() == tenant) {
        let known: Vec<&str> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        let known = known.join(", ");
        return Err(Failure::usage(format!(
            "--tenant: the configuration has no tenant {tenant:?}; it has {known}"
        )));
    }
    if config.identity.is_off() {
        let err = Printer::new(To::Err);
        let text = "the configuration has no `identity`: nobody is asked for a key until it has (`identity: {}` is enough)";
        err.line(format!("{} {text}", err.bold("note:")));
    }
    Ok(())
}

/// The key that is meant: by its id, or by its whole text, of which only the id is taken, and nothing shown or kept.
pub(crate) fn named(text: &str) -> KeyId {
    let text = text.trim();
    let Some(id) = key::id_in(text) else { return KeyId::new(text) };
    let err = Printer::new(To::Err);
    let note =
        "what was given is a key, not its id: the id was taken from it, and nothing else of it is kept";
    err.line(format!("{} {note}: {}", err.bold("note:"), id.as_str()));
    id
}

async fn found(store: &dyn Store, id: &KeyId) -> Result<KeyRecord, Failure> {
    let key = store.key(id).await.map_err(|error| failure(&error))?;
    key.ok_or_else(|| no_such_key(id))
}

fn no_such_key(id: &KeyId) -> Failure {
    let id = id.as_str();
    // It may be what is left of a key.
    let id = if id.starts_with(key::KEY_PREFIX) { String::new() } else { format!(" {id:?}") };
    Failure::usage(format!("there is no key{id}; `tollgate keys list` shows their ids"))
}

fn mint() -> Result<MintedKey, Failure> {
    key::mint().map_err(|error| Failure::failed(error.to_string()))
}

/// Shows a new key, this once: the key alone on standard output, so that it can be piped to where it belongs.
fn show_new(text: &Secret, record: &KeyRecord, as_json: bool) {
    let out = Printer::new(To::Out);
    if as_json {
        let mut object = object(record, record.created);
        object["key"] = text.expose().into();
        object["sha256"] = record.hash.to_string().into();
        out.line(object.to_string());
        return;
    }
    out.line(text.expose());
    let err = Printer::new(To::Err);
    let (id, agent) = (safe(record.id.as_str()), safe(&record.agent));
    let ends = record.expires.map_or_else(|| "does not expire".to_owned(), |at| format!("expires at {at}"));
    err.line(format!("The key {} of {agent} {ends}. It is shown this once.", err.bold(&id)));
}

/// The line that declares a key in a configuration. JSON is YAML.
fn declaration(record: &KeyRecord) -> String {
    let mut parts = vec![
        ("id", json!(record.id.as_str())),
        ("agent", json!(&*record.agent)),
        ("tenant", json!(record.tenant.as_str())),
    ];
    if !record.groups.is_empty() {
        parts.push(("groups", record.groups.iter().map(|group| &**group).collect()));
    }
    parts.push(("sha256", json!(record.hash.to_string())));
    if let Some(expires) = record.expires {
        parts.push(("expires", json!(expires.to_string())));
    }
    let parts: Vec<String> = parts.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{ {} }}", parts.join(", "))
}

fn object(key: &KeyRecord, now: Timestamp) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "id": key.id.as_str(),
        "agent": &*key.agent,
        "tenant": key.tenant.as_str(),
        "groups": key.groups.iter().map(|group| &**group).collect::<Vec<_>>(),
        "created": key.created.to_string(),
        "expires": time(key.expires),
        "revoked": time(key.revoked),
        "replacedBy": key.replaced_by.as_ref().map(KeyId::as_str),
        "good": key.is_good(now),
    })
}

fn row(key: &KeyRecord, now: Timestamp) -> Vec<String> {
    let state = match (&key.revoked, &key.replaced_by) {
        (Some(_), _) => "revoked".to_owned(),
        _ if !key.is_good(now) => "expired".to_owned(),
        (None, Some(by)) => format!("replaced by {}", by.as_str()),
        (None, None) => "good".to_owned(),
    };
    let groups = if key.groups.is_empty() { "-".to_owned() } else { key.groups.join(",") };
    let expires = key.expires.map_or_else(|| "never".to_owned(), |at| at.to_string());
    [key.id.as_str(), &key.agent, key.tenant.as_str(), &groups, &key.created.to_string(), &expires, &state]
        .map(safe)
        .to_vec()
}

/// Prints rows under a head, each column as wide as its widest text.
pub(crate) fn table(head: &[String], rows: &[Vec<String>]) {
    let widths: Vec<usize> = (0..head.len())
        .map(|nth| {
            rows.iter().map(|row| row[nth].chars().count()).chain([head[nth].len()]).max().unwrap_or(0)
        })
        .collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let out = Printer::new(To::Out);
    out.line(out.bold(&line(head)));
    for row in rows {
        out.line(line(row));
    }
}
