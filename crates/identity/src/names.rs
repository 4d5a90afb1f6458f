//! What agents, users, groups and roles may be called, and what a principal is called for it.

use std::sync::Arc;

use tollgate_model::PrincipalId;

use crate::key;

/// The longest name of an agent, a user, a group, a role or a scope, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// The most groups, roles or scopes that one proof may name. More are refused, never left out: a rule that forbids may
/// speak of any of them.
pub const NAMES_MAX: usize = 256;
/// Names that the gateway itself gives to callers.
const RESERVED: [&str; 2] = ["local", "anonymous"];

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing is left.
    #[error("a name is not empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// It could not be shown as it is.
    #[error("a name has no control characters")]
    Control,
    /// It looks like an API key, which is no name, and must not be shown as one.
    #[error("this looks like an API key, which is a secret and no name")]
    Key,
    /// The gateway gives this name itself.
    #[error("`local` and `anonymous` are the gateway's own names")]
    Reserved,
}

/// Whether a text can be the name of a group, a role or a scope.
pub fn check(name: &str) -> Result<(), BadName> {
    match name {
        "" => Err(BadName::Empty),
        name if name.len() > NAME_BYTES_MAX => Err(BadName::TooLong),
        name if name.chars().any(char::is_control) => Err(BadName::Control),
        name if key::id_in(name).is_some() => Err(BadName::Key),
        _ => Ok(()),
    }
}

/// Whether a text can be the name of an agent or a user.
pub fn check_caller(name: &str) -> Result<(), BadName> {
    check(name)?;
    if RESERVED.contains(&name) { Err(BadName::Reserved) } else { Ok(()) }
}

/// Whether a text can be a scope (RFC 6749, section 3.3).
pub fn is_scope(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// In order, each once: as principals keep them.
pub(crate) fn sorted(mut names: Vec<Arc<str>>) -> Vec<Arc<str>> {
    names.sort();
    names.dedup();
    names
}

/// What the agent on behalf of the user is called: `agent:NAME user:NAME`, with spaces and `%` inside a name escaped, so
/// that no two pairs are called the same. `None` if there is neither.
pub(crate) fn principal_id(agent: Option<&str>, user: Option<&str>) -> Option<PrincipalId> {
    let escaped = |name: &str| name.replace('%', "%25").replace(' ', "%20");
    let agent = agent.map(|name| format!("agent:{}", escaped(name)));
    let user = user.map(|name| format!("user:{}", escaped(name)));
    match (agent, user) {
        (Some(agent), Some(user)) => Some(PrincipalId::new(&format!("{agent} {user}"))),
        (Some(one), None) | (None, Some(one)) => Some(PrincipalId::new(&one)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(check("finance leads"), Ok(()));
        assert_eq!(check(""), Err(BadName::Empty));
        assert_eq!(check("a\u{0}"), Err(BadName::Control));
        assert_eq!(check(&"x".repeat(NAME_BYTES_MAX + 1)), Err(BadName::TooLong));
        assert_eq!(check_caller("local"), Err(BadName::Reserved));
        assert_eq!(check("anonymous"), Ok(()));
        assert_eq!(check("tg_4fVbq0Zk81Yt_x"), Err(BadName::Key));
    }

    proptest! {
        #[test]
        fn no_two_callers_are_called_the_same(
            one in proptest::option::of("[a%2 05:user]{1,8}"), two in proptest::option::of("[a%2 05:user]{1,8}"),
            three in proptest::option::of("[a%2 05:user]{1,8}"), four in proptest::option::of("[a%2 05:user]{1,8}"),
        ) {
            let id = |agent: &Option<String>, user: &Option<String>| principal_id(agent.as_deref(), user.as_deref());
            prop_assert_eq!(id(&one, &two) == id(&three, &four), (&one, &two) == (&three, &four));
        }
    }
}
