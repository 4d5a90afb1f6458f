//! Policies that are written while gateways run: sets with versions, which look on before they decide, and can be taken back.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tollgate_model::{TenantId, Timestamp};

use crate::{Digest, StoreError};

/// How many sets are kept.
pub const RULE_SETS_MAX: usize = 500;
/// How many versions are kept of a set. The oldest that neither decides nor looks on goes first.
pub const RULE_VERSIONS_MAX: usize = 20;
/// How many bytes a version may have.
pub const RULES_BYTES_MAX: usize = 128 * 1024;
/// How long a set's name may be, in bytes.
pub const RULES_NAME_BYTES_MAX: usize = 64;

/// Which set of policies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleSetId {
    /// About whose callers it is; none: the operator's, about those of every tenant.
    pub tenant: Option<TenantId>,
    /// What it is called.
    pub name: Arc<str>,
}

impl RuleSetId {
    /// A set of this name.
    ///
    /// # Errors
    /// Why nothing can be called so.
    pub fn new(tenant: Option<TenantId>, name: &str) -> Result<Self, &'static str> {
        let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > RULES_NAME_BYTES_MAX || !name.bytes().all(is_fine) {
            return Err("up to 64 of a to z, 0 to 9, `-`, `_` and `.`");
        }
        Ok(Self { tenant, name: name.into() })
    }

    /// As it is stored: the operator's tenant is called nothing.
    pub fn parts(&self) -> (&str, &str) {
        (self.tenant.as_ref().map_or("", TenantId::as_str), &self.name)
    }

    fn from_parts(tenant: &str, name: &str) -> Self {
        Self { tenant: (!tenant.is_empty()).then(|| TenantId::new(tenant)), name: name.into() }
    }
}

/// One version of a set: never another text once it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleVersion {
    /// 1 at first, and one more with each.
    pub number: u64,
    /// The policies, in Cedar.
    pub text: Arc<str>,
    /// Who wrote it.
    pub by: Arc<str>,
    /// Why, in their words; may be empty.
    pub reason: Arc<str>,
    /// When.
    pub at: Timestamp,
}

impl RuleVersion {
    /// Of its text.
    pub fn digest(&self) -> Digest {
        Digest::of([self.text.as_bytes()])
    }
}

/// What was done with a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleAct {
    /// A version was written.
    Written,
    /// A version looks on, or none does any more.
    Shadowed,
    /// A version decides.
    Promoted,
    /// What decided before decides again.
    RolledBack,
    /// None of it decides any more.
    Withdrawn,
    /// It is gone.
    Removed,
}

impl RuleAct {
    /// As it is stored, and as the record has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Shadowed => "shadowed",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Withdrawn => "withdrawn",
            Self::Removed => "removed",
        }
    }
}

/// What was done last, by whom, why and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleStep {
    /// What.
    pub act: RuleAct,
    /// By whom.
    pub by: Arc<str>,
    /// Why, in their words; may be empty.
    pub reason: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// A set of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    /// Which.
    pub id: RuleSetId,
    /// 1 at first, and one more with each change.
    pub revision: u64,
    /// The number of the latest version.
    pub latest: u64,
    /// Its versions, the oldest first.
    pub versions: Vec<RuleVersion>,
    /// The version that decides.
    pub in_force: Option<u64>,
    /// The version that looks on.
    pub shadow: Option<u64>,
    /// What decided before, the latest last; none where nothing of it did.
    pub past: Vec<Option<u64>>,
    /// What was done with it last.
    pub last: RuleStep,
}

/// Which sets to list.
#[derive(Debug, Clone, Default)]
pub struct WhichRules {
    /// Only those that come after this one.
    pub after: Option<RuleSetId>,
    /// At most so many.
    pub most: usize,
}

/// Policies that are written while gateways run.
#[async_trait]
pub trait RuleSets: fmt::Debug + Send + Sync {
    /// Puts a set in the place of what it was, or adds it, or takes it out if it was removed. It has to be what can become of
    /// what it was, see [`RuleSet::check`].
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] if another change came first; [`StoreError::Unfit`]; [`StoreError::TooLarge`];
    /// [`StoreError::Full`].
    async fn put_rules(&self, set: RuleSet) -> Result<(), StoreError>;

    /// This set, with all versions.
    async fn rules(&self, id: &RuleSetId) -> Result<Option<RuleSet>, StoreError>;

    /// Sets in the order of their ids, with no texts but those that decide or look on.
    async fn all_rules(&self, which: &WhichRules) -> Result<Vec<RuleSet>, StoreError>;
}

