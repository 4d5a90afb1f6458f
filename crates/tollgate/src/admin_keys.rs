//! `tollgate admin-keys`: the keys of machines that administer.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_admin::{Grant, Role};
use tollgate_identity::{key, names};
use tollgate_model::{KeyHash, KeyId, Secret, TenantId, Timestamp};
use tollgate_store::{AdminGrant, AdminKey, StoreError};

use crate::blocks::{config_of, user};
use crate::cli::admin_keys::{AdminKeys, AdminKeysCreate, AdminKeysList, AdminKeysRevoke};
use crate::door;
use crate::exit::Failure;
use crate::keys::table;
use crate::out::{Printer, To, safe};
use crate::state::{failure, open_store};

/// How many keys are read at once.
const PAGE: usize = 500;

/// Runs one of the commands.
pub(crate) async fn run(command: AdminKeys) -> Result<(), Failure> {
    match command {
        AdminKeys::Create(command) => create(&command).await,
        AdminKeys::List(command) => list(&command).await,
        AdminKeys::Revoke(command) => revoke(&command).await,
    }
}

async fn create(command: &AdminKeysCreate) -> Result<(), Failure> {
    names::check(&command.name).map_err(|bad| Failure::usage(format!("--name: {bad}")))?;
    let config = config_of(&command.store);
    let tenants = config.map(|config| config.tenants.into_iter().map(|tenant| tenant.id).collect::<Vec<_>>());
    let grants = command.roles.iter().map(|text| grant(text, tenants.as_deref()));
    let mut grants = grants.collect::<Result<Vec<_>, _>>()?;
    grants.dedup();
    let now = Timestamp::now();
    let expires = command.expires.map(|expires| expires.from(now));
    if expires.is_some_and(|expires| expires <= now) {
        return Err(Failure::usage("--expires: this time is over"));
    }
    if let Some(gateway) = door::running(&command.store).await? {
        let grants: Value = grants.iter().map(|grant| granted(grant.to_stored().to_pair())).collect();
        let mut body = json!({ "name": command.name, "grants": grants });
        door::ends(&mut body, ("seconds", "expires"), command.expires);
        let (_, made) = gateway.post(&door::path(&["admin-keys"], &[]), &body).await?;
        let text = Secret::new(door::text(&made, "key")?.to_owned());
        show_new(&text, &shown_there(&made)?, command.json);
        return Ok(());
    }
    let minted = key::mint_admin().map_err(|error| Failure::failed(error.to_string()))?;
    let record = AdminKey {
        id: minted.id.clone(),
        name: Arc::from(command.name.as_str()),
        grants: grants.iter().map(Grant::to_stored).collect(),
        hash: minted.hash,
        created: now,
        expires,
        revoked: None,
        by: user(),
    };
    let store = open_store(&command.store).await?;
    store.add_admin_key(record.clone()).await.map_err(|error| failure(&error))?;
    show_new(&minted.text, &record, command.json);
    Ok(())
}

/// Shows a new key, this once.
fn show_new(text: &Secret, record: &AdminKey, as_json: bool) {
    let out = Printer::new(To::Out);
    if as_json {
        let mut object = object(record, record.created);
        object["key"] = text.expose().into();
        out.line(object.to_string());
        return;
    }
    out.line(text.expose());
    let err = Printer::new(To::Err);
    let ends = record.expires.map_or_else(|| "does not expire".to_owned(), |at| format!("expires at {at}"));
    let id = err.bold(record.id.as_str());
    err.line(format!("The admin key {id} ({}) {ends}. It is shown this once.", roles(record)));
}

/// What the gateway says of a key: all but the digest, which it keeps to itself.
fn shown_there(key: &Value) -> Result<AdminKey, Failure> {
    let grants = key["grants"].as_array().map(Vec::as_slice).unwrap_or_default();
    let grant = |grant: &Value| AdminGrant {
        role: grant["role"].as_str().unwrap_or_default().into(),
        tenant: grant["tenant"].as_str().map(TenantId::new),
    };
    Ok(AdminKey {
        id: KeyId::new(door::text(key, "id")?),
        name: door::text(key, "name")?.into(),
        grants: grants.iter().map(grant).collect(),
        hash: KeyHash([0; 32]),
        created: door::time(key, "created").unwrap_or_default(),
        expires: door::time(key, "expires"),
        revoked: door::time(key, "revoked"),
        by: door::text(key, "by")?.into(),
    })
}

