//! Where a request comes from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;

use crate::settings::Cidr;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address, as the socket says.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The client's certificate in DER, if the connection's handshake has verified one.
    pub certificate: Option<Arc<[u8]>>,
}

impl Peer {
    /// A peer that has shown no certificate.
    pub const fn new(address: SocketAddr, tls: bool) -> Self {
        Self { address, tls, certificate: None }
    }
}

/// The client's address: the socket's, or, behind trusted proxies, the last one in `X-Forwarded-For` (or `Forwarded`,
/// RFC 7239) that is not a trusted proxy itself. What an untrusted peer writes there is ignored.
pub(crate) fn client_address(peer: &Peer, headers: &HeaderMap, trusted: &[Cidr]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|block| block.contains(address));
    let mut client = peer.address.ip().to_canonical();
    if trusted.is_empty() || !is_trusted(client) {
        return client;
    }
    for hop in hops(headers).into_iter().rev() {
        // A hop that cannot be read ends the chain: what stands before it proves nothing.
        let Some(address) = hop else { break };
        client = address.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let values = |name: &str| -> Vec<String> {
        let all = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|value| value.split(',')).map(|part| part.trim().to_owned()).collect()
    };
    let forwarded_for = values("x-forwarded-for");
    if !forwarded_for.is_empty() {
        return forwarded_for.iter().map(|hop| read_address(hop)).collect();
    }
    values("forwarded")
        .iter()
        .map(|element| {
            element.split(';').find_map(|pair| {
                let (name, value) = pair.trim().split_once('=')?;
                name.eq_ignore_ascii_case("for").then(|| read_address(value.trim_matches('"')))?
            })
        })
        .collect()
}

fn read_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: &str, header: (&'static str, &'static str), trusted: &[&str]) -> String {
        let peer = Peer::new(peer.parse().expect("an address"), false);
        let mut headers = HeaderMap::new();
        headers.insert(header.0, header.1.parse().expect("a value"));
        let trusted: Vec<_> = trusted.iter().filter_map(|block| Cidr::parse(block)).collect();
        client_address(&peer, &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let forwarded = ("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.0.0.2");
        assert_eq!(address("192.0.2.1:5", forwarded, &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(address("10.0.0.1:5", forwarded, &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1:5", ("x-forwarded-for", "nonsense"), &["10.0.0.0/8"]), "10.0.0.1");
        let standard = ("forwarded", "for=203.0.113.9;proto=https, for=\"[2001:db8::1]:4711\"");
        assert_eq!(address("10.0.0.1:5", standard, &["10.0.0.0/8"]), "2001:db8::1");
    }
}
