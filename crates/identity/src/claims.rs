//! What an issuer's claims mean: where the user, the agent, groups and the rest stand in a token.

use std::sync::Arc;

use serde_json::{Map, Value};

/// Where a claim stands: the names of the members on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Vec<Arc<str>>);

/// The deepest claim.
const DEPTH_MAX: usize = 8;

impl ClaimPath {
    /// Reads a path: names with dots between them (`realm_access.roles`); a name with a dot of its own stands in a JSON
    /// Pointer (`/resource_access/my.client/roles`, RFC 6901); a name that is a URL stands for itself
    /// (`https://example.com/groups`). `None` if it is empty, or too deep.
    pub fn read(text: &str) -> Option<Self> {
        let names: Vec<Arc<str>> = if text.contains("://") {
            vec![Arc::from(text)]
        } else if let Some(pointer) = text.strip_prefix('/') {
            pointer.split('/').map(|name| Arc::from(name.replace("~1", "/").replace("~0", "~"))).collect()
        } else {
            text.split('.').map(Arc::from).collect()
        };
        let fits = names.len() <= DEPTH_MAX && names.iter().all(|name| !name.is_empty());
        fits.then_some(Self(names))
    }

    /// A claim of this name at the top.
    pub(crate) fn top(name: &str) -> Self {
        Self(vec![Arc::from(name)])
    }

    /// Whether it is the claim of this name at the top.
    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(&*self.0, [only] if **only == *name)
    }

    /// What stands there.
    pub(crate) fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (last, above) = self.0.split_last()?;
        let mut members = claims;
        for name in above {
            members = members.get(&**name)?.as_object()?;
        }
        members.get(&**last)
    }
}

/// Where everything stands. Of several places, the first that is there counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimSettings {
    /// The user.
    pub user: Vec<ClaimPath>,
    /// The agent: the client that the token was given to.
    pub agent: Vec<ClaimPath>,
    /// The user's groups.
    pub groups: Vec<ClaimPath>,
    /// The agent's groups.
    pub agent_groups: Vec<ClaimPath>,
    /// Roles.
    pub roles: Vec<ClaimPath>,
    /// Scopes.
    pub scopes: Vec<ClaimPath>,
}

impl Default for ClaimSettings {
    fn default() -> Self {
        let places = |names: &[&str]| names.iter().map(|name| ClaimPath::top(name)).collect();
        Self {
            user: places(&["sub"]),
            agent: places(&["client_id", "azp"]),
            groups: places(&["groups"]),
            agent_groups: Vec::new(),
            roles: places(&["roles"]),
            scopes: places(&["scope", "scp"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let names = |text: &str| {
            ClaimPath::read(text).map(|path| path.0.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(names("sub"), Some(vec!["sub".to_owned()]));
        assert_eq!(names("realm_access.roles"), Some(vec!["realm_access".to_owned(), "roles".to_owned()]));
        assert_eq!(names("https://a.example/groups"), Some(vec!["https://a.example/groups".to_owned()]));
        assert_eq!(names("/a.b/c~1d"), Some(vec!["a.b".to_owned(), "c/d".to_owned()]));
        for bad in ["", "a..b", "/", "a.b.c.d.e.f.g.h.i"] {
            assert_eq!(names(bad), None, "{bad}");
        }
    }
}
