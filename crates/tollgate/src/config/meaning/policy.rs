//! Policies: the texts of all files, read whole. Whether they are good Cedar, and fit the servers, is for the policy crate
//! to say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tollgate_model::TenantId;
use tollgate_policy::{Source, Sources};
use tollgate_store::{RuleSet, RuleSetId, RuleVersion};

use super::Meaning;
use crate::config::forms::Items;
use crate::config::node::Place;
use crate::config::section::{PolicySection, ShadowSection};

/// How a file of policies ends.
const ENDING: &str = "cedar";
/// The most files of policies of a configuration.
const FILES_MAX: usize = 1000;
/// The most bytes that they have together.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// How deep folders of policies may be nested.
const FOLDERS_DEEP_MAX: usize = 8;

/// The policies of a configuration, as texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// Whether the configuration speaks of policy at all. If it does, nothing is allowed that no permit allows.
    pub are_configured: bool,
    /// Each tenant's own policies. A tenant that is not here has none.
    pub tenants: BTreeMap<TenantId, Vec<Source>>,
    /// Policies that only look on, of tenants that have such.
    pub shadow: BTreeMap<TenantId, Vec<Source>>,
    /// The operator's forbids, which hold for every tenant.
    pub operator: Vec<Source>,
    /// The operator's, in the eyes of policies that only look on, where they differ.
    pub shadow_operator: Option<Vec<Source>>,
    /// Whether policies that are kept in the store count.
    pub are_stored: bool,
    /// Whether nobody can put in force what they wrote.
    pub four_eyes: bool,
    /// Every tenant of the configuration: there are no callers of others, so that a rule which names one is mistaken.
    pub all_tenants: Vec<TenantId>,
}

impl Policies {
    /// All that applies to the callers of a tenant.
    pub fn of(&self, tenant: &TenantId) -> Sources {
        self.with(self.tenants.get(tenant).cloned().unwrap_or_default())
    }

    /// All that would apply to them under the policies that only look on; none if there are no such.
    pub fn shadow_of(&self, tenant: &TenantId) -> Option<Sources> {
        let live = || self.tenants.get(tenant).cloned().unwrap_or_default();
        let own = self.shadow.get(tenant).cloned().or_else(|| self.shadow_operator.is_some().then(live))?;
        let sources = self.with(own);
        let operator = self.shadow_operator.clone().unwrap_or_else(|| sources.operator.clone());
        Some(Sources { operator, ..sources })
    }

    /// All that applies to the callers of a tenant whose own policies these are.
    pub fn with(&self, own: Vec<Source>) -> Sources {
        Sources { tenant: own, operator: self.operator.clone(), tenants: self.all_tenants.clone() }
    }
}

/// What names of stored policies begin with, where files have their path.
const STORED: &str = "store:";

/// How a version of a stored set is named in messages, and in the ids of its rules.
pub(crate) fn stored_path(id: &RuleSetId, version: &str) -> Arc<str> {
    let operator = if id.tenant.is_none() { "operator/" } else { "" };
    format!("{STORED}{operator}{}@{version}", id.name).into()
}

fn stored_source(id: &RuleSetId, version: &RuleVersion) -> Source {
    Source { path: stored_path(id, &version.number.to_string()), text: Arc::clone(&version.text) }
}

/// Whether this is a version of a stored set, and not a file.
pub(crate) fn is_stored(path: &str) -> bool {
    path.starts_with(STORED)
}

impl Policies {
    /// Takes in the sets that are kept in the store: those of a tenant beside its own, the operator's beside the operator's. A
    /// version that looks on does so in the place of the one of its set that decides.
    pub(crate) fn take_stored<'r>(&mut self, sets: impl Iterator<Item = &'r RuleSet>, tenants: &[TenantId]) {
        if !self.are_stored {
            return;
        }
        let sets: Vec<&RuleSet> =
            sets.filter(|set| set.id.tenant.as_ref().is_none_or(|tenant| tenants.contains(tenant))).collect();
        let of = |tenant: Option<&TenantId>| -> Vec<&RuleSet> {
            sets.iter().copied().filter(|set| set.id.tenant.as_ref() == tenant).collect()
        };
        let live = |sets: &[&RuleSet]| -> Vec<Source> {
            sets.iter().filter_map(|set| Some(stored_source(&set.id, set.deciding()?))).collect()
        };
        let looking = |sets: &[&RuleSet]| -> Option<Vec<Source>> {
            sets.iter().any(|set| set.looking_on().is_some()).then(|| {
                let version = |set: &&RuleSet| {
                    set.looking_on().or(set.deciding()).map(|one| (set.id.clone(), one.clone()))
                };
                sets.iter().filter_map(version).map(|(id, version)| stored_source(&id, &version)).collect()
            })
        };
        for tenant in tenants {
            let own = of(Some(tenant));
            let (live, looking) = (live(&own), looking(&own));
            if let Some(looking) = looking {
                let files = self.shadow.remove(tenant);
                let mut files =
                    files.unwrap_or_else(|| self.tenants.get(tenant).cloned().unwrap_or_default());
                files.extend(looking);
                self.shadow.insert(tenant.clone(), files);
            } else if let Some(files) = self.shadow.get_mut(tenant) {
                files.extend(live.iter().cloned());
            }
            if !live.is_empty() {
                self.tenants.entry(tenant.clone()).or_default().extend(live);
            }
        }
        let own = of(None);
        self.shadow_operator = looking(&own).map(|looking| [self.operator.clone(), looking].concat());
        self.operator.extend(live(&own));
    }

    /// With this in the place of whatever is in force of a stored set.
    pub(crate) fn try_stored(&mut self, id: &RuleSetId, source: Source) {
        let sources = match &id.tenant {
            Some(tenant) => self.tenants.entry(tenant.clone()).or_default(),
            None => &mut self.operator,
        };
        let before = stored_path(id, "");
        sources.retain(|source| !source.path.starts_with(&*before));
        sources.push(source);
    }
}

