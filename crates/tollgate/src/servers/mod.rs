//! `tollgate servers`: servers that are registered while gateways run, and their life.

pub(crate) mod add;
pub(crate) mod import;
pub(crate) mod review;
mod show;

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tollgate_identity::names;
use tollgate_model::{ServerName, TenantId, Timestamp};
use tollgate_store::{
    About, Act, Doing, Life, Registration, RegistrationId, Store, VERSIONS_MAX, WHOLE, WhichRegistrations,
    approve, earlier, gap, shift,
};

pub(crate) use add::input;

use crate::blocks::{config_of, reason, tenant_of, user};
use crate::cli::StoreArgs;
use crate::cli::servers::{
    Servers, ServersApprove, ServersDeprecate, ServersRollback, ServersShare, ServersStep, WhichServer,
};
use crate::config::{Config, label};
use crate::door;
use crate::exit::Failure;
use crate::out::{Printer, To, safe};
use crate::state::{failure, open_store};

/// The longest name of a version, in characters.
const VERSION_CHARS_MAX: usize = 64;

/// Runs one of the commands.
pub(crate) async fn run(command: Servers) -> Result<(), Failure> {
    match command {
        Servers::List(command) => show::list(&command).await,
        Servers::Show(command) => show::show(&command).await,
        Servers::Add(command) => add::add(&command).await,
        Servers::Review(command) => review::review(&command).await,
        Servers::Submit(command) => step(&command, Act::Submitted).await,
        Servers::Approve(command) => approve_one(&command).await,
        Servers::Reject(command) => step(&command, Act::Rejected).await,
        Servers::Share(command) => share(&command).await,
        Servers::Rollback(command) => roll_back(&command).await,
        Servers::Deprecate(command) => deprecate(&command).await,
        Servers::Retire(command) => step(&command, Act::Retired).await,
        Servers::Import(command) => import::import(&command).await,
    }
}

/// A server, as the command line names it.
struct Named {
    tenant: TenantId,
    name: ServerName,
}

impl Named {
    fn new(which: &WhichServer, config: Option<&Config>) -> Result<Self, Failure> {
        let name = ServerName::new(&which.name)
            .map_err(|bad| Failure::usage(format!("{:?} is no name of a server: {bad}", which.name)))?;
        Ok(Self { tenant: owner(which.tenant.as_deref(), config)?, name })
    }

    /// What the API calls it.
    fn path(&self) -> String {
        let server = tollgate_admin::pack(&[self.tenant.as_str(), self.name.as_str()]);
        door::path(&["servers", &server], &[])
    }

    fn version(&self, version: &str) -> Result<RegistrationId, Failure> {
        let is_of_version = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
        let is_short = (1..=VERSION_CHARS_MAX).contains(&version.chars().count());
        // A part of an address that is `.` or `..` never arrives.
        let is_part = version != "." && version != "..";
        if !is_short || !is_part || !version.chars().all(is_of_version) {
            let text = format!(
                "--version: a version has 1 to {VERSION_CHARS_MAX} letters, digits, `.`, `-`, `_` and `+`, and is not `.` or `..`"
            );
            return Err(Failure::usage(text));
        }
        Ok(RegistrationId { tenant: self.tenant.clone(), name: self.name.clone(), version: version.into() })
    }

    /// All versions that are registered.
    async fn versions(&self, store: &dyn Store) -> Result<Vec<Registration>, Failure> {
        let mut which = WhichRegistrations {
            tenant: Some(self.tenant.clone()),
            name: Some(self.name.clone()),
            after: None,
            most: VERSIONS_MAX,
        };
        read_all(store, &mut which).await
    }
}

/// Whose a server is. One that is known by its tenant's name alone may come with the configuration.
fn owner(tenant: Option<&str>, config: Option<&Config>) -> Result<TenantId, Failure> {
    if let Some(tenant) = tenant {
        names::check(tenant).map_err(|bad| Failure::usage(format!("--tenant: {bad}")))?;
    }
    tenant_of(tenant, config)
}

