//! What an endpoint is called as a protected resource: the canonical URI that access tokens for it are meant for (RFC 8707)
//! and that its metadata is about (RFC 9728).
//!
//! It is the endpoint's address below the public URL. Without one it is its address on the listener; and since a listener
//! on loopback goes by several names that all mean this machine, the one of them that the client uses. Nothing else is
//! ever taken from `Host`.

use std::net::SocketAddr;

use tollgate_model::EndpointName;

/// The path of the Streamable HTTP endpoints: `/mcp` and `/mcp/{endpoint}`.
const MCP_PATH: &str = "/mcp";
/// The path of the HTTP+SSE streams: `/sse` and `/sse/{endpoint}`.
const SSE_PATH: &str = "/sse";
/// The path to which HTTP+SSE clients post: `/messages` and `/messages/{endpoint}`.
pub(crate) const MESSAGES_PATH: &str = "/messages";

/// An address below one of the gateway's paths, before anyone has looked whether something is served there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) family: Family,
    pub(crate) name: Name<'a>,
}

/// One of the gateway's paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Streamable HTTP.
    Mcp,
    /// The stream of HTTP+SSE.
    Sse,
    /// What clients of HTTP+SSE post. It belongs to the stream's resource.
    Messages,
    /// What a registry says of the endpoints. It belongs to the merged endpoint's resource.
    Registry,
}

/// What stands behind the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// Nothing: the merged endpoint.
    Merged,
    /// What could be an endpoint's name.
    Endpoint(&'a str),
    /// What could not.
    Impossible,
}

impl<'a> Address<'a> {
    /// Reads a path without its public prefix.
    pub(crate) fn read(path: &'a str) -> Option<Self> {
        let families = [(Family::Mcp, MCP_PATH), (Family::Sse, SSE_PATH), (Family::Messages, MESSAGES_PATH)];
        families.into_iter().find_map(|(family, root)| {
            let name = match path.strip_prefix(root)? {
                "" | "/" => Name::Merged,
                rest => {
                    let name = rest.strip_prefix('/')?;
                    let name = name.strip_suffix('/').unwrap_or(name);
                    EndpointName::new(name).map_or(Name::Impossible, |_| Name::Endpoint(name))
                }
            };
            Some(Self { family, name })
        })
    }

    /// Its canonical URI. What cannot be an endpoint goes by that of the merged one. It is put together for every address
    /// alike: nothing says whether anything is there.
    pub(crate) fn resource(&self, base: &str) -> String {
        let root = match self.family {
            Family::Mcp | Family::Registry => MCP_PATH,
            Family::Sse | Family::Messages => SSE_PATH,
        };
        let (slash, name) = match self.name {
            Name::Endpoint(name) => ("/", name),
            Name::Merged | Name::Impossible => ("", ""),
        };
        let mut resource = String::with_capacity(base.len() + root.len() + slash.len() + name.len());
        for part in [base, root, slash, name] {
            resource.push_str(part);
        }
        resource
    }
}

/// Where the gateway listens.
#[derive(Debug)]
pub(crate) struct Bound {
    address: String,
    /// What clients on this machine may call it.
    others: Vec<String>,
}

impl Bound {
    pub(crate) fn new(address: SocketAddr, tls: bool) -> Self {
        let scheme = if tls { "https" } else { "http" };
        let others = if address.ip().to_canonical().is_loopback() {
            let port = address.port();
            ["localhost", "127.0.0.1", "[::1]"].map(|name| format!("{scheme}://{name}:{port}")).to_vec()
        } else {
            Vec::new()
        };
        Self { address: format!("{scheme}://{address}"), others }
    }

    /// What the endpoints' addresses begin with, for a client that sends this `Host`.
    pub(crate) fn base(&self, host: &str) -> &str {
        let is_it = |other: &&String| {
            other.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        };
        self.others.iter().find(is_it).unwrap_or(&self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_without_looking_what_is_there() {
        let read = |path| Address::read(path).map(|address| (address.family, address.name));
        assert_eq!(read("/mcp"), Some((Family::Mcp, Name::Merged)));
        assert_eq!(read("/mcp/"), Some((Family::Mcp, Name::Merged)));
        assert_eq!(read("/mcp/files"), Some((Family::Mcp, Name::Endpoint("files"))));
        assert_eq!(read("/mcp/files/"), Some((Family::Mcp, Name::Endpoint("files"))));
        assert_eq!(read("/sse/files"), Some((Family::Sse, Name::Endpoint("files"))));
        assert_eq!(read("/messages/files"), Some((Family::Messages, Name::Endpoint("files"))));
        for odd in ["/mcp/a/b", "/mcp//", "/mcp/a__b", "/mcp/%66iles", "/mcp/é"] {
            assert_eq!(read(odd), Some((Family::Mcp, Name::Impossible)), "{odd}");
        }
        for nowhere in ["", "/", "/mcpx", "/healthz", "/MCP"] {
            assert_eq!(read(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn a_resource_is_the_address_below_the_base() {
        let resource = |path| Address::read(path).expect("an address").resource("https://a.example/gate");
        assert_eq!(resource("/mcp/"), "https://a.example/gate/mcp");
        assert_eq!(resource("/mcp/files/"), "https://a.example/gate/mcp/files");
        assert_eq!(resource("/messages/files"), "https://a.example/gate/sse/files");
        assert_eq!(resource("/sse"), "https://a.example/gate/sse");
        assert_eq!(resource("/mcp/a/b"), "https://a.example/gate/mcp");
    }

    #[test]
    fn a_listener_on_loopback_goes_by_the_names_of_this_machine_alone() {
        let bound = Bound::new("127.0.0.1:8080".parse().expect("an address"), false);
        assert_eq!(bound.base("localhost:8080"), "http://localhost:8080");
        assert_eq!(bound.base("LOCALHOST:8080"), "http://localhost:8080");
        assert_eq!(bound.base("127.0.0.1:8080"), "http://127.0.0.1:8080");
        for other in ["localhost:8081", "localhost", "evil.example:8080", ""] {
            assert_eq!(bound.base(other), "http://127.0.0.1:8080", "{other}");
        }
        let open = Bound::new("192.0.2.1:8443".parse().expect("an address"), true);
        assert_eq!(open.base("localhost:8443"), "https://192.0.2.1:8443");
    }
}