impl Meaning<'_> {
    /// The `policy` section of the whole configuration, beside the policies of `others`.
    pub(super) fn policies(
        &mut self,
        section: Option<&PolicySection>,
        (others, shadow): (BTreeMap<TenantId, Vec<Source>>, BTreeMap<TenantId, Vec<Source>>),
        all_tenants: Vec<TenantId>,
        place: &Place<'_>,
    ) -> Policies {
        let are_configured = !others.is_empty();
        let mut policies =
            Policies { are_configured, tenants: others, shadow, all_tenants, ..Policies::default() };
        if let Some(section) = section {
            policies.are_configured = true;
            policies.are_stored = section.stored == Some(true);
            policies.four_eyes = section.four_eyes == Some(true);
            let own = self.policy_files(section.files.as_ref(), &place.key("files"));
            policies.tenants.insert(TenantId::default(), own);
            policies.operator = self.policy_files(section.operator.as_ref(), &place.key("operator"));
            let shadow = self.shadow_files(section.shadow.as_ref(), &place.key("shadow"));
            policies.shadow.extend(shadow.map(|shadow| (TenantId::default(), shadow)));
        }
        policies
    }

    /// The policies that only look on. None where there are none, or where they cannot all be read: that is no reason not to
    /// serve.
    pub(super) fn shadow_files(
        &mut self,
        section: Option<&ShadowSection>,
        place: &Place<'_>,
    ) -> Option<Vec<Source>> {
        let place = place.key("files");
        let (sources, wrong) = self.read_policies(section?.files.as_ref(), &place);
        let is_whole = wrong.is_empty();
        for (index, reason) in wrong {
            let message = format!("{reason}; the shadow policies are not used");
            self.problems.warning(&place.item(index), message, None);
        }
        (is_whole && !sources.is_empty()).then_some(sources)
    }

    /// The files that a list names, in its order; those of a folder in the order of their names.
    pub(super) fn policy_files(&mut self, list: Option<&Items<String>>, place: &Place<'_>) -> Vec<Source> {
        let (sources, wrong) = self.read_policies(list, place);
        for (index, reason) in wrong {
            self.problems.error(&place.item(index), reason);
        }
        sources
    }

    /// The files that a list names, and what is wrong with which item of it.
    fn read_policies(
        &mut self,
        list: Option<&Items<String>>,
        place: &Place<'_>,
    ) -> (Vec<Source>, Vec<(usize, String)>) {
        let mut wrong = Vec::new();
        let mut sources: Vec<Source> = Vec::new();
        for (index, written) in Items::iter(list) {
            let place = place.item(index);
            let found = self.files.path(written);
            let read = if found.is_dir() {
                let written = written.trim_end_matches('/');
                let mut read = Vec::new();
                self.policy_folder(written, &found, FOLDERS_DEEP_MAX, &mut read).map(|()| read)
            } else {
                self.policy_file(written).map(|source| vec![source])
            };
            match read {
                Ok(read) if read.is_empty() => {
                    let message = format!("no file in {} ends in `.{ENDING}`", found.display());
                    self.problems.warning(&place, message, None);
                }
                Ok(read) => {
                    let news = read.into_iter().filter(|new| !sources.iter().any(|old| old.path == new.path));
                    let news: Vec<Source> = news.collect();
                    sources.extend(news);
                }
                Err(reason) => wrong.push((index, reason)),
            }
            let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
            if sources.len() > FILES_MAX || bytes > BYTES_MAX {
                let message = format!("more than {FILES_MAX} files, or {BYTES_MAX} bytes, of policies");
                wrong.push((index, message));
                break;
            }
        }
        (sources, wrong)
    }

    /// What ends in `.cedar` in a folder and those below it. Hidden ones are left out: they are an editor's, or Kubernetes'
    /// own copies of what it shows beside them.
    fn policy_folder(
        &self,
        written: &str,
        folder: &Path,
        deep: usize,
        found: &mut Vec<Source>,
    ) -> Result<(), String> {
        // A change of the folder is one of the policies: a file may come.
        self.files.watch(folder);
        let failed = |error: std::io::Error| format!("{} cannot be read: {error}", folder.display());
        let mut names: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.to_str().filter(|name| !name.starts_with('.')).map(ToOwned::to_owned));
        }
        names.sort();
        for name in names {
            let (written, path) = (format!("{written}/{name}"), folder.join(&name));
            if path.is_dir() {
                if deep == 0 {
                    return Err(format!("{} is nested too deep", path.display()));
                }
                self.policy_folder(&written, &path, deep - 1, found)?;
            } else if path.extension().is_some_and(|ending| ending == ENDING) {
                if found.len() >= FILES_MAX {
                    return Err(format!("{} has more than {FILES_MAX} files of policies", folder.display()));
                }
                found.push(self.policy_file(&written)?);
            }
        }
        Ok(())
    }

    /// One file. It is named as the configuration names it, since callers see ids of rules, and must not learn where on
    /// this machine they are.
    fn policy_file(&self, written: &str) -> Result<Source, String> {
        let text = self.files.text_of(written, BYTES_MAX as u64)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let path = written.strip_prefix("./").unwrap_or(written);
        Ok(Source { path: Arc::from(path), text: Arc::from(text) })
    }
}

