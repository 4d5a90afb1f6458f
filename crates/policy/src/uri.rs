//! Whether a URI is spelt the one way that rules can be about.
//!
//! Servers take many spellings for the same resource. A rule compares texts, so that only one spelling is judged at all.

/// Schemes whose authority is the name of a host.
const OF_HOSTS: [(&str, &str); 5] =
    [("http", "80"), ("https", "443"), ("ws", "80"), ("wss", "443"), ("ftp", "21")];

/// Whether a URI is in normal form. In doubt it is not.
pub(crate) fn is_normal(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.')
        });
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (Some(authority), path)
        }
        None => (None, rest),
    };
    is_scheme
        && is_authority(scheme, authority, path)
        && is_path(path)
        && are_bytes(authority.unwrap_or_default(), false)
        && are_bytes(path, true)
        && query.is_none_or(|query| !query.is_empty() && scheme != "file" && are_bytes(query, false))
}

fn is_authority(scheme: &str, authority: Option<&str>, path: &str) -> bool {
    if scheme == "file" {
        // What stands there, `localhost` above all, many servers do not look at.
        return authority == Some("") && path.starts_with('/');
    }
    let Some((_, port)) = OF_HOSTS.into_iter().find(|(name, _)| *name == scheme) else { return true };
    let Some(authority) = authority.filter(|authority| !authority.is_empty()) else { return false };
    let has_odd_port = authority.rsplit_once(':').is_some_and(|(_, given)| given.is_empty() || given == port);
    let is_odd = authority.bytes().any(|byte| byte.is_ascii_uppercase() || matches!(byte, b'@' | b'%'));
    !is_odd && !has_odd_port && !path.is_empty()
}

/// Whether no segment says where others are, and only the last one may be empty.
fn is_path(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    let before = path.rsplit_once('/').map(|(before, _)| before);
    before.is_none_or(|before| before.split('/').all(|segment| !segment.is_empty()))
        && path.split('/').all(|segment| !matches!(segment, "." | ".."))
}

/// Whether only what must be is percent-encoded, and all that must be. A separator that is encoded in a path is one
/// again for a server that decodes first.
fn are_bytes(part: &str, is_path: bool) -> bool {
    let mut rest = part.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            // What is not ASCII has more than one spelling, and stands in no URI.
            if !is_unreserved(*first) && !b":/?[]@!$&'()*+,;=".contains(first) {
                return false;
            }
            continue;
        }
        let Some((code, more)) = more.split_first_chunk::<2>() else { return false };
        let digits = std::str::from_utf8(code).ok().filter(|_| code.iter().all(u8::is_ascii_hexdigit));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else { return false };
        let splits = is_path && matches!(byte, b'/' | b'\\');
        if is_unreserved(byte) || byte.is_ascii_control() || splits {
            return false;
        }
        rest = more;
    }
    true
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_is_normal() {
        for uri in [
            "file:///",
            "file:///secret/b",
            "file:///secret/",
            "file:///secret/...",
            "file:///a%20b/%c3%a9",
            "file:///a%C3%A9",
            "shop://open",
            "shop://open/Deep?page=2&of=%26",
            "demo:note/1",
            "urn:isbn:123",
            "postgres://user@host:5432/db",
            "https://example.com/",
            "https://example.com:8443/a?b=%2F",
            "memo://Insights",
        ] {
            assert!(is_normal(uri), "{uri}");
        }
    }

    #[test]
    fn other_spellings_are_not() {
        for uri in [
            "",
            "secret/b",
            "//secret/b",
            ":b",
            "FILE:///secret/b",
            "File:///secret/b",
            "file:/secret/b",
            "file:secret/b",
            "file://",
            "file://localhost/secret/b",
            "file://LOCALHOST/secret/b",
            "file://me@/secret/b",
            "file:////secret/b",
            "file:///secret//b",
            "file:///secret/b//",
            "file:///secret/./b",
            "file:///public/../secret/b",
            "file:///secret/b/.",
            "file:///secret/b/..",
            "file:///secret/%2e/b",
            "file:///secret/%2E%2e/b",
            "file:///secret/.%2e/b",
            "file:///secret/%62",
            "file:///secret/%7E",
            "file:///public/..%2fsecret/b",
            "file:///secret%2Fb",
            "file:///secret%5cb",
            "file:///secret\\b",
            "file:///secret/b?",
            "file:///secret/b?x",
            "file:///secret/b#",
            "file:///secret/b#x",
            "file:///secret/b%00",
            "file:///secret/b%",
            "file:///secret/b%2",
            "file:///secret/b%+2",
            "file:///sec\tret/b",
            "file:///secret/b ",
            " file:///secret/b",
            "file:///caf\u{e9}",
            "shop://open?",
            "shop://open?page=%32",
            "demo:a//b",
            "demo:./b",
            "https://EXAMPLE.com/",
            "https://example.com",
            "https://example.com:443/",
            "https://example.com:/",
            "https://me@example.com/",
            "https:/example.com/",
            "https:///example.com/",
        ] {
            assert!(!is_normal(uri), "{uri}");
        }
    }
}
