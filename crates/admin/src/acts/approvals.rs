//! Calls that wait until people agree.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use tollgate_approvals::{Approver, Desk, NotDecided, Sees};
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{Approval, ApprovalId, NotCounted, Store, WhichApprovals};

use super::keys::makers;
use super::reason;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::record::{self, Act};
use crate::roles::{ChangeApprovals, May, Operator, Permission, Role, Sure};
use crate::sessions::BY_COMMAND;

/// How many are shown at once.
pub(crate) const SHOWN: usize = 200;

/// How much of the arguments of a tenant's call somebody may see, by what they are in that tenant. An `admin` sees no less than
/// those whom it can make an approver of, and no more: whoever keeps the gateway running needs no secrets of a call for it.
pub(crate) fn sees(who: &Operator, tenant: &TenantId) -> Sees {
    let here = |grant: &&crate::roles::Grant| grant.tenant.as_ref().is_none_or(|own| own == tenant);
    let of = |role| match role {
        Role::Security => Sees::Whole,
        Role::Admin | Role::Approver | Role::Auditor => Sees::Redacted,
        Role::Operator | Role::ServerOwner | Role::Viewer => Sees::Digest,
    };
    who.grants.iter().filter(here).map(|grant| of(grant.role)).max().unwrap_or(Sees::Digest)
}

/// Somebody who looks at an approval of a tenant, and who made the key with which they came: a call of these is their own too.
fn approver(
    who: &Operator,
    approval: &Approval,
    makers: &[Arc<str>],
    (named, via): (Option<&Arc<str>>, &str),
) -> Approver {
    let tenant = &approval.of.tenant;
    if &*who.how == BY_COMMAND {
        // Whoever types speaks for whom they say, as the command line always did; which user it was is kept beside it.
        let name = Arc::clone(named.unwrap_or(&who.by));
        let via = format!("cli {}", who.by).into();
        let (also, groups, roles) = (Vec::new(), Vec::new(), Vec::new());
        return Approver { tenant: Some(tenant.clone()), name, also, groups, roles, via };
    }
    let holds = |grant: &&crate::roles::Grant| grant.tenant.as_ref().is_none_or(|own| own == tenant);
    Approver {
        tenant: Some(tenant.clone()),
        name: Arc::clone(&who.by),
        also: [&who.name].into_iter().chain(makers).cloned().collect(),
        groups: who.groups.clone(),
        roles: who.grants.iter().filter(holds).map(|grant| Arc::from(grant.role.as_str())).collect(),
        via: via.into(),
    }
}

/// The newest approvals that whoever asks may see: those that wait, or all.
pub(crate) async fn all<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    is_waiting: bool,
) -> Result<Vec<Approval>, Problem> {
    some(plane, may, is_waiting, (None, SHOWN)).await
}

/// Approvals that whoever asks may see, the newest first: those that wait, or all. At most so many, of those that are older than
/// one of them.
pub(crate) async fn some<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    is_waiting: bool,
    (after, most): (Option<&Approval>, usize),
) -> Result<Vec<Approval>, Problem> {
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let waiting_at = is_waiting.then(Timestamp::now);
    let after = after.map(|last| (last.at, last.id.clone()));
    let which = WhichApprovals { waiting_at, after, most, ..WhichApprovals::default() };
    let Some(tenants) = may.tenants() else { return Ok(store.approvals(&which).await?) };
    let mut found = Vec::new();
    for tenant in tenants {
        found.extend(
            store.approvals(&WhichApprovals { tenant: Some(tenant.clone()), ..which.clone() }).await?,
        );
    }
    found.sort_by(|one, other| (other.at, &other.id).cmp(&(one.at, &one.id)));
    found.truncate(most);
    Ok(found)
}

/// One of them.
pub(crate) async fn one<P: Permission>(plane: &Plane, may: &May<P>, id: &str) -> Result<Approval, Problem> {
    let missing = || Problem::not_found("there is no such approval");
    let store = plane.store()?.ok_or_else(missing)?;
    let found = store.approval(&ApprovalId::new(id)).await?;
    found.filter(|found| may.sees(Some(&found.of.tenant))).ok_or_else(missing)
}

/// Refuses to count one person twice: whoever made the key with which somebody comes, or comes with a key that they made, may have
/// agreed already.
async fn is_another(
    store: &dyn Store,
    (who, their_makers): (&Arc<str>, &[Arc<str>]),
    approval: &Approval,
) -> Result<(), Problem> {
    for vote in approval.votes.iter().filter(|vote| vote.agrees) {
        if their_makers.contains(&vote.by) || makers(store, &vote.by).await?.contains(who) {
            let text = "whoever made the key of one who has agreed is no other person than they";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not_counted", text));
        }
    }
    Ok(())
}

