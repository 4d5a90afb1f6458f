//! The names of tools and prompts that servers' lists have shown: what a client made up is no name of a metric.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use tollgate_model::ServerId;

/// How many are remembered, of all servers together.
const NAMES_MAX: usize = 20_000;

/// Names that servers' lists have shown, by server. What comes when it is full is not remembered.
#[derive(Debug, Default)]
pub(crate) struct Names(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    of: HashMap<ServerId, HashSet<Box<str>>>,
    count: usize,
}

impl Names {
    /// A server has these.
    pub(crate) fn learn<'a>(&self, server: &ServerId, names: impl Iterator<Item = &'a str> + Clone) {
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let of = known.of.get(server);
            if names.clone().all(|name| of.is_some_and(|of| of.contains(name))) {
                return;
            }
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let room = NAMES_MAX.saturating_sub(known.count);
        let of = known.of.entry(server.clone()).or_default();
        let before = of.len();
        for name in names {
            if of.len() - before >= room {
                break;
            }
            of.insert(name.into());
        }
        let more = of.len() - before;
        known.count += more;
    }

    /// Whether a server's lists have shown it.
    pub(crate) fn knows(&self, server: &ServerId, name: &str) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.of.get(server).is_some_and(|of| of.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::{Holder, ServerName};

    #[test]
    fn names_are_each_servers_own_and_bounded() {
        let server = |name| ServerId::new(Holder::Shared, ServerName::new(name).expect("a name"));
        let names = Names::default();
        names.learn(&server("a"), ["x", "y"].into_iter());
        assert!(names.knows(&server("a"), "x") && !names.knows(&server("b"), "x"));
        let many: Vec<String> = (0..NAMES_MAX + 5).map(|nth| format!("t{nth}")).collect();
        names.learn(&server("b"), many.iter().map(String::as_str));
        assert!(names.knows(&server("b"), "t0") && !names.knows(&server("b"), &many[NAMES_MAX]));
    }
}
