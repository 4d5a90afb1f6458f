//! Guards outside of the gateway, and how they are asked: in a bounded time, with a bounded number of requests at once, and not
//! at all for a while if they fail.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tollgate_egress::{Egress, EgressError, EgressSettings};
use tollgate_guard::outside::{About, Opinion, OutsideSettings, Question, Texts, opinions, questions};
use tollgate_model::Timestamp;
use url::Url;

use crate::signed;

/// How many questions about one message are under way at once, where a guard takes one text at a time.
const AT_ONCE: usize = 8;
/// How often the time doubles for which a guard is left alone.
const DOUBLED_MAX: u32 = 4;

/// The guards outside of the gateway, in the order in which they are asked.
#[derive(Debug, Default)]
pub(crate) struct Outsiders(Vec<Outsider>);

/// A guard outside of the gateway.
#[derive(Debug)]
pub(crate) struct Outsider {
    settings: OutsideSettings,
    /// None if it cannot be called at all.
    way: Option<(Egress, Url)>,
    places: Semaphore,
    circuit: Circuit,
}

/// Why a guard has no opinion.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is more text than it is asked about at once.
    TooMuch,
    /// It has failed before, and is left alone for a while.
    LeftAlone,
    /// It took too long, or there was no place for so long.
    TooSlow,
    /// It could not be called, or the exchange broke off.
    Unreachable(String),
    /// It answered with another status than 200.
    Status(u16),
    /// Its answer cannot be understood.
    Malformed(&'static str),
}

impl Failure {
    /// In a word, for metrics and on record.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::TooMuch => "too_large",
            Self::LeftAlone => "open",
            Self::TooSlow => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Status(_) => "status",
            Self::Malformed(_) => "malformed",
        }
    }

    /// In words, for the log.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::TooMuch => "there is more text than it is asked about at once".to_owned(),
            Self::LeftAlone => "it has failed, and is left alone for a while".to_owned(),
            Self::TooSlow => "it did not answer in time".to_owned(),
            Self::Unreachable(why) => why.clone(),
            Self::Status(status) => format!("it answered with status {status}"),
            Self::Malformed(why) => format!("its answer cannot be understood: {why}"),
        }
    }
}

impl Outsiders {
    /// Nobody is asked yet.
    pub(crate) fn new(settings: &[OutsideSettings]) -> Self {
        Self(settings.iter().map(Outsider::new).collect())
    }

    /// Them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Outsider> {
        self.0.iter()
    }
}

impl Outsider {
    fn new(settings: &OutsideSettings) -> Self {
        let egress = Egress::new(&EgressSettings {
            allow_private: settings.allow_private,
            allow_plain: settings.allow_plain,
            ca_pem: settings.ca_pem.clone(),
            connect_timeout: settings.timeout,
            timeout: settings.timeout,
            // One more, by which it is known that there is more.
            body_bytes_max: settings.answer_bytes_max.saturating_add(1),
        });
        Self {
            way: egress.ok().zip(Url::parse(&settings.url).ok()),
            places: Semaphore::new(settings.concurrency_max.min(Semaphore::MAX_PERMITS)),
            circuit: Circuit::default(),
            settings: settings.clone(),
        }
    }

    /// What the operator says of it.
    pub(crate) fn settings(&self) -> &OutsideSettings {
        &self.settings
    }

    /// What it says of texts, one opinion for each.
    pub(crate) async fn ask(&self, about: &About<'_>, texts: &Texts) -> Result<Vec<Opinion>, Failure> {
        let trial = self.circuit.enter(self.settings.timeout).ok_or(Failure::LeftAlone)?;
        let asked = timeout(self.settings.timeout, self.ask_all(about, texts)).await;
        let opinions = asked.unwrap_or(Err(Failure::TooSlow));
        match &opinions {
            Ok(_) => self.circuit.succeeded(),
            Err(_) => self.circuit.failed(trial, self.settings.failures_max, self.settings.open),
        }
        opinions
    }

