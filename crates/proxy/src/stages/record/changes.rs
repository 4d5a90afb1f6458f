//! Changes of what is desired, as this process sees them come: each replica puts its own entry on record.

use std::sync::{Arc, Weak};

use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tollgate_ledger::{Draft, Entry, Kind};
use tollgate_model::{Principal, PrincipalId, Proof, TenantId};
use tollgate_store::{
    Approval, ApprovalId, Blockable, Blocking, Change, Follower, Life, Numbered, Pausable, Pausing,
    PinChange, Registration, Resuming, Revocable, RuleSet, RuleVersion, Standing, Unblocking,
};
use tollgate_telemetry::events::{AgentResumed, ApprovalChanged, BlockChanged, RegistrationChanged};

use super::others::detail;
use crate::gateway::{Gateway, Inner};

/// Puts on record that the configuration or the policies are others from now on.
pub(crate) fn changed<const N: usize>(gateway: &Gateway, change: &str, said: [(&str, Value); N]) {
    note(gateway, change, None, said);
}

fn note<const N: usize>(
    gateway: &Gateway,
    change: &str,
    about: Option<&Principal>,
    said: [(&str, Value); N],
) {
    if !gateway.ledger().is_on() {
        return;
    }
    let mut entry = Entry::of(Kind::Change);
    entry.change = Some(change.into());
    entry.detail = Some(detail(said));
    gateway.ledger().note_later(Draft { who: about, ..Draft::of(entry) });
}

/// Puts every change of the stored state on record, for as long as there is a gateway.
pub(crate) async fn follow(gateway: Weak<Inner>, mut reloads: watch::Receiver<()>) {
    let Some(mut follower) = follower(&gateway) else { return };
    let mut applied = follower.applied();
    loop {
        tokio::select! {
            // Changes first: many a reload follows from one.
            biased;
            change = applied.recv() => {
                let Some(gateway) = gateway.upgrade().map(Gateway::of) else { return };
                match change {
                    Ok(numbered) => applied_one(&gateway, &numbered),
                    Err(RecvError::Lagged(missed)) => {
                        gateway.approvals().news_of_all();
                        changed(&gateway, "state.changed", [("missed", missed.into())]);
                    }
                    // Not while the follower is held.
                    Err(RecvError::Closed) => return,
                }
            }
            reloaded = reloads.changed() => {
                let (Ok(()), Some(now)) = (reloaded, self::follower(&gateway)) else { return };
                // A follower that stays is read on where it was: what it has said and nobody has read yet belongs on record.
                if !now.is_same(&follower) {
                    // It began before its gateway heard of it.
                    applied = now.applied_from_first();
                    follower = now;
                }
            }
        }
    }
}

fn follower(gateway: &Weak<Inner>) -> Option<Follower> {
    gateway.upgrade().map(|inner| Gateway::of(inner).identity().follower().clone())
}

/// Whom it is about stands in the entry as who; where and by whom it was changed, the store knows.
fn applied_one(gateway: &Gateway, numbered: &Numbered) {
    let revision = || ("revision", numbered.cursor.revision.into());
    match &numbered.change {
        Change::Key(key) => {
            let word = if key.revoked.is_some() { "key.revoked" } else { "key.changed" };
            let agent = Some(key.agent.clone());
            let about =
                Principal { agent, ..Principal::new(key.tenant.clone(), PrincipalId::new(""), Proof::Local) };
            note(gateway, word, Some(&about), [revision(), ("key", key.id.as_str().into())]);
        }
        Change::Revoked(revocation) => {
            revoked(gateway, &revocation.what, "revoked", revision());
        }
        Change::Reinstated(what) => revoked(gateway, what, "reinstated", revision()),
        Change::Blocked(blocking) => blocked(gateway, blocking, revision()),
        Change::Unblocked(unblocking) => unblocked(gateway, unblocking, revision()),
        Change::Paused(pausing) => paused(gateway, pausing, revision()),
        Change::Resumed(resuming) => resumed(gateway, resuming, revision()),
        Change::Pinned(change) => pinned(gateway, change, revision()),
        Change::Registered(registration) => registered(gateway, registration, revision()),
        Change::Ruled(set) => ruled(gateway, set, revision()),
        Change::AdminKey(key) => {
            let word = if key.revoked.is_some() { "admin_key.revoked" } else { "admin_key.created" };
            let said = [revision(), ("key", key.id.as_str().into()), ("by", (&*key.by).into())];
            note(gateway, word, None, said);
        }
        Change::Approval(approval) => {
            gateway.approvals().news(&approval.id);
            gateway.approvals().stands(approval);
            approvals(gateway, approval, revision());
        }
        // What servers list is upkeep.
        Change::Defined(..) | Change::Forgotten(_) => {}
    }
}

