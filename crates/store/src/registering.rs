//! Servers that are registered while gateways run, and their life: draft, in review, approved, deprecated, retired.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tollgate_model::{ServerName, TenantId, Timestamp};

use crate::{Digest, StoreError};

/// How many registrations are kept. Beyond it the oldest of those that are retired are forgotten; while none is, no more are
/// taken.
pub const REGISTRATIONS_MAX: usize = 5_000;
/// How many bytes may say how a server is reached.
pub const REACH_BYTES_MAX: usize = 64 * 1024;
/// How many versions of one server there may be that are not retired.
pub const VERSIONS_MAX: usize = 16;
/// How many people may have had a hand in one version.
const HANDS_MAX: usize = 32;
/// All requests, as a version's part of them.
pub const WHOLE: u8 = 100;

/// Which registration: one version of one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistrationId {
    /// Whose server it is.
    pub tenant: TenantId,
    /// The server.
    pub name: ServerName,
    /// The version, in a word of whoever registered it.
    pub version: Arc<str>,
}

/// Where a registration is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// It can be edited. Nobody but operators knows of it.
    Draft,
    /// It waits for somebody to look at it. Still nobody knows of it.
    InReview,
    /// It is served.
    Approved,
    /// It is served, and clients are told that it will not be for long.
    Deprecated,
    /// It is served no more, and never again.
    Retired,
}

/// What was done with a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It was made.
    Registered,
    /// What it says was changed.
    Edited,
    /// It was handed in for review.
    Submitted,
    /// It was found good.
    Approved,
    /// It was sent back.
    Rejected,
    /// It was given an end.
    Deprecated,
    /// It was taken out of service.
    Retired,
    /// It got another part of the requests.
    Shifted,
}

/// What was done last, by whom, why and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub act: Act,
    /// Where it was in its life before; none of what was made.
    pub from: Option<Life>,
    /// By whom.
    pub by: Arc<str>,
    /// Why, in their words; may be empty.
    pub reason: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// Whether it is the approval of somebody who had a hand in it.
    pub is_own: bool,
}

/// What people say of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// What it is for.
    pub description: Option<Arc<str>>,
    /// Who answers for it.
    pub owner: Option<Arc<str>>,
    /// Where it belongs, such as `production`.
    pub environment: Option<Arc<str>>,
    /// How dangerous it is.
    pub risk: Option<Arc<str>>,
    /// Words to find it by.
    pub tags: Vec<Arc<str>>,
    /// The URL of its documentation.
    pub documentation: Option<Arc<str>>,
}

/// One version of a server, as registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Which.
    pub id: RegistrationId,
    /// Where it is in its life.
    pub life: Life,
    /// Its part of the server's requests beside other versions that are served, out of [`WHOLE`]. With 0 it stands by.
    pub share: u8,
    /// When it retires by itself, once it is deprecated.
    pub sunset: Option<Timestamp>,
    /// What people say of it.
    pub about: About,
    /// How it is reached: JSON, as under `servers` in `tollgate.yaml`. Credentials are named, never in it.
    pub reach: Arc<str>,
    /// Where it comes from: `cli`, `import`.
    pub origin: Arc<str>,
    /// Who registered, edited or submitted it, each once: they are not to find it good themselves.
    pub hands: Vec<Arc<str>>,
    /// 1 at first, and one more with each change.
    pub revision: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was approved last.
    pub approved: Option<Timestamp>,
    /// What was done with it last.
    pub last: Step,
}

/// Which registrations to list.
#[derive(Debug, Clone, Default)]
pub struct WhichRegistrations {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only versions of this server.
    pub name: Option<ServerName>,
    /// Only those that come after this one.
    pub after: Option<RegistrationId>,
    /// At most so many.
    pub most: usize,
}

/// Servers that are registered while gateways run.
#[async_trait]
pub trait Registrations: fmt::Debug + Send + Sync {
    /// Puts registrations in the place of what they were, or adds them: all of them or none. Each has to be what its life
    /// allows after what it was, see [`Registration::check`].
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if another change came first, or what is added is there already; [`StoreError::NotInLife`];
    /// [`StoreError::TooLarge`]; [`StoreError::Full`].
    async fn put_registrations(&self, registrations: Vec<Registration>) -> Result<(), StoreError>;

