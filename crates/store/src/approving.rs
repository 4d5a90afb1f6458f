//! Calls that wait until people agree: what is asked of them, what they said, and what a grant is good for.
//!
//! Everything that may become of an approval is decided here, once for all drivers: a driver carries out what [`Approval`]
//! says of itself, within one transaction. So of two who want the same grant one gets it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tollgate_model::{PrincipalId, TenantId, Timestamp};

use crate::{Digest, StoreError};

/// How long approvals are kept after they came to their end.
pub const APPROVALS_KEPT: Duration = Duration::from_hours(90 * 24);
/// How many old ones go with each new one.
pub const APPROVALS_BATCH: usize = 100;
/// The longest reason that is kept, in bytes.
pub const APPROVAL_TEXT_MAX: usize = 2_000;
/// How many people may say something about one approval.
pub const APPROVAL_VOTES_MAX: usize = 32;

/// Names an approval. Random, but no secret: who knows it can do nothing with it that they could not do anyway.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApprovalId(Arc<str>);

impl ApprovalId {
    /// Takes the text as it is.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The one call that a grant is good for: whose it is, and the digest of all that it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ApprovalOf {
    /// The caller's tenant.
    pub tenant: TenantId,
    /// Who of the tenant calls.
    pub principal: PrincipalId,
    /// Of everything that was agreed to: server, tool, arguments, definition, policies, groups.
    pub binding: Digest,
}

/// A group of which people have to agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// The group.
    pub group: Arc<str>,
    /// How many different people of it.
    pub people: u32,
}

/// What was said of an approval, by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub by: Arc<str>,
    /// How they said it: `console`, `api`, `cli root`.
    pub via: Arc<str>,
    /// Whether they agree.
    pub agrees: bool,
    /// For which groups they may speak.
    pub groups: Vec<Arc<str>>,
    /// Why, in their words; empty if nothing was said.
    pub reason: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// What a call is, for those who are asked. It says what they agree to; what a grant is good for is [`ApprovalOf`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The agent that calls.
    pub agent: Option<Arc<str>>,
    /// The user on whose behalf it calls.
    pub user: Option<Arc<str>>,
    /// Every name under which the caller might agree to its own call: agent, user, who acted for whom.
    pub callers: Vec<Arc<str>>,
    /// Where it was sent; empty for all servers at once.
    pub endpoint: Arc<str>,
    /// The method: `tools/call`, `resources/read`, `prompts/get`.
    pub method: Arc<str>,
    /// The server.
    pub server: Arc<str>,
    /// The server's own name, or URI, of what is called.
    pub native: Arc<str>,
    /// The digest of the arguments in their canonical form, in hexadecimal.
    pub arguments_digest: Arc<str>,
    /// The arguments without what is private, as far as they are kept.
    pub arguments: Option<Arc<str>>,
    /// The arguments as they are, where they are kept; none once they are of no use any more.
    pub arguments_whole: Option<Arc<str>>,
    /// The digest of the tool's definition; empty for what has none.
    pub definition: Arc<str>,
    /// The digest of the policies; empty where no policy asked.
    pub policy: Arc<str>,
    /// The rules that demand it.
    pub rules: Vec<Arc<str>>,
    /// Why it is held, in words.
    pub why: Arc<str>,
    /// What the tool is known to do: `read`, `write`, `destructive`, or nothing.
    pub risk: Arc<str>,
    /// The call, as the ledger knows it.
    pub call: Arc<str>,
}

/// How an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not enough people have said something.
    Waiting,
    /// Enough agree: the call may be made, once, until [`Approval::until`].
    Granted,
    /// Somebody does not agree.
    Denied,
    /// The call was made.
    Used,
    /// Other arguments were put in place of the caller's: [`Approval::replaced_by`] says which approval that is.
    Replaced,
    /// Whoever asked has given it up.
    Withdrawn,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Granted, Self::Denied, Self::Used, Self::Replaced, Self::Withdrawn];

    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Used => "used",
            Self::Replaced => "replaced",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether one that stands so takes a place among those that may wait, until its time is over.
    pub const fn takes_room(self) -> bool {
        matches!(self, Self::Waiting | Self::Withdrawn)
    }

    /// The other way round.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == word)
    }
}

