//! What is registered, as people and programs read it.

use serde_json::{Value, json};
use tollgate_model::{Holder, TenantId, Timestamp};
use tollgate_store::{About, Life, Registration, WhichRegistrations};
use tollgate_upstream::ServerSettings;

use super::{Named, meant, owner, read_all};
use crate::blocks::config_of;
use crate::cli::servers::{LifeArg, ServersList, ServersShow};
use crate::config::{Config, LeftOut, RegistrySettings, label, registered};
use crate::exit::Failure;
use crate::keys::table;
use crate::out::{Printer, To, safe};
use crate::state::open_store;

/// How many are read at once.
const PAGE: usize = 500;

/// Lists the servers.
pub(super) async fn list(command: &ServersList) -> Result<(), Failure> {
    let config = config_of(&command.store);
    let tenant = command.tenant.as_deref().map(|tenant| owner(Some(tenant), config.as_ref())).transpose()?;
    let store = open_store(&command.store).await?;
    let mut which = WhichRegistrations { tenant: tenant.clone(), name: None, after: None, most: PAGE };
    let found = read_all(&*store, &mut which).await?;
    let left_out = left_out(config.as_ref(), &found);
    let wanted = command.life.map(life);
    let is_meant = |one: &&Registration| match wanted {
        Some(wanted) => one.life == wanted,
        None => command.all || one.life != Life::Retired,
    };
    let of_file: Vec<&ServerSettings> = config
        .iter()
        .flat_map(|config| &config.servers)
        .filter(|server| tenant.as_ref().is_none_or(|tenant| server.holder.serves(tenant)))
        .filter(|_| wanted.is_none_or(|wanted| wanted == Life::Approved))
        .collect();
    let found: Vec<&Registration> = found.iter().filter(is_meant).collect();
    if command.json {
        let registered = found.iter().map(|one| {
            let mut object = object(one);
            object["notServed"] = why(&left_out, one).into();
            object
        });
        let of_file = of_file.iter().map(|server| object_of_file(server, owner_of(config.as_ref(), server)));
        let all: Value = of_file.chain(registered).collect();
        Printer::new(To::Out).line(all.to_string());
    } else if of_file.is_empty() && found.is_empty() {
        Printer::new(To::Err)
            .line("There are no such servers. `tollgate servers add NAME --url URL` registers one.");
    } else {
        let rows: Vec<Vec<String>> = of_file
            .iter()
            .map(|server| row_of_file(server, owner_of(config.as_ref(), server)))
            .chain(found.iter().map(|one| row(one)))
            .collect();
        let head = ["NAME", "VERSION", "TENANT", "LIFE", "SHARE", "ORIGIN", "OWNER", "SINCE", "BY"];
        table(&head.map(str::to_owned), &rows);
        let err = Printer::new(To::Err);
        for one in found {
            if let Some(why) = why(&left_out, one) {
                err.line(format!(
                    "{} {} is not served: {}",
                    err.bold("note:"),
                    safe(&label(&one.id)),
                    safe(why)
                ));
            }
        }
    }
    Ok(())
}

/// Shows one server, or one version of it.
pub(super) async fn show(command: &ServersShow) -> Result<(), Failure> {
    let config = config_of(&command.store);
    let named = Named::new(&command.which, config.as_ref())?;
    let store = open_store(&command.store).await?;
    let versions = named.versions(&*store).await?;
    let of_file = config.iter().flat_map(|config| &config.servers);
    let of_file = of_file.filter(|server| server.name == named.name && server.holder.serves(&named.tenant));
    let of_file: Vec<&ServerSettings> = of_file.filter(|_| command.version.is_none()).collect();
    let shown: Vec<&Registration> = match &command.version {
        Some(_) => vec![meant(&versions, command.version.as_deref(), &[], &named)?],
        // Says that there is none.
        None if versions.is_empty() && of_file.is_empty() => vec![meant(&versions, None, &[], &named)?],
        None => versions.iter().collect(),
    };
    let left_out = left_out(config.as_ref(), &versions);
    if command.json {
        let registered = shown.iter().map(|one| {
            let mut object = object(one);
            object["notServed"] = why(&left_out, one).into();
            object["problems"] = problems(config.as_ref(), one).into();
            object
        });
        let of_file = of_file.iter().map(|server| object_of_file(server, owner_of(config.as_ref(), server)));
        let all: Value = of_file.chain(registered).collect();
        Printer::new(To::Out).line(all.to_string());
        return Ok(());
    }
    let out = Printer::new(To::Out);
    for server in of_file {
        out.line(out.bold(server.name.as_str()));
        out.line("  of the configuration file, where it can be changed");
    }
    for one in shown {
        lines(out, one);
        for problem in problems(config.as_ref(), one) {
            out.line(format!("  {} {}", out.red("problem"), safe(&problem)));
        }
        if let Some(why) = why(&left_out, one) {
            out.line(format!("  {} {}", out.red("not served"), safe(why)));
        }
    }
    Ok(())
}

