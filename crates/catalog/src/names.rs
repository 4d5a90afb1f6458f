//! The names under which clients see what servers call their own.
//!
//! A public name is `server__native`. It depends on these two alone, so it never changes because another server was
//! added. Where that would be no legal or too long a name, the native part is cut and marked with a hash of the whole
//! native name; such a name cannot be read back, so [`PublicName::read`] says that it has to be looked up.

use ring::digest::{SHA256, digest};
use tollgate_model::ServerName;

/// The longest public name, in bytes. Model APIs allow no more.
pub const PUBLIC_NAME_BYTES_MAX: usize = 64;

const SEPARATOR: &str = "__";
const HASH_HEX: usize = 10;

/// The public name of a server's tool or prompt: at most [`PUBLIC_NAME_BYTES_MAX`] bytes of `A-Za-z0-9_.-`.
pub fn public_name(server: &ServerName, native: &str) -> String {
    let plain = server.as_str().len() + SEPARATOR.len() + native.len();
    if plain <= PUBLIC_NAME_BYTES_MAX
        && !native.is_empty()
        && native.bytes().all(is_legal)
        && !looks_cut(native)
    {
        return [server.as_str(), SEPARATOR, native].concat();
    }
    let room = PUBLIC_NAME_BYTES_MAX - server.as_str().len() - SEPARATOR.len() - 1 - HASH_HEX;
    let mut name = format!("{server}{SEPARATOR}");
    name.extend(native.chars().map(|c| if c.is_ascii() && is_legal(c as u8) { c } else { '_' }).take(room));
    name.push('_');
    for byte in &digest(&SHA256, native.as_bytes()).as_ref()[..HASH_HEX / 2] {
        name.push(hex(byte >> 4));
        name.push(hex(byte & 15));
    }
    name
}

/// A public name as a client wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicName<'a> {
    /// The part before the separator, and the native name behind it.
    Plain(&'a str, &'a str),
    /// The part before the separator. Which native name is meant is known only from the server's list.
    Cut(&'a str),
    /// No separator: not a public name.
    Native(&'a str),
}

impl<'a> PublicName<'a> {
    /// Reads a name. Whether the server exists is for the caller to see.
    pub fn read(text: &'a str) -> Self {
        match text.split_once(SEPARATOR) {
            Some((server, native)) if looks_cut(native) => Self::Cut(server),
            Some((server, native)) => Self::Plain(server, native),
            None => Self::Native(text),
        }
    }
}

/// A native name that ends as a cut name does is itself always cut, so that the two can never be confused.
fn looks_cut(native: &str) -> bool {
    let bytes = native.as_bytes();
    bytes.len() > HASH_HEX
        && bytes[bytes.len() - HASH_HEX - 1] == b'_'
        && bytes[bytes.len() - HASH_HEX..].iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server(name: &str) -> ServerName {
        ServerName::new(name).expect("a name")
    }

    #[test]
    fn short_legal_names_stay_readable() {
        assert_eq!(public_name(&server("files"), "read_file"), "files__read_file");
        assert_eq!(PublicName::read("files__read_file"), PublicName::Plain("files", "read_file"));
        assert_eq!(PublicName::read("a___b"), PublicName::Plain("a", "_b"));
        assert_eq!(PublicName::read("read_file"), PublicName::Native("read_file"));
    }

    /// These exact names are a promise: clients and policies keep them.
    #[test]
    fn cut_names_are_stable() {
        let long = "a_tool_whose_name_goes_on_and_on_until_no_model_api_would_take_it_any_more";
        assert_eq!(
            public_name(&server("files"), long),
            "files__a_tool_whose_name_goes_on_and_on_until_no_mode_184b6bcec4"
        );
        assert_eq!(public_name(&server("s"), "a/b"), "s__a_b_c14cddc033");
    }

    proptest! {
        #[test]
        fn names_are_legal_and_read_back(native in "\\PC{0,90}") {
            let server = server("some-server_1");
            let public = public_name(&server, &native);
            prop_assert!(public.len() <= PUBLIC_NAME_BYTES_MAX);
            prop_assert!(public.bytes().all(is_legal));
            match PublicName::read(&public) {
                PublicName::Plain(s, n) => prop_assert_eq!((s, n), (server.as_str(), native.as_str())),
                PublicName::Cut(s) => prop_assert_eq!(s, server.as_str()),
                PublicName::Native(_) => prop_assert!(false, "a public name has a separator"),
            }
        }

        #[test]
        fn different_natives_have_different_names(a in "[a-z/_.]{0,80}", b in "[a-z/_.]{0,80}") {
            let server = server("s");
            prop_assert_eq!(a == b, public_name(&server, &a) == public_name(&server, &b));
        }
    }
}
