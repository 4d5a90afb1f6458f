//! HTTP as a client: one origin, its connections, and bodies. Nothing here knows MCP.

mod body;
mod connect;
mod head;
mod pool;
mod reply;
mod tls;

pub(crate) use body::Outgoing;
pub(crate) use pool::{Client, ClientLimits};
pub(crate) use reply::Reply;
pub(crate) use tls::tls_config;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::SettingsError;

/// One URL of an origin, ready for either HTTP version.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Path and query: the request line of HTTP/1.1 and, with the authority, of HTTP/2.
    origin_form: Uri,
    absolute_form: Uri,
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    /// Reads the origin of an absolute URL.
    pub(crate) fn of(url: &Uri) -> Result<Self, SettingsError> {
        let secure = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(SettingsError::Url),
        };
        let authority = url.authority().ok_or(SettingsError::Url)?;
        if authority.as_str().contains('@') {
            return Err(SettingsError::Credentials);
        }
        if authority.host().is_empty() {
            return Err(SettingsError::Url);
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host: authority.host().to_ascii_lowercase(), port })
    }

    /// The host as a name or address, without the brackets of an IPv6 literal.
    pub(crate) fn bare_host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// What `Host` says.
    pub(crate) fn authority(&self) -> String {
        let default = if self.secure { 443 } else { 80 };
        if self.port == default { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// A URL of this origin.
    pub(crate) fn target(&self, path: &PathAndQuery) -> Result<Target, SettingsError> {
        let scheme = if self.secure { Scheme::HTTPS } else { Scheme::HTTP };
        let authority = Authority::try_from(self.authority()).map_err(|_| SettingsError::Url)?;
        let absolute_form = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(path.clone())
            .build()
            .map_err(|_| SettingsError::Url)?;
        let origin_form =
            Uri::builder().path_and_query(path.clone()).build().map_err(|_| SettingsError::Url)?;
        Ok(Target { origin_form, absolute_form })
    }
}

/// Why an HTTP request has no response.
#[derive(Debug)]
pub(crate) enum HttpError {
    /// No connection; nothing was sent.
    Connect(String),
    /// No connection in time; nothing was sent.
    ConnectTimeout,
    /// All connections are busy; nothing was sent.
    Busy,
    /// The connection ended; what was sent may have arrived.
    Closed(String),
    /// The body is said to be larger than allowed.
    TooLarge,
    /// The body is larger than allowed, and did not say so before.
    Endless(usize),
}
