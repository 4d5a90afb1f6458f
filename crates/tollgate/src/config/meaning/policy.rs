//! Policies: the texts of all files, read whole. Whether they are good Cedar, and fit the servers, is for the policy crate
//! to say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tollgate_model::TenantId;
use tollgate_policy::{Source, Sources};

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
        self.shadow.get(tenant).map(|own| self.with(own.clone()))
    }

    /// All that applies to the callers of a tenant whose own policies these are.
    pub fn with(&self, own: Vec<Source>) -> Sources {
        Sources { tenant: own, operator: self.operator.clone(), tenants: self.all_tenants.clone() }
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
            Policies { are_configured, tenants: others, shadow, operator: Vec::new(), all_tenants };
        if let Some(section) = section {
            policies.are_configured = true;
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
