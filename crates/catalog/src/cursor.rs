//! The cursor of a merged list: where each server's own list goes on.
//!
//! This is its content only. The proxy seals it, so that what a client brings back is what it was given.

/// Where a merged list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedCursor {
    /// The servers that have more, by name, each with its own cursor.
    pub rest: Vec<(String, String)>,
}

impl MergedCursor {
    /// The cursor as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (server, cursor) in &self.rest {
            for part in [server, cursor] {
                bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
                bytes.extend_from_slice(part.as_bytes());
            }
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut part = || -> Option<String> {
            let (length, after) = bytes.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let text = std::str::from_utf8(after.get(..length)?).ok()?.to_owned();
            bytes = &after[length..];
            Some(text)
        };
        let mut parts = Vec::new();
        while let Some(text) = part() {
            parts.push(text);
        }
        if !bytes.is_empty() || parts.is_empty() || parts.len() % 2 != 0 {
            return None;
        }
        let mut parts = parts.into_iter();
        let mut rest = Vec::new();
        while let (Some(server), Some(cursor)) = (parts.next(), parts.next()) {
            rest.push((server, cursor));
        }
        Some(Self { rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back(rest in prop::collection::vec(("\\PC{0,20}", "\\PC{0,40}"), 1..5)) {
            let cursor = MergedCursor { rest };
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
