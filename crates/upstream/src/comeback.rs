//! Coming back to the answer of a legacy server whose stream ended before the response (2025-03-26 to 2025-11-25,
//! transports, resumability): by a GET with the id of the last event, as often as it takes. From 2025-11-25 on a server
//! may end the connection on purpose, so that nobody holds it while it works.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::time::{Instant, sleep_until, timeout};
use tollgate_mcp::{Message, headers};

use crate::UpstreamError;
use crate::backoff::Backoff;
use crate::http::Reply;
use crate::link::{Instance, Wire};
use crate::session::Session;
use crate::site::LAST_EVENT_ID;
use crate::stream::Stream;

/// How often in a row a stream is asked for without one event coming.
const FRUITLESS_MAX: u32 = 5;
/// The shortest wait, whatever the server asks for.
const WAIT_MIN: Duration = Duration::from_millis(20);

/// A stream that ended before its response.
#[derive(Debug)]
pub(crate) struct Broken {
    /// What the request fails with if there is no coming back.
    error: UpstreamError,
    /// When to ask next.
    at: Instant,
}

/// The next message of the stream, over as many connections as it takes. Dropping the future loses nothing.
pub(crate) async fn message(stream: &mut Stream, instance: &Instance) -> Result<Message, UpstreamError> {
    loop {
        if stream.broken.is_none() {
            let error = match stream.message().await {
                Err(error @ UpstreamError::Closed { .. }) => error,
                other => return other,
            };
            let Wire::Session(_) = &instance.wire else { return Err(error) };
            if !stream.can_come_back() {
                return Err(error);
            }
            breaks(stream, instance, error)?;
        }
        Box::pin(go_on(stream, instance)).await?;
    }
}

/// Notes when to ask for the rest of a stream.
fn breaks(stream: &mut Stream, instance: &Instance, error: UpstreamError) -> Result<(), UpstreamError> {
    let fruitless = if std::mem::take(&mut stream.spoke) { 0 } else { stream.fruitless + 1 };
    stream.fruitless = fruitless;
    if fruitless >= FRUITLESS_MAX {
        return Err(error);
    }
    let timeouts = &instance.shared.settings.timeouts;
    let backoff = Backoff::new(timeouts.backoff_min, timeouts.backoff_max);
    let own = || backoff.after(fruitless + 1);
    let wait = match stream.retry {
        // The server's wait is kept; a server that does not answer is given more.
        Some(retry) if fruitless == 0 => retry,
        Some(retry) => retry.max(own()),
        None => own(),
    };
    // What is too far away for the clock is beyond the request's deadline too.
    let at = Instant::now().checked_add(wait.max(WAIT_MIN)).ok_or_else(|| error.clone())?;
    stream.quiet_until = Some(at);
    stream.broken = Some(Box::new(Broken { error, at }));
    Ok(())
}

/// What came of asking for the rest of a stream.
enum Asked {
    Reply(Box<Reply>),
    /// Not now.
    Later,
    /// Not here.
    Never,
}

/// Waits, and asks for the rest of a broken stream once.
async fn go_on(stream: &mut Stream, instance: &Instance) -> Result<(), UpstreamError> {
    let (Some(broken), Wire::Session(session)) = (&stream.broken, &instance.wire) else { return Ok(()) };
    sleep_until(broken.at).await;
    let asked = ask(stream, session).await;
    let Some(broken) = stream.broken.take() else { return Ok(()) };
    match asked {
        Asked::Reply(reply) => stream.come_back(*reply),
        Asked::Later => breaks(stream, instance, broken.error),
        Asked::Never => Err(broken.error),
    }
}

async fn ask(stream: &Stream, session: &Session) -> Asked {
    let site = &session.site;
    // In a session that was begun again the same event id is another stream's.
    let Some(current) = stream.session.as_ref().filter(|current| session.is_current(current)) else {
        return Asked::Never;
    };
    let mut map = site.get_headers(Some(session.revision), current.id.as_ref());
    let Some(id) = stream.last_id().and_then(|id| HeaderValue::try_from(id).ok()) else {
        return Asked::Never;
    };
    map.insert(LAST_EVENT_ID, id);
    let reply = match timeout(site.shared.settings.timeouts.probe, site.get(map)).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => {
            tracing::debug!(server = %site.shared.id.label(), ?error, "a stream could not be resumed yet");
            return Asked::Later;
        }
        Err(_) => return Asked::Later,
    };
    match reply.status() {
        StatusCode::OK if reply.is_of_type(headers::TEXT_EVENT_STREAM) => Asked::Reply(Box::new(reply)),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => Asked::Later,
        status => {
            if status == StatusCode::NOT_FOUND && current.id.is_some() {
                current.forget();
            }
            Asked::Never
        }
    }
}