/// Why somebody could not agree to it now; nothing if they could.
pub(crate) async fn hindrance(
    plane: &Plane,
    who: &Operator,
    approval: &Approval,
) -> Result<Option<String>, Problem> {
    let (parts, store) = (plane.parts()?, plane.store()?);
    let Some(store) = store else { return Ok(Some("there is no store".to_owned())) };
    let desk = Desk::new(&*store, &parts.configured.approvals);
    let makers = makers(&*store, &who.by).await?;
    let theirs = approver(who, approval, &makers, (None, "console"));
    if let Err(why) = desk.may_approve(&theirs, approval, Timestamp::now()) {
        return Ok(Some(why.to_string()));
    }
    match is_another(&*store, (&theirs.name, &makers), approval).await {
        Err(why) if why.status() == StatusCode::FORBIDDEN => Ok(Some(why.detail().to_owned())),
        other => other.map(|()| None),
    }
}

/// What somebody says of an approval.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) agrees: bool,
    pub(crate) reason: String,
    /// Arguments in place of the caller's.
    pub(crate) arguments: Option<String>,
    /// For whom: only of the command line on the gateway's own machine.
    pub(crate) named: Option<String>,
    pub(crate) via: &'static str,
}

/// Takes somebody's word. Nobody agrees to their own call, and only those count who speak for a group that is asked.
pub(crate) async fn decide(
    plane: Arc<Plane>,
    sure: Sure<ChangeApprovals>,
    before: Approval,
    word: Word,
    fits: impl FnOnce(&Approval) -> Result<(), Problem> + Send,
) -> Result<Approval, Problem> {
    let why = reason(&word.reason, false)?;
    let named = word.named.as_deref().map(|named| super::name("as", named)).transpose()?;
    if named.is_some() && &*sure.who.how != BY_COMMAND {
        return Err(Problem::new(StatusCode::FORBIDDEN, "not_allowed", "as: nobody speaks for others here"));
    }
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let parts = plane.parts()?;
    let _one = plane.changing.lock().await;
    let before = store.approval(&before.id).await?;
    let before = before.ok_or_else(|| Problem::not_found("there is no such approval"))?;
    fits(&before)?;
    let desk = Desk::new(&*store, &parts.configured.approvals);
    let makers = makers(&*store, &sure.who.by).await?;
    let (who, now) = (approver(&sure.who, &before, &makers, (named.as_ref(), word.via)), Timestamp::now());
    if word.agrees {
        is_another(&*store, (&who.name, &makers), &before).await?;
    }
    let redact = |bytes: &[u8]| String::from_utf8_lossy(&tollgate_ledger::redact(bytes).kept).into_owned();
    let decided = match word.arguments.as_deref().filter(|_| word.agrees) {
        Some(arguments) => desk.edit(&who, &before.id, (arguments, redact), (&why, now)).await,
        None => desk.decide(&who, &before.id, word.agrees, (&why, now)).await,
    };
    let after = decided.map_err(refused)?;
    let act = Act {
        word: match (word.agrees, after.replaces.is_some()) {
            (true, true) => "approval.edit",
            (true, false) => "approval.approve",
            (false, _) => "approval.deny",
        },
        what: json!({ "approval": before.id.as_str(), "call": &*before.asked.call }),
        before: said(&before, now),
        after: said(&after, now),
        reason: Some(why.to_string()),
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await?;
    Ok(after)
}

fn refused(error: NotDecided) -> Problem {
    match error {
        NotDecided::Store(error) => error.into(),
        NotDecided::NotCounted(NotCounted::NoSuch) => Problem::not_found("there is no such approval"),
        NotDecided::NotCounted(why @ (NotCounted::OwnCall | NotCounted::NotAsked)) => {
            Problem::new(StatusCode::FORBIDDEN, "not_counted", why.to_string())
        }
        NotDecided::NotCounted(why) => Problem::new(StatusCode::CONFLICT, "not_counted", why.to_string()),
        other => Problem::invalid(other.to_string()),
    }
}

fn said(approval: &Approval, now: Timestamp) -> Value {
    let digest = &*approval.asked.arguments_digest;
    json!({ "id": approval.id.as_str(), "state": approval.word(now), "arguments": digest, "votes": approval.votes.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::Grant;

    #[test]
    fn arguments_are_shown_by_what_somebody_is_in_the_tenant_of_the_call() {
        let who = |grants: &[(Role, Option<&str>)]| {
            let grant =
                |(role, of): &(Role, Option<&str>)| Grant { role: *role, tenant: of.map(TenantId::new) };
            Operator {
                by: "ada".into(),
                name: "Ada".into(),
                how: "key".into(),
                groups: Vec::new(),
                grants: grants.iter().map(grant).collect(),
                csrf: None,
            }
        };
        let acme = TenantId::new("acme");
        let seen = |grants: &[(Role, Option<&str>)]| sees(&who(grants), &acme);
        assert_eq!(seen(&[(Role::Security, None), (Role::Viewer, Some("acme"))]), Sees::Whole);
        assert_eq!(seen(&[(Role::Admin, None)]), seen(&[(Role::Approver, Some("acme"))]));
        assert_eq!(seen(&[(Role::Admin, None)]), Sees::Redacted);
        assert_eq!(seen(&[(Role::Security, Some("globex")), (Role::Approver, Some("acme"))]), Sees::Redacted);
        assert_eq!(seen(&[(Role::Admin, Some("globex")), (Role::Viewer, None)]), Sees::Digest);
        assert_eq!(seen(&[]), Sees::Digest);
    }
}
