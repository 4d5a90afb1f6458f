//! Bytes that were right, bent at random.

use proptest::sample::Index;

/// One bend: at which byte, in which way, and with what.
pub type Bend = (Index, u8, u8);

/// The bytes with some changed, put in, taken out or cut off.
pub fn bent(bytes: &[u8], bends: &[Bend]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, how, byte) in bends {
        // Cut to one byte, and that one taken away: nothing is left to bend.
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match how % 4 {
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at + 1),
        }
    }
    bytes
}
