//! `tollgate servers import`: the servers of other programs' files, as drafts.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_egress::{Egress, EgressSettings};
use tollgate_model::{ServerName, TenantId};
use tollgate_store::{About, Doing, Registration};
use url::Url;

use super::add::{beside, check, checked, input};
use super::{Named, doing, owner, tell, text};
use crate::blocks::config_of;
use crate::cli::servers::ServersImport;
use crate::config::Config;
use crate::config::foreign::{self, Apart, Found};
use crate::door::{self, Gateway};
use crate::exit::Failure;
use crate::out::{Printer, To, safe};
use crate::state::{failure, open_store};

/// Where a registry of version 0.1 lists its servers.
const API: &str = "/v0.1/servers";
/// How many servers are asked for at once, and taken from a registry without naming each.
const PAGE: usize = 50;
const IMPORTED_MAX: usize = 100;
const CONNECT_MAX: Duration = Duration::from_secs(10);
const FETCH_MAX: Duration = Duration::from_secs(30);
const DOCUMENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Imports them all or none, or each that can be.
pub(super) async fn import(command: &ServersImport) -> Result<(), Failure> {
    let config = config_of(&command.store);
    let tenant = owner(command.tenant.as_deref(), config.as_ref())?;
    let doing = doing(&command.reason)?;
    let is_url = ["https://", "http://"].iter().any(|scheme| command.source.starts_with(scheme));
    let document = if is_url { None } else { Some(input(Path::new(&command.source))?) };
    if let Some(gateway) = door::running(&command.store).await? {
        return there(&gateway, command, &tenant, document.as_deref()).await;
    }
    let mut found = match &document {
        Some(text) => read(&command.source, text)?,
        None => {
            let allow_private = config.as_ref().is_some_and(|config| config.registry.allow_private);
            fetch((&command.source, &command.only), allow_private, &read).await?
        }
    };
    let is = |one: &Found, name: &str| one.full == name || one.label == name;
    let only = || command.only.iter().map(|name| name.split('@').next().filter(|_| is_url).unwrap_or(name));
    found.retain(|one| command.only.is_empty() || only().any(|name| is(one, name)));
    let missing = only().find(|name| !found.iter().any(|one| is(one, name)));
    if let Some(missing) = missing {
        return Err(Failure::usage(format!("--only: there is no server {missing:?} in {}", command.source)));
    }
    if found.is_empty() {
        return Err(Failure::usage(format!("there are no servers in {}", command.source)));
    }
    if command.name.is_some() && found.len() > 1 {
        return Err(Failure::usage("--name: there are several; choose one with --only"));
    }
    let store = open_store(&command.store).await?;
    let (mut next, mut refused): (Vec<Registration>, Vec<Refused>) = (Vec::new(), Vec::new());
    for one in found {
        let full = one.full.clone();
        let made = async {
            let draft = draft(command, &tenant, one, config.as_ref(), &doing)?;
            if next.iter().any(|other| other.id == draft.id) {
                let text = format!("two servers become `{}`: import them one by one", draft.id.name);
                return Err(Failure::usage(text));
            }
            beside(&*store, draft, &doing).await
        };
        match made.await {
            Ok(draft) => next.push(draft),
            Err(failure) if command.each => refused.push((full, failure.text)),
            Err(failure) => return Err(failure),
        }
    }
    if !next.is_empty() {
        store.put_registrations(next.clone()).await.map_err(|error| failure(&error))?;
    }
    tell(&next, command.json);
    ended(refused)
}

/// What an entry is called, and why it was not taken.
type Refused = (String, String);

/// Says which were not taken, if any were not.
fn ended(refused: Vec<Refused>) -> Result<(), Failure> {
    if refused.is_empty() {
        return Ok(());
    }
    let count = refused.len();
    let said = refused.into_iter().map(|(full, why)| format!("\n  {}: {}", safe(&full), why.trim_end()));
    let plural = if count == 1 { " was" } else { "s were" };
    Err(Failure::failed(format!("{count} server{plural} not imported{}", said.collect::<String>())))
}

/// A server that was found, as it is registered.
fn draft(
    command: &ServersImport,
    tenant: &TenantId,
    Found { label, version, apart, .. }: Found,
    config: Option<&Config>,
    doing: &Doing,
) -> Result<Registration, Failure> {
    let Apart { reach, about } = apart.map_err(Failure::usage)?;
    let name = match &command.name {
        Some(name) => ServerName::new(name),
        None => ServerName::from_label(&label),
    };
    let name =
        name.map_err(|bad| Failure::usage(format!("{label:?} cannot be a name: {bad}; say --name")))?;
    let about = About { owner: text(command.owner.as_ref()).or(about.owner), ..about };
    check(&about)?;
    let id = Named { tenant: tenant.clone(), name }.version(&version)?;
    checked(id, reach, about, "import", config, doing)
}

