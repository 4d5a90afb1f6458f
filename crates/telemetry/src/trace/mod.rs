//! Traces: one span for what a client asks, one below it for each time that a server is asked.
//!
//! Whether anything is traced is set once per process, by [`crate::export::Telemetry`]. Where nothing is, what a caller says of its
//! own trace is passed on as it is, and its id stands in logs and the ledger all the same.

mod context;
mod span;

use std::sync::{Arc, OnceLock};

pub use self::context::{BAGGAGE_BYTES_MAX, Context, SpanId, TRACESTATE_BYTES_MAX, TraceId, may_pass_on};
use self::span::Side;
pub(crate) use self::span::{Recorded, attribute, value};
use crate::export::Queue;
use crate::otlp::proto::trace::v1::Span;
use crate::settings::Sampler;

static TRACER: OnceLock<Tracer> = OnceLock::new();

/// Decides what is traced, and keeps it until it is sent.
#[derive(Debug)]
pub(crate) struct Tracer {
    pub(crate) sampler: Sampler,
    pub(crate) queue: Arc<Queue<Span>>,
}

/// Traces from now on. The first one stays.
pub(crate) fn install(tracer: Tracer) {
    _ = TRACER.set(tracer);
}

/// What a client said of its trace. What cannot be read or is too long counts as not said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// `traceparent` of the message itself (`_meta`), or else of the HTTP request.
    pub traceparent: Option<&'a str>,
    /// `traceparent` of the HTTP request, where the message has one of its own.
    pub ambient: Option<&'a str>,
    /// `tracestate`, from where `traceparent` is.
    pub tracestate: Option<&'a str>,
    /// `baggage`.
    pub baggage: Option<&'a str>,
}

/// A client's request in its trace.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The span of the request; the caller's own where nothing is traced here. None if there is neither.
    here: Option<Context>,
    /// The caller's span, below which the request's is.
    parent: Option<SpanId>,
    /// The span of the HTTP request, where that is another's.
    link: Option<Context>,
    /// Whether the span is the gateway's own.
    is_own: bool,
    tracestate: Option<Box<str>>,
    baggage: Option<Box<str>>,
}

impl Trace {
    /// Begins, or goes on with, a trace.
    pub fn begin(said: Said<'_>) -> Self {
        Self::begun(TRACER.get().map(|tracer| tracer.sampler), said)
    }

    fn begun(sampler: Option<Sampler>, said: Said<'_>) -> Self {
        let parent = said.traceparent.and_then(Context::read);
        let kept = |text: Option<&str>, bytes_max| {
            text.filter(|text| may_pass_on(text, bytes_max)).map(Box::<str>::from)
        };
        let trace = Self {
            here: parent,
            parent: None,
            link: None,
            is_own: false,
            // Without its parent it says nothing (W3C Trace Context, section 3.3).
            tracestate: parent.and_then(|_| kept(said.tracestate, TRACESTATE_BYTES_MAX)),
            baggage: kept(said.baggage, BAGGAGE_BYTES_MAX),
        };
        let Some(sampler) = sampler else { return trace };
        let id = parent.map_or_else(TraceId::random, |parent| parent.trace);
        let here = Context { trace: id, span: SpanId::random(), is_sampled: sampler.samples(id, parent) };
        let ambient = said.ambient.and_then(Context::read).filter(|ambient| Some(*ambient) != parent);
        let parent = parent.map(|parent| parent.span);
        Self { here: Some(here), parent, link: ambient, is_own: true, ..trace }
    }

    /// The id of the trace.
    pub fn id(&self) -> Option<TraceId> {
        self.here.map(|here| here.trace)
    }

    /// The span of the next request that goes to a server.
    pub fn hop(&self) -> Hop {
        let span = self.here.map(|here| if self.is_own { here.child() } else { here });
        Hop { span }
    }

