//! Why bytes are not a message.

use bytes::Bytes;

use super::scan::Stop;
use crate::codes;
use crate::peek::{Peek, Role};

/// What is wrong with a message. The text of each is fit for the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// Not UTF-8.
    #[error("the message is not valid UTF-8")]
    NotUtf8,
    /// Not JSON; a byte order mark included.
    #[error("the message is not valid JSON")]
    Syntax,
    /// Something follows the JSON value.
    #[error("the message is followed by other bytes")]
    Trailing,
    /// A `\u` escape names half of a surrogate pair, so the string has no one meaning.
    #[error("a string contains a lone surrogate")]
    LoneSurrogate,
    /// Arrays and objects nest more deeply than allowed.
    #[error("the message is nested too deeply")]
    TooDeep,
    /// More bytes than allowed.
    #[error("the message is too large")]
    TooLarge,
    /// An object has the same member name twice (compared after unescaping), so it has no one meaning.
    #[error("an object has the same member name twice")]
    Duplicate,
    /// JSON, but not an object.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// A JSON-RPC batch.
    #[error("batches are not accepted")]
    Batch,
    /// Not JSON-RPC 2.0: `jsonrpc` is not "2.0", or the members say neither request nor response, or both.
    #[error("the message is not a JSON-RPC 2.0 request, notification or response")]
    NotJsonRpc,
    /// The id is neither a string nor an integer, or a result has none.
    #[error("the id is not a string or an integer")]
    BadId,
    /// The method is not a string, or is empty.
    #[error("the method is not a string that names something")]
    BadMethod,
    /// `params` is there, but is not an object.
    #[error("params is not an object")]
    BadParams,
    /// `result` is not an object, or `error` lacks an integer code or a string message.
    #[error("the response has no valid result or error")]
    BadResponse,
}

impl Fault {
    /// Whether the bytes could not be read at all (JSON-RPC -32700). Otherwise they could, but say nothing that is
    /// accepted (-32600).
    pub const fn is_parse_error(self) -> bool {
        matches!(self, Self::NotUtf8 | Self::Syntax | Self::Trailing | Self::LoneSurrogate)
    }

    /// The JSON-RPC code that answers this fault.
    pub const fn code(self) -> i32 {
        if self.is_parse_error() { codes::PARSE_ERROR } else { codes::INVALID_REQUEST }
    }
}

/// Bytes are not a message: why, where, and whom the error can be addressed to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (at byte {offset})")]
pub struct ScanError {
    /// What is wrong: the first fault in reading order.
    pub fault: Fault,
    /// Where it was noticed, in bytes.
    pub offset: usize,
    /// The raw id (a JSON string or integer) of the request at fault, where it could still be read unambiguously.
    pub id: Option<Bytes>,
    /// The raw id of the *response* at fault, likewise: it names a request that will get no other answer.
    pub response_id: Option<Bytes>,
}

impl ScanError {
    /// An error about `message`. Only on this path are the bytes read again, to find whom to tell.
    pub(crate) fn new(stop: Stop, message: &[u8]) -> Self {
        let mut error = Self { fault: stop.fault, offset: stop.offset as usize, id: None, response_id: None };
        let unreadable =
            matches!(stop.fault, Fault::NotUtf8 | Fault::Syntax | Fault::Trailing | Fault::TooLarge);
        if !unreadable {
            let mut peek = Peek::default();
            peek.feed(message);
            if let Some((id, role)) = peek.whole_id() {
                match role {
                    Role::Response => error.response_id = Some(id),
                    Role::Other => error.id = Some(id),
                }
            }
        }
        error
    }
}
