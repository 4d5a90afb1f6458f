//! Trying again what failed, where that can do no harm.
//!
//! What certainly had no effect may be sent again, whatever it is. What may have been carried out may be sent again only if that
//! does no harm twice, and nobody has seen anything of it. Each try is decided on, routed and put on record by itself.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout_at};
use tollgate_model::{Era, Refusal};
use tollgate_telemetry::events::TriedAgain;
use tollgate_upstream::{Link, Server, UpstreamError, Waits};

use crate::bridge::Round;
use crate::gateway::Gateway;
use crate::handling::{self, ToolHandling};
use crate::inbound::Inbound;
use crate::stages::{Resolved, route};
use crate::tasks::{self, Plan};

/// The tries of one request.
pub(crate) struct Again<'a> {
    server: &'a Server,
    waits: Waits,
    /// How often it may be tried again yet.
    left: u32,
    failures: u32,
    was_stale: bool,
    /// Whether an earlier try, or an earlier round of the request, may have been carried out.
    has_left: bool,
    /// When the present try began.
    began: Option<Instant>,
    /// When its response has to be there, whatever is tried.
    until: Option<Instant>,
}

impl<'a> Again<'a> {
    /// Of a call, read, prompt or completion.
    pub(crate) fn of(inbound: &Inbound, resolved: &'a Resolved) -> Self {
        let server = resolved.server();
        let is_call = inbound.is_tool_call();
        let handling = match resolved.native().filter(|_| is_call) {
            Some(native) => handling::of_tool(&inbound.snapshot.settings, server.id(), native),
            None => ToolHandling::default(),
        };
        let waits = Waits {
            total: handling.timeout,
            first_byte: handling.first_byte_timeout,
            idle: handling.idle_timeout,
        };
        Self::new(server, waits, handling.retries)
    }

    /// Of a page of a list.
    pub(crate) fn of_list(server: &'a Server) -> Self {
        Self::new(server, Waits::within(server.settings().timeouts.list), None)
    }

    fn new(server: &'a Server, waits: Waits, retries: Option<u32>) -> Self {
        server.retries().earn();
        let left = retries.unwrap_or(server.settings().retries.max);
        Self { server, waits, left, failures: 0, was_stale: false, has_left: false, began: None, until: None }
    }

    /// The same of what goes on with something, if it does.
    pub(crate) fn going_on(self, goes_on: bool) -> Self {
        Self { has_left: goes_on, ..self }
    }

    /// Whether this is not the first try.
    pub(crate) fn is_again(&self) -> bool {
        self.failures > 0 || self.was_stale
    }

    /// Until when a try may wait for its place.
    pub(crate) fn until(&self) -> Instant {
        self.until.unwrap_or_else(|| Instant::now() + self.total())
    }

    /// What has to be found or begun before a try can be sent, if that comes within the time that the request has: the first
    /// words with a server that says nothing take longer than many a call may. What fails here has not left.
    pub(crate) fn in_time<T>(
        &self,
        opening: impl Future<Output = Result<T, Refusal>>,
    ) -> impl Future<Output = Result<T, Refusal>> {
        timeout_at(self.until(), opening).map(move |opened| {
            let opened = opened.unwrap_or_else(|_| {
                let late = UpstreamError::Timeout { what: "the request", after: self.total() };
                Err(route::unopened(self.server, &late))
            });
            opened.map_err(|refusal| if self.has_left { refusal } else { refusal.unsent() })
        })
    }

    fn total(&self) -> Duration {
        self.waits.total.unwrap_or(self.server.settings().timeouts.request)
    }

    /// A try begins: how long it may take.
    pub(crate) fn begin(&mut self) -> Waits {
        let now = Instant::now();
        self.began = Some(now);
        let left = match self.until {
            Some(until) => until.saturating_duration_since(now),
            None => self.total(),
        };
        self.until = Some(now + left);
        Waits { total: Some(left), ..self.waits }
    }