    /// This registration.
    async fn registration(&self, id: &RegistrationId) -> Result<Option<Registration>, StoreError>;

    /// Registrations in the order of their ids, also those that are retired.
    async fn registrations(&self, which: &WhichRegistrations) -> Result<Vec<Registration>, StoreError>;
}

impl Life {
    const ALL: [Self; 5] = [Self::Draft, Self::InReview, Self::Approved, Self::Deprecated, Self::Retired];

    /// As it is stored, and as people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::InReview => "in_review",
            Self::Approved => "approved",
            Self::Deprecated => "deprecated",
            Self::Retired => "retired",
        }
    }

    /// The other way round.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|life| life.as_str() == text)
    }

    /// Whether agents may know of it.
    pub const fn is_served(self) -> bool {
        matches!(self, Self::Approved | Self::Deprecated)
    }

    /// Where an act leads from here; none where it cannot be done.
    const fn after(self, act: Act) -> Option<Self> {
        Some(match (self, act) {
            (Self::Draft, Act::Edited) | (Self::InReview, Act::Rejected) => Self::Draft,
            (Self::Draft, Act::Submitted) => Self::InReview,
            // Whoever deprecated it may have changed their mind.
            (Self::InReview | Self::Deprecated, Act::Approved) => Self::Approved,
            (Self::Approved | Self::Deprecated, Act::Deprecated) => Self::Deprecated,
            (Self::Approved | Self::Deprecated, Act::Shifted) => self,
            (Self::Draft | Self::InReview | Self::Approved | Self::Deprecated, Act::Retired) => Self::Retired,
            _ => return None,
        })
    }
}

impl Act {
    /// As it is stored, and as the record has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Edited => "edited",
            Self::Submitted => "submitted",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Deprecated => "deprecated",
            Self::Retired => "retired",
            Self::Shifted => "shifted",
        }
    }

    /// Whether whoever does it has a hand in what is served later.
    const fn makes(self) -> bool {
        matches!(self, Self::Registered | Self::Edited | Self::Submitted)
    }
}

/// Who does something, why and when.
#[derive(Debug, Clone)]
pub struct Doing {
    /// Who.
    pub by: Arc<str>,
    /// Why; may be empty.
    pub reason: Arc<str>,
    /// When.
    pub at: Timestamp,
}

impl Doing {
    fn step(&self, act: Act, from: Option<Life>) -> Step {
        let (by, reason) = (Arc::clone(&self.by), Arc::clone(&self.reason));
        Step { act, from, by, reason, at: self.at, is_own: false }
    }
}

impl Registration {
    /// A draft.
    pub fn draft(id: RegistrationId, reach: Arc<str>, about: About, origin: &str, doing: &Doing) -> Self {
        Self {
            id,
            life: Life::Draft,
            share: 0,
            sunset: None,
            about,
            reach,
            origin: origin.into(),
            hands: vec![Arc::clone(&doing.by)],
            revision: 1,
            created: doing.at,
            approved: None,
            last: doing.step(Act::Registered, None),
        }
    }

    /// What it is once something was done with it.
    ///
    /// # Errors
    /// [`StoreError::NotInLife`] where that cannot be done.
    fn after(&self, act: Act, doing: &Doing) -> Result<Self, StoreError> {
        let life = self.life.after(act).ok_or(StoreError::NotInLife { life: self.life, act })?;
        let hands = self.hands_after(act, &doing.by);
        if hands.len() > HANDS_MAX {
            return Err(StoreError::Full { most: HANDS_MAX });
        }
        let mut next = Self {
            life,
            hands,
            revision: self.revision + 1,
            last: doing.step(act, Some(self.life)),
            ..self.clone()
        };
        match life {
            Life::Draft | Life::InReview | Life::Retired => next.share = 0,
            Life::Approved => next.sunset = None,
            Life::Deprecated => {}
        }
        if act == Act::Approved {
            next.approved = Some(doing.at);
        }
        Ok(next)
    }

    fn hands_after(&self, act: Act, by: &Arc<str>) -> Vec<Arc<str>> {
        let mut hands = self.hands.clone();
        if act.makes() && !hands.contains(by) {
            hands.push(Arc::clone(by));
        }
        hands
    }

