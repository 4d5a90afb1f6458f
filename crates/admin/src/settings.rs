//! How people administer.

use std::sync::Arc;
use std::time::Duration;

use tollgate_identity::SignInSettings;

use crate::roles::Grant;

/// How people administer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// By what URL they know the admin listener; without a `/` at its end.
    pub public_url: Option<Arc<str>>,
    /// How they sign in; not at all if absent.
    pub sign_in: Option<SignInSettings>,
    /// What those are who sign in.
    pub roles: Vec<RoleRule>,
    /// How long a session lasts.
    pub session_max: Duration,
    /// How long a session lasts that is not used.
    pub session_idle: Duration,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            public_url: None,
            sign_in: None,
            roles: Vec::new(),
            session_max: Duration::from_hours(12),
            session_idle: Duration::from_hours(1),
        }
    }
}

/// What some people are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// These.
    pub users: Vec<Arc<str>>,
    /// Those who are in one of these groups.
    pub groups: Vec<Arc<str>>,
    /// What they are, and where.
    pub grants: Vec<Grant>,
}

impl AdminSettings {
    /// What somebody is who has signed in.
    pub(crate) fn grants(&self, subject: &str, groups: &[Arc<str>]) -> Vec<Grant> {
        let is_meant = |rule: &&RoleRule| {
            rule.users.iter().any(|user| **user == *subject)
                || rule.groups.iter().any(|group| groups.contains(group))
        };
        let mut grants: Vec<Grant> = Vec::new();
        for grant in self.roles.iter().filter(is_meant).flat_map(|rule| &rule.grants) {
            if !grants.contains(grant) {
                grants.push(grant.clone());
            }
        }
        grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::Role;

    #[test]
    fn people_are_what_their_groups_and_names_say() {
        let grant = |role| Grant { role, tenant: None };
        let rule = |user: &[&str], groups: &[&str], role| RoleRule {
            users: user.iter().map(|text| Arc::from(*text)).collect(),
            groups: groups.iter().map(|text| Arc::from(*text)).collect(),
            grants: vec![grant(role)],
        };
        let settings = AdminSettings {
            roles: vec![
                rule(&["ada"], &[], Role::Admin),
                rule(&[], &["sec", "soc"], Role::Security),
                rule(&["ada"], &["sec"], Role::Security),
            ],
            ..AdminSettings::default()
        };
        assert_eq!(settings.grants("ada", &["sec".into()]), [grant(Role::Admin), grant(Role::Security)]);
        assert_eq!(settings.grants("eve", &["soc".into()]), [grant(Role::Security)]);
        assert_eq!(settings.grants("eve", &["admin".into(), "ada".into()]), [], "a group is no name");
    }
}
