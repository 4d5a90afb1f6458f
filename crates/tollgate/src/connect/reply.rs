//! JSON-RPC errors that the bridge gives itself, where the other side gave none.

use bytes::Bytes;
use tollgate_mcp::{codes, json};

/// Not JSON.
pub(crate) const PARSE_ERROR: i32 = -32700;
/// Not a message.
pub(crate) const INVALID_REQUEST: i32 = -32600;
/// The other side could not.
pub(crate) const INTERNAL_ERROR: i32 = codes::INTERNAL_ERROR;

/// An error response for the request with this raw id, or without id where none is known.
pub(crate) fn error(id: Option<&Bytes>, code: i32, text: &str) -> Bytes {
    let id = id.map_or_else(|| "null".to_owned(), |id| String::from_utf8_lossy(id).into_owned());
    let text = String::from_utf8_lossy(&json::quote(text)).into_owned();
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{text}}}}}"#))
}