    /// Waits for the next try. Whether there is one. `is_harmless`: whether it may be sent though it may have been carried out.
    pub(crate) async fn pause(
        &mut self,
        gateway: &Gateway,
        error: &UpstreamError,
        is_harmless: impl FnOnce() -> bool,
    ) -> bool {
        self.has_left |= !error.had_no_effect();
        // Nothing was carried out, since the server is not what it was found to be: look again, once, and at once.
        if error.is_stale() && !std::mem::replace(&mut self.was_stale, true) {
            return true;
        }
        let is_wanted = self.left > 0 && error.may_pass() && !gateway.is_draining();
        if !is_wanted || !(error.had_no_effect() || is_harmless()) {
            return false;
        }
        let budget = self.server.retries();
        let wait = budget.wait(self.failures + 1).max(error.retry_after().unwrap_or_default());
        if !self.is_time_for_another(wait) {
            return false;
        }
        let is_withheld = !budget.spend();
        TriedAgain { server: self.server.id(), why: error.code(), wait, is_withheld }.emit();
        if is_withheld {
            return false;
        }
        self.left -= 1;
        self.failures += 1;
        tokio::time::sleep(wait).await;
        true
    }

    /// Whether a try after this wait can come to its end: it is likely to take as long as the one that failed.
    fn is_time_for_another(&self, wait: Duration) -> bool {
        let (Some(began), Some(until)) = (self.began, self.until) else { return true };
        let now = Instant::now();
        let ends = now.checked_add(wait).and_then(|at| at.checked_add(now.duration_since(began)));
        ends.is_some_and(|ends| ends < until)
    }
}

/// Whether a request may be sent again though it may have been carried out, as long as nobody has seen anything of it.
pub(crate) fn is_harmless(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    link: &Link,
    (plan, round): (Plan, &Round),
) -> bool {
    // People have agreed to it once.
    if inbound.record.was_approved() {
        return false;
    }
    // It goes on with what its client was asked, or with what its server has kept.
    if round.goes_on() {
        return false;
    }
    let Some(native) = resolved.native().filter(|_| inbound.is_tool_call()) else {
        // Reads, prompts and completions.
        return true;
    };
    !may_become_a_task(inbound, link, plan)
        && handling::traits(gateway, &inbound.snapshot.settings, resolved.server().id(), native)
            .is_repeatable()
}