/// One call that people are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The call that it is about.
    pub of: ApprovalOf,
    /// What people are shown of it.
    pub asked: Asked,
    /// Who has to agree.
    pub needs: Vec<Needed>,
    /// When it was asked for.
    pub at: Timestamp,
    /// For how long a grant is good.
    pub grant_for: Duration,
    /// How it stands.
    pub standing: Standing,
    /// Until when it stands so: a waiting one ends then, and a grant is of no more use.
    pub until: Timestamp,
    /// What was said so far.
    pub votes: Vec<Vote>,
    /// The approval whose caller's arguments were changed into these.
    pub replaces: Option<ApprovalId>,
    /// The one that stands in its place, with other arguments.
    pub replaced_by: Option<ApprovalId>,
    /// The arguments that an approver has put in place of the caller's, as raw JSON; none once they are of no use any more.
    pub edited: Option<Arc<str>>,
    /// The call that has used it, as the ledger knows it.
    pub used_by: Option<Arc<str>>,
}

/// Why a word on an approval does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// There is none of this id.
    #[error("there is no such approval")]
    NoSuch,
    /// It waits no more.
    #[error("it waits no more: it was decided, has expired, or was given up")]
    Ended,
    /// It is their own call.
    #[error("nobody approves their own call")]
    OwnCall,
    /// They have said something before.
    #[error("they have said something about it before")]
    Again,
    /// They speak for no group that is asked.
    #[error("they belong to no group that is asked")]
    NotAsked,
    /// More people than are kept have said something.
    #[error("too many people have said something about it")]
    TooMany,
    /// What should stand in its place is not a call of the same caller and tool.
    #[error("what should stand in its place is another caller's call, or one of another tool")]
    OtherCall,
}

