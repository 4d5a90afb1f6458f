//! Whether servers' definitions are pinned, and what becomes of those that changed.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_guard::pins::Lock;
use tollgate_model::ServerId;
use tollgate_store::{PIN_TEXT_BYTES_MAX, PINS_MAX};

/// What becomes of an item that nobody has approved yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstUse {
    /// It is approved by being seen, unless its name looks like another's.
    #[default]
    Trust,
    /// It waits to be approved.
    Approve,
}

/// What becomes of an item that is not what was approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnChange {
    /// It is hidden and refused until somebody approves it.
    #[default]
    Quarantine,
    /// It is told of, and passes.
    Report,
}

/// How definitions are pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinSettings {
    /// Whether they are.
    pub enabled: bool,
    /// What becomes of what nobody has approved yet.
    pub first_use: FirstUse,
    /// What becomes of what has changed.
    pub changes: OnChange,
    /// How many items of a kind are pinned of one server. What comes beyond them is as if it were not there.
    pub items_max: usize,
    /// How many bytes a definition may have to be kept as a text. Of a larger one only the digest is.
    pub text_bytes_max: usize,
    /// All that is approved, where a file says so and nothing else.
    pub lock: Option<Arc<Lock>>,
    /// What is otherwise for single servers.
    pub servers: HashMap<ServerId, ServerPins>,
}

/// What is otherwise for one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerPins {
    /// Whether its definitions are pinned.
    pub enabled: Option<bool>,
    /// What becomes of what nobody has approved yet.
    pub first_use: Option<FirstUse>,
    /// What becomes of what has changed.
    pub changes: Option<OnChange>,
}

/// How one server's definitions are pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) first_use: FirstUse,
    pub(crate) changes: OnChange,
}

impl Default for PinSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            first_use: FirstUse::default(),
            changes: OnChange::default(),
            items_max: PINS_MAX,
            text_bytes_max: PIN_TEXT_BYTES_MAX,
            lock: None,
            servers: HashMap::new(),
        }
    }
}

impl PinSettings {
    /// Whether any server's definitions are pinned.
    pub fn are_on(&self) -> bool {
        self.enabled || self.servers.values().any(|own| own.enabled == Some(true))
    }

    /// Whether the definitions of this server are pinned.
    pub fn are_of(&self, server: &ServerId) -> bool {
        self.rule(server).is_some()
    }

    /// The rule for a server; none if its definitions are not pinned.
    pub(crate) fn rule(&self, server: &ServerId) -> Option<Rule> {
        let own = self.servers.get(server).copied().unwrap_or_default();
        own.enabled.unwrap_or(self.enabled).then(|| Rule {
            first_use: own.first_use.unwrap_or(self.first_use),
            changes: own.changes.unwrap_or(self.changes),
        })
    }
}