/// Who does something with a set, why and when.
#[derive(Debug, Clone)]
pub struct RuleDoing {
    /// Who.
    pub by: Arc<str>,
    /// Why; may be empty.
    pub reason: Arc<str>,
    /// When.
    pub at: Timestamp,
}

impl RuleDoing {
    fn step(&self, act: RuleAct) -> RuleStep {
        RuleStep { act, by: Arc::clone(&self.by), reason: Arc::clone(&self.reason), at: self.at }
    }
}

const MISSING: StoreError = StoreError::Unfit { why: "there is no such version" };

impl RuleSet {
    /// A new set with a first version.
    pub fn draft(id: RuleSetId, text: Arc<str>, doing: &RuleDoing) -> Self {
        let empty = Self {
            id,
            revision: 0,
            latest: 0,
            versions: Vec::new(),
            in_force: None,
            shadow: None,
            past: Vec::new(),
            last: doing.step(RuleAct::Written),
        };
        empty.written(text, doing)
    }

    fn after(&self, act: RuleAct, doing: &RuleDoing) -> Self {
        Self { revision: self.revision + 1, last: doing.step(act), ..self.clone() }
    }

    /// The same set with another version.
    #[must_use]
    pub fn written(&self, text: Arc<str>, doing: &RuleDoing) -> Self {
        let mut next = self.after(RuleAct::Written, doing);
        next.latest += 1;
        next.versions.push(RuleVersion {
            number: next.latest,
            text,
            by: Arc::clone(&doing.by),
            reason: Arc::clone(&doing.reason),
            at: doing.at,
        });
        while next.versions.len() > RULE_VERSIONS_MAX {
            let goes = next.versions.iter().position(|version| !next.is_used(version.number)).unwrap_or(0);
            let gone = next.versions.remove(goes).number;
            next.past.retain(|past| *past != Some(gone));
        }
        next
    }

    /// With this version looking on; none to have none.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if there is no such version, or it decides already.
    pub fn shadowed(&self, version: Option<u64>, doing: &RuleDoing) -> Result<Self, StoreError> {
        if let Some(version) = version {
            self.version(version).ok_or(MISSING)?;
            if self.in_force == Some(version) {
                return Err(StoreError::Unfit {
                    why: "this version decides: there is nothing to look on for",
                });
            }
        }
        Ok(Self { shadow: version, ..self.after(RuleAct::Shadowed, doing) })
    }

    /// With this version deciding.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if there is no such version, or it does already.
    pub fn promoted(&self, version: u64, doing: &RuleDoing) -> Result<Self, StoreError> {
        self.version(version).ok_or(MISSING)?;
        if self.in_force == Some(version) {
            return Err(StoreError::Unfit { why: "this version decides already" });
        }
        let mut next = self.after(RuleAct::Promoted, doing);
        next.remember();
        next.in_force = Some(version);
        next.shadow = next.shadow.filter(|shadow| *shadow != version);
        Ok(next)
    }

    /// With that deciding which did before; that may be nothing of it.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if nothing is known of before.
    pub fn rolled_back(&self, doing: &RuleDoing) -> Result<Self, StoreError> {
        let mut next = self.after(RuleAct::RolledBack, doing);
        let before = next.past.pop().ok_or(StoreError::Unfit { why: "nothing decided before" })?;
        next.in_force = before;
        next.shadow = next.shadow.filter(|shadow| Some(*shadow) != before);
        Ok(next)
    }

    /// With nothing of it deciding.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if nothing of it does.
    pub fn withdrawn(&self, doing: &RuleDoing) -> Result<Self, StoreError> {
        if self.in_force.is_none() {
            return Err(StoreError::Unfit { why: "nothing of it decides" });
        }
        let mut next = self.after(RuleAct::Withdrawn, doing);
        next.remember();
        next.in_force = None;
        Ok(next)
    }