impl Approval {
    /// Whether it still stands as it says.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// How it stands, as people say it: what waited or was granted for too long has expired.
    pub fn word(&self, now: Timestamp) -> &'static str {
        match self.standing {
            Standing::Waiting | Standing::Granted if self.is_over(now) => "expired",
            standing => standing.as_str(),
        }
    }

    /// Whether the same call is still answered by it: it waits, it is granted, it was denied a short while ago, or it has
    /// another in its place, which is open itself.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let stands = matches!(
            self.standing,
            Standing::Waiting | Standing::Granted | Standing::Denied | Standing::Replaced
        );
        stands && !self.is_over(now)
    }

    /// What is still missing: the groups, and how many people of each.
    pub fn missing(&self) -> Vec<Needed> {
        let agrees = |group: &Arc<str>| {
            self.votes.iter().filter(|vote| vote.agrees && vote.groups.contains(group)).count()
        };
        let left = |needed: &Needed| {
            let people =
                needed.people.saturating_sub(u32::try_from(agrees(&needed.group)).unwrap_or(u32::MAX));
            (people > 0).then(|| Needed { group: Arc::clone(&needed.group), people })
        };
        self.needs.iter().filter_map(left).collect()
    }

    /// What it is once this was said. One no is enough.
    ///
    /// # Errors
    /// [`NotCounted`]: nothing changes.
    pub fn voted(&self, vote: Vote) -> Result<Self, NotCounted> {
        if self.standing != Standing::Waiting || self.is_over(vote.at) {
            return Err(NotCounted::Ended);
        }
        // Who stops their own call does no harm.
        if vote.agrees && self.is_own(&vote.by) {
            return Err(NotCounted::OwnCall);
        }
        if self.votes.iter().any(|said| is_same_name(&said.by, &vote.by)) {
            return Err(NotCounted::Again);
        }
        if !self.needs.iter().any(|needed| vote.groups.contains(&needed.group)) {
            return Err(NotCounted::NotAsked);
        }
        if self.votes.len() >= APPROVAL_VOTES_MAX {
            return Err(NotCounted::TooMany);
        }
        let (agrees, at) = (vote.agrees, vote.at);
        let mut voted = self.clone();
        voted.votes.push(vote);
        if !agrees {
            // Until its time is over the same call is answered by the same no.
            voted.standing = Standing::Denied;
            voted.forget_arguments();
        } else if voted.missing().is_empty() {
            voted.standing = Standing::Granted;
            voted.until = at.after(self.grant_for);
        }
        Ok(voted)
    }

    /// What it is once its call is made; none if it is no grant, or has ended.
    pub fn used(&self, call: &str, now: Timestamp) -> Option<Self> {
        if self.standing != Standing::Granted || self.is_over(now) {
            return None;
        }
        let mut used =
            Self { standing: Standing::Used, until: now, used_by: Some(call.into()), ..self.clone() };
        used.forget_arguments();
        Some(used)
    }

    /// What is of no use any more is kept without what is private.
    fn forget_arguments(&mut self) {
        (self.asked.arguments_whole, self.edited) = (None, None);
    }

    /// What it is once its caller has given it up; none if it waits no more.
    pub fn withdrawn(&self, now: Timestamp) -> Option<Self> {
        if self.standing != Standing::Waiting || self.is_over(now) {
            return None;
        }
        // Its time goes on, and its place is taken for so long: else people could be asked without end.
        let mut withdrawn = Self { standing: Standing::Withdrawn, ..self.clone() };
        withdrawn.asked.arguments_whole = None;
        Some(withdrawn)
    }

    /// What it and another become that stands in its place, with an approver's word for that other. Whoever changes arguments
    /// agrees to them, and counts as one of those that are needed.
    ///
    /// # Errors
    /// [`NotCounted`]: nothing changes.
    pub fn replaced(&self, by: Self, vote: Vote) -> Result<(Self, Self), NotCounted> {
        let is_same = by.of.tenant == self.of.tenant
            && by.of.principal == self.of.principal
            && by.asked.server == self.asked.server
            && by.asked.native == self.asked.native
            && by.asked.method == self.asked.method
            && by.asked.callers == self.asked.callers
            && by.needs == self.needs;
        if !is_same || by.standing != Standing::Waiting {
            return Err(NotCounted::OtherCall);
        }
        if self.replaces.is_some() {
            // Its caller follows one change of its call, and no chain of them.
            return Err(NotCounted::Ended);
        }
        // Whether they may say anything of the first one at all.
        self.voted(Vote { agrees: true, ..vote.clone() })?;
        let by = Self { replaces: Some(self.id.clone()), ..by }.voted(Vote { agrees: true, ..vote })?;
        // For as long as the other may be of use: whether it still is, is asked of it.
        let until = self.until.max(by.until.after(by.grant_for));
        let mut old =
            Self { standing: Standing::Replaced, replaced_by: Some(by.id.clone()), until, ..self.clone() };
        old.asked.arguments_whole = None;
        Ok((old, by))
    }

    /// Whether somebody of this name would approve their own call. Rather too often than once too few: names of one person
    /// may have another case, or stand behind the issuer that knows them.
    pub fn is_own(&self, by: &str) -> bool {
        self.asked.callers.iter().any(|caller| is_same_name(caller, by))
    }

    /// The same without the arguments: what is told in the feed.
    #[must_use]
    pub fn without_arguments(&self) -> Self {
        let mut bare = self.clone();
        (bare.asked.arguments, bare.asked.arguments_whole, bare.edited) = (None, None, None);
        bare
    }
}

/// Whether two names may be one person's.
fn is_same_name(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim().to_lowercase(), other.trim().to_lowercase());
    let bare =
        |name: &str| name.rsplit_once(':').map_or_else(|| name.to_owned(), |(_, bare)| bare.to_owned());
    one == other || (bare(&one) == bare(&other) && (one == bare(&one) || other == bare(&other)))
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asking {
    /// It is new.
    New,
    /// The same call was asked for before, and is not over: this is how it stands.
    Known(Box<Approval>),
    /// As many of this caller's, or of its tenant's, as may wait do.
    Full,
}

/// How many may wait at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskingRoom {
    /// Of one principal.
    pub principal_max: usize,
    /// Of one tenant.
    pub tenant_max: usize,
}