    /// Whether somebody registered, edited or submitted it.
    pub fn is_made_by(&self, who: &str) -> bool {
        self.hands.iter().any(|hand| **hand == *who)
    }

    /// The same draft, saying something else.
    ///
    /// # Errors
    /// [`StoreError::NotInLife`] if it is no draft: what was looked at stays as it was.
    pub fn edited(&self, reach: Arc<str>, about: About, doing: &Doing) -> Result<Self, StoreError> {
        Ok(Self { about, reach, ..self.after(Act::Edited, doing)? })
    }

    /// Handed in for review.
    ///
    /// # Errors
    /// [`StoreError::NotInLife`] if it is no draft.
    pub fn submitted(&self, doing: &Doing) -> Result<Self, StoreError> {
        self.after(Act::Submitted, doing)
    }

    /// Sent back.
    ///
    /// # Errors
    /// [`StoreError::NotInLife`] if it is not in review.
    pub fn rejected(&self, doing: &Doing) -> Result<Self, StoreError> {
        self.after(Act::Rejected, doing)
    }

    /// Given an end.
    ///
    /// # Errors
    /// [`StoreError::NotInLife`] if it is not served.
    pub fn deprecated(&self, sunset: Timestamp, doing: &Doing) -> Result<Self, StoreError> {
        Ok(Self { sunset: Some(sunset), ..self.after(Act::Deprecated, doing)? })
    }

    /// Taken out of service for good.
    ///
    /// # Errors
    /// [`StoreError::NotInLife`] if it was before.
    pub fn retired(&self, doing: &Doing) -> Result<Self, StoreError> {
        self.after(Act::Retired, doing)
    }

    /// Of what was looked at: how it is reached, and what is said of it.
    pub fn digest(&self) -> Digest {
        let About { description, owner, environment, risk, tags, documentation } = &self.about;
        let texts = [description, owner, environment, risk, documentation];
        let texts = texts.map(|text| text.as_deref().unwrap_or_default().as_bytes());
        let tags = tags.iter().map(|tag| tag.as_bytes());
        Digest::of(std::iter::once(self.reach.as_bytes()).chain(texts).chain(tags))
    }

    /// Whether its end has come.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.life == Life::Deprecated && self.sunset.is_some_and(|sunset| sunset <= now)
    }

    /// Whether agents may call it.
    pub fn is_served(&self, now: Timestamp) -> bool {
        self.life.is_served() && self.share > 0 && !self.is_over(now)
    }

    /// Whether it may stand where this one stood (none: nothing did): the rule of [`Registrations::put_registrations`], for all
    /// drivers. What was looked at in a review is what is served: only a draft can be edited.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, before: Option<&Self>) -> Result<(), StoreError> {
        if self.reach.len() > REACH_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes: self.reach.len(), bytes_max: REACH_BYTES_MAX });
        }
        let act = self.last.act;
        let Some(before) = before else {
            let is_new = self.revision == 1
                && self.life == Life::Draft
                && act == Act::Registered
                && self.hands == [Arc::clone(&self.last.by)];
            return if is_new { Ok(()) } else { Err(StoreError::Overtaken) };
        };
        if before.revision.checked_add(1) != Some(self.revision) {
            return Err(StoreError::Overtaken);
        }
        let is_same = self.reach == before.reach && self.about == before.about;
        let may_differ = act == Act::Edited || is_same;
        if before.life.after(act) == Some(self.life)
            && self.last.from == Some(before.life)
            && may_differ
            && self.origin == before.origin
            && self.hands == before.hands_after(act, &self.last.by)
            && self.hands.len() <= HANDS_MAX
            && self.share <= if self.life.is_served() { WHOLE } else { 0 }
        {
            if self.last.is_own == before.is_own_work(act, &self.last.by) {
                Ok(())
            } else {
                Err(StoreError::OwnWork)
            }
        } else {
            Err(StoreError::NotInLife { life: before.life, act })
        }
    }

    /// Whether somebody would find good what they made. What was approved once was looked at.
    fn is_own_work(&self, act: Act, by: &str) -> bool {
        act == Act::Approved && self.life == Life::InReview && self.is_made_by(by)
    }

    /// As it is stored.
    pub fn encode(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(&Written::from(self)).unwrap_or_default()
    }

    /// From how it is stored.
    ///
    /// # Errors
    /// [`StoreError::Broken`] for what this program does not know.
    pub fn decode(text: &str) -> Result<Self, StoreError> {
        serde_json::from_str::<Written>(text).map_err(StoreError::broken)?.try_into()
    }
}

