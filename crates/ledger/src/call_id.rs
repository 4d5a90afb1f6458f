//! The id of a call: the same in the ledger, in refusals, in the log and in every round.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tollgate_model::Timestamp;

use crate::entropy::random;

/// The digits: those of Crockford's base 32, in lower case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// What each byte is worth as a digit; those that are none are worth [`NO_DIGIT`].
const WORTH: [u8; 256] = {
    let mut worth = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < DIGITS.len() {
        #[expect(clippy::cast_possible_truncation, reason = "there are 32")]
        (worth[DIGITS[digit] as usize] = digit as u8);
        digit += 1;
    }
    worth
};
const NO_DIGIT: u8 = 0xff;
/// The length as text.
const TEXT_LEN: usize = 26;

/// The id of a call: 48 bits of time and 80 random bits, so that ids sort by time. As text: 26 digits and letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u128);

/// A text that is no id of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a call: 26 digits and lower-case letters")]
pub struct NoCallId;

impl CallId {
    /// A new id. Without the system's randomness it is only as good as the clock.
    pub fn new(now: Timestamp) -> Self {
        let mut bytes = [0; 16];
        bytes[6..].copy_from_slice(&random::<10>().unwrap_or_default());
        Self(u128::from_be_bytes(bytes) | (u128::from(now.as_ms()) << 80))
    }

    /// The id as bytes, for what travels sealed.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// What [`Self::to_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Its digits and letters.
    fn text(self) -> [u8; TEXT_LEN] {
        let mut text = [0; TEXT_LEN];
        let mut left = self.0;
        for place in text.iter_mut().rev() {
            *place = DIGITS[usize::try_from(left & 31).unwrap_or(0)];
            left >>= 5;
        }
        text
    }

    /// When it was made.
    pub fn time(self) -> Timestamp {
        Timestamp::from_ms(u64::try_from(self.0 >> 80).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CallId {
    type Err = NoCallId;

    fn from_str(text: &str) -> Result<Self, NoCallId> {
        if text.len() != TEXT_LEN || text.as_bytes()[0] > b'7' {
            return Err(NoCallId);
        }
        text.bytes()
            .try_fold(0_u128, |value, byte| {
                let digit = WORTH[usize::from(byte)];
                (digit != NO_DIGIT).then(|| (value << 5) | u128::from(digit))
            })
            .map(Self)
            .ok_or(NoCallId)
    }
}

impl Serialize for CallId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for CallId {
    fn schema_name() -> Cow<'static, str> {
        "CallId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-7][0-9a-hjkmnp-tv-z]{25}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_id_are_the_same_and_sort_by_time() {
        let early = CallId::new(Timestamp::from_ms(1_700_000_000_000));
        let late = CallId::new(Timestamp::from_ms(1_700_000_000_001));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(CallId::from_bytes(late.to_bytes()), late);
        assert_eq!(early.time(), Timestamp::from_ms(1_700_000_000_000));
        for wrong in ["", "8zzzzzzzzzzzzzzzzzzzzzzzzz", "0000000000000000000000000u", "0000"] {
            assert_eq!(wrong.parse::<CallId>(), Err(NoCallId), "{wrong}");
        }
    }
}