/// Has the gateway that runs import them, in one act.
async fn there(
    gateway: &Gateway,
    command: &ServersImport,
    tenant: &TenantId,
    document: Option<&str>,
) -> Result<(), Failure> {
    if let Some(text) = document {
        // What is to be said of the document itself is said here, where it is at hand.
        read(&command.source, text)?;
    }
    let mut body = json!({
        "tenant": tenant.as_str(), "only": command.only, "each": command.each, "replace": true,
        "reason": command.reason,
    });
    let said = [
        ("document", document),
        ("url", document.is_none().then_some(&*command.source)),
        ("name", command.name.as_deref()),
        ("owner", command.owner.as_deref()),
    ];
    for (what, text) in said {
        if let Some(text) = text {
            body[what] = text.into();
        }
    }
    let (_, imported) = gateway.post(&door::path(&["server-imports"], &[]), &body).await?;
    let store = open_store(&command.store).await?;
    let mut changed = Vec::new();
    for one in imported["items"].as_array().into_iter().flatten() {
        let named = Named {
            tenant: tenant.clone(),
            name: ServerName::new(door::text(one, "name")?)
                .map_err(|bad| Failure::failed(bad.to_string()))?,
        };
        let id = named.version(door::text(one, "version")?)?;
        changed.extend(store.registration(&id).await.map_err(|error| failure(&error))?);
    }
    tell(&changed, command.json);
    let entries = imported["entries"].as_array().into_iter().flatten();
    let refused = entries.filter_map(|entry| {
        let why = entry["why"].as_str()?;
        Some((entry["found"].as_str().unwrap_or_default().to_owned(), why.to_owned()))
    });
    ended(refused.collect())
}

/// How servers are found in a document, of which it is said where it comes from.
pub(crate) type Reading = dyn Fn(&str, &str) -> Result<Vec<Found>, Failure> + Sync;

/// From a document or a registry on the net: of a registry only some servers, if any is named. `read` finds them in a document.
pub(crate) async fn fetch(
    (source, only): (&str, &[String]),
    allow_private: bool,
    read: &Reading,
) -> Result<Vec<Found>, Failure> {
    let settings = EgressSettings {
        allow_private,
        allow_plain: false,
        ca_pem: None,
        connect_timeout: CONNECT_MAX,
        timeout: FETCH_MAX,
        body_bytes_max: DOCUMENT_BYTES_MAX,
    };
    let egress = Egress::new(&settings).map_err(|error| Failure::failed(error.to_string()))?;
    let source = source.trim_end_matches('/');
    let is_document = Path::new(source).extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    if is_document || source.contains("/versions/") {
        return read(source, &document(&egress, source).await?);
    }
    let base = source.strip_suffix("/servers").unwrap_or(source);
    let base = format!("{}{API}", base.strip_suffix("/v0.1").unwrap_or(base));
    let mut found = Vec::new();
    if !only.is_empty() {
        for name in only {
            let (name, version) = name.split_once('@').unwrap_or((name, "latest"));
            let url = format!("{base}/{}/versions/{}", encoded(name), encoded(version));
            found.extend(read(&url, &document(&egress, &url).await?)?);
        }
        return Ok(found);
    }
    let mut cursor = String::new();
    loop {
        let url = format!("{base}?version=latest&limit={PAGE}{cursor}");
        let text = document(&egress, &url).await?;
        let next: Value = serde_json::from_str(&text).unwrap_or_default();
        if next["servers"].as_array().is_some_and(Vec::is_empty) {
            return Ok(found);
        }
        found.extend(read(&url, &text)?);
        if found.len() > IMPORTED_MAX {
            let text =
                format!("{source} has more than {IMPORTED_MAX} servers: choose with --only com.example/name");
            return Err(Failure::usage(text));
        }
        match next["metadata"]["nextCursor"].as_str().filter(|next| !next.is_empty()) {
            Some(next) => cursor = format!("&cursor={}", encoded(next)),
            None => return Ok(found),
        }
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn document(egress: &Egress, url: &str) -> Result<String, Failure> {
    let parsed = Url::parse(url).map_err(|error| Failure::usage(format!("{url}: {error}")))?;
    let answer = egress.get(&parsed).await.map_err(|error| Failure::unavailable(error.to_string()))?;
    String::from_utf8(answer.body.to_vec()).map_err(|_| Failure::failed(format!("{url} gave no UTF-8")))
}

fn read(source: &str, text: &str) -> Result<Vec<Found>, Failure> {
    let path = Path::new(source);
    let (found, warnings) = foreign::found(path, text).map_err(|error| {
        let text = error.render(Printer::new(To::Err).coloured());
        Failure::usage(format!("{source} cannot be imported\n\n{}", text.trim_end()))
    })?;
    let err = Printer::new(To::Err);
    for warning in warnings {
        err.line(warning.render(err.coloured()).trim_end());
    }
    Ok(found)
}
