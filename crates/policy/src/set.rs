//! The policies that hold for the callers of one tenant, ready to decide.

use std::sync::Arc;

use tollgate_catalog::Known;
use tollgate_model::{Decision, Principal, ServerName};

use crate::{Ask, Finding, Mode, Scene, Sources};

/// The policies of one tenant and the operator's forbids, compiled against what is known of its servers.
#[derive(Debug)]
pub struct PolicySet {}

/// What one caller could be allowed of one server's tools, prompts and resources in these circumstances.
#[derive(Debug)]
pub struct Visible {}

impl PolicySet {
    /// Reads policies, off the hot path. What is found of them comes back in either case.
    ///
    /// # Errors
    /// Gives all findings, at least one of them an error.
    pub fn compile(
        _sources: &Sources,
        _known: &Known,
        _environment: Option<&str>,
        _mode: Mode,
    ) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        Ok((Self {}, Vec::new()))
    }

    /// Whether there is no permit at all, so that nothing is allowed.
    pub fn allows_nothing(&self) -> bool {
        true
    }

    /// Decides.
    pub fn decide(&self, _principal: &Arc<Principal>, _ask: &Ask<'_>) -> Decision {
        Decision::denied()
    }

    /// What this caller could be allowed of a server.
    pub fn visible(
        &self,
        _principal: &Arc<Principal>,
        _server: &ServerName,
        _scene: &Scene<'_>,
    ) -> Arc<Visible> {
        Arc::new(Visible {})
    }
}

impl Visible {
    /// Whether some arguments could be allowed for the tool of this native name.
    pub fn tool(&self, _native: &str) -> bool {
        false
    }

    /// Whether the prompt could be allowed.
    pub fn prompt(&self, _native: &str) -> bool {
        false
    }

    /// Whether the resource could be allowed; a template is judged by its text.
    pub fn resource(&self, _uri: &str) -> bool {
        false
    }

    /// Whether nothing of the server could be allowed: then even its name is not to be shown.
    pub fn is_nothing(&self) -> bool {
        true
    }
}