/// Whether the server may have made a task of a call, which would be made twice.
fn may_become_a_task(inbound: &Inbound, link: &Link, plan: Plan) -> bool {
    match (plan, link.era()) {
        (Plan::Keep | Plan::Follow | Plan::Declare, _) => true,
        (Plan::Without, _) => false,
        (Plan::Plain, Era::Legacy) => inbound.message.member("task").is_some(),
        (Plan::Plain, Era::Modern) => {
            link.hello().tasks && tasks::capability::declares_extension(&inbound.caller.client)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::{Code, Retry, ServerName, Stage};
    use tollgate_upstream::{HttpSettings, RetrySettings, ServerSettings, Transport};

    use crate::settings::ProxySettings;
    use crate::setup::Setup;

    fn server(retries: RetrySettings) -> Server {
        let transport = Transport::Http(HttpSettings::new("http://localhost/".parse().expect("a URL")));
        let settings = ServerSettings::new(ServerName::new("s").expect("a name"), transport);
        let (events, _) = tokio::sync::mpsc::channel(1);
        Server::new(ServerSettings { retries, ..settings }, events).expect("a server")
    }

    fn quick() -> RetrySettings {
        let ms = Duration::from_millis;
        RetrySettings { wait_min: ms(1), wait_max: ms(1), ..RetrySettings::default() }
    }

    fn lost() -> UpstreamError {
        UpstreamError::Closed { detail: "lost".into() }
    }

    fn refused() -> UpstreamError {
        UpstreamError::Unavailable { what: "refused".into(), detail: "".into() }
    }

    fn gateway() -> Gateway {
        Gateway::new(Setup::new(ProxySettings::default(), vec![], vec![])).expect("a gateway")
    }

    /// How often it is tried again while it goes on failing so.
    async fn retries(server: &Server, error: UpstreamError, is_harmless: bool) -> u32 {
        let gateway = gateway();
        let mut again = Again::new(server, Waits::default(), None);
        let mut count = 0;
        loop {
            again.begin();
            if !again.pause(&gateway, &error, || is_harmless).await {
                return count;
            }
            count += 1;
        }
    }

    #[tokio::test]
    async fn what_may_have_been_carried_out_is_sent_again_only_if_that_is_harmless() {
        let server = server(quick());
        let after = Duration::from_secs(1);
        let rejected = |status| UpstreamError::Rejected { status, retry_after: None };
        for (error, harmful, harmless) in [
            (lost(), 0, 2),
            (UpstreamError::FirstByte { after }, 0, 2),
            (rejected(502), 0, 2),
            (rejected(503), 0, 2),
            (rejected(504), 0, 2),
            (rejected(429), 0, 2),
            (rejected(500), 0, 0),
            (UpstreamError::Idle { after }, 0, 0),
            (UpstreamError::Timeout { what: "the request", after }, 0, 0),
            (UpstreamError::TooLarge { bytes_max: 1 }, 0, 0),
            (refused(), 2, 2),
            // Once at once, and then like any other.
            (UpstreamError::Stale { detail: "".into() }, 3, 3),
        ] {
            assert_eq!(retries(&server, error.clone(), false).await, harmful, "{error:?}");
            assert_eq!(retries(&server, error.clone(), true).await, harmless, "{error:?}");
            (0..20).for_each(|_| server.retries().earn());
        }
    }

    #[tokio::test]
    async fn a_retry_has_to_be_over_in_time() {
        let (gateway, server) = (gateway(), server(quick()));
        let mut again = Again::new(&server, Waits::within(Duration::from_mins(1)), None);
        let s = Duration::from_secs;
        assert_eq!(again.begin().total, Some(s(60)));
        let later = |wait| UpstreamError::Rejected { status: 503, retry_after: Some(wait) };
        assert!(!again.pause(&gateway, &later(s(61)), || true).await, "the server wants it too late");
        again.began = again.began.and_then(|began| began.checked_sub(s(61)));
        assert!(!again.pause(&gateway, &lost(), || true).await, "it would take too long again");
        again.began = Some(Instant::now());
        assert!(again.pause(&gateway, &lost(), || true).await);
        assert!(again.begin().total.expect("some") < s(60), "it is the same time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_at_first_is_waited_for_no_longer_than_the_request_may_take() {
        let (server, s) = (server(quick()), Duration::from_secs);
        let again = Again::new(&server, Waits::within(s(3)), None);
        let began = Instant::now();
        let late = again.in_time::<()>(std::future::pending()).await.expect_err("nothing came");
        assert_eq!((late.code, late.stage, late.retry()), (Code::UpstreamTimeout, Stage::Route, Retry::Safe));
        assert!((s(3)..s(4)).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert!(again.in_time(std::future::ready(Ok(()))).await.is_ok());
    }

    /// What a refusal says of another try, where nothing can be opened.
    async fn unopened(again: &Again<'_>) -> Retry {
        let closed = lost().refusal(again.server.name());
        again.in_time::<()>(std::future::ready(Err(closed))).await.expect_err("it fails").retry()
    }

    #[tokio::test]
    async fn what_may_have_been_carried_out_before_is_not_said_to_be_safe() {
        let (gateway, server) = (gateway(), server(quick()));
        let mut again = Again::new(&server, Waits::default(), None);
        assert!(again.pause(&gateway, &refused(), || false).await);
        assert_eq!(unopened(&again).await, Retry::Safe, "nothing has left");
        assert!(again.pause(&gateway, &lost(), || true).await);
        assert_eq!(unopened(&again).await, Retry::Unsafe, "the try before");
        let again = Again::new(&server, Waits::default(), None).going_on(true);
        assert_eq!(unopened(&again).await, Retry::Unsafe, "the round before");
    }

    #[tokio::test]
    async fn retries_end_with_their_budget() {
        let server = server(RetrySettings { percent: 0, ..quick() });
        let mut count = 0;
        for _ in 0..50 {
            count += retries(&server, lost(), true).await;
        }
        assert!((10..13).contains(&count), "{count}");
    }
}
