//! How large and deep arguments and results may be, and what becomes of a result that is too large.

use tollgate_guard::shape::Bounds;
use tollgate_model::ServerId;

use crate::handling;
use crate::settings::ProxySettings;

/// What becomes of a result that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenLarger {
    /// It is refused.
    #[default]
    Refuse,
    /// Its texts are cut, and a notice says so.
    Cut,
    /// The same, and all of it is kept for a while for its caller to read page by page.
    Aside,
}

/// How large and deep things may be, as far as it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SizeSettings {
    /// Arguments of calls and prompts, as they leave.
    pub arguments: Bounds,
    /// Results of calls, reads and prompts.
    pub results: Bounds,
    /// What becomes of a result that is too large.
    pub when_larger: Option<WhenLarger>,
}

impl SizeSettings {
    /// What this says, and where it says nothing what the other does.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            arguments: self.arguments.or(other.arguments),
            results: self.results.or(other.results),
            when_larger: self.when_larger.or(other.when_larger),
        }
    }
}

/// The bounds for a tool of a server, or for what is no tool's.
pub(crate) fn of(settings: &ProxySettings, server: &ServerId, tool: Option<&str>) -> SizeSettings {
    let own = tool.map(|native| handling::of_tool(settings, server, native).sizes).unwrap_or_default();
    let servers = settings.handling.get(server).map(|handling| handling.sizes).unwrap_or_default();
    own.or(servers).or(settings.sizes)
}
