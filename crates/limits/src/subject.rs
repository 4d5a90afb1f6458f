//! What a request is, as limits tell requests apart.

use tollgate_model::ServerId;

/// What a request is, as limits tell requests apart.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The agent that calls.
    pub agent: Option<&'a str>,
    /// The user that it calls for.
    pub user: Option<&'a str>,
    /// The id of the API key by which it is known.
    pub key: Option<&'a str>,
    /// The one server that it is for.
    pub server: Option<&'a ServerId>,
    /// The tool that it calls, as its server calls it.
    pub tool: Option<&'a str>,
    /// The toolset at whose endpoint it came.
    pub toolset: Option<&'a str>,
    /// The endpoint at which it came; empty for the merged one.
    pub endpoint: &'a str,
    /// The JSON-RPC method.
    pub method: &'a str,
}
