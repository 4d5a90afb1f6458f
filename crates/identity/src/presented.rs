//! What a request says of who sends it.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::failure::{Failure, Why};

/// The longest credential, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

/// What a request says of who sends it.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The client's certificate, in DER, if the connection's handshake verified one.
    pub certificate: Option<&'a [u8]>,
    /// The canonical URI of the endpoint that it is sent to: what a token must be meant for (RFC 8707).
    pub resource: &'a str,
    /// Where it comes from.
    pub source: IpAddr,
}

/// The one thing that is to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential<'a> {
    /// There is none.
    Nothing,
    /// The value of `Authorization: Bearer`: an API key or an access token.
    Bearer(&'a str),
    /// A verified certificate.
    Certificate(&'a [u8]),
}

impl<'a> Presented<'a> {
    /// What is to be judged. A header counts before a certificate: it says more of who calls, and what is wrong in it is
    /// never made good by a certificate.
    pub(crate) fn credential(&self) -> Result<Credential<'a>, Failure> {
        let mut values = self.headers.get_all(AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(self.certificate.map_or(Credential::Nothing, Credential::Certificate)),
            (Some(value), None) => value,
            (Some(_), Some(_)) => return Err(Failure::new(Why::SeveralCredentials)),
        };
        let text = value.to_str().map_err(|_| Failure::new(Why::Malformed))?;
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Failure::new(Why::Scheme));
        }
        let token = token.trim_start_matches(' ');
        if is_token68(token) { Ok(Credential::Bearer(token)) } else { Err(Failure::new(Why::Malformed)) }
    }
}

/// Whether it is what RFC 6750, section 2.1, lets stand after `Bearer`.
fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && text.len() <= CREDENTIAL_BYTES_MAX
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(values: &[&str], certificate: Option<&'static [u8]>) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let source = IpAddr::from([192, 0, 2, 1]);
        let presented =
            Presented { headers: &headers, certificate, resource: "https://a.example/mcp", source };
        presented.credential().map(|found| format!("{found:?}")).map_err(|failure| failure.why.word())
    }

    #[test]
    fn one_credential_is_found() {
        assert_eq!(read(&["Bearer abc.d-e_f~+/="], None).as_deref(), Ok("Bearer(\"abc.d-e_f~+/=\")"));
        assert_eq!(read(&["bEARER   x"], None).as_deref(), Ok("Bearer(\"x\")"));
        assert_eq!(read(&[], None).as_deref(), Ok("Nothing"));
        assert_eq!(read(&[], Some(b"c")).as_deref(), Ok("Certificate([99])"));
        assert_eq!(read(&["Bearer x"], Some(b"c")).as_deref(), Ok("Bearer(\"x\")"));
    }

    #[test]
    fn whatever_could_be_read_two_ways_is_refused() {
        assert_eq!(read(&["Bearer x", "Bearer x"], None), Err("several_credentials"));
        assert_eq!(read(&["Basic eDp5"], Some(b"c")), Err("scheme"));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a,b",
            "Bearer \"a\"",
            "Bearer é",
            "Bearer ==",
            "Bearer a=b",
        ] {
            assert!(read(&[bad], Some(b"c")).is_err(), "{bad}");
        }
        let long = format!("Bearer {}", "x".repeat(CREDENTIAL_BYTES_MAX + 1));
        assert_eq!(read(&[&long], None), Err("malformed"));
    }
}