    /// Gone for good.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] while something of it decides or looks on.
    pub fn removed(&self, doing: &RuleDoing) -> Result<Self, StoreError> {
        if self.in_force.is_some() || self.shadow.is_some() {
            return Err(StoreError::Unfit { why: "something of it decides or looks on: withdraw it first" });
        }
        Ok(self.after(RuleAct::Removed, doing))
    }

    fn remember(&mut self) {
        self.past.push(self.in_force);
        if self.past.len() > RULE_VERSIONS_MAX {
            self.past.remove(0);
        }
    }

    fn is_used(&self, version: u64) -> bool {
        self.in_force == Some(version) || self.shadow == Some(version)
    }

    /// This version of it.
    pub fn version(&self, number: u64) -> Option<&RuleVersion> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The version that decides.
    pub fn deciding(&self) -> Option<&RuleVersion> {
        self.in_force.and_then(|number| self.version(number))
    }

    /// The version that looks on.
    pub fn looking_on(&self) -> Option<&RuleVersion> {
        self.shadow.and_then(|number| self.version(number))
    }

    /// Whether it is gone.
    pub fn is_removed(&self) -> bool {
        self.last.act == RuleAct::Removed
    }

    /// Without the versions that neither decide nor look on: what gateways have to know.
    #[must_use]
    pub fn in_use(&self) -> Self {
        let used = self.versions.iter().filter(|version| self.is_used(version.number));
        Self { versions: used.cloned().collect(), ..self.clone() }
    }

    /// Whether it may stand where this one stood (none: nothing did): the rule of [`RuleSets::put_rules`], for all drivers. A
    /// version's text never changes once it is written.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, before: Option<&Self>) -> Result<(), StoreError> {
        let longest = self.versions.iter().map(|version| version.text.len()).max().unwrap_or(0);
        if longest > RULES_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes: longest, bytes_max: RULES_BYTES_MAX });
        }
        let known = |number: Option<u64>| number.is_none_or(|number| self.version(number).is_some());
        if self.versions.len() > RULE_VERSIONS_MAX || !known(self.in_force) || !known(self.shadow) {
            return Err(MISSING);
        }
        let Some(before) = before else {
            let is_new = self.revision == 1 && self.latest == 1 && self.in_force.or(self.shadow).is_none();
            return if is_new { Ok(()) } else { Err(StoreError::Overtaken) };
        };
        if before.revision.checked_add(1) != Some(self.revision) {
            return Err(StoreError::Overtaken);
        }
        let is_new = |version: &RuleVersion| version.number > before.latest;
        let is_as_before = |version: &RuleVersion| before.versions.contains(version);
        let is_writing = self.last.act == RuleAct::Written;
        let is_kept =
            self.versions.iter().all(|version| is_as_before(version) || (is_new(version) && is_writing));
        let is_same = (self.in_force, self.shadow) == (before.in_force, before.shadow);
        if !is_kept || (is_writing && !is_same) {
            return Err(StoreError::Unfit { why: "what was written stays as it is" });
        }
        Ok(())
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
        Ok(serde_json::from_str::<Written>(text).map_err(StoreError::broken)?.into())
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    tenant: String,
    name: String,
    revision: u64,
    latest: u64,
    versions: Vec<WrittenVersion>,
    in_force: Option<u64>,
    shadow: Option<u64>,
    past: Vec<Option<u64>>,
    act: RuleAct,
    by: String,
    reason: String,
    at: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenVersion {
    number: u64,
    text: String,
    by: String,
    reason: String,
    at: u64,
}

impl From<&RuleSet> for Written {
    fn from(set: &RuleSet) -> Self {
        let (tenant, name) = set.id.parts();
        let version = |version: &RuleVersion| WrittenVersion {
            number: version.number,
            text: version.text.to_string(),
            by: version.by.to_string(),
            reason: version.reason.to_string(),
            at: version.at.as_ms(),
        };
        Self {
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            revision: set.revision,
            latest: set.latest,
            versions: set.versions.iter().map(version).collect(),
            in_force: set.in_force,
            shadow: set.shadow,
            past: set.past.clone(),
            act: set.last.act,
            by: set.last.by.to_string(),
            reason: set.last.reason.to_string(),
            at: set.last.at.as_ms(),
        }
    }
}

