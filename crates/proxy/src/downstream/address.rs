//! Where a request comes from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use http::header::FORWARDED;

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

/// The client's address: the socket's, or, behind trusted proxies, the last one in `X-Forwarded-For` or `Forwarded`
/// (RFC 7239) that is not a trusted proxy itself. What an untrusted peer writes there is ignored. Where both headers are
/// there, the proxy has written one of them and maybe the client the other: neither is believed.
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

/// The hops in their order. One that cannot be read is none, and so is a header line that cannot.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    const FORWARDED_FOR: &str = "x-forwarded-for";
    let (name, read): (&str, fn(&str) -> Option<IpAddr>) =
        match (headers.contains_key(FORWARDED_FOR), headers.contains_key(FORWARDED)) {
            (true, false) => (FORWARDED_FOR, read_address),
            (false, true) => (FORWARDED.as_str(), forwarded),
            _ => return Vec::new(),
        };
    let mut hops = Vec::new();
    for line in headers.get_all(name) {
        match line.to_str().ok().and_then(elements) {
            Some(elements) => hops.extend(elements.into_iter().map(|element| read(element.trim()))),
            None => hops.push(None),
        }
    }
    hops
}

/// The parts between commas, but for those within quotes; none if a quote is left open.
fn elements(line: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                parts.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&line[start..]);
    (!quoted).then_some(parts)
}

/// The `for` of one element of `Forwarded`. An element in which a quoted text could hide one has none.
fn forwarded(element: &str) -> Option<IpAddr> {
    let mut named = element.split(';').filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let (value, second) = (named.next()?, named.next());
    if second.is_some() {
        return None;
    }
    read_address(value.trim_matches('"'))
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
        for odd in ["for=203.0.113.9;x=\"a, for=10.9.0.1\"", "for=203.0.113.9;x=\"a;for=10.9.0.1\""] {
            let found = address("10.0.0.1:5", ("forwarded", odd), &["10.0.0.1"]);
            assert_ne!(found, "10.9.0.1", "what stands within quotes is no address: {odd}");
        }
        assert_eq!(address("10.0.0.1:5", ("forwarded", "for=10.9.0.1, x=\""), &["10.0.0.1"]), "10.0.0.1");
    }

    #[test]
    fn what_a_client_adds_beside_what_its_proxy_says_is_not_believed() {
        let peer = Peer::new("10.0.0.1:5".parse().expect("an address"), false);
        let trusted: Vec<_> = Cidr::parse("10.0.0.1").into_iter().collect();
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "10.9.0.1".parse().expect("a value"));
        headers.append("forwarded", "for=203.0.113.9".parse().expect("a value"));
        assert_eq!(client_address(&peer, &headers, &trusted).to_string(), "10.0.0.1");
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "10.9.0.1".parse().expect("a value"));
        let unreadable = http::HeaderValue::from_bytes(b"\xff, 203.0.113.9").expect("a value");
        headers.append("x-forwarded-for", unreadable);
        assert_eq!(client_address(&peer, &headers, &trusted).to_string(), "10.0.0.1");
    }
}