/// Which approvals to list. The newest come first.
#[derive(Debug, Clone, Default)]
pub struct WhichApprovals {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only those that wait, and are not over at this time.
    pub waiting_at: Option<Timestamp>,
    /// Only those that come after this one: older ones.
    pub after: Option<(Timestamp, ApprovalId)>,
    /// At most so many.
    pub most: usize,
}

/// Approvals.
#[async_trait]
pub trait Approvals: fmt::Debug + Send + Sync {
    /// Asks for one, unless the same call has one that is open. Forgets some of those that ended long ago.
    async fn ask_approval(&self, approval: Approval, room: AskingRoom) -> Result<Asking, StoreError>;

    /// Takes the grant of a call, for good: whoever comes second gets nothing. `call` says who has it.
    async fn use_approval(
        &self,
        of: &ApprovalOf,
        call: &str,
        now: Timestamp,
    ) -> Result<Option<Approval>, StoreError>;

    /// The approval of this id.
    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError>;

    /// Those that are asked for, the newest first.
    async fn approvals(&self, which: &WhichApprovals) -> Result<Vec<Approval>, StoreError>;

    /// Says something about one; what it is then.
    async fn vote_approval(
        &self,
        id: &ApprovalId,
        vote: Vote,
    ) -> Result<Result<Approval, NotCounted>, StoreError>;

    /// Puts another in the place of one that waits; what that other is then.
    async fn replace_approval(
        &self,
        id: &ApprovalId,
        by: Approval,
        vote: Vote,
    ) -> Result<Result<Approval, NotCounted>, StoreError>;

    /// Gives one up that waits. Says whether it did.
    async fn withdraw_approval(&self, id: &ApprovalId, now: Timestamp) -> Result<bool, StoreError>;
}

