//! A request that is taken in: counted among those under way, and its body with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame, SizeHint};
use tollgate_mcp::{Limits, Message};

use super::intake;
use crate::gateway::Gateway;
use crate::load::{Begins, Work};
use crate::settings::ProxySettings;
use crate::turns;

/// How much is read of what may not be begun, to see whether it goes on with something, and for how long.
const AHEAD_BYTES_MAX: usize = 64 << 10;
const AHEAD: Duration = Duration::from_secs(1);

/// The body of a request that is taken in.
pub(crate) struct Taken<B> {
    unread: Option<B>,
    read: Option<Bytes>,
    work: Option<Arc<Work>>,
}

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It broke off.
    Off,
    /// There is no room for it: the process holds as much as it may.
    TooMuch,
}

/// What is not taken in: its id, if it is known.
pub(crate) struct Turned(pub(crate) Option<Bytes>);

/// Takes a request in, if there is room for it. Nobody has asked yet who calls, and mostly nothing is read of its body.
pub(crate) async fn take<B>(
    gateway: &Gateway,
    settings: &ProxySettings,
    request: Request<B>,
) -> Result<(Request<Taken<B>>, Option<Arc<Work>>), Turned>
where
    B: Body<Data = Bytes> + Unpin,
{
    // Streams have bounds of their own, and what ends something makes room.
    if request.method() != Method::POST {
        return Ok((request.map(|body| Taken { unread: Some(body), read: None, work: None }), None));
    }
    let waits = gateway.load().is_busy() || turns::are_waited_for();
    let in_time = !waits || turns::mine(settings.load.lag_max).await;
    match gateway.load().begin(&settings.load, Begins::New, in_time) {
        Some(work) => {
            let held = Some(Arc::clone(&work));
            Ok((request.map(|body| Taken { unread: Some(body), read: None, work: held }), Some(work)))
        }
        None => Box::pin(take_what_goes_on(gateway, settings, request)).await,
    }
}

/// Nothing new is begun. Only its body tells whether a request goes on with something.
async fn take_what_goes_on<B>(
    gateway: &Gateway,
    settings: &ProxySettings,
    request: Request<B>,
) -> Result<(Request<Taken<B>>, Option<Arc<Work>>), Turned>
where
    B: Body<Data = Bytes> + Unpin,
{
    let work = gateway.load().begin(&settings.load, Begins::GoesOn, true).ok_or(Turned(None))?;
    let (parts, body) = request.into_parts();
    if body.size_hint().lower() > AHEAD_BYTES_MAX as u64 {
        return Err(Turned(None));
    }
    let body = Taken { unread: Some(body), read: None, work: Some(Arc::clone(&work)) };
    let reading = tokio::time::timeout(AHEAD, intake::collect(body, AHEAD_BYTES_MAX));
    let Ok(Ok(read)) = reading.await else { return Err(Turned(None)) };
    let limits = Limits { bytes_max: settings.body_bytes_max, ..Limits::default() };
    let message = Message::parse(read.clone(), &limits).map_err(|error| Turned(error.id))?;
    if Begins::of(&message) == Begins::New {
        return Err(Turned(message.id_raw()));
    }
    let body = Taken { unread: None, read: Some(read), work: Some(Arc::clone(&work)) };
    Ok((Request::from_parts(parts, body), Some(work)))
}

impl<B> Body for Taken<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = match (self.read.take(), &mut self.unread) {
            // It was counted when it was read.
            (Some(read), _) => return Poll::Ready(Some(Ok(Frame::data(read)))),
            (None, Some(unread)) => match std::task::ready!(Pin::new(unread).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return Poll::Ready(Some(Err(Broken::Off))),
                None => return Poll::Ready(None),
            },
            (None, None) => return Poll::Ready(None),
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let has_room = self.work.as_ref().is_none_or(|work| work.holds(bytes));
        Poll::Ready(Some(if has_room { Ok(frame) } else { Err(Broken::TooMuch) }))
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.unread.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.read, &self.unread) {
            (Some(read), _) => SizeHint::with_exact(read.len() as u64),
            (None, Some(unread)) => unread.size_hint(),
            (None, None) => SizeHint::with_exact(0),
        }
    }
}