#[cfg(test)]
mod tests {
    use tollgate_model::Timestamp;
    use tollgate_store::RuleDoing;

    use super::*;

    fn doing() -> RuleDoing {
        RuleDoing { by: "ada".into(), reason: "".into(), at: Timestamp::from_ms(1) }
    }

    fn set(tenant: Option<&str>, name: &str) -> RuleSet {
        let id = RuleSetId::new(tenant.map(TenantId::new), name).expect("a name");
        RuleSet::draft(id, "one".into(), &doing()).written("two".into(), &doing())
    }

    fn policies(are_stored: bool) -> Policies {
        let file = |path: &str| vec![Source { path: path.into(), text: "file".into() }];
        Policies {
            are_configured: true,
            are_stored,
            tenants: BTreeMap::from([(TenantId::new("acme"), file("own.cedar"))]),
            operator: file("all.cedar"),
            ..Policies::default()
        }
    }

    fn paths(sources: &[Source]) -> Vec<&str> {
        sources.iter().map(|source| &*source.path).collect()
    }

    #[test]
    fn stored_sets_count_beside_files_and_only_where_that_is_said() {
        let (acme, globex) = (TenantId::new("acme"), TenantId::new("globex"));
        let tenants = [acme.clone(), globex.clone()];
        let sets = [
            set(None, "stop").promoted(2, &doing()).expect("there"),
            set(Some("acme"), "draft"),
            set(Some("acme"), "pay").promoted(1, &doing()).expect("there"),
            set(Some("gone"), "pay").promoted(1, &doing()).expect("there"),
        ];
        let mut off = policies(false);
        off.take_stored(sets.iter(), &tenants);
        assert_eq!(off, policies(false));
        let mut on = policies(true);
        on.take_stored(sets.iter(), &tenants);
        assert_eq!(paths(&on.of(&acme).tenant), ["own.cedar", "store:pay@1"]);
        assert_eq!(paths(&on.of(&acme).operator), ["all.cedar", "store:operator/stop@2"]);
        assert_eq!(paths(&on.of(&globex).tenant), [""; 0]);
        assert_eq!((on.shadow_of(&acme), on.tenants.len()), (None, 1));
        on.try_stored(&sets[2].id, Source { path: stored_path(&sets[2].id, "draft"), text: "x".into() });
        assert_eq!(paths(&on.of(&acme).tenant), ["own.cedar", "store:pay@draft"]);
    }

    #[test]
    fn what_looks_on_does_so_in_the_place_of_its_own_set() {
        let (acme, globex) = (TenantId::new("acme"), TenantId::new("globex"));
        let tenants = [acme.clone(), globex.clone()];
        let pay = set(Some("acme"), "pay").promoted(1, &doing()).expect("there");
        let pay = pay.shadowed(Some(2), &doing()).expect("there");
        let other = set(Some("acme"), "other").promoted(1, &doing()).expect("there");
        let mut own = policies(true);
        own.take_stored([&other, &pay].into_iter(), &tenants);
        assert_eq!(paths(&own.of(&acme).tenant), ["own.cedar", "store:other@1", "store:pay@1"]);
        let shadow = own.shadow_of(&acme).expect("looks on");
        assert_eq!(paths(&shadow.tenant), ["own.cedar", "store:other@1", "store:pay@2"]);
        assert_eq!(own.shadow_of(&globex), None);
        let stop = set(None, "stop").shadowed(Some(1), &doing()).expect("there");
        let mut all = policies(true);
        all.take_stored(std::iter::once(&stop), &tenants);
        assert_eq!(paths(&all.of(&globex).operator), ["all.cedar"]);
        let shadow = all.shadow_of(&globex).expect("looks on");
        assert_eq!(paths(&shadow.operator), ["all.cedar", "store:operator/stop@1"]);
        assert_eq!(paths(&all.shadow_of(&acme).expect("looks on").tenant), ["own.cedar"]);
    }
}