async fn read_all(store: &dyn Store, which: &mut WhichRegistrations) -> Result<Vec<Registration>, Failure> {
    let mut found: Vec<Registration> = Vec::new();
    loop {
        let page = store.registrations(which).await.map_err(|error| failure(&error))?;
        let is_last = page.len() < which.most;
        found.extend(page);
        if is_last {
            return Ok(found);
        }
        which.after = found.last().map(|last| last.id.clone());
    }
}

fn doing(why: &str) -> Result<Doing, Failure> {
    Ok(Doing { by: user(), reason: reason(why)?, at: Timestamp::now() })
}

/// The version that is meant: the one that is named, or the only one for which it can be done.
fn meant<'v>(
    versions: &'v [Registration],
    version: Option<&str>,
    lives: &[Life],
    named: &Named,
) -> Result<&'v Registration, Failure> {
    let name = &named.name;
    if let Some(version) = version {
        let found = versions.iter().find(|one| &*one.id.version == version);
        return found.ok_or_else(|| {
            Failure::usage(format!("no version {version:?} of `{name}` is registered{}", known(versions)))
        });
    }
    let candidates: Vec<&Registration> = versions.iter().filter(|one| lives.contains(&one.life)).collect();
    match candidates[..] {
        [only] => Ok(only),
        [] if versions.is_empty() => Err(Failure::usage(format!(
            "no server `{name}` is registered; `tollgate servers list` lists those"
        ))),
        [] => {
            let lives: Vec<&str> = lives.iter().map(|life| life.as_str()).collect();
            let text = format!("no version of `{name}` is {}{}", lives.join(" or "), known(versions));
            Err(Failure::usage(text))
        }
        _ => Err(Failure::usage(format!("say which: --version{}", known(versions)))),
    }
}

fn known(versions: &[Registration]) -> String {
    let of = |one: &Registration| format!("{} is {}", one.id.version, one.life.as_str());
    let list: Vec<String> = versions.iter().map(of).collect();
    if list.is_empty() { String::new() } else { format!(": {}", list.join(", ")) }
}

/// Submits, rejects or retires.
async fn step(command: &ServersStep, act: Act) -> Result<(), Failure> {
    let lives: &[Life] = match act {
        Act::Submitted => &[Life::Draft],
        Act::Rejected => &[Life::InReview],
        _ => &[Life::Draft, Life::InReview, Life::Approved, Life::Deprecated],
    };
    let doing = doing(&command.reason)?;
    let word = match act {
        Act::Submitted => "submit",
        Act::Rejected => "reject",
        _ => "retire",
    };
    let body = json!({ "reason": &*doing.reason });
    change(command, lives, (word, body), |versions, version| {
        let one = found(versions, version)?;
        let next = match act {
            Act::Submitted => one.submitted(&doing),
            Act::Rejected => one.rejected(&doing),
            _ => one.retired(&doing),
        };
        Ok(vec![next?])
    })
    .await
}

async fn approve_one(command: &ServersApprove) -> Result<(), Failure> {
    let doing = doing(&command.step.reason)?;
    let may_own = config_of(&command.step.store).is_none_or(|config| may_own(&config));
    let mut body = json!({ "reason": &*doing.reason });
    if let Some(share) = command.share {
        body["share"] = share.into();
    }
    change(&command.step, &[Life::InReview], ("approve", body), |versions, version| {
        approve(versions, version, command.share, may_own, &doing)
    })
    .await
}

/// Whether somebody at this machine may approve what they made: where nobody can sign in there may be nobody else.
fn may_own(config: &Config) -> bool {
    config.registry.self_approval.unwrap_or(config.admin.sign_in.is_none())
}

async fn share(command: &ServersShare) -> Result<(), Failure> {
    let doing = doing(&command.step.reason)?;
    let body = json!({ "reason": &*doing.reason, "share": command.share });
    change(&command.step, &[Life::Approved], ("share", body), |versions, version| {
        shift(versions, version, command.share, &doing)
    })
    .await
}

