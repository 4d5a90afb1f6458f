//! Servers that are registered, and their life.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tollgate_identity::key;
use tollgate_model::{ServerName, TenantId, Timestamp};
use tollgate_store::{
    About, Doing, Life, Registration, RegistrationId, Store, StoreError, VERSIONS_MAX, WHOLE,
    WhichRegistrations, approve, earlier, gap, shift,
};

use super::keys::makers;
use super::reason;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::record::{self, Act};
use crate::registry::Review;
use crate::roles::{ChangeReviews, ChangeServers, May, Operator, Permission, Role, Sure};
use crate::sessions::{BY_COMMAND, BY_LINK};

/// How many are read at once.
const PAGE: usize = 500;
/// The longest name of a version, in characters.
const VERSION_CHARS_MAX: usize = 64;
/// How long is waited for a server that is looked at.
const REVIEW_MAX: Duration = Duration::from_secs(45);

/// What somebody says of a version of a server.
#[derive(Debug)]
pub(crate) struct Said {
    /// How it is reached: what stands under its name in `tollgate.yaml`, as JSON or YAML.
    pub(crate) reach: String,
    pub(crate) about: About,
    pub(crate) reason: String,
}

/// How a server is reached, what is said of it, and why.
pub(crate) type Read = (Arc<str>, About, Arc<str>);

/// A step that whoever answers for a server takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Own {
    Submit,
    Deprecate(Timestamp),
    Share(u8),
    Retire,
}

/// What is said of a version that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// With this part of the requests.
    Approve(Option<u8>),
    Reject,
}

/// Whether a registration is of a server that every tenant has.
pub(crate) fn is_shared(registration: &Registration) -> bool {
    shares(&registration.reach)
}

pub(super) fn shares(reach: &str) -> bool {
    // Whatever is no plain `false` may be taken for a yes by whoever reads it later.
    serde_json::from_str::<Value>(reach)
        .map_or(true, |reach| reach.get("shared").is_some_and(|shared| *shared != Value::Bool(false)))
}

/// Whether somebody may see it. What every tenant has is seen by all once it is served.
pub(crate) fn sees<P: Permission>(may: &May<P>, one: &Registration) -> bool {
    may.sees(Some(&one.id.tenant)) || (one.life.is_served() && is_shared(one))
}

/// All that is registered and that whoever asks may see, in the order of their ids.
pub(crate) async fn all<P: Permission>(plane: &Plane, may: &May<P>) -> Result<Vec<Registration>, Problem> {
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let mut which = WhichRegistrations { most: PAGE, ..WhichRegistrations::default() };
    let mut found = Vec::new();
    loop {
        let page = store.registrations(&which).await?;
        let is_last = page.len() < PAGE;
        which.after = page.last().map(|last| last.id.clone());
        found.extend(page.into_iter().filter(|one| sees(may, one)));
        if is_last {
            return Ok(found);
        }
    }
}

/// All versions of a server that whoever asks may see.
pub(crate) async fn versions<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    (tenant, name): (&TenantId, &ServerName),
) -> Result<Vec<Registration>, Problem> {
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let mut found = of_name(&*store, tenant, name).await?;
    found.retain(|one| sees(may, one));
    Ok(found)
}

/// One version, if whoever asks may see it.
pub(crate) async fn one<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    id: &RegistrationId,
) -> Result<Registration, Problem> {
    let store = plane.store()?.ok_or_else(missing)?;
    store.registration(id).await?.filter(|one| sees(may, one)).ok_or_else(missing)
}

pub(super) async fn of_name(
    store: &dyn Store,
    tenant: &TenantId,
    name: &ServerName,
) -> Result<Vec<Registration>, Problem> {
    let mut which = WhichRegistrations {
        tenant: Some(tenant.clone()),
        name: Some(name.clone()),
        after: None,
        most: VERSIONS_MAX,
    };
    let mut found: Vec<Registration> = Vec::new();
    loop {
        let page = store.registrations(&which).await?;
        let is_last = page.len() < which.most;
        found.extend(page);
        if is_last {
            return Ok(found);
        }
        which.after = found.last().map(|last| last.id.clone());
    }
}

fn missing() -> Problem {
    Problem::not_found("no such server is registered")
}

/// A server and a version, as somebody names them.
pub(crate) fn id(tenant: TenantId, name: &str, version: &str) -> Result<RegistrationId, Problem> {
    let name =
        ServerName::new(name).map_err(|bad| Problem::invalid(format!("name: {name:?} is no name: {bad}")))?;
    let is_of_version = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    let is_short = (1..=VERSION_CHARS_MAX).contains(&version.chars().count());
    // A part of an address that is `.` or `..` never arrives.
    let is_part = version != "." && version != "..";
    if !is_short || !is_part || !version.chars().all(is_of_version) {
        return Err(Problem::invalid(format!(
            "version: it has 1 to {VERSION_CHARS_MAX} letters, digits, `.`, `-`, `_` and `+`, and is not `.` or `..`"
        )));
    }
    if key::is_within(version) {
        return Err(Problem::invalid("version: there is an API key in it, and it goes on record"));
    }
    Ok(RegistrationId { tenant, name, version: version.into() })
}