/// How an approval is stored: JSON, beside the columns by which it is found.
#[derive(Serialize, Deserialize)]
struct Written {
    id: String,
    tenant: String,
    principal: String,
    binding: String,
    asked: WrittenAsked,
    needs: Vec<WrittenNeeded>,
    at: u64,
    grant_ms: u64,
    standing: String,
    until: u64,
    votes: Vec<WrittenVote>,
    replaces: Option<String>,
    replaced_by: Option<String>,
    edited: Option<String>,
    used_by: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WrittenAsked {
    agent: Option<String>,
    user: Option<String>,
    callers: Vec<String>,
    endpoint: String,
    method: String,
    server: String,
    native: String,
    arguments_digest: String,
    arguments: Option<String>,
    arguments_whole: Option<String>,
    definition: String,
    policy: String,
    rules: Vec<String>,
    why: String,
    risk: String,
    call: String,
}

#[derive(Serialize, Deserialize)]
struct WrittenNeeded {
    group: String,
    people: u32,
}

#[derive(Serialize, Deserialize)]
struct WrittenVote {
    by: String,
    via: String,
    agrees: bool,
    groups: Vec<String>,
    reason: String,
    at: u64,
}

fn written(text: &Arc<str>) -> String {
    text.to_string()
}

fn all_written(texts: &[Arc<str>]) -> Vec<String> {
    texts.iter().map(written).collect()
}

fn read(texts: Vec<String>) -> Vec<Arc<str>> {
    texts.into_iter().map(Arc::from).collect()
}

impl From<&Asked> for WrittenAsked {
    fn from(asked: &Asked) -> Self {
        Self {
            agent: asked.agent.as_ref().map(written),
            user: asked.user.as_ref().map(written),
            callers: all_written(&asked.callers),
            endpoint: written(&asked.endpoint),
            method: written(&asked.method),
            server: written(&asked.server),
            native: written(&asked.native),
            arguments_digest: written(&asked.arguments_digest),
            arguments: asked.arguments.as_ref().map(written),
            arguments_whole: asked.arguments_whole.as_ref().map(written),
            definition: written(&asked.definition),
            policy: written(&asked.policy),
            rules: all_written(&asked.rules),
            why: written(&asked.why),
            risk: written(&asked.risk),
            call: written(&asked.call),
        }
    }
}

impl From<WrittenAsked> for Asked {
    fn from(written: WrittenAsked) -> Self {
        Self {
            agent: written.agent.map(Arc::from),
            user: written.user.map(Arc::from),
            callers: read(written.callers),
            endpoint: written.endpoint.into(),
            method: written.method.into(),
            server: written.server.into(),
            native: written.native.into(),
            arguments_digest: written.arguments_digest.into(),
            arguments: written.arguments.map(Arc::from),
            arguments_whole: written.arguments_whole.map(Arc::from),
            definition: written.definition.into(),
            policy: written.policy.into(),
            rules: read(written.rules),
            why: written.why.into(),
            risk: written.risk.into(),
            call: written.call.into(),
        }
    }
}

impl Approval {
    /// As it is stored.
    pub fn encode(&self) -> String {
        let votes = self.votes.iter().map(|vote| WrittenVote {
            by: written(&vote.by),
            via: written(&vote.via),
            agrees: vote.agrees,
            groups: all_written(&vote.groups),
            reason: written(&vote.reason),
            at: vote.at.as_ms(),
        });
        let needs = self.needs.iter();
        let needs = needs.map(|need| WrittenNeeded { group: written(&need.group), people: need.people });
        let written = Written {
            id: self.id.as_str().to_owned(),
            tenant: self.of.tenant.as_str().to_owned(),
            principal: self.of.principal.as_str().to_owned(),
            binding: self.of.binding.to_string(),
            asked: (&self.asked).into(),
            needs: needs.collect(),
            at: self.at.as_ms(),
            grant_ms: u64::try_from(self.grant_for.as_millis()).unwrap_or(u64::MAX),
            standing: self.standing.as_str().to_owned(),
            until: self.until.as_ms(),
            votes: votes.collect(),
            replaces: self.replaces.as_ref().map(ToString::to_string),
            replaced_by: self.replaced_by.as_ref().map(ToString::to_string),
            edited: self.edited.as_ref().map(written),
            used_by: self.used_by.as_ref().map(written),
        };
        // Nothing in it can fail to be written.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// From how it is stored.
    ///
    /// # Errors
    /// [`StoreError::Broken`] for what this program does not know.
    pub fn decode(text: &str) -> Result<Self, StoreError> {
        let written: Written = serde_json::from_str(text).map_err(StoreError::broken)?;
        let strange = || StoreError::broken("an approval is stored that this program does not know");
        let votes = written.votes.into_iter().map(|vote| Vote {
            by: vote.by.into(),
            via: vote.via.into(),
            agrees: vote.agrees,
            groups: read(vote.groups),
            reason: vote.reason.into(),
            at: Timestamp::from_ms(vote.at),
        });
        let needs = written.needs.into_iter();
        let needs = needs.map(|need| Needed { group: need.group.into(), people: need.people });
        Ok(Self {
            id: ApprovalId::new(&written.id),
            of: ApprovalOf {
                tenant: TenantId::new(&written.tenant),
                principal: PrincipalId::new(&written.principal),
                binding: Digest::from_hex(&written.binding).ok_or_else(strange)?,
            },
            asked: written.asked.into(),
            needs: needs.collect(),
            at: Timestamp::from_ms(written.at),
            grant_for: Duration::from_millis(written.grant_ms),
            standing: Standing::of_word(&written.standing).ok_or_else(strange)?,
            until: Timestamp::from_ms(written.until),
            votes: votes.collect(),
            replaces: written.replaces.as_deref().map(ApprovalId::new),
            replaced_by: written.replaced_by.as_deref().map(ApprovalId::new),
            edited: written.edited.map(Arc::from),
            used_by: written.used_by.map(Arc::from),
        })
    }
}

/// What the store in memory keeps.
#[derive(Debug, Default)]
pub(crate) struct Kept(std::collections::BTreeMap<(Timestamp, ApprovalId), Approval>);

impl Kept {
    fn find(&self, id: &ApprovalId) -> Option<&Approval> {
        self.0.values().find(|approval| approval.id == *id)
    }

