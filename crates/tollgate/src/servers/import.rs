//! `tollgate servers import`: the servers of other programs' files, as drafts.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tollgate_egress::{Egress, EgressSettings};
use tollgate_model::ServerName;
use tollgate_store::About;
use url::Url;

use super::add::{beside, check, checked, input};
use super::{Ask, Named, doing, owner, put, text};
use crate::blocks::config_of;
use crate::cli::servers::ServersImport;
use crate::config::foreign::{self, Apart, Found};
use crate::exit::Failure;
use crate::out::{Printer, To};
use crate::state::open_store;

/// Where a registry of version 0.1 lists its servers.
const API: &str = "/v0.1/servers";
/// How many servers are asked for at once, and taken from a registry without naming each.
const PAGE: usize = 50;
const IMPORTED_MAX: usize = 100;
const CONNECT_MAX: Duration = Duration::from_secs(10);
const FETCH_MAX: Duration = Duration::from_secs(30);
const DOCUMENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Imports them all, or none.
pub(super) async fn import(command: &ServersImport) -> Result<(), Failure> {
    let config = config_of(&command.store);
    let tenant = owner(command.tenant.as_deref(), config.as_ref())?;
    let doing = doing(&command.reason)?;
    let is_url = ["https://", "http://"].iter().any(|scheme| command.source.starts_with(scheme));
    let mut found = if is_url {
        let allow_private = config.as_ref().is_some_and(|config| config.registry.allow_private);
        fetch((&command.source, &command.only), allow_private, &read).await?
    } else {
        read(&command.source, &input(Path::new(&command.source))?)?
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
    let mut drafts = Vec::new();
    for Found { label, version, apart: Apart { reach, about }, .. } in found {
        let name = match &command.name {
            Some(name) => ServerName::new(name),
            None => ServerName::from_label(&label),
        };
        let name =
            name.map_err(|bad| Failure::usage(format!("{label:?} cannot be a name: {bad}; say --name")))?;
        let about = About { owner: text(command.owner.as_ref()).or(about.owner), ..about };
        check(&about)?;
        let named = Named { tenant: tenant.clone(), name };
        let id = named.version(&version)?;
        if drafts.iter().any(|draft: &tollgate_store::Registration| draft.id == id) {
            return Err(Failure::usage(format!("two servers become `{}`: import them one by one", id.name)));
        }
        drafts.push(checked(id, reach, about, "import", config.as_ref(), &doing)?);
    }
    let store = open_store(&command.store).await?;
    let mut next = Vec::with_capacity(drafts.len());
    for draft in drafts {
        next.push(beside(&*store, draft, &doing).await?);
    }
    let asks = next.iter().map(Ask::draft).collect::<Result<Vec<_>, _>>()?;
    put((&command.store, &*store), next, asks, command.json).await
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