/// Whether somebody changes servers of a tenant only where they are their own.
fn is_bound(who: &Operator, tenant: &TenantId) -> bool {
    let here = |grant: &&crate::Grant| grant.tenant.as_ref().is_none_or(|of| of == tenant);
    let mut roles = who.grants.iter().filter(here).map(|grant| grant.role);
    !roles.any(|role| role != Role::ServerOwner && ChangeServers::is_for(role))
}

/// Whether a version is somebody's own: they had a hand in it, or they or a group of theirs answer for it.
fn is_own(who: &Operator, one: &Registration) -> bool {
    let owner = one.about.owner.as_ref();
    one.is_made_by(&who.by) || owner.is_some_and(|owner| *owner == who.by || who.groups.contains(owner))
}

/// Whether somebody may change this server, whatever the step.
pub(crate) fn may_change(who: &Operator, tenant: &TenantId, versions: &[Registration]) -> bool {
    let mut alive = versions.iter().filter(|one| one.life != Life::Retired).peekable();
    alive.peek().is_none() || !is_bound(who, tenant) || alive.any(|one| is_own(who, one))
}

pub(super) fn check_own(who: &Operator, tenant: &TenantId, versions: &[Registration]) -> Result<(), Problem> {
    if may_change(who, tenant, versions) {
        return Ok(());
    }
    let text = "this server is somebody else's: as a server-owner you change those that you registered, or that name you or a \
                group of yours as their owner";
    Err(Problem::new(StatusCode::FORBIDDEN, "not_own", text))
}

/// What every tenant has is changed by whoever may in every tenant.
fn check_shared<P>(sure: &Sure<P>, reach: &str) -> Result<(), Problem> {
    if sure.tenant.is_some() && shares(reach) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "not_allowed",
            "a server that every tenant has takes a role in every tenant",
        ));
    }
    Ok(())
}

/// The proof that somebody may change this version.
pub(crate) fn over<P: Permission>(may: &May<P>, one: &Registration) -> Result<Sure<P>, Problem> {
    over_reach(may, &one.id.tenant, &one.reach)
}

/// The proof that somebody may change what is so reached.
pub(crate) fn over_reach<P: Permission>(
    may: &May<P>,
    tenant: &TenantId,
    reach: &str,
) -> Result<Sure<P>, Problem> {
    Ok(if shares(reach) { may.over(None)? } else { may.over(Some(tenant))? })
}

/// Whether somebody may approve what they made: where a file says so, or, without a word, the local admin, and whoever types beside
/// the gateway, where nobody signs in.
pub(crate) fn may_own(plane: &Plane, who: &Operator) -> Result<bool, Problem> {
    let said = plane.parts()?.configured.self_approval;
    let is_local = matches!(&*who.how, BY_LINK | BY_COMMAND);
    Ok(said.unwrap_or(is_local && plane.way().sign_in.is_none()))
}

/// Who made the key with which somebody comes to approve: what these made is their own work too. Where a local admin may approve
/// their own, so may the key that they made.
async fn makers_of(plane: &Plane, who: &Operator) -> Result<Vec<Arc<str>>, Problem> {
    let is_left_open = plane.parts()?.configured.self_approval.is_none() && plane.way().sign_in.is_none();
    if is_left_open || may_own(plane, who)? {
        return Ok(Vec::new());
    }
    makers(&*plane.make_store()?, &who.by).await
}

pub(super) fn doing(who: &Operator, reason: Arc<str>) -> Doing {
    Doing { by: Arc::clone(&who.by), reason, at: Timestamp::now() }
}

/// What somebody says of a server, as this gateway understands it, and why they say it.
pub(crate) fn read(plane: &Plane, id: &RegistrationId, said: Said) -> Result<Read, Problem> {
    let why = reason(&said.reason, false)?;
    if !plane.parts()?.configured.tenants.contains(&id.tenant) {
        let tenant = id.tenant.as_str();
        return Err(Problem::invalid(format!("tenant: the configuration has no tenant {tenant:?}")));
    }
    let read = plane.world().read_server(id, &said.reach, said.about);
    let read = read.map_err(|problems| Problem::invalid(problems.join("; ")))?;
    Ok((read.reach, read.about, why))
}

