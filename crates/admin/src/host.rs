//! Which `Host` values may ask. A browser page that rebinds its own name to this machine's address must not read the
//! answers, so a name has to be known; addresses cannot be rebound and are always fine.

use std::net::{IpAddr, Ipv6Addr};

/// Whether a `Host` value (or an HTTP/2 authority) may ask.
pub(crate) fn allowed(host: &str, known: &[String]) -> bool {
    let Some((name, _)) = split(host) else {
        return false;
    };
    is_address(name)
        || name.eq_ignore_ascii_case("localhost")
        || known.iter().any(|known| known.eq_ignore_ascii_case(host) || known.eq_ignore_ascii_case(name))
}

/// A host and its port, if it has one.
fn split(host: &str) -> Option<(&str, Option<&str>)> {
    if host.starts_with('[') {
        let end = host.find(']')?;
        let (name, rest) = host.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Some((name, Some(port))),
            None => rest.is_empty().then_some((name, None)),
        };
    }
    match host.split_once(':') {
        Some((name, port)) => Some((name, Some(port))),
        None => Some((host, None)),
    }
}

fn is_address(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()),
    }
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn addresses_and_known_names_may_ask() {
        let known = ["gate.example.com".to_owned()];
        for host in [
            "127.0.0.1:8081",
            "[::1]:8081",
            "[::1]",
            "localhost:1",
            "LOCALHOST",
            "10.1.2.3",
            "gate.example.com:9",
        ] {
            assert!(allowed(host, &known), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "[::1", "[::1]x", "127.0.0.1.evil.example:80"]
        {
            assert!(!allowed(host, &known), "{host}");
        }
    }
}