impl From<Written> for RuleSet {
    fn from(written: Written) -> Self {
        let version = |version: WrittenVersion| RuleVersion {
            number: version.number,
            text: version.text.into(),
            by: version.by.into(),
            reason: version.reason.into(),
            at: Timestamp::from_ms(version.at),
        };
        Self {
            id: RuleSetId::from_parts(&written.tenant, &written.name),
            revision: written.revision,
            latest: written.latest,
            versions: written.versions.into_iter().map(version).collect(),
            in_force: written.in_force,
            shadow: written.shadow,
            past: written.past,
            last: RuleStep {
                act: written.act,
                by: written.by.into(),
                reason: written.reason.into(),
                at: Timestamp::from_ms(written.at),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doing() -> RuleDoing {
        RuleDoing { by: "ada".into(), reason: "".into(), at: Timestamp::from_ms(5) }
    }

    fn set() -> RuleSet {
        let id = RuleSetId::new(Some(TenantId::new("acme")), "pay").expect("a name");
        RuleSet::draft(id, "one".into(), &doing())
    }

    #[test]
    fn what_decided_before_decides_again_step_by_step() {
        let set = set().written("two".into(), &doing());
        let one = set.promoted(1, &doing()).expect("there");
        let two = one.promoted(2, &doing()).expect("there");
        assert_eq!(two.deciding().map(|version| &*version.text), Some("two"));
        assert!(two.promoted(2, &doing()).is_err() && two.promoted(3, &doing()).is_err());
        let back = two.rolled_back(&doing()).expect("before");
        assert_eq!(back.in_force, Some(1));
        let nothing = back.rolled_back(&doing()).expect("before that");
        assert_eq!(nothing.in_force, None);
        assert!(nothing.rolled_back(&doing()).is_err());
    }

    #[test]
    fn what_is_promoted_looks_on_no_more() {
        let looking = set().shadowed(Some(1), &doing()).expect("there");
        assert!(looking.removed(&doing()).is_err(), "in use");
        let promoted = looking.promoted(1, &doing()).expect("there");
        assert_eq!((promoted.in_force, promoted.shadow), (Some(1), None));
        assert!(promoted.shadowed(Some(1), &doing()).is_err());
        let withdrawn = promoted.withdrawn(&doing()).expect("in force");
        assert!(withdrawn.removed(&doing()).is_ok());
        assert_eq!(withdrawn.rolled_back(&doing()).expect("before").in_force, Some(1));
    }

    #[test]
    fn old_versions_go_but_for_those_in_use() {
        let mut set = set().promoted(1, &doing()).expect("there");
        for number in 2..=50_u64 {
            set = set.written(number.to_string().into(), &doing());
        }
        assert_eq!(set.versions.len(), RULE_VERSIONS_MAX);
        assert!(set.version(1).is_some() && set.version(2).is_none() && set.version(50).is_some());
        assert_eq!(set.in_use().versions.len(), 1);
        assert_eq!(RuleSet::decode(&set.encode()).expect("read"), set);
    }

    #[test]
    fn nothing_is_slipped_in() {
        let before = set();
        let mut altered = before.promoted(1, &doing()).expect("there");
        assert!(altered.check(Some(&before)).is_ok());
        altered.versions[0].text = "other".into();
        assert!(matches!(altered.check(Some(&before)), Err(StoreError::Unfit { .. })));
        let mut sneaking = before.written("two".into(), &doing());
        sneaking.in_force = Some(2);
        assert!(matches!(sneaking.check(Some(&before)), Err(StoreError::Unfit { .. })));
        assert!(matches!(before.check(Some(&before)), Err(StoreError::Overtaken)));
        let large = before.written("x".repeat(RULES_BYTES_MAX + 1).into(), &doing());
        assert!(matches!(large.check(Some(&before)), Err(StoreError::TooLarge { .. })));
    }

    #[test]
    fn names_are_plain() {
        for name in ["", "A", "a/b", "a b", "ü", &"x".repeat(65)] {
            assert!(RuleSetId::new(None, name).is_err(), "{name}");
        }
        assert!(RuleSetId::new(None, "pay-2.eu_x").is_ok());
    }
}