/// Approves one version out of all of a server. With [`WHOLE`] it gets all requests and the others stand by; with a smaller
/// part the one that has most of them now keeps the rest. Without a word one that was in review gets all, and one that was
/// deprecated keeps its part. Whoever had a hand in it approves it only where `may_own` says so, and then that stands in the
/// step. Gives back all that changes.
///
/// # Errors
/// [`StoreError::NoSuchServer`]; [`StoreError::NotInLife`]; [`StoreError::OwnWork`].
pub fn approve(
    versions: &[Registration],
    version: &str,
    share: Option<u8>,
    may_own: bool,
    doing: &Doing,
) -> Result<Vec<Registration>, StoreError> {
    let found = versions.iter().find(|one| &*one.id.version == version).ok_or(StoreError::NoSuchServer)?;
    let mut approved = found.after(Act::Approved, doing)?;
    approved.last.is_own = found.is_own_work(Act::Approved, &doing.by);
    if approved.last.is_own && !may_own {
        return Err(StoreError::OwnWork);
    }
    match share {
        None if found.life == Life::Deprecated => {
            Ok(vec![Registration { approved: found.approved, ..approved }])
        }
        share => share_out(versions, approved, share.unwrap_or(WHOLE), doing),
    }
}

/// Gives a version that is served another part of the requests, as [`approve`] does. To roll back is to give all of them to an
/// earlier version.
///
/// # Errors
/// [`StoreError::NoSuchServer`]; [`StoreError::NotInLife`].
pub fn shift(
    versions: &[Registration],
    version: &str,
    share: u8,
    doing: &Doing,
) -> Result<Vec<Registration>, StoreError> {
    let found = versions.iter().find(|one| &*one.id.version == version).ok_or(StoreError::NoSuchServer)?;
    share_out(versions, found.after(Act::Shifted, doing)?, share, doing)
}

/// The version that stood before the one that was approved last among those that get requests: where rolling back leads. None
/// where there is none.
pub fn earlier(versions: &[Registration]) -> Option<&Registration> {
    let served = || versions.iter().filter(|one| one.life.is_served());
    let latest = served().filter(|one| one.share > 0).max_by_key(|one| (one.approved, &one.id.version))?;
    served()
        .filter(|one| (one.approved, &one.id.version) < (latest.approved, &latest.id.version))
        .max_by_key(|one| (one.approved, &one.id.version))
}

/// What whoever ends a version has to know: that others stand by with no part of the requests, and get none by themselves when it
/// ends, since a rollback may have put them there. None where others have requests too, or nothing stands by.
pub fn gap(versions: &[Registration], version: &str) -> Option<String> {
    let (this, others): (Vec<&Registration>, Vec<&Registration>) =
        versions.iter().filter(|one| one.life.is_served()).partition(|one| &*one.id.version == version);
    if this.iter().all(|one| one.share == 0) || others.iter().any(|one| one.share > 0) {
        return None;
    }
    let latest = others.into_iter().max_by_key(|one| (one.approved, &one.id.version))?;
    Some(format!(
        "all requests go to version {version}: when it ends nothing of the server is served, unless version {} is given a share \
         of them first, which stands by with none",
        latest.id.version
    ))
}

/// Refuses to leave versions of one server with more than all requests between them: each of two who gave a version its part has
/// not seen what the other did, and changed another version.
///
/// # Errors
/// [`StoreError::Overtaken`].
pub fn check_shares<'r>(versions: impl IntoIterator<Item = &'r Registration>) -> Result<(), StoreError> {
    let served = versions.into_iter().filter(|one| one.life.is_served());
    let all: u32 = served.map(|one| u32::from(one.share)).sum();
    if all > u32::from(WHOLE) { Err(StoreError::Overtaken) } else { Ok(()) }
}