/// Registers drafts: all of them or none.
pub(crate) async fn register(
    plane: Arc<Plane>,
    sure: Sure<ChangeServers>,
    drafts: Vec<(RegistrationId, Arc<str>, About)>,
    origin: &'static str,
    why: Arc<str>,
) -> Result<Vec<Registration>, Problem> {
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let doing = doing(&sure.who, why);
    let mut made: Vec<Registration> = Vec::with_capacity(drafts.len());
    for (id, reach, about) in drafts {
        check_shared(&sure, &reach)?;
        let versions = of_name(&*store, &id.tenant, &id.name).await?;
        check_own(&sure.who, &id.tenant, &versions)?;
        if versions.iter().chain(&made).any(|one| one.id == id) {
            let text = format!("version {} of `{}` is registered already", id.version, id.name);
            return Err(Problem::new(StatusCode::CONFLICT, "taken", text));
        }
        made.push(Registration::draft(id, reach, about, origin, &doing));
    }
    put(&plane, &store, &sure, &[], made).await
}

/// Edits a draft.
pub(crate) async fn edit(
    plane: Arc<Plane>,
    sure: Sure<ChangeServers>,
    id: RegistrationId,
    (reach, about, why): Read,
    fits: impl FnOnce(&Registration) -> Result<(), Problem> + Send,
) -> Result<Registration, Problem> {
    check_shared(&sure, &reach)?;
    let changed = change(plane, sure, (id.tenant, id.name), |who, versions| {
        check_own(who, &versions.first().ok_or_else(missing)?.id.tenant, versions)?;
        let before = found(versions, &id.version)?;
        fits(before)?;
        Ok(vec![before.edited(reach, about, &doing(who, why))?])
    });
    changed.await?.pop().ok_or_else(missing)
}

/// Takes a step that is its owner's.
pub(crate) async fn step(
    plane: Arc<Plane>,
    sure: Sure<ChangeServers>,
    id: RegistrationId,
    own: Own,
    why: &str,
    fits: impl FnOnce(&Registration) -> Result<(), Problem> + Send,
) -> Result<Vec<Registration>, Problem> {
    let why = reason(why, false)?;
    if let Own::Deprecate(sunset) = own
        && sunset <= Timestamp::now()
    {
        return Err(Problem::invalid("sunset: this time is over; retire it to end it now"));
    }
    if let Own::Share(share) = own
        && share > WHOLE
    {
        return Err(Problem::invalid("share: from 0 to 100"));
    }
    change(plane, sure, (id.tenant, id.name), |who, versions| {
        let before = found(versions, &id.version)?;
        check_own(who, &before.id.tenant, versions)?;
        fits(before)?;
        let doing = doing(who, why);
        Ok(match own {
            Own::Submit => vec![before.submitted(&doing)?],
            Own::Deprecate(sunset) => vec![before.deprecated(sunset, &doing)?],
            Own::Share(share) => shift(versions, &id.version, share, &doing)?,
            Own::Retire => vec![before.retired(&doing)?],
        })
    })
    .await
}

/// What whoever ends this version has to know of the others.
pub(crate) async fn gap_after(plane: &Plane, id: &RegistrationId) -> Option<String> {
    let store = plane.make_store().ok()?;
    let versions = of_name(&*store, &id.tenant, &id.name).await.ok()?;
    gap(&versions, &id.version)
}

/// Gives all requests to the version that had them before, or to one that is named.
pub(crate) async fn roll_back(
    plane: Arc<Plane>,
    sure: Sure<ChangeServers>,
    (tenant, name): (TenantId, ServerName),
    (to, why): (Option<&str>, &str),
    fits: impl FnOnce(&[Registration]) -> Result<(), Problem> + Send,
) -> Result<Vec<Registration>, Problem> {
    let why = reason(why, false)?;
    change(plane, sure, (tenant, name), |who, versions| {
        check_own(who, &versions.first().ok_or_else(missing)?.id.tenant, versions)?;
        fits(versions)?;
        let to = match to.filter(|to| !to.is_empty()) {
            Some(to) => found(versions, to)?,
            None => earlier(versions).ok_or_else(|| {
                let text = "there is no earlier version that is served, to go back to";
                Problem::new(StatusCode::CONFLICT, "not_in_life", text)
            })?,
        };
        Ok(shift(versions, &to.id.version, WHOLE, &doing(who, why))?)
    })
    .await
}

