//! What an operator says of approvals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tollgate_store::{AskingRoom, Needed};

/// How approvals are asked for, and who may agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalSettings {
    /// Who may agree for which group. A group that is not here is that of the same name which approvers bring with them.
    pub groups: BTreeMap<Arc<str>, Group>,
    /// The groups that have to agree to calls of tools that operators say are destructive, whatever policies say; none where policies
    /// alone say what needs whom.
    pub destructive: Vec<Arc<str>>,
    /// How many different people of a group have to agree, where the group does not say it itself.
    pub people_min: u32,
    /// How long people may take.
    pub expiry: Duration,
    /// For how long a grant is good. Its call has to be made in this time.
    pub grant: Duration,
    /// How long a call is held for an answer before its client is told to come back.
    pub wait: Duration,
    /// How many calls may be held at once in this process. Whoever comes beyond is told to come back at once.
    pub held_max: usize,
    /// How many of them may be one caller's.
    pub held_per_principal_max: usize,
    /// How many approvals of one caller may wait.
    pub waiting_per_principal_max: usize,
    /// How many approvals of one tenant may wait.
    pub waiting_per_tenant_max: usize,
    /// What is kept of a call's arguments.
    pub arguments: Keeps,
    /// Where people see an approval: a URL in which `{id}` stands for its id.
    pub url: Option<Arc<str>>,
}

/// What is kept of a call's arguments, beside their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeps {
    /// Nothing.
    Digest,
    /// They are, without what is private.
    #[default]
    Redacted,
    /// They are, for those who may see them whole, until the call is made or denied.
    Whole,
}

/// Who may agree for a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// These people.
    pub users: Vec<Arc<str>>,
    /// Whoever is of one of these groups, as who signs them in says.
    pub groups: Vec<Arc<str>>,
    /// Whoever has one of these roles.
    pub roles: Vec<Arc<str>>,
    /// How many different people of it have to agree.
    pub people_min: Option<u32>,
}

impl Default for ApprovalSettings {
    fn default() -> Self {
        Self {
            groups: BTreeMap::new(),
            destructive: Vec::new(),
            people_min: 1,
            expiry: Duration::from_hours(1),
            grant: Duration::from_mins(10),
            wait: Duration::from_secs(50),
            held_max: 1_000,
            held_per_principal_max: 100,
            waiting_per_principal_max: 20,
            waiting_per_tenant_max: 1_000,
            arguments: Keeps::default(),
            url: None,
        }
    }
}

impl ApprovalSettings {
    /// Who has to agree where these groups are asked: each of them, and somebody even where none is named.
    pub fn needs(&self, groups: &[Arc<str>]) -> Vec<Needed> {
        let mut groups = groups.to_vec();
        groups.sort();
        groups.dedup();
        let need = |group: Arc<str>| {
            let own = self.groups.get(&group).and_then(|group| group.people_min);
            Needed { people: own.unwrap_or(self.people_min).max(1), group }
        };
        groups.into_iter().map(need).collect()
    }

    /// How many may wait.
    pub fn room(&self) -> AskingRoom {
        AskingRoom { principal_max: self.waiting_per_principal_max, tenant_max: self.waiting_per_tenant_max }
    }

    /// Where people see an approval.
    pub fn url_of(&self, id: &str) -> Option<String> {
        self.url.as_ref().map(|url| url.replace("{id}", id))
    }
}
