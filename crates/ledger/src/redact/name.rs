//! Names as they may stand in the chain, where they stay for good: what tools, prompts and resources are called.
//!
//! A URI may carry a secret in its query or fragment, and clients choose what they write there. So of these only names are
//! kept, and of values a keyed digest, by which equal ones are found. What looks like a token is taken out of any name.

use super::shapes::{self, Found};

/// Stands before a digest.
const DIGESTED: char = '~';
/// How much of a digest stands there.
const DIGEST_CHARS: usize = 12;
/// Stands before the digest of a name that is too long.
pub(crate) const CUT: &str = "…sha256:";

/// Whether a name on record is not the whole one: something of it was taken out, or it was cut.
pub fn is_altered(name: &str) -> bool {
    let digested = ["=~", "?~", "&~", "#~"];
    name.contains("[redacted:") || name.contains(CUT) || digested.iter().any(|mark| name.contains(mark))
}

/// A name as it may stand there; none if it may as it is. `digest` is keyed.
pub(crate) fn name(text: &str, digest: impl Fn(&[u8]) -> String) -> Option<String> {
    if !is_uri(text) {
        return of_parts(text);
    }
    let digested = without_values(text, digest);
    let left = digested.as_deref().unwrap_or(text);
    // What has no authority may as well be the name of a tool.
    let taken_out = if left.contains("://") { without_shapes(left) } else { of_parts(left) };
    taken_out.or(digested)
}

/// Whether it begins with a scheme (RFC 3986, section 3.1).
fn is_uri(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Where a part of a URI begins. In a template (RFC 6570) `{?…}` is the name of such a part.
fn begin(text: &str, mark: char) -> Option<usize> {
    text.match_indices(mark).map(|(at, _)| at).find(|at| !text[..*at].ends_with('{'))
}

/// With digests in place of the values in its query, and of its fragment.
fn without_values(uri: &str, digest: impl Fn(&[u8]) -> String) -> Option<String> {
    let short = |value: &str| {
        let digest = digest(value.as_bytes());
        format!("{DIGESTED}{}", digest.get(..DIGEST_CHARS).unwrap_or(&digest))
    };
    let fragment = begin(uri, '#');
    let (rest, fragment) = match fragment {
        Some(at) => (&uri[..at], Some(&uri[at + 1..])),
        None => (uri, None),
    };
    let query = begin(rest, '?');
    if query.is_none() && fragment.is_none() {
        return None;
    }
    let mut left = rest[..query.unwrap_or(rest.len())].to_owned();
    if let Some(at) = query {
        left.push('?');
        for (nth, one) in rest[at + 1..].split('&').enumerate() {
            if nth > 0 {
                left.push('&');
            }
            match one.split_once('=') {
                Some((key, "")) => left.extend([key, "="]),
                Some((key, value)) => left.extend([key, "=", &short(value)]),
                None if one.is_empty() => {}
                None => left.push_str(&short(one)),
            }
        }
    }
    if let Some(fragment) = fragment {
        left.push('#');
        if !fragment.is_empty() {
            left.push_str(&short(fragment));
        }
    }
    Some(left)
}

/// Without what looks like a secret, as anywhere in a text.
fn without_shapes(text: &str) -> Option<String> {
    let mut found: Vec<Found> = Vec::new();
    shapes::find(text.as_bytes(), &mut found);
    if found.is_empty() {
        return None;
    }
    let (mut left, mut copied) = (String::new(), 0);
    for one in &found {
        left.push_str(text.get(copied..one.start).unwrap_or_default());
        left.push_str(one.shape.mark());
        copied = one.end;
    }
    left.push_str(text.get(copied..).unwrap_or_default());
    Some(left)
}

/// The same of a name that may be no URI: a tool may be called `token:refresh`, and that assigns nothing.
fn of_parts(text: &str) -> Option<String> {
    let is_mark = |mark: char| mark == ':' || mark == '=';
    let mut altered = false;
    let mut left = String::new();
    for part in text.split_inclusive(is_mark) {
        let bare = part.trim_end_matches(is_mark);
        if let Some(other) = without_shapes(bare) {
            altered = true;
            left.push_str(&other);
        } else {
            left.push_str(bare);
        }
        left.push_str(&part[bare.len()..]);
    }
    altered.then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn altered(text: &str) -> String {
        let digest = |value: &[u8]| format!("{:0>22}", value.len());
        name(text, digest).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn names_stand_as_they_are_unless_a_secret_may_be_in_them() {
        for plain in [
            "read_file",
            "token:refresh",
            "crm.search-all/v2",
            "memo://one/two",
            "shop://open/{id}{?q,page}",
            "urn:isbn:0451450523",
            "was das ist?",
        ] {
            assert_eq!(altered(plain), plain);
            assert!(!is_altered(&altered(plain)));
        }
        let token = format!("ghp_{}", "aB3".repeat(12));
        for (uri, wanted) in [
            (
                "https://x.example/a?q=secret&b=&flag#part",
                "https://x.example/a?q=~000000000000&b=&~000000000000#~000000000000".to_owned(),
            ),
            ("db://ann:pass@host/a", "db://[redacted:token]@host/a".to_owned()),
            (&*format!("files://{token}/a"), "files://[redacted:token]/a".to_owned()),
            (&*format!("get_{token}"), "get_[redacted:token]".to_owned()),
            ("mail://ann@example.com/inbox", "mail://[redacted:token]@example.com/inbox".to_owned()),
        ] {
            let found = altered(uri);
            assert_eq!(found, wanted);
            assert!(is_altered(&found), "{found}");
        }
    }
}
