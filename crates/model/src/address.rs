//! Which addresses may be connected to, where strangers say what to connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a connection may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Anywhere: the operator has written the address down.
    #[default]
    Anywhere,
    /// Also into private networks, but neither to where clouds hand their machines' credentials out nor to what is no single
    /// machine's.
    Private,
    /// To what belongs to everybody alone.
    Public,
}

impl Reach {
    /// Whether a connection may go to this address.
    pub fn may_connect(self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Private => is_reachable(address),
            Self::Public => is_public(address),
        }
    }
}

/// Whether an address belongs to everybody: neither this machine's, nor a private network's, nor one of the many that mean
/// something else. Addresses of IPv4 within IPv6 are looked at as what they lead to.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match v4_within(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

/// Whether an address may be connected to where private ones are allowed: link-local ones stay out, since clouds hand their
/// machines' credentials out there, and so do those that are no single machine's.
fn is_reachable(address: IpAddr) -> bool {
    let single_v4 = |address: Ipv4Addr| {
        let octets = address.octets();
        octets[0] != 0 && octets[0] < 224 && !address.is_link_local()
    };
    match address {
        IpAddr::V4(address) => single_v4(address),
        IpAddr::V6(address) => match v4_within(address) {
            Some(inner) => single_v4(inner),
            None => !address.is_unspecified() && !address.is_multicast() && !address.is_unicast_link_local(),
        },
    }
}

/// What the special-purpose registry of IPv4 leaves (RFC 6890 and its successors).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b) {
        // This network; private; loopback; everything from multicast up.
        (0 | 10 | 127 | 224.., _)
        // Shared by the customers of a provider (RFC 6598); link-local; private; benchmarks.
        | (100, 64..=127)
        | (169, 254)
        | (172, 16..=31)
        | (192, 168)
        | (198, 18 | 19) => true,
        // Protocol assignments, documentation, and 6to4 relays.
        (192, 0) => c == 0 || c == 2,
        (192, 88) => c == 99,
        (198, 51) => c == 100,
        (203, 0) => c == 113,
        _ => false,
    };
    !special
}

/// The IPv4 address that an IPv6 address leads to: mapped or compatible (RFC 4291), through NAT64 (RFC 6052) or 6to4 (RFC
/// 3056).
fn v4_within(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match segments {
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Only 2000::/3 is given out, and not all of it (RFC 6890 and its successors).
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let special = match segments {
        // Protocol assignments, among them Teredo; documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] => true,
        [0x3fff, second, ..] => second < 0x1000,
        _ => false,
    };
    segments[0] & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_what_is_everybodys_is_public() {
        for public in [
            "1.1.1.1",
            "93.184.215.14",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(ip(public)), "{public}");
        }
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(ip(private)), "{private}");
        }
    }

    #[test]
    fn where_private_is_allowed_credentials_of_clouds_are_not() {
        for reachable in
            ["127.0.0.1", "10.0.0.1", "192.168.0.1", "::1", "fd00::1", "8.8.8.8", "::ffff:127.0.0.1"]
        {
            assert!(Reach::Private.may_connect(ip(reachable)), "{reachable}");
        }
        for never in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(!Reach::Private.may_connect(ip(never)), "{never}");
        }
    }
}
