//! `tollgate servers add`: drafts.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tollgate_identity::key;
use tollgate_store::{About, Doing, Life, Registration, RegistrationId, Store};
use url::Url;

use super::{Ask, Named, advice, doing, put, text};
use crate::blocks::config_of;
use crate::cli::servers::ServersAdd;
use crate::config::foreign::{self, Apart};
use crate::config::{Config, RegistrySettings, label, registered};
use crate::exit::Failure;
use crate::out::{Printer, To};
use crate::state::{failure, open_store};

/// The longest text that is said of a server, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// How many tags a server has at most.
const TAGS_MAX: usize = 32;
/// The largest file that says how a server is reached.
const INPUT_BYTES_MAX: u64 = 1024 * 1024;

/// Registers a draft, or edits one.
pub(super) async fn add(command: &ServersAdd) -> Result<(), Failure> {
    let config = config_of(&command.store);
    let named = Named::new(&command.which, config.as_ref())?;
    let id = named.version(&command.version)?;
    let doing = doing(&command.reason)?;
    let Apart { reach, about } = reached(command)?;
    let about = said(command, about)?;
    let next = checked(id, reach, about, "cli", config.as_ref(), &doing)?;
    let store = open_store(&command.store).await?;
    let next = beside(&*store, next, &doing).await?;
    let ask = Ask::draft(&next)?;
    put((&command.store, &*store), vec![next], vec![ask], command.json).await
}

/// How it is reached, from whatever says so.
fn reached(command: &ServersAdd) -> Result<Apart, Failure> {
    let (name, source) = match (&command.url, &command.file, &command.command[..]) {
        (Some(url), None, []) => ("--url", of_url(url, &command.headers)?.to_string()),
        (None, Some(file), []) => ("--file", input(file)?),
        (None, None, [program, args @ ..]) => {
            ("the command", json!({ "command": program, "args": args }).to_string())
        }
        _ => {
            let text = "how is it reached? Say --url URL, --file FILE, or `-- COMMAND ARGUMENTS`";
            return Err(Failure::usage(text));
        }
    };
    let path = command.file.clone().unwrap_or_else(|| PathBuf::from(name));
    foreign::apart(&path, &source)
        .map_err(|error| Failure::usage(format!("{name}:\n\n{}", error.render(false))))
}

fn of_url(url: &str, headers: &[String]) -> Result<Value, Failure> {
    let mut named = Map::new();
    for header in headers {
        let (name, value) =
            header.split_once(':').ok_or_else(|| Failure::usage("--header: write it as `NAME: VALUE`"))?;
        named.insert(name.trim().to_owned(), value.trim().into());
    }
    let mut reach = json!({ "url": url });
    if !named.is_empty() {
        reach["headers"] = named.into();
    }
    Ok(reach)
}

/// The text of a file, or of standard input.
pub(crate) fn input(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(INPUT_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))?;
    if text.len() as u64 > INPUT_BYTES_MAX {
        return Err(Failure::usage(format!("{} has more than {INPUT_BYTES_MAX} bytes", file.display())));
    }
    Ok(text)
}

/// What is said of it, the command line first.
fn said(command: &ServersAdd, about: About) -> Result<About, Failure> {
    let tags = command.tags.iter().map(|tag| Arc::from(tag.as_str())).collect();
    let about = About {
        description: text(command.description.as_ref()).or(about.description),
        owner: text(command.owner.as_ref()).or(about.owner),
        environment: text(command.environment.as_ref()).or(about.environment),
        risk: text(command.risk.as_ref()).or(about.risk),
        tags,
        documentation: text(command.docs.as_ref()).or(about.documentation),
    };
    check(&about)?;
    Ok(about)
}

/// Whether texts can be kept and shown.
pub(super) fn check(about: &About) -> Result<(), Failure> {
    let option = |what| match what {
        "tags" => "tag",
        "documentation" => "docs",
        what => what,
    };
    faults(about).map_err(|(what, why)| Failure::usage(format!("--{}: {why}", option(what))))
}

/// Whether texts can be kept and shown.
///
/// # Errors
/// Which cannot, and why.
pub(crate) fn faults(about: &About) -> Result<(), (&'static str, String)> {
    let About { description, owner, environment, risk, tags, documentation } = about;
    let texts = [
        ("description", description),
        ("owner", owner),
        ("environment", environment),
        ("risk", risk),
        ("documentation", documentation),
    ];
    let said = texts.iter().filter_map(|(what, text)| Some((*what, &**text.as_ref()?)));
    for (what, text) in said.chain(tags.iter().map(|tag| ("tags", &**tag))) {
        if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err((what, format!("one line of at most {TEXT_BYTES_MAX} bytes")));
        }
        if key::is_within(text) {
            return Err((what, "there is an API key in it, and it goes on record".to_owned()));
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(("tags", format!("more than {TAGS_MAX}")));
    }
    let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    if let Some(url) = documentation
        && !Url::parse(url).is_ok_and(|url| is_web(&url))
    {
        return Err(("documentation", "no http or https URL".to_owned()));
    }
    Ok(())
}

/// A draft, if a gateway could serve it: of this configuration, or of some one where there is none at hand.
pub(super) fn checked(
    id: RegistrationId,
    reach: Arc<str>,
    about: About,
    origin: &str,
    config: Option<&Config>,
    doing: &Doing,
) -> Result<Registration, Failure> {
    let anything = RegistrySettings::anything();
    let settings = config.map_or(&anything, |config| &config.registry);
    let label = label(&id);
    let written = registered::Written {
        tenant: &id.tenant,
        name: &id.name,
        label: &label,
        reach: &reach,
        about: &about,
    };
    match registered::read(written, settings, (None, PathBuf::new())) {
        Ok((_, warnings)) => {
            let err = Printer::new(To::Err);
            for warning in warnings {
                err.line(warning.render(err.coloured()).trim_end());
            }
        }
        Err(error) => {
            let text = error.render(Printer::new(To::Err).coloured());
            return Err(Failure::usage(format!("{label} cannot be registered\n\n{}", text.trim_end())));
        }
    }
    if let Some(config) = config
        && !config.tenants.iter().any(|tenant| tenant.id == id.tenant)
    {
        let tenant = id.tenant.as_str();
        return Err(Failure::usage(format!("--tenant: the configuration has no tenant {tenant:?}")));
    }
    Ok(Registration::draft(id, reach, about, origin, doing))
}

/// The draft in the place of the one that is there, if there is one.
pub(super) async fn beside(
    store: &dyn Store,
    next: Registration,
    doing: &Doing,
) -> Result<Registration, Failure> {
    let before = store.registration(&next.id).await.map_err(|error| failure(&error))?;
    match before {
        None => Ok(next),
        Some(before) if before.life == Life::Draft => {
            before.edited(next.reach, next.about, doing).map_err(|error| failure(&error))
        }
        Some(before) => {
            let (label, life) = (label(&next.id), before.life);
            let text = format!("{label} is {}: {}", life.as_str(), advice(life));
            Err(Failure::usage(format!("{text}; another version can be registered with --version")))
        }
    }
}
