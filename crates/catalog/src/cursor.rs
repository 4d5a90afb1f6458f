//! The cursor of a merged list: where each server's own list goes on.
//!
//! This is its content only. The proxy seals it, so that what a client brings back is what it was given.

/// Where a merged list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedCursor {
    /// The servers whose lists are left, by name and in order, each with its own cursor if its list has begun.
    pub rest: Vec<(String, Option<String>)>,
    /// Whether the first page was one that may be shared: all pages of a list must say the same (2026-07-28, caching).
    pub shared: bool,
}

/// In place of a cursor's length: the list has not begun.
const NOT_BEGUN: u32 = u32::MAX;

impl MergedCursor {
    /// The cursor as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.shared)];
        for (server, cursor) in &self.rest {
            push(&mut bytes, server);
            match cursor {
                Some(cursor) => push(&mut bytes, cursor),
                None => bytes.extend_from_slice(&NOT_BEGUN.to_be_bytes()),
            }
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (shared, after) = bytes.split_first()?;
        let shared = match shared {
            0 => false,
            1 => true,
            _ => return None,
        };
        bytes = after;
        let mut rest = Vec::new();
        while !bytes.is_empty() {
            let server = take(&mut bytes)?;
            let cursor = match bytes.strip_prefix(&NOT_BEGUN.to_be_bytes()) {
                Some(after) => {
                    bytes = after;
                    None
                }
                None => Some(take(&mut bytes)?),
            };
            rest.push((server, cursor));
        }
        (!rest.is_empty()).then_some(Self { rest, shared })
    }
}

fn push(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(NOT_BEGUN - 1).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn take(bytes: &mut &[u8]) -> Option<String> {
    let (length, after) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (text, after) = after.split_at_checked(length)?;
    *bytes = after;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back(
            rest in prop::collection::vec(("\\PC{0,20}", prop::option::of("\\PC{0,40}")), 1..5),
            shared: bool,
        ) {
            let cursor = MergedCursor { rest, shared };
            prop_assert_eq!(MergedCursor::decode(&cursor.encode()), Some(cursor));
        }

        #[test]
        fn takes_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(cursor) = MergedCursor::decode(&bytes) {
                prop_assert_eq!(cursor.encode(), bytes);
            }
        }
    }
}