fn share_out(
    versions: &[Registration],
    mut chosen: Registration,
    share: u8,
    doing: &Doing,
) -> Result<Vec<Registration>, StoreError> {
    let others = || versions.iter().filter(|one| one.id != chosen.id && one.life.is_served());
    let share = share.min(WHOLE);
    let rest = others().max_by_key(|one| (one.share, one.approved)).map(|one| one.id.clone());
    let mut changed = Vec::new();
    for other in others() {
        let keeps = if Some(&other.id) == rest.as_ref() { WHOLE - share } else { 0 };
        if other.share != keeps {
            changed.push(Registration { share: keeps, ..other.after(Act::Shifted, doing)? });
        }
    }
    // Without another that is served it is the only one, whatever its part.
    chosen.share = if rest.is_some() { share } else { WHOLE };
    changed.push(chosen);
    Ok(changed)
}

/// How a registration is stored: JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct Written {
    tenant: String,
    name: String,
    version: String,
    life: Life,
    share: u8,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    sunset: Option<u64>,
    about: WrittenAbout,
    reach: String,
    origin: String,
    #[serde(default)]
    hands: Vec<String>,
    revision: u64,
    created: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    approved: Option<u64>,
    act: Act,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    from: Option<Life>,
    by: String,
    reason: String,
    at: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    own: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WrittenAbout {
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
}

impl From<&Registration> for Written {
    fn from(registration: &Registration) -> Self {
        let Registration { id, life, share, sunset, about, reach, origin, hands, .. } = registration;
        let Registration { revision, created, approved, last, .. } = registration;
        let text = |text: &Option<Arc<str>>| text.as_ref().map(ToString::to_string);
        let about = WrittenAbout {
            description: text(&about.description),
            owner: text(&about.owner),
            environment: text(&about.environment),
            risk: text(&about.risk),
            tags: about.tags.iter().map(ToString::to_string).collect(),
            documentation: text(&about.documentation),
        };
        Self {
            tenant: id.tenant.as_str().to_owned(),
            name: id.name.as_str().to_owned(),
            version: id.version.to_string(),
            life: *life,
            share: *share,
            sunset: sunset.map(Timestamp::as_ms),
            about,
            reach: reach.to_string(),
            origin: origin.to_string(),
            hands: hands.iter().map(ToString::to_string).collect(),
            revision: *revision,
            created: created.as_ms(),
            approved: approved.map(Timestamp::as_ms),
            act: last.act,
            from: last.from,
            by: last.by.to_string(),
            reason: last.reason.to_string(),
            at: last.at.as_ms(),
            own: last.is_own,
        }
    }
}

impl TryFrom<Written> for Registration {
    type Error = StoreError;