    async fn ask_all(&self, about: &About<'_>, texts: &Texts) -> Result<Vec<Opinion>, Failure> {
        // It is never closed.
        let _place = self.places.acquire().await.map_err(|_| Failure::TooSlow)?;
        let asked = questions(&self.settings, about, texts);
        let answers: Vec<Vec<Opinion>> = stream::iter(asked)
            .map(|question| self.ask_one(texts, question))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(answers.into_iter().flatten().collect())
    }

    async fn ask_one(&self, texts: &Texts, question: Question) -> Result<Vec<Opinion>, Failure> {
        let Some((egress, url)) = &self.way else {
            return Err(Failure::Unreachable("it cannot be called as it is configured".to_owned()));
        };
        let headers = self.headers(&question.body);
        let posted = egress.post(url, headers, question.body.clone()).await.map_err(|error| match error {
            EgressError::TooSlow { .. } => Failure::TooSlow,
            error => Failure::Unreachable(error.to_string()),
        })?;
        if posted.status != http::StatusCode::OK {
            return Err(Failure::Status(posted.status.as_u16()));
        }
        if posted.body.len() > self.settings.answer_bytes_max {
            return Err(Failure::Malformed("it is longer than an answer may be"));
        }
        opinions(&self.settings, texts, &question, &posted.body).map_err(|why| Failure::Malformed(why.0))
    }

    fn headers(&self, body: &[u8]) -> HeaderMap {
        let mut headers = match &self.settings.secret {
            Some(secret) => signed::headers(secret, &signed::id(), Timestamp::now(), body),
            None => HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
        };
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for (name, value) in &self.settings.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value.expose());
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        headers
    }
}

/// Whether a guard is asked at all: not for a while after it has failed several times in a row. Then one question is let
/// through, whose answer decides.
#[derive(Debug, Default)]
struct Circuit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    openings: u32,
    /// Up to when it is left alone.
    until: Option<Instant>,
}

impl Circuit {
    /// Whether it may be asked, and whether that is a trial. Whoever goes on a trial and never comes back is followed by
    /// another after this time.
    fn enter(&self, trial: Duration) -> Option<bool> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = state.until else { return Some(false) };
        let now = Instant::now();
        if now < until {
            return None;
        }
        state.until = Some(now + trial);
        Some(true)
    }

    fn succeeded(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    fn failed(&self, was_trial: bool, failures_max: u32, open: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        // What was asked before it opened says nothing more.
        if was_trial || state.until.is_none() && state.failures >= failures_max {
            state.until = Some(Instant::now() + open * 2_u32.pow(state.openings.min(DOUBLED_MAX)));
            state.openings = state.openings.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(5);
    const TRIAL: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_left_alone_tried_once_and_longer_left_alone() {
        let circuit = Circuit::default();
        for _ in 0..2 {
            assert_eq!(circuit.enter(TRIAL), Some(false));
            circuit.failed(false, 3, OPEN);
        }
        circuit.succeeded();
        for _ in 0..3 {
            assert_eq!(circuit.enter(TRIAL), Some(false), "failures in a row count");
            circuit.failed(false, 3, OPEN);
        }
        assert_eq!(circuit.enter(TRIAL), None);
        tokio::time::advance(OPEN).await;
        assert_eq!(circuit.enter(TRIAL), Some(true));
        assert_eq!(circuit.enter(TRIAL), None, "one at a time");
        tokio::time::advance(TRIAL).await;
        assert_eq!(circuit.enter(TRIAL), Some(true), "the first never came back");
        circuit.failed(true, 3, OPEN);
        tokio::time::advance(OPEN).await;
        assert_eq!(circuit.enter(TRIAL), None, "longer than before");
        tokio::time::advance(OPEN).await;
        assert_eq!(circuit.enter(TRIAL), Some(true));
        circuit.succeeded();
        assert_eq!(circuit.enter(TRIAL), Some(false));
    }
}
