//! Who asks, as the author of policies describes a caller.

use std::sync::Arc;

use tollgate_model::{KeyRecord, Principal, PrincipalId, Proof, TenantId};

use super::target::Unknown;
use crate::cli::policy::WhoFlags;
use crate::exit::Failure;

/// A caller. Nothing is proved by it: it only says what one would act as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Who {
    pub(crate) tenant: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) agent_groups: Vec<String>,
    pub(crate) roles: Vec<String>,
}

impl From<&KeyRecord> for Who {
    fn from(key: &KeyRecord) -> Self {
        Self {
            tenant: Some(key.tenant.as_str().to_owned()),
            agent: Some(key.agent.to_string()),
            agent_groups: key.groups.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }
}

impl Who {
    /// The tenant; `default` unless said otherwise.
    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant.as_deref().map(TenantId::new).unwrap_or_default()
    }

    /// The principal that such a caller would be. Groups without somebody whose they are mean nothing.
    pub(crate) fn principal(&self) -> Result<Arc<Principal>, Unknown> {
        let lost = |groups: &[String], whose: &str, other: &str| {
            let first = groups.first().map(String::as_str).unwrap_or_default();
            let message = format!("the group `{first}` is of no {whose}");
            Unknown { message, suggestion: Some(format!("name the {whose}, or {other}")) }
        };
        if self.user.is_none() && !self.groups.is_empty() {
            return Err(lost(
                &self.groups,
                "user",
                "write `agent_groups` (`--agent-group`) for the groups of the agent",
            ));
        }
        if self.agent.is_none() && !self.agent_groups.is_empty() {
            return Err(lost(
                &self.agent_groups,
                "agent",
                "write `groups` (`--group`) for the groups of the user",
            ));
        }
        let parts: Vec<&str> = self.agent.iter().chain(&self.user).map(String::as_str).collect();
        let id = if parts.is_empty() { "nobody".to_owned() } else { parts.join(" for ") };
        let sorted = |texts: &[String]| {
            let mut texts: Vec<Arc<str>> = texts.iter().map(|text| Arc::from(text.as_str())).collect();
            texts.sort();
            texts.dedup();
            texts
        };
        Ok(Arc::new(Principal {
            agent: self.agent.as_deref().map(Arc::from),
            user: self.user.as_deref().map(Arc::from),
            groups: sorted(&self.groups),
            agent_groups: sorted(&self.agent_groups),
            roles: sorted(&self.roles),
            ..Principal::new(self.tenant(), PrincipalId::new(&id), Proof::Local)
        }))
    }
}

/// A caller as flags describe it, and what is said of it in one word: `agent:NAME`, `user:NAME`, or `key:ID` of a known key.
pub(crate) fn flags(flags: &WhoFlags, word: Option<&str>, keys: &[KeyRecord]) -> Result<Who, Failure> {
    let mut who = Who {
        tenant: flags.tenant.clone(),
        agent: flags.agent.clone(),
        user: flags.user.clone(),
        groups: flags.groups.clone(),
        agent_groups: flags.agent_groups.clone(),
        roles: flags.roles.clone(),
    };
    let Some(word) = word else { return Ok(who) };
    let (slot, name) = match word.split_once(':') {
        Some(("agent", name)) => (&mut who.agent, name),
        Some(("user", name)) => (&mut who.user, name),
        Some(("key", id)) => {
            let Some(key) = keys.iter().find(|key| key.id.as_str() == id) else {
                return Err(Failure::usage(format!("no key `{id}` is known")));
            };
            if flags.tenant.is_some() || flags.agent.is_some() || !flags.agent_groups.is_empty() {
                return Err(Failure::usage(
                    "a key says by itself whose it is: leave out tenant, agent and its groups",
                ));
            }
            let of_key = Who::from(key);
            return Ok(Who { user: who.user, groups: who.groups, roles: who.roles, ..of_key });
        }
        _ => {
            let text = format!(
                "{word:?} names nobody\n  help: write `agent:NAME`, `user:NAME`, or `key:ID` of a known key"
            );
            return Err(Failure::usage(text));
        }
    };
    if slot.as_deref().is_some_and(|other| other != name) {
        return Err(Failure::usage(format!("{word} is named beside another one")));
    }
    *slot = Some(name.to_owned());
    Ok(who)
}

/// A principal in a few words: `agent payments-bot for user ada (finance)`.
pub(crate) fn describe(principal: &Principal) -> String {
    let with = |kind: &str, name: &str, groups: &[Arc<str>]| {
        let groups = if groups.is_empty() { String::new() } else { format!(" ({})", groups.join(", ")) };
        format!("{kind} {name}{groups}")
    };
    let agent = principal.agent.as_ref().map(|agent| with("agent", agent, &principal.agent_groups));
    let user = principal.user.as_ref().map(|user| with("user", user, &principal.groups));
    let mut text = match (agent, user) {
        (Some(agent), Some(user)) => format!("{agent} for {user}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "nobody in particular".to_owned(),
    };
    if !principal.roles.is_empty() {
        text.extend([", with the roles ", &principal.roles.join(", ")]);
    }
    if principal.tenant != TenantId::default() {
        text.extend([", of tenant ", principal.tenant.as_str()]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(agent: Option<&str>, user: Option<&str>, groups: &[&str], agent_groups: &[&str]) -> Who {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Who {
            agent: agent.map(ToOwned::to_owned),
            user: user.map(ToOwned::to_owned),
            groups: texts(groups),
            agent_groups: texts(agent_groups),
            ..Who::default()
        }
    }

    #[test]
    fn a_caller_is_described_as_what_it_acts_as() {
        let principal = who(Some("bot"), Some("ada"), &["finance", "eu", "eu"], &["batch"]).principal();
        let text = principal.map(|principal| describe(&principal));
        assert_eq!(text, Ok("agent bot (batch) for user ada (eu, finance)".into()));
    }

    #[test]
    fn groups_of_nobody_are_refused() {
        for lost in [who(Some("bot"), None, &["finance"], &[]), who(None, Some("ada"), &[], &["batch"])] {
            assert!(lost.principal().is_err(), "{lost:?}");
        }
    }
}