    fn put(&mut self, approval: Approval) {
        self.0.insert((approval.at, approval.id.clone()), approval);
    }

    pub(crate) fn get(&self, id: &ApprovalId) -> Option<Approval> {
        self.find(id).cloned()
    }

    pub(crate) fn ask(&mut self, approval: Approval, room: AskingRoom) -> Asking {
        let now = approval.at;
        let is_old = |old: &&Approval| old.until.after(APPROVALS_KEPT) < now;
        let old: Vec<_> = self.0.values().filter(is_old).take(APPROVALS_BATCH).cloned().collect();
        for gone in old {
            self.0.remove(&(gone.at, gone.id));
        }
        // The oldest that is open.
        let answers = |known: &&Approval| {
            let stands = |id: &ApprovalId| self.find(id).is_some_and(|other| other.is_open(now));
            known.of == approval.of && known.is_open(now) && known.replaced_by.as_ref().is_none_or(stands)
        };
        if let Some(known) = self.0.values().find(answers) {
            return Asking::Known(Box::new(known.clone()));
        }
        let waits = |known: &&Approval| {
            known.of.tenant == approval.of.tenant && known.standing.takes_room() && !known.is_over(now)
        };
        let of_tenant = self.0.values().filter(waits);
        let of_principal = of_tenant.clone().filter(|known| known.of.principal == approval.of.principal);
        if of_principal.count() >= room.principal_max || of_tenant.count() >= room.tenant_max {
            return Asking::Full;
        }
        self.put(approval);
        Asking::New
    }

    pub(crate) fn use_up(&mut self, of: &ApprovalOf, call: &str, now: Timestamp) -> Option<Approval> {
        let used = self.0.values().filter(|known| known.of == *of).find_map(|known| known.used(call, now))?;
        self.put(used.clone());
        Some(used)
    }

    pub(crate) fn list(&self, which: &WhichApprovals) -> Vec<Approval> {
        let is_meant = |approval: &&Approval| {
            which.tenant.as_ref().is_none_or(|tenant| *tenant == approval.of.tenant)
                && which
                    .waiting_at
                    .is_none_or(|now| approval.standing == Standing::Waiting && !approval.is_over(now))
                && which.after.as_ref().is_none_or(|(at, id)| (&approval.at, &approval.id) < (at, id))
        };
        self.0.values().rev().filter(is_meant).take(which.most).cloned().collect()
    }

    pub(crate) fn vote(&mut self, id: &ApprovalId, vote: Vote) -> Result<Approval, NotCounted> {
        let voted = self.find(id).ok_or(NotCounted::NoSuch)?.voted(vote)?;
        self.put(voted.clone());
        Ok(voted)
    }

    pub(crate) fn replace(
        &mut self,
        id: &ApprovalId,
        by: Approval,
        vote: Vote,
    ) -> Result<(Approval, Approval), NotCounted> {
        let (old, new) = self.find(id).ok_or(NotCounted::NoSuch)?.replaced(by, vote)?;
        self.put(old.clone());
        self.put(new.clone());
        Ok((old, new))
    }