    fn try_from(written: Written) -> Result<Self, StoreError> {
        let text = |text: Option<String>| text.map(Arc::from);
        let WrittenAbout { description, owner, environment, risk, tags, documentation } = written.about;
        let mut hands: Vec<Arc<str>> = written.hands.into_iter().map(Arc::from).collect();
        if hands.is_empty() && written.act.makes() {
            // Of before hands were kept: who was last is known.
            hands.push(written.by.as_str().into());
        }
        Ok(Self {
            id: RegistrationId {
                tenant: TenantId::new(&written.tenant),
                name: ServerName::new(&written.name).map_err(StoreError::broken)?,
                version: written.version.into(),
            },
            life: written.life,
            share: written.share,
            sunset: written.sunset.map(Timestamp::from_ms),
            about: About {
                description: text(description),
                owner: text(owner),
                environment: text(environment),
                risk: text(risk),
                tags: tags.into_iter().map(Arc::from).collect(),
                documentation: text(documentation),
            },
            reach: written.reach.into(),
            origin: written.origin.into(),
            hands,
            revision: written.revision,
            created: Timestamp::from_ms(written.created),
            approved: written.approved.map(Timestamp::from_ms),
            last: Step {
                act: written.act,
                from: written.from,
                by: written.by.into(),
                reason: written.reason.into(),
                at: Timestamp::from_ms(written.at),
                is_own: written.own,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doing(at: u64) -> Doing {
        Doing { by: "ada".into(), reason: "why".into(), at: Timestamp::from_ms(at) }
    }

    fn draft(version: &str) -> Registration {
        let name = ServerName::new("crm").expect("a name");
        let id = RegistrationId { tenant: TenantId::new("acme"), name, version: version.into() };
        Registration::draft(id, "{\"url\":\"https://a\"}".into(), About::default(), "cli", &doing(1))
    }

    fn in_review(version: &str) -> Registration {
        draft(version).submitted(&doing(2)).expect("submitted")
    }

    fn shares(versions: &[Registration]) -> Vec<(&str, u8)> {
        versions.iter().map(|one| (&*one.id.version, one.share)).collect()
    }

    /// Puts what changed in its place.
    fn take(versions: &mut Vec<Registration>, changed: Vec<Registration>) {
        for next in changed {
            let before = versions.iter().find(|one| one.id == next.id);
            next.check(before).expect("allowed");
            versions.retain(|one| one.id != next.id);
            versions.push(next);
        }
        versions.sort_by(|a, b| a.id.cmp(&b.id));
    }

    #[test]
    fn a_life_has_one_direction() {
        let acts = [
            Act::Registered,
            Act::Edited,
            Act::Submitted,
            Act::Approved,
            Act::Rejected,
            Act::Deprecated,
            Act::Retired,
            Act::Shifted,
        ];
        let ways: Vec<String> = Life::ALL
            .iter()
            .map(|life| {
                let ways = acts.iter().filter_map(|act| {
                    let after = life.after(*act)?;
                    Some(format!(" {}>{}", act.as_str(), after.as_str()))
                });
                ways.fold(life.as_str().to_owned(), |text, way| text + &way)
            })
            .collect();
        assert_eq!(
            ways,
            [
                "draft edited>draft submitted>in_review retired>retired",
                "in_review approved>approved rejected>draft retired>retired",
                "approved deprecated>deprecated retired>retired shifted>approved",
                "deprecated approved>approved deprecated>deprecated retired>retired shifted>deprecated",
                "retired",
            ]
        );
        for life in Life::ALL {
            assert_eq!(Life::from_stored(life.as_str()), Some(life));
        }
    }

    #[test]
    fn what_was_looked_at_stays_as_it_was() {
        let draft = draft("1");
        assert!(draft.check(None).is_ok());
        let edited = draft.edited("{}".into(), About::default(), &doing(2)).expect("a draft");
        assert!(edited.check(Some(&draft)).is_ok());
        let submitted = draft.submitted(&doing(2)).expect("a draft");
        assert!(submitted.edited("{}".into(), About::default(), &doing(3)).is_err());
        // Nor by whoever writes a registration by hand.
        let approved =
            approve(std::slice::from_ref(&submitted), "1", None, true, &doing(3)).expect("approved");
        let other = Registration { reach: "{\"command\":\"sh\"}".into(), ..approved[0].clone() };
        assert!(matches!(other.check(Some(&submitted)), Err(StoreError::NotInLife { .. })));
        assert!(approved[0].check(Some(&submitted)).is_ok());
        let skipped = Registration { life: Life::Approved, share: 100, ..submitted.clone() };
        assert!(matches!(skipped.check(Some(&draft)), Err(StoreError::NotInLife { .. })));
        assert!(matches!(skipped.check(None), Err(StoreError::Overtaken)));
        assert!(matches!(submitted.check(Some(&edited)), Err(StoreError::Overtaken)));
    }

    #[test]
    fn nobody_finds_good_what_they_made() {
        let by = |name: &str| Doing { by: name.into(), ..doing(2) };
        let draft = draft("1");
        let edited = draft.edited("{}".into(), About::default(), &by("bob")).expect("a draft");
        let again = edited.edited("{}".into(), About::default(), &by("eve")).expect("a draft");
        let submitted = again.submitted(&by("eve")).expect("a draft");
        assert_eq!(
            submitted.hands,
            ["ada".into(), "bob".into(), "eve".into()],
            "whoever was before the last one too"
        );
        let versions = std::slice::from_ref(&submitted);
        for own in ["ada", "bob", "eve"] {
            assert!(
                matches!(approve(versions, "1", None, false, &by(own)), Err(StoreError::OwnWork)),
                "{own}"
            );
            let allowed = approve(versions, "1", None, true, &by(own)).expect("allowed").remove(0);
            assert!(allowed.last.is_own && allowed.check(Some(&submitted)).is_ok(), "{own}");
            // Nor by whoever writes it without a word.
            let mut silent = allowed.clone();
            silent.last.is_own = false;
            assert!(matches!(silent.check(Some(&submitted)), Err(StoreError::OwnWork)), "{own}");
            let forgotten = Registration { hands: Vec::new(), ..allowed };
            assert!(forgotten.check(Some(&submitted)).is_err(), "{own}");
        }
        let approved = approve(versions, "1", None, false, &by("joe")).expect("another").remove(0);
        assert!(!approved.last.is_own && approved.check(Some(&submitted)).is_ok());
        let mut draft = draft;
        for nth in 1..HANDS_MAX {
            draft = draft.edited("{}".into(), About::default(), &by(&nth.to_string())).expect("a draft");
        }
        assert!(matches!(draft.submitted(&by("one more")), Err(StoreError::Full { .. })));
        assert!(draft.submitted(&by("ada")).is_ok());
    }

    #[test]
    fn a_new_version_takes_all_or_a_part_and_gives_it_back() {
        let mut versions = vec![in_review("1"), in_review("2"), in_review("3")];
        let changed = approve(&versions, "1", Some(10), true, &doing(3)).expect("approved");
        take(&mut versions, changed);
        assert_eq!(shares(&versions)[0], ("1", 100), "the only one has all");
        assert_eq!(gap(&versions, "1"), None, "nothing else could be served");
        assert!(earlier(&versions).is_none());
        let changed = approve(&versions, "2", Some(10), true, &doing(4)).expect("approved");
        take(&mut versions, changed);
        assert_eq!(shares(&versions)[..2], [("1", 90), ("2", 10)]);
        assert_eq!(gap(&versions, "1"), None, "the other has requests");
        let changed = shift(&versions, "2", WHOLE, &doing(5)).expect("shifted");
        take(&mut versions, changed);
        assert_eq!(shares(&versions)[..2], [("1", 0), ("2", 100)]);
        assert!(gap(&versions, "2").is_some_and(|text| text.contains("unless version 1 is given")));
        assert_eq!(gap(&versions, "1"), None, "nobody notices when it ends");
        let back = earlier(&versions).expect("an earlier one").id.version.clone();
        assert_eq!(&*back, "1");
        let changed = shift(&versions, &back, WHOLE, &doing(6)).expect("shifted");
        assert_eq!(changed.len(), 2, "in one act");
        take(&mut versions, changed);
        assert_eq!(shares(&versions), [("1", 100), ("2", 0), ("3", 0)]);
        assert!(earlier(&versions).is_none(), "before the first there is none");
        assert!(shift(&versions, "3", 50, &doing(7)).is_err(), "nobody approved it");
        assert!(matches!(approve(&versions, "4", Some(1), true, &doing(7)), Err(StoreError::NoSuchServer)));
    }

    #[test]
    fn an_end_comes_by_itself() {
        let versions = [in_review("1")];
        let approved = approve(&versions, "1", None, true, &doing(3)).expect("approved").remove(0);
        let deprecated = approved.deprecated(Timestamp::from_ms(10), &doing(4)).expect("deprecated");
        assert!(deprecated.check(Some(&approved)).is_ok());
        assert_eq!(deprecated.share, 100);
        let at = |ms| deprecated.is_served(Timestamp::from_ms(ms));
        assert!(at(9) && !at(10));
        let again = approve(&[deprecated], "1", None, true, &doing(5)).expect("approved").remove(0);
        assert_eq!((again.sunset, again.life), (None, Life::Approved));
        let retired = again.retired(&doing(6)).expect("retired");
        assert_eq!(retired.share, 0);
        assert!(retired.retired(&doing(7)).is_err());
    }

    #[test]
    fn it_comes_back_as_it_went() {
        let mut one = draft("1.0 \"β\"");
        one.about = About {
            owner: Some("ü".into()),
            tags: vec!["a".into(), "b".into()],
            documentation: Some("https://x".into()),
            ..About::default()
        };
        one.sunset = Some(Timestamp::from_ms(7));
        one.approved = Some(Timestamp::from_ms(8));
        for one in [one, draft("2")] {
            assert_eq!(Registration::decode(&one.encode()).expect("it comes back"), one);
        }
    }
}