async fn deprecate(command: &ServersDeprecate) -> Result<(), Failure> {
    let doing = doing(&command.step.reason)?;
    let sunset = command.sunset.from(doing.at);
    if sunset <= doing.at {
        return Err(Failure::usage("--sunset: this time is over; `tollgate servers retire` ends it now"));
    }
    let body = json!({ "reason": &*doing.reason, "sunset": sunset.to_string() });
    change(&command.step, &[Life::Approved], ("deprecate", body), |versions, version| {
        Ok(vec![found(versions, version)?.deprecated(sunset, &doing)?])
    })
    .await
}

async fn roll_back(command: &ServersRollback) -> Result<(), Failure> {
    let named = Named::new(&command.which, config_of(&command.store).as_ref())?;
    let doing = doing(&command.reason)?;
    let store = open_store(&command.store).await?;
    let versions = named.versions(&*store).await?;
    let to = match &command.to {
        Some(_) => meant(&versions, command.to.as_deref(), &[], &named)?,
        None => earlier(&versions).ok_or_else(|| {
            let text = format!("`{}` has no earlier version to go back to{}", named.name, known(&versions));
            Failure::usage(text)
        })?,
    };
    let changed = shift(&versions, &to.id.version, WHOLE, &doing).map_err(|error| failure(&error))?;
    let ask = Ask {
        is_edit: false,
        path: format!("{}/rollback", named.path()),
        body: json!({ "reason": &*doing.reason, "to": &*to.id.version }).to_string(),
    };
    put((&command.store, &*store), changed, vec![ask], command.json).await
}

fn found<'v>(
    versions: &'v [Registration],
    version: &str,
) -> Result<&'v Registration, tollgate_store::StoreError> {
    let found = versions.iter().find(|one| &*one.id.version == version);
    found.ok_or(tollgate_store::StoreError::NoSuchServer)
}

/// Reads, changes and puts back. What another changes meanwhile is not overwritten.
async fn change(
    command: &ServersStep,
    lives: &[Life],
    (word, body): (&str, Value),
    next: impl FnOnce(&[Registration], &str) -> Result<Vec<Registration>, tollgate_store::StoreError>,
) -> Result<(), Failure> {
    let named = Named::new(&command.which, config_of(&command.store).as_ref())?;
    let store = open_store(&command.store).await?;
    let versions = named.versions(&*store).await?;
    let one = meant(&versions, command.version.as_deref(), lives, &named)?;
    let changed = next(&versions, &one.id.version).map_err(|error| match error {
        tollgate_store::StoreError::NotInLife { life, .. } => {
            let text = format!("{} is {}: {}", label(&one.id), life.as_str(), advice(life));
            Failure::usage(text)
        }
        tollgate_store::StoreError::OwnWork => Failure::usage(format!(
            "{} was registered, edited or submitted by you: somebody else has to approve it\n  help: `registry.self_approval: \
             true` lets you, and puts it on record",
            label(&one.id)
        )),
        error => failure(&error),
    })?;
    let path = format!("{}/{word}", version_path(&one.id));
    let ask = Ask { is_edit: false, path, body: body.to_string() };
    put((&command.store, &*store), changed, vec![ask], command.json).await?;
    if word == "deprecate"
        && let Some(gap) = gap(&versions, &one.id.version)
    {
        let err = Printer::new(To::Err);
        err.line(format!("{} {}", err.bold("warning:"), safe(&gap)));
        err.line(format!("  help: `tollgate servers share 100 {} --version VERSION`", named.name));
    }
    Ok(())
}

/// What can be done with one that is so.
const fn advice(life: Life) -> &'static str {
    match life {
        Life::Draft => "it can be edited (`add`), submitted or retired",
        Life::InReview => "it can be approved, rejected or retired",
        Life::Approved => "it can be deprecated or retired, or get another share",
        Life::Deprecated => "it can be approved again, deprecated to another day, or retired",
        Life::Retired => "register another version",
    }
}

/// How a gateway that runs is asked for a change.
struct Ask {
    is_edit: bool,
    path: String,
    /// JSON.
    body: String,
}