fn revoked(gateway: &Gateway, what: &Revocable, verb: &str, revision: (&str, Value)) {
    let word = format!("{}.{verb}", what.parts().0);
    let principal = |tenant: &TenantId| Principal::new(tenant.clone(), PrincipalId::new(""), Proof::Local);
    let about = match what {
        Revocable::Token { .. } => None,
        Revocable::User { tenant, user } => Some(Principal { user: Some(user.clone()), ..principal(tenant) }),
        Revocable::Agent { tenant, agent } => {
            Some(Principal { agent: Some(agent.clone()), ..principal(tenant) })
        }
    };
    note(gateway, &word, about.as_ref(), [revision]);
}

/// Puts on record what was stopped before this process began.
pub(crate) fn blocked_before(gateway: &Gateway, blocking: &Blocking) {
    blocked(gateway, blocking, ("before", true.into()));
}

fn blocked(gateway: &Gateway, blocking: &Blocking, how: (&str, Value)) {
    let Blocking { what, reason, by, since, .. } = blocking;
    emit(what, true, (by, reason));
    let since = since.to_string().into();
    let said = [how, ("reason", (&**reason).into()), ("by", (&**by).into()), ("since", since)];
    blocked_or_not(gateway, what, "blocked", said);
}

fn unblocked(gateway: &Gateway, unblocking: &Unblocking, revision: (&str, Value)) {
    let Unblocking { what, reason, by } = unblocking;
    emit(what, false, (by, reason));
    let said = [revision, ("reason", (&**reason).into()), ("by", (&**by).into())];
    blocked_or_not(gateway, what, "unblocked", said);
}

/// What was approved by being seen, and what a server shows otherwise, is upkeep.
fn pinned(gateway: &Gateway, change: &PinChange, revision: (&str, Value)) {
    let PinChange { of, mark, by, reason } = change;
    if by.is_empty() || crate::pinning::is_first_use(by) {
        return;
    }
    let word = if mark.is_some() { "pin.approved" } else { "pin.forgotten" };
    let about =
        of.tenant.as_ref().map(|tenant| Principal::new(tenant.clone(), PrincipalId::new(""), Proof::Local));
    let digest = mark.and_then(|mark| mark.approved).map(|digest| digest.to_string());
    let said = [
        revision,
        ("server", of.server.as_str().into()),
        ("kind", of.kind.as_str().into()),
        ("item", (&*of.item).into()),
        ("digest", digest.into()),
        ("by", (&**by).into()),
        ("reason", (&**reason).into()),
    ];
    note(gateway, word, about.as_ref(), said);
}

/// The log has it already, of the gateway that paused it.
fn paused(gateway: &Gateway, pausing: &Pausing, revision: (&str, Value)) {
    let Pausing { who, why, since, until } = pausing;
    let said = [
        revision,
        ("why", (&**why).into()),
        ("since", since.to_string().into()),
        ("until", until.to_string().into()),
    ];
    note(gateway, "agent.paused", Some(&agent(who)), said);
}

fn resumed(gateway: &Gateway, resuming: &Resuming, revision: (&str, Value)) {
    let Resuming { who, reason, by } = resuming;
    gateway.limits().resume(who);
    AgentResumed { tenant: who.tenant.as_str(), agent: &who.agent, by, reason }.emit();
    let said = [revision, ("reason", (&**reason).into()), ("by", (&**by).into())];
    note(gateway, "agent.resumed", Some(&agent(who)), said);
}

/// Which act it was, by whom and why, what was before and what is now: the server's life, and its part of the requests.
fn registered(gateway: &Gateway, registration: &Registration, revision: (&str, Value)) {
    let Registration { id, life, share, sunset, last, .. } = registration;
    let (name, act) = (id.name.as_str(), last.act.as_str());
    RegistrationChanged {
        name,
        version: &id.version,
        tenant: id.tenant.as_str(),
        act,
        by: &last.by,
        reason: &last.reason,
    }
    .emit();
    let about = Principal::new(id.tenant.clone(), PrincipalId::new(""), Proof::Local);
    let said = [
        revision,
        ("name", name.into()),
        ("version", (&*id.version).into()),
        ("life", life.as_str().into()),
        ("before", last.from.map(Life::as_str).into()),
        ("share", (*share).into()),
        ("sunset", sunset.map(|sunset| sunset.to_string()).into()),
        // What it was that somebody looked at.
        ("digest", registration.digest().to_string().into()),
        ("reason", (&*last.reason).into()),
        ("by", (&*last.by).into()),
        // Who made it found it good.
        ("own_work", last.is_own.into()),
    ];
    note(gateway, &format!("server.{act}"), Some(&about), said);
}