    pub(crate) fn withdraw(&mut self, id: &ApprovalId, now: Timestamp) -> Option<Approval> {
        let withdrawn = self.find(id)?.withdrawn(now)?;
        self.put(withdrawn.clone());
        Some(withdrawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::approval;

    fn vote(by: &str, agrees: bool, groups: &[&str]) -> Vote {
        let groups = groups.iter().map(|group| Arc::from(*group)).collect();
        Vote {
            by: by.into(),
            via: "api".into(),
            agrees,
            groups,
            reason: "".into(),
            at: Timestamp::from_ms(1_500),
        }
    }

    #[test]
    fn approvals_come_back_as_they_went() {
        let mut whole = approval("a1", 1);
        whole.votes.push(vote("bob", true, &["finance"]));
        whole.edited = Some("{\"a\":1.0}".into());
        for standing in Standing::ALL {
            let stored = Approval { standing, ..whole.clone() };
            assert_eq!(Approval::decode(&stored.encode()).expect("stored"), stored);
        }
        assert!(Approval::decode("{}").is_err());
        let bare = whole.without_arguments();
        assert!(!bare.encode().contains("1.0") && !bare.encode().contains("amount"));
    }

    #[test]
    fn nobody_approves_their_own_call_under_any_name() {
        let asked = approval("a1", 1);
        for by in ["ada", "ADA", "okta:ada", " ada ", "bot", "Bot"] {
            let said = asked.voted(vote(by, true, &["finance"]));
            assert_eq!(said, Err(NotCounted::OwnCall), "{by}");
        }
        assert!(asked.voted(vote("adam", true, &["finance"])).is_ok());
        let stopped = asked.voted(vote("ada", false, &["finance"])).expect("her own call may be stopped");
        assert_eq!(stopped.standing, Standing::Denied);
    }

    #[test]
    fn as_many_different_people_as_are_needed_have_to_agree() {
        let two = Needed { group: "finance".into(), people: 2 };
        let one = Needed { group: "security".into(), people: 1 };
        let asked = Approval { needs: vec![two, one], ..approval("a1", 1) };
        let first = asked.voted(vote("bob", true, &["finance", "security"])).expect("counted");
        assert_eq!(first.standing, Standing::Waiting);
        assert_eq!(first.missing(), [Needed { group: "finance".into(), people: 1 }]);
        assert_eq!(first.voted(vote("Bob", true, &["finance"])), Err(NotCounted::Again));
        assert_eq!(first.voted(vote("eve", true, &["sales"])), Err(NotCounted::NotAsked));
        let second = first.voted(vote("cid", true, &["finance"])).expect("counted");
        assert_eq!((second.standing, second.until.as_ms()), (Standing::Granted, 1_500 + 60_000));
        assert_eq!(second.voted(vote("dan", false, &["finance"])), Err(NotCounted::Ended));
        assert!(second.used("c1", Timestamp::from_ms(61_499)).is_some());
        assert!(second.used("c1", Timestamp::from_ms(61_500)).is_none(), "the grant has ended");
        assert!(first.used("c1", Timestamp::from_ms(1_501)).is_none());
    }

    #[test]
    fn one_no_is_enough_and_late_words_do_not_count() {
        let asked = approval("a1", 1);
        let denied = asked.voted(vote("bob", false, &["finance"])).expect("counted");
        assert!(
            denied.is_open(Timestamp::from_ms(1_600)) && denied.used("c", Timestamp::from_ms(1)).is_none()
        );
        assert_eq!(denied.asked.arguments_whole, None);
        let late = Vote { at: asked.until, ..vote("bob", true, &["finance"]) };
        assert_eq!(asked.voted(late), Err(NotCounted::Ended));
        assert_eq!((asked.word(asked.at), asked.word(asked.until)), ("waiting", "expired"));
    }

    #[test]
    fn other_arguments_are_another_approval_of_the_same_call() {
        let asked = approval("a1", 1);
        let edited = Approval { edited: Some("{}".into()), ..approval("a2", 2) };
        let (old, new) = asked.replaced(edited.clone(), vote("bob", true, &["finance"])).expect("replaced");
        assert_eq!((old.standing, old.replaced_by.as_ref()), (Standing::Replaced, Some(&new.id)));
        assert_eq!((new.standing, new.replaces.as_ref()), (Standing::Granted, Some(&old.id)));
        assert_eq!(old.used("c", Timestamp::from_ms(1_501)), None);
        let own = asked.replaced(edited.clone(), vote("ada", true, &["finance"]));
        assert_eq!(own, Err(NotCounted::OwnCall));
        let mut other = edited.clone();
        other.asked.native = "delete".into();
        assert_eq!(asked.replaced(other, vote("bob", true, &["finance"])), Err(NotCounted::OtherCall));
        let used = new.used("c", Timestamp::from_ms(1_501)).expect("a grant");
        assert_eq!(
            (used.edited, used.replaces.as_ref()),
            (None, Some(&old.id)),
            "what an approver wrote is used"
        );
        let again = new.replaced(edited, vote("bob", true, &["finance"]));
        assert!(again.is_err(), "{again:?}");
    }
}