fn lines(out: Printer, one: &Registration) {
    let Registration { life, share, sunset, about, reach, origin, revision, created, approved, last, .. } =
        one;
    out.line(out.bold(&safe(&label(&one.id))));
    let say = |what: &str, text: &str| out.line(format!("  {what:<13} {}", safe(text)));
    say("life", word(*life));
    if life.is_served() {
        say("share", &format!("{share}%"));
    }
    let About { description, owner, environment, risk, tags, documentation } = about;
    let texts = [
        ("description", description),
        ("owner", owner),
        ("environment", environment),
        ("risk", risk),
        ("documentation", documentation),
    ];
    for (what, text) in texts {
        if let Some(text) = text {
            say(what, text);
        }
    }
    if !tags.is_empty() {
        say("tags", &tags.join(", "));
    }
    let times = [("created", Some(*created)), ("approved", *approved), ("sunset", *sunset)];
    for (what, time) in times {
        if let Some(time) = time {
            say(what, &time.to_string());
        }
    }
    say("origin", origin);
    say("made by", &one.hands.join(", "));
    let why = if last.reason.is_empty() { String::new() } else { format!(": {}", last.reason) };
    let by = format!("{} by {} at {}{why}", last.act.as_str(), last.by, last.at);
    say("last", &by);
    say("revision", &revision.to_string());
    let pretty = serde_json::from_str::<Value>(reach).and_then(|reach| serde_json::to_string_pretty(&reach));
    for line in pretty.unwrap_or_else(|_| reach.to_string()).lines() {
        out.line(format!("    {}", safe(line)));
    }
}

/// What a gateway of this configuration would say of it, or what can be said without one.
fn problems(config: Option<&Config>, one: &Registration) -> Vec<String> {
    let anything = RegistrySettings::anything();
    let settings = config.map_or(&anything, |config| &config.registry);
    let label = label(&one.id);
    let written = registered::Written {
        tenant: &one.id.tenant,
        name: &one.id.name,
        label: &label,
        reach: &one.reach,
        about: &one.about,
    };
    match registered::read(written, settings, (None, std::path::PathBuf::new())) {
        Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect(),
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    }
}

/// What a gateway of this configuration leaves out.
fn left_out(config: Option<&Config>, found: &[Registration]) -> Vec<LeftOut> {
    config.map_or_else(Vec::new, |config| config.joined(found, None, Timestamp::now()).1)
}

fn why<'l>(left_out: &'l [LeftOut], one: &Registration) -> Option<&'l str> {
    left_out.iter().find(|left| left.id == one.id).map(|left| left.why.as_str())
}

/// A life as people read it.
pub(super) const fn word(life: Life) -> &'static str {
    match life {
        Life::InReview => "in review",
        life => life.as_str(),
    }
}

const fn life(arg: LifeArg) -> Life {
    match arg {
        LifeArg::Draft => Life::Draft,
        LifeArg::InReview => Life::InReview,
        LifeArg::Approved => Life::Approved,
        LifeArg::Deprecated => Life::Deprecated,
        LifeArg::Retired => Life::Retired,
    }
}

/// A registration as programs read it.
pub(super) fn object(one: &Registration) -> Value {
    let Registration { id, life, share, sunset, about, reach, origin, hands, .. } = one;
    let Registration { revision, created, approved, last, .. } = one;
    let About { description, owner, environment, risk, tags, documentation } = about;
    let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
    json!({
        "name": id.name.as_str(),
        "version": &*id.version,
        "tenant": id.tenant.as_str(),
        "life": life.as_str(),
        "share": share,
        "sunset": sunset.map(|time| time.to_string()),
        "description": description.as_deref(),
        "owner": owner.as_deref(),
        "environment": environment.as_deref(),
        "risk": risk.as_deref(),
        "tags": tags,
        "documentation": documentation.as_deref(),
        "reach": serde_json::from_str::<Value>(reach).unwrap_or(Value::Null),
        "origin": &**origin,
        "hands": hands.iter().map(|hand| &**hand).collect::<Vec<_>>(),
        "readOnly": false,
        "revision": revision,
        "created": created.to_string(),
        "approved": approved.map(|time| time.to_string()),
        "last": {
            "act": last.act.as_str(),
            "by": &*last.by,
            "reason": &*last.reason,
            "ownWork": last.is_own,
            "at": last.at.to_string(),
        },
    })
}

/// Who answers for a server of the file.
fn owner_of<'c>(config: Option<&'c Config>, server: &ServerSettings) -> Option<&'c str> {
    config?.facts.get(&server.id())?.owner.as_deref()
}

fn object_of_file(server: &ServerSettings, owner: Option<&str>) -> Value {
    let (tenant, is_shared) = match &server.holder {
        Holder::Tenant(tenant) => (tenant.clone(), false),
        Holder::Shared => (TenantId::default(), true),
    };
    json!({
        "name": server.name.as_str(),
        "tenant": tenant.as_str(),
        "shared": is_shared,
        "life": Life::Approved.as_str(),
        "owner": owner,
        "origin": "file",
        "readOnly": true,
    })
}

fn row(one: &Registration) -> Vec<String> {
    let share = if one.life.is_served() { format!("{}%", one.share) } else { "-".to_owned() };
    let owner = one.about.owner.as_deref().unwrap_or("-");
    let since = one.last.at.to_string();
    [
        one.id.name.as_str(),
        &one.id.version,
        one.id.tenant.as_str(),
        word(one.life),
        &share,
        &one.origin,
        owner,
        &since,
        &one.last.by,
    ]
    .map(safe)
    .to_vec()
}

fn row_of_file(server: &ServerSettings, owner: Option<&str>) -> Vec<String> {
    let tenant = match &server.holder {
        Holder::Tenant(tenant) => tenant.as_str(),
        Holder::Shared => "(all)",
    };
    let owner = owner.unwrap_or("-");
    [server.name.as_str(), "-", tenant, "approved", "100%", "file", owner, "-", "-"].map(safe).to_vec()
}
