//! Names of members whose values are secrets, whatever they look like.

/// Longer names are judged by their end.
const NAME_BYTES_MAX: usize = 64;

/// Which values of a member are secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sensitivity {
    /// None.
    None,
    /// All but numbers: `token` is one, `max_tokens` says how many.
    AllButNumbers,
    /// All.
    Any,
}

/// Names that hold one of these are those of secrets, by first letter.
fn stems(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &["apikey", "accesskey", "accountkey", "authorization"],
        b'b' => &["bearer"],
        b'c' => &["credential", "cookie", "connectionstring", "clientassertion"],
        b'e' => &["encryptionkey"],
        b'm' => &["masterkey", "mnemonic"],
        b'p' => &["password", "passwd", "passphrase", "passcode", "privatekey"],
        b's' => &["secret", "signingkey", "sharedkey", "sessionkey", "sessionid", "sshkey"],
        b't' => &["token"],
        _ => &[],
    }
}

/// Names of which one word is one of these are, too.
const WORDS: [&str; 11] = ["pwd", "pin", "otp", "totp", "cvv", "cvv2", "cvc", "jwt", "auth", "sig", "ssn"];

/// What a name says of its value.
pub(super) fn sensitivity(name: &[u8]) -> Sensitivity {
    let name = name.get(name.len().saturating_sub(NAME_BYTES_MAX)..).unwrap_or_default();
    let mut folded = [0; NAME_BYTES_MAX];
    let mut len = 0;
    for byte in name.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
        folded[len] = byte.to_ascii_lowercase();
        len += 1;
    }
    let folded = &folded[..len];
    let mut all_but_numbers = false;
    for at in 0..len {
        for stem in stems(folded[at]) {
            let Some(rest) = folded[at..].strip_prefix(stem.as_bytes()) else { continue };
            match *stem {
                "secret" if rest.starts_with(b"ar") => {}
                "token" if rest.starts_with(b"iz") || rest.starts_with(b"is") => {}
                "token" => all_but_numbers = true,
                _ => return Sensitivity::Any,
            }
        }
    }
    if words(name).any(|word| WORDS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))) {
        return Sensitivity::Any;
    }
    let is_pass = words(name).any(|word| word.eq_ignore_ascii_case(b"pass"));
    if all_but_numbers || is_pass { Sensitivity::AllButNumbers } else { Sensitivity::None }
}

/// The words of a name: they end at other characters, and where a capital follows a small letter.
fn words(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = name.split(|byte| !byte.is_ascii_alphanumeric());
    parts.flat_map(|part| part.chunk_by(|one, next| !(one.is_ascii_lowercase() && next.is_ascii_uppercase())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_every_spelling() {
        for name in [
            "password",
            "userPassword",
            "PASSWD",
            "db_passwd",
            "secret",
            "client-secret",
            "apiKey",
            "x-api-key",
            "API_KEY",
            "Authorization",
            "Set-Cookie",
            "private_key",
            "aws.secret.access.key",
            "userPin",
            "cvv2",
            "pwd",
            "auth",
            "credentials",
            "sessionId",
        ] {
            assert_eq!(sensitivity(name.as_bytes()), Sensitivity::Any, "{name}");
        }
        for name in ["token", "accessToken", "max_tokens", "pass"] {
            assert_eq!(sensitivity(name.as_bytes()), Sensitivity::AllButNumbers, "{name}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for name in [
            "",
            "secretary",
            "tokenizer",
            "author",
            "key",
            "passenger",
            "compass",
            "spinning",
            "authors",
            "\u{e9}t\u{e9}",
        ] {
            assert_eq!(sensitivity(name.as_bytes()), Sensitivity::None, "{name}");
        }
    }
}
