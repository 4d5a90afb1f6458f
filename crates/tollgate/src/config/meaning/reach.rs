//! From where the data plane may be reached: from other machines only where callers are known, and where what they prove it
//! with is not there for everyone on the way to read.

use std::fmt;
use std::net::SocketAddr;

use super::{Config, Meaning};
use crate::config::node::Place;

/// The data plane was asked to listen where others could reach it, and something that this needs is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenListen {
    /// The address that was asked for.
    pub listen: SocketAddr,
    /// What is missing.
    pub lack: Lack,
}

/// What it needs to be reached by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Nothing says who may come in.
    Identity,
    /// Keys and tokens would travel in the clear: there is neither TLS here, nor a proxy at which it could end.
    Encryption,
    /// Access tokens are meant for a URL, and nothing says which.
    PublicUrl,
}

impl OpenListen {
    /// What to do about it.
    pub fn suggestion(&self) -> String {
        let port = self.listen.port();
        match self.lack {
            Lack::Identity => format!(
                "say under `identity` by what callers are known, or listen on 127.0.0.1:{port} and put a reverse proxy that authenticates callers in front"
            ),
            Lack::Encryption => {
                "set `tls`, or name the proxies at which it ends under `trusted_proxies`".to_owned()
            }
            Lack::PublicUrl => "set `public_url` to the URL that clients use".to_owned(),
        }
    }
}

impl fmt::Display for OpenListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no loopback address: ", self.listen)?;
        f.write_str(match self.lack {
            Lack::Identity => "with no identity configured, everyone who reaches it could use every server",
            Lack::Encryption => "keys and tokens would travel there unencrypted",
            Lack::PublicUrl => "access tokens have to be meant for a URL that clients know it by",
        })
    }
}

impl std::error::Error for OpenListen {}

/// Whether the data plane may listen here: on loopback always; elsewhere where callers are known, where what they prove it
/// with is encrypted, and where access tokens have something to be meant for. Holds for the configuration as for whatever
/// overrides it.
///
/// # Errors
/// [`OpenListen`] says why not.
pub fn check_listen(listen: SocketAddr, config: &Config) -> Result<(), OpenListen> {
    if listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let lack = if config.identity.is_off() {
        Lack::Identity
    } else if config.tls.is_none() && config.proxy.trusted_proxies.is_empty() {
        Lack::Encryption
    } else if !config.identity.issuers.is_empty() && config.proxy.public_url.is_none() {
        Lack::PublicUrl
    } else {
        return Ok(());
    };
    Err(OpenListen { listen, lack })
}

impl Meaning<'_> {
    /// Looks at the whole configuration for who could reach it.
    pub(super) fn reach(&mut self, config: &Config, root: &Place<'_>) {
        let place = root.key("listen");
        // What is wrong elsewhere may be what is missing here; who could come in matters in any case.
        match check_listen(config.listen, config) {
            Err(open) if open.lack == Lack::Identity || !self.problems.is_fatal() => {
                self.problems.error_with(&place, open.to_string(), open.suggestion());
            }
            _ => {}
        }
        if config.identity.anonymous.is_some() && !config.listen.ip().to_canonical().is_loopback() {
            let suggestion =
                "leave `anonymous` out, or let policies permit the agent `anonymous` very little";
            self.problems.warning(
                &root.key("identity").key("anonymous"),
                "everyone who reaches the data plane may do what policies permit the agent `anonymous`",
                Some(suggestion.to_owned()),
            );
        }
    }
}