    /// What is passed on as `tracestate`.
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }

    /// What is passed on as `baggage`.
    pub fn baggage(&self) -> Option<&str> {
        self.baggage.as_deref()
    }

    /// Whether its spans are kept.
    pub(crate) fn is_recorded(&self) -> bool {
        self.is_own && self.here.is_some_and(|here| here.is_sampled)
    }

    /// Keeps the span of the request until it is sent.
    pub(crate) fn record_request(&self, recorded: Recorded<'_>) {
        if let (true, Some(tracer), Some(here)) = (self.is_recorded(), TRACER.get(), self.here) {
            let mut span = recorded.into_span(Side::Server, here, self.parent);
            self.tracestate.as_deref().unwrap_or_default().clone_into(&mut span.trace_state);
            span.links.extend(self.link.map(span::link));
            tracer.queue.push(span);
        }
    }

    /// Keeps the span of what went to a server until it is sent.
    pub(crate) fn record_hop(&self, hop: Hop, recorded: Recorded<'_>) {
        if let (true, Some(tracer), Some(span)) = (self.is_recorded(), TRACER.get(), hop.span) {
            let parent = self.here.map(|here| here.span);
            tracer.queue.push(recorded.into_span(Side::Client, span, parent));
        }
    }
}

/// A request to a server in its client's trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hop {
    span: Option<Context>,
}

impl Hop {
    /// What goes out as `traceparent`.
    pub fn traceparent(&self) -> Option<String> {
        self.span.map(|span| span.to_string())
    }
}

impl Sampler {
    /// Whether a request is traced.
    fn samples(self, id: TraceId, parent: Option<Context>) -> bool {
        match parent {
            Some(parent) if self.respects_parent => parent.is_sampled,
            _ => {
                #[allow(
                    clippy::cast_precision_loss,
                    reason = "56 bits, of which the last few decide nothing"
                )]
                let place = id.randomness() as f64 / (1_u64 << 56) as f64;
                // All replicas of a call's way that have the same ratio decide the same.
                place >= 1.0 - self.ratio
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn begun(ratio: f64, respects_parent: bool, said: Said<'_>) -> Trace {
        Trace::begun(Some(Sampler { ratio, respects_parent }), said)
    }

    fn said(traceparent: &str) -> Said<'_> {
        Said {
            traceparent: Some(traceparent),
            tracestate: Some("a=b"),
            baggage: Some("c=d"),
            ..Said::default()
        }
    }

    #[test]
    fn where_nothing_is_traced_everything_is_passed_on() {
        let trace = Trace::begun(None, said(SAMPLED));
        assert_eq!(trace.hop().traceparent().as_deref(), Some(SAMPLED));
        assert_eq!((trace.tracestate(), trace.baggage()), (Some("a=b"), Some("c=d")));
        assert!(trace.id().is_some() && !trace.is_recorded());
        let trace = Trace::begun(None, said("nonsense"));
        assert_eq!((trace.hop().traceparent(), trace.tracestate(), trace.id()), (None, None, None));
    }

    #[test]
    fn a_trace_goes_on_below_its_caller() {
        let trace = begun(0.0, true, said(SAMPLED));
        let sent = trace.hop().traceparent().expect("a hop");
        assert!(trace.is_recorded() && sent.ends_with("-01"));
        assert_eq!(sent[..36], SAMPLED[..36]);
        assert_ne!(sent, SAMPLED);
        let unsampled = begun(1.0, true, said(UNSAMPLED));
        assert!(!unsampled.is_recorded() && unsampled.hop().traceparent().expect("a hop").ends_with("-00"));
        assert!(begun(1.0, false, said(UNSAMPLED)).is_recorded());
        assert!(!begun(0.0, false, said(SAMPLED)).is_recorded());
    }

    #[test]
    fn a_ratio_is_kept() {
        let sampled = (0..20_000).filter(|_| begun(0.25, true, Said::default()).is_recorded());
        let sampled = sampled.count();
        assert!((4_600..5_400).contains(&sampled), "{sampled}");
        let all = |ratio| (0..500).filter(|_| begun(ratio, true, Said::default()).is_recorded()).count();
        assert_eq!((all(0.0), all(1.0)), (0, 500));
    }
}