/// Says what came of looking at it. Whoever had a hand in it cannot approve it.
pub(crate) async fn judge(
    plane: Arc<Plane>,
    sure: Sure<ChangeReviews>,
    id: RegistrationId,
    verdict: Verdict,
    why: &str,
    fits: impl FnOnce(&Registration) -> Result<(), Problem> + Send,
) -> Result<Vec<Registration>, Problem> {
    let why = reason(why, false)?;
    if matches!(verdict, Verdict::Approve(Some(share)) if share > WHOLE) {
        return Err(Problem::invalid("share: from 0 to 100"));
    }
    let may_own = may_own(&plane, &sure.who)?;
    let makers = makers_of(&plane, &sure.who).await?;
    change(plane, sure, (id.tenant, id.name), |who, versions| {
        let before = found(versions, &id.version)?;
        fits(before)?;
        let is_own = before.life == Life::InReview && makers.iter().any(|maker| before.is_made_by(maker));
        if is_own && matches!(verdict, Verdict::Approve(_)) {
            return Err(StoreError::OwnWork.into());
        }
        let doing = doing(who, why);
        Ok(match verdict {
            Verdict::Approve(share) => approve(versions, &id.version, share, may_own, &doing)?,
            Verdict::Reject => vec![before.rejected(&doing)?],
        })
    })
    .await
}

/// Asks it for its tools. That it was asked, with the credentials that this gateway lends it, is on record.
pub(crate) async fn review(
    plane: Arc<Plane>,
    sure: Sure<ChangeReviews>,
    one: &Registration,
) -> Result<Review, Problem> {
    record::ready(&plane)?;
    check_shared(&sure, &one.reach)?;
    if one.life == Life::Retired {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "not_in_life",
            "it is retired: nobody asks it anything",
        ));
    }
    let place = Arc::clone(&plane.reviewing).try_acquire_owned();
    let place = place.map_err(|_| Problem::unavailable("others look at servers just now: try again"))?;
    let act = Act { word: "server.review", what: named(&one.id), after: said(one), ..Act::default() };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await?;
    // It has its place until all that was begun for it has ended, also if it is not waited for so long.
    let one = one.clone();
    let reviewing = super::see_through(async move {
        let _place = place;
        Ok(plane.world().review(&one).await)
    });
    let reviewed = tokio::time::timeout(REVIEW_MAX, reviewing).await;
    let reviewed = reviewed.unwrap_or_else(|_| Ok(Err("it did not answer in time".to_owned())));
    reviewed?.map_err(|why| Problem::new(StatusCode::BAD_GATEWAY, "not_reached", why))
}

fn found<'v>(versions: &'v [Registration], version: &str) -> Result<&'v Registration, Problem> {
    versions.iter().find(|one| &*one.id.version == version).ok_or_else(missing)
}

/// Reads, changes and puts back what is registered of one server. What another changes meanwhile is not overwritten.
async fn change<P: Permission>(
    plane: Arc<Plane>,
    sure: Sure<P>,
    (tenant, name): (TenantId, ServerName),
    next: impl FnOnce(&Operator, &[Registration]) -> Result<Vec<Registration>, Problem> + Send,
) -> Result<Vec<Registration>, Problem> {
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let versions = of_name(&*store, &tenant, &name).await?;
    if versions.is_empty() {
        return Err(missing());
    }
    let changed = next(&sure.who, &versions)?;
    for one in &changed {
        check_shared(&sure, &one.reach)?;
    }
    put(&plane, &store, &sure, &versions, changed).await
}

/// Puts what has changed into the store, and on record.
pub(super) async fn put<P>(
    plane: &Plane,
    store: &Arc<dyn Store>,
    sure: &Sure<P>,
    before: &[Registration],
    changed: Vec<Registration>,
) -> Result<Vec<Registration>, Problem> {
    store.put_registrations(changed.clone()).await?;
    for one in &changed {
        let was = before.iter().find(|was| was.id == one.id);
        let act = Act {
            word: word(one.last.act),
            what: named(&one.id),
            before: was.map_or(Value::Null, said),
            after: said(one),
            reason: Some(one.last.reason.to_string()),
        };
        record::record(plane, &sure.who, sure.tenant.as_ref(), act).await?;
    }
    Ok(changed)
}

const fn word(act: tollgate_store::Act) -> &'static str {
    use tollgate_store::Act;
    match act {
        Act::Registered => "server.register",
        Act::Edited => "server.edit",
        Act::Submitted => "server.submit",
        Act::Approved => "server.approve",
        Act::Rejected => "server.reject",
        Act::Deprecated => "server.deprecate",
        Act::Retired => "server.retire",
        Act::Shifted => "server.share",
    }
}

fn named(id: &RegistrationId) -> Value {
    json!({ "tenant": id.tenant.as_str(), "server": id.name.as_str(), "version": &*id.version })
}

fn said(one: &Registration) -> Value {
    let mut said = json!({
        "life": one.life.as_str(), "share": one.share, "digest": one.digest().to_string(), "revision": one.revision,
    });
    if let Some(sunset) = one.sunset {
        said["sunset"] = sunset.to_string().into();
    }
    if one.last.is_own {
        said["ownWork"] = true.into();
    }
    said
}