fn granted((role, tenant): (String, Option<String>)) -> Value {
    json!({ "role": role, "tenant": tenant })
}

/// `ROLE`, or `ROLE@TENANT`.
fn grant(text: &str, tenants: Option<&[TenantId]>) -> Result<Grant, Failure> {
    let (role, tenant) = match text.split_once('@') {
        Some((role, tenant)) => (role, Some(TenantId::new(tenant))),
        None => (text, None),
    };
    let known = || Role::ALL.map(Role::as_str).join(", ");
    let role = Role::read(role)
        .ok_or_else(|| Failure::usage(format!("--role: there is no role {role:?}; there are {}", known())))?;
    let unknown = tenant.as_ref().filter(|tenant| tenants.is_some_and(|known| !known.contains(tenant)));
    match unknown {
        Some(tenant) => {
            Err(Failure::usage(format!("--role: the configuration has no tenant {:?}", tenant.as_str())))
        }
        None => Ok(Grant { role, tenant }),
    }
}

async fn list(command: &AdminKeysList) -> Result<(), Failure> {
    let store = open_store(&command.store).await?;
    let mut found: Vec<AdminKey> = Vec::new();
    loop {
        let after = found.last().map(|last| last.id.clone());
        let page = store.admin_keys(after.as_ref(), PAGE).await.map_err(|error| failure(&error))?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        if is_last {
            break;
        }
    }
    let now = Timestamp::now();
    if command.json {
        Printer::new(To::Out).line(found.iter().map(|key| object(key, now)).collect::<Value>().to_string());
    } else if found.is_empty() {
        Printer::new(To::Err)
            .line("There are no admin keys. `tollgate admin-keys create --role ROLE` makes one.");
    } else {
        let rows: Vec<Vec<String>> = found.iter().map(|key| row(key, now)).collect();
        table(&["ID", "NAME", "ROLES", "CREATED", "EXPIRES", "BY", "STATE"].map(str::to_owned), &rows);
    }
    Ok(())
}

async fn revoke(command: &AdminKeysRevoke) -> Result<(), Failure> {
    let id = KeyId::new(command.id.trim());
    let missing = || Failure::usage("there is no such admin key; `tollgate admin-keys list` shows their ids");
    let key = if let Some(gateway) = door::running(&command.store).await? {
        let path = door::path(&["admin-keys", id.as_str()], &[]);
        let was_there = gateway.remove(&path).await?;
        let key = if was_there { gateway.find(&path).await? } else { None };
        shown_there(&key.ok_or_else(missing)?)?
    } else {
        let store = open_store(&command.store).await?;
        let revoked = store.revoke_admin_key(&id, Timestamp::now(), &user()).await;
        revoked.map_err(|error| match error {
            StoreError::NoSuchKey => missing(),
            error => failure(&error),
        })?
    };
    let out = Printer::new(To::Out);
    if command.json {
        out.line(object(&key, Timestamp::now()).to_string());
    } else {
        let (id, name) = (safe(key.id.as_str()), safe(&key.name));
        out.line(format!("{} the admin key {id} ({name}) is revoked", out.green("ok:")));
    }
    Ok(())
}

fn roles(key: &AdminKey) -> String {
    let role = |(role, tenant): (String, Option<String>)| match tenant {
        Some(tenant) => format!("{role}@{tenant}"),
        None => role,
    };
    key.grants.iter().map(|grant| role(grant.to_pair())).collect::<Vec<_>>().join(", ")
}

fn object(key: &AdminKey, now: Timestamp) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "id": key.id.as_str(),
        "name": &*key.name,
        "grants": key.grants.iter().map(|stored| granted(stored.to_pair())).collect::<Vec<_>>(),
        "created": key.created.to_string(),
        "expires": time(key.expires),
        "revoked": time(key.revoked),
        "by": &*key.by,
        "good": key.is_good(now),
    })
}

fn row(key: &AdminKey, now: Timestamp) -> Vec<String> {
    let state = match key.revoked {
        Some(_) => "revoked",
        None if !key.is_good(now) => "expired",
        None => "good",
    };
    let expires = key.expires.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let (created, roles) = (key.created.to_string(), roles(key));
    [key.id.as_str(), &key.name, &roles, &created, &expires, &key.by, state].map(safe).to_vec()
}