/// Which act it was, by whom and why, and what decides and looks on by now.
fn ruled(gateway: &Gateway, set: &RuleSet, revision: (&str, Value)) {
    let RuleSet { id, last, .. } = set;
    let digest = |version: Option<&RuleVersion>| version.map(|version| version.digest().to_string()).into();
    let about =
        id.tenant.as_ref().map(|tenant| Principal::new(tenant.clone(), PrincipalId::new(""), Proof::Local));
    let said = [
        revision,
        ("name", (&*id.name).into()),
        ("in_force", set.in_force.into()),
        ("in_force_digest", digest(set.deciding())),
        ("shadow", set.shadow.into()),
        ("shadow_digest", digest(set.looking_on())),
        ("reason", (&*last.reason).into()),
        ("by", (&*last.by).into()),
    ];
    note(gateway, &format!("policies.{}", last.act.as_str()), about.as_ref(), said);
}

/// An approval was asked for, or stands otherwise: about whose call it is, and who said what.
fn approvals(gateway: &Gateway, approval: &Approval, revision: (&str, Value)) {
    let asked = &approval.asked;
    let about = Principal {
        agent: asked.agent.clone(),
        user: asked.user.clone(),
        ..Principal::new(approval.of.tenant.clone(), PrincipalId::new(""), Proof::Local)
    };
    let last = approval.votes.last();
    let word = match approval.standing {
        Standing::Waiting if last.is_none() => "approval.requested",
        Standing::Waiting => "approval.agreed",
        Standing::Granted => "approval.granted",
        Standing::Denied => "approval.denied",
        Standing::Used => "approval.used",
        Standing::Replaced => "approval.replaced",
        Standing::Withdrawn => "approval.withdrawn",
    };
    let said = match approval.standing {
        Standing::Used | Standing::Withdrawn | Standing::Replaced => None,
        _ => last,
    };
    ApprovalChanged {
        id: approval.id.as_str(),
        what: word.trim_start_matches("approval."),
        tenant: approval.of.tenant.as_str(),
        server: &asked.server,
        native: &asked.native,
        by: said.map_or("", |vote| &vote.by),
    }
    .emit();
    let groups: Vec<Value> = approval.needs.iter().map(|need| (*need.group).into()).collect();
    let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
    let said = [
        revision,
        ("approval", approval.id.as_str().into()),
        ("server", (&*asked.server).into()),
        ("name", (&*asked.native).into()),
        ("arguments_digest", (&*asked.arguments_digest).into()),
        ("groups", groups.into()),
        ("until", approval.until.to_string().into()),
        ("by", text(said.map(|vote| &*vote.by))),
        ("via", text(said.map(|vote| &*vote.via))),
        ("reason", text(said.map(|vote| &*vote.reason))),
        ("replaces", text(approval.replaces.as_ref().map(ApprovalId::as_str))),
        ("replaced_by", text(approval.replaced_by.as_ref().map(ApprovalId::as_str))),
        ("call", text(Some(approval.used_by.as_deref().unwrap_or(&asked.call)))),
    ];
    note(gateway, word, Some(&about), said.map(|(name, value)| (name, value)));
}

fn agent(who: &Pausable) -> Principal {
    let agent = Some(Arc::clone(&who.agent));
    Principal { agent, ..Principal::new(who.tenant.clone(), PrincipalId::new(""), Proof::Local) }
}

fn emit(what: &Blockable, is_blocked: bool, (by, reason): (&str, &str)) {
    let (name, tenant) = (what.name(), what.tenant().map_or("", TenantId::as_str));
    BlockChanged { kind: what.kind(), name: &name, tenant, is_blocked, by, reason }.emit();
}

fn blocked_or_not<const N: usize>(gateway: &Gateway, what: &Blockable, verb: &str, said: [(&str, Value); N]) {
    if !gateway.ledger().is_on() {
        return;
    }
    let word = format!("{}.{verb}", what.kind());
    let of = |tenant: &TenantId| Principal::new(tenant.clone(), PrincipalId::new(""), Proof::Local);
    // People and agents stand in an entry as whom it is about, and so as references.
    let (about, name) = match what {
        Blockable::Agent { tenant, agent } => {
            (Some(Principal { agent: Some(agent.clone()), ..of(tenant) }), None)
        }
        Blockable::User { tenant, user } => {
            (Some(Principal { user: Some(user.clone()), ..of(tenant) }), None)
        }
        _ => (what.tenant().map(of), Some(what.name())),
    };
    let mut entry = Entry::of(Kind::Change);
    entry.change = Some(word.into());
    let mut detail = detail(said);
    detail.extend(name.map(|name| ("name".to_owned(), name.into())));
    entry.detail = Some(detail);
    gateway.ledger().note_later(Draft { who: about.as_ref(), ..Draft::of(entry) });
}