impl Ask {
    /// For a draft: another one, or another text of one that there is.
    fn draft(one: &Registration) -> Result<Self, Failure> {
        let is_edit = one.last.act == Act::Edited;
        let unreadable = |error: serde_json::Error| Failure::failed(error.to_string());
        let said = Said {
            name: (!is_edit).then_some((one.id.tenant.as_str(), one.id.name.as_str(), &*one.id.version)),
            reach: serde_json::from_str(&one.reach).map_err(unreadable)?,
            about: &one.about,
            reason: &one.last.reason,
        };
        let path = if is_edit { version_path(&one.id) } else { door::path(&["servers"], &[]) };
        Ok(Self { is_edit, path, body: said.text().map_err(unreadable)? })
    }
}

/// What is said of a draft. How it is reached goes as it was written.
struct Said<'a> {
    name: Option<(&'a str, &'a str, &'a str)>,
    reach: &'a RawValue,
    about: &'a About,
    reason: &'a str,
}

impl Said<'_> {
    fn text(&self) -> Result<String, serde_json::Error> {
        let About { description, owner, environment, risk, tags, documentation } = self.about;
        let mut said = Map::new();
        if let Some((tenant, name, version)) = self.name {
            let id = [("tenant", tenant), ("name", name), ("version", version)];
            said.extend(id.map(|(what, text)| (what.to_owned(), text.into())));
        }
        for (what, text) in [
            ("description", description),
            ("owner", owner),
            ("environment", environment),
            ("risk", risk),
            ("documentation", documentation),
        ] {
            said.extend(text.as_ref().map(|text| (what.to_owned(), (&**text).into())));
        }
        said.insert("tags".to_owned(), tags.iter().map(|tag| &**tag).collect());
        said.insert("reason".to_owned(), self.reason.into());
        let rest = serde_json::to_string(&said)?;
        // An object with at least one member.
        Ok(format!("{{\"reach\":{},{}", self.reach.get(), rest.trim_start_matches('{')))
    }
}

fn version_path(id: &RegistrationId) -> String {
    let server = tollgate_admin::pack(&[id.tenant.as_str(), id.name.as_str()]);
    door::path(&["servers", &server, "versions", &id.version], &[])
}

/// Puts what has changed into the store, or has the gateway that runs do so, and tells.
async fn put(
    (args, store): (&StoreArgs, &dyn Store),
    mut changed: Vec<Registration>,
    asks: Vec<Ask>,
    json: bool,
) -> Result<(), Failure> {
    if let Some(gateway) = door::running(args).await? {
        // One act of the gateway is one request: what takes several could be left half done.
        for ask in asks {
            let body: &RawValue =
                serde_json::from_str(&ask.body).map_err(|error| Failure::failed(error.to_string()))?;
            if ask.is_edit {
                gateway.put(&ask.path, &body).await?;
            } else {
                gateway.post(&ask.path, &body).await?;
            }
        }
        for one in &mut changed {
            let now = store.registration(&one.id).await.map_err(|error| failure(&error))?;
            *one = now.unwrap_or_else(|| one.clone());
        }
    } else {
        store.put_registrations(changed.clone()).await.map_err(|error| failure(&error))?;
    }
    tell(&changed, json);
    Ok(())
}

/// Tells what has become of registrations.
fn tell(changed: &[Registration], json: bool) {
    let out = Printer::new(To::Out);
    if json {
        let objects: Value = changed.iter().map(show::object).collect();
        out.line(objects.to_string());
        return;
    }
    for one in changed {
        let label = safe(&label(&one.id));
        let more = match (one.life.is_served(), one.sunset) {
            (true, Some(sunset)) => format!(", with {}% of the requests, until {sunset}", one.share),
            (true, None) => format!(", with {}% of the requests", one.share),
            _ => String::new(),
        };
        let own = if one.last.is_own { "; that you made it yourself is on record" } else { "" };
        out.line(format!("{} {label} is {}{more}{own}", out.green("ok:"), show::word(one.life)));
    }
}

/// Text of the command line, or nothing.
fn text(text: Option<&String>) -> Option<Arc<str>> {
    text.map(|text| Arc::from(text.as_str())).filter(|text: &Arc<str>| !text.is_empty())
}
