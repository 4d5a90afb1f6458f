//! What servers that are registered at run time may be.

use std::path::{Component, Path};

use tollgate_limits::Glob;
use tollgate_model::Reach;

use super::store::DATABASE_URL;
use super::{Meaning, REDIS_URL};
use crate::config::forms::Items;
use crate::config::node::Place;
use crate::config::section::RegistrySection;

/// What the gateway's own variables begin with.
const OWN_VARIABLES: &str = "TOLLGATE_";

/// What registered servers may be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RegistrySettings {
    /// Whether they may have any command.
    pub allow_stdio: bool,
    /// The command lines that they may have otherwise.
    pub stdio_commands: Vec<Glob>,
    /// Whether they may be in private networks.
    pub allow_private: bool,
    /// The variables and files that they may name.
    pub credentials: Vec<Glob>,
    /// Whether who made one may approve it. Without a word only those on this machine, where nobody signs in.
    pub self_approval: Option<bool>,
    /// The largest message of servers that do not say otherwise.
    pub message_bytes_max: Option<usize>,
}

impl RegistrySettings {
    /// Everything that can be checked where no gateway's configuration is at hand.
    pub(crate) fn anything() -> Self {
        let all = vec![Glob::new("*"), Glob::new("/*")];
        Self {
            allow_stdio: true,
            stdio_commands: Vec::new(),
            allow_private: true,
            credentials: all,
            self_approval: None,
            message_bytes_max: None,
        }
    }

    /// Whether they may name this variable.
    pub(crate) fn lends_variable(&self, name: &str) -> bool {
        let is_own = name.starts_with(OWN_VARIABLES) || [DATABASE_URL, REDIS_URL].contains(&name);
        !is_own && self.credentials.iter().any(|glob| glob.matches(name))
    }

    /// Whether they may name this file, an absolute path.
    pub(crate) fn lends_file(&self, path: &str) -> bool {
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        let is_plain = path.starts_with('/') && Path::new(path).components().all(plain);
        is_plain && self.credentials.iter().any(|glob| glob.as_str().starts_with('/') && glob.matches(path))
    }

    /// Whether they may have this command line where not every one is allowed.
    pub(crate) fn lists_command(&self, words: &[&str]) -> bool {
        // A word with a space in it would read like two.
        let are_single = words.iter().all(|word| !word.is_empty() && !word.contains(char::is_whitespace));
        let line = words.join(" ");
        are_single && self.stdio_commands.iter().any(|glob| glob.matches(&line))
    }

    /// How far connections to them may lead.
    pub(crate) fn reach(&self) -> Reach {
        if self.allow_private { Reach::Private } else { Reach::Public }
    }
}

impl Meaning<'_> {
    pub(super) fn registry(
        &mut self,
        section: Option<&RegistrySection>,
        message_bytes_max: Option<usize>,
        place: &Place<'_>,
    ) -> RegistrySettings {
        let Some(section) = section else {
            return RegistrySettings { message_bytes_max, ..RegistrySettings::default() };
        };
        let mut globs = |items: Option<&Items<String>>, key: &str| {
            let place = place.key(key);
            let mut globs = Vec::new();
            for (index, text) in Items::iter(items) {
                if text.trim() == text && !text.is_empty() {
                    globs.push(Glob::new(text));
                } else {
                    self.problems
                        .error(&place.item(index), "is empty, or has a space at its beginning or end");
                }
            }
            globs
        };
        let stdio_commands = globs(section.stdio_commands.as_ref(), "stdio_commands");
        let credentials = globs(section.credentials.as_ref(), "credentials");
        RegistrySettings {
            allow_stdio: section.allow_stdio == Some(true),
            stdio_commands,
            allow_private: section.allow_private == Some(true),
            credentials,
            self_approval: section.self_approval,
            message_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lends(credentials: &[&str]) -> RegistrySettings {
        let credentials = credentials.iter().map(|text| Glob::new(text)).collect();
        RegistrySettings { credentials, ..RegistrySettings::default() }
    }

    #[test]
    fn only_what_is_named_is_lent_and_never_the_gateways_own() {
        assert!(!RegistrySettings::default().lends_variable("CRM_TOKEN"));
        let some = lends(&["CRM_*", "/run/secrets/crm-*"]);
        assert!(some.lends_variable("CRM_TOKEN") && !some.lends_variable("HOME"));
        assert!(some.lends_file("/run/secrets/crm-token"));
        for path in ["/run/secrets/other", "run/secrets/crm-token", "/run/secrets/crm-/../../../etc/shadow"] {
            assert!(!some.lends_file(path), "{path}");
        }
        for own in ["TOLLGATE_LEDGER_KEY", "DATABASE_URL", "REDIS_URL"] {
            assert!(!lends(&["*"]).lends_variable(own), "{own}");
        }
        assert!(!lends(&["*"]).lends_file("/etc/shadow"), "variables are meant");
    }

    #[test]
    fn a_command_line_is_listed_whole() {
        let stdio_commands = ["npx -y @acme/*", "/opt/crm"].map(Glob::new).into();
        let settings = RegistrySettings { stdio_commands, ..RegistrySettings::default() };
        assert!(settings.lists_command(&["npx", "-y", "@acme/crm"]));
        assert!(settings.lists_command(&["/opt/crm"]));
        for words in [&["npx", "-y", "evil"][..], &["/opt/crm", "--debug"], &["npx -y @acme/crm"], &["sh"]] {
            assert!(!settings.lists_command(words), "{words:?}");
        }
    }
}
