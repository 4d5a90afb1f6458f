//! Reading a request body, bounded in size and time, and making a message of it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tollgate_mcp::{Fault, JsonKind, Kind, Limits, Message, ScanError, meta};
use tollgate_model::{Code, Refusal, Stage};

use super::taken::Broken;
use crate::load;
use crate::settings::ProxySettings;

/// How large a progress token may be, as raw JSON.
const TOKEN_BYTES_MAX: usize = 1024;

/// Why a message could not be taken in. The id is the request's, where it could still be read.
pub(crate) struct NotTaken {
    pub(crate) refusal: Box<Refusal>,
    pub(crate) id: Option<Bytes>,
}

impl NotTaken {
    pub(crate) fn new(refusal: Refusal, id: Option<Bytes>) -> Self {
        Self { refusal: Box::new(refusal), id }
    }
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal, None)
    }
}

/// Reads a whole body.
pub(crate) async fn read<B>(body: B, settings: &ProxySettings) -> Result<Bytes, Refusal>
where
    B: http_body::Body<Data = Bytes, Error = Broken>,
{
    let bytes_max = settings.body_bytes_max;
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    match tokio::time::timeout(settings.body_timeout, collect(body, bytes_max)).await {
        Ok(read) => read,
        Err(_) => Err(too_slow(settings.body_timeout)),
    }
}

/// A whole body of so many bytes at most.
pub(crate) async fn collect<B>(body: B, bytes_max: usize) -> Result<Bytes, Refusal>
where
    B: http_body::Body<Data = Bytes, Error = Broken>,
{
    let announced = usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(0);
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(Broken::TooMuch) => return Err(load::overloaded()),
            Err(Broken::Off) => {
                return Err(Refusal::new(
                    Stage::Transport,
                    Code::InvalidRequest,
                    "the request body broke off",
                ));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        // Most bodies come in one piece, which needs no copy.
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(announced.max(first.len() + data.len()));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

fn too_large(bytes_max: usize) -> Refusal {
    let text = format!("the request body has more than {bytes_max} bytes");
    Refusal::new(Stage::Transport, Code::BodyTooLarge, text)
}

fn too_slow(timeout: Duration) -> Refusal {
    let text = format!("the request body did not arrive within {} ms", timeout.as_millis());
    Refusal::new(Stage::Transport, Code::BodyTimeout, text)
}

/// How much a reader of messages accepts.
pub(crate) fn limits(settings: &ProxySettings) -> Limits {
    Limits { bytes_max: settings.body_bytes_max, ..Limits::default() }
}

/// How much of a body that nobody wants is read all the same, and for how long: a connection that is closed on a client
/// that still sends may lose the answer on its way.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;
const DISCARDING: Duration = Duration::from_millis(250);

/// Lets a client finish what it sends, if it is short.
pub(crate) async fn discard<B>(body: B)
where
    B: http_body::Body<Data = Bytes, Error = Broken>,
{
    if !body.is_end_stream() && body.size_hint().lower() <= DISCARDED_BYTES_MAX as u64 {
        let _ = tokio::time::timeout(DISCARDING, collect(body, DISCARDED_BYTES_MAX)).await;
    }
}

/// Makes a message of bytes, or says why they are none.
pub(crate) fn parse(bytes: Bytes, settings: &ProxySettings) -> Result<Message, NotTaken> {
    let message = Message::parse(bytes, &limits(settings)).map_err(|error| fault(&error))?;
    check_token(&message).map_err(|refusal| NotTaken::new(refusal, message.id_raw()))?;
    Ok(message)
}

/// A progress token is a string or an integer (all revisions, progress). It may be kept for as long as a task lives.
fn check_token(message: &Message) -> Result<(), Refusal> {
    let token = match message.kind() {
        Kind::Request => message.meta_member(meta::PROGRESS_TOKEN),
        _ => None,
    };
    let Some(token) = token else { return Ok(()) };
    let raw = token.of(message.bytes());
    let is_token = match message.kind_of(token) {
        JsonKind::String => true,
        JsonKind::Number => {
            let number = std::str::from_utf8(raw).ok().and_then(|raw| raw.parse::<f64>().ok());
            number.is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    };
    if is_token && raw.len() <= TOKEN_BYTES_MAX {
        return Ok(());
    }
    let text = format!(
        "`params._meta.progressToken` must be a string or an integer of at most {TOKEN_BYTES_MAX} bytes"
    );
    Err(Refusal::new(Stage::Envelope, Code::InvalidParams, text))
}

/// Why bytes are no message.
pub(crate) fn fault(error: &ScanError) -> NotTaken {
    let ScanError { fault, offset, ref id, .. } = *error;
    let code = match fault {
        Fault::TooLarge => Code::BodyTooLarge,
        fault if fault.is_parse_error() => Code::ParseError,
        _ => Code::InvalidRequest,
    };
    let text = match fault {
        Fault::Batch => {
            "batches are served only in a session of 2025-03-26: send each message by itself".to_owned()
        }
        fault => format!("{fault}, at byte {offset}"),
    };
    NotTaken::new(Refusal::new(Stage::Envelope, code, text), id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_token_is_a_short_string_or_an_integer() {
        let taken = |token: &str| {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{{"_meta":{{"progressToken":{token}}}}}}}"#
            );
            parse(Bytes::from(text), &ProxySettings::default())
        };
        let long = format!("\"{}\"", "x".repeat(TOKEN_BYTES_MAX));
        for token in ["\"\"", "\"a\"", "0", "-7", "18446744073709551615", "1.0"] {
            assert!(taken(token).is_ok(), "{token}");
        }
        for token in ["1.5", "null", "true", "{}", "[]", &long] {
            let Err(refused) = taken(token) else { panic!("{token} was taken") };
            assert_eq!((refused.refusal.code, refused.id.as_deref()), (Code::InvalidParams, Some(&b"5"[..])));
        }
    }
}
