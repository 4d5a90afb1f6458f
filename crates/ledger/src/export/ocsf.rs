//! An entry in the words of the Open Cybersecurity Schema Framework.

use super::record::Record;

/// Writes it.
pub(super) fn write(record: &Record, writer: &str, redelivered: bool, out: &mut Vec<u8>) {
    record.native(writer, redelivered, out);
}
