//! What is changed, by whatever way it is asked for: each act takes the proof that whoever asks may, says what is wrong with it,
//! does it through the store, and puts it on record with what was so before and after.

pub(crate) mod approvals;
pub(crate) mod blocks;
pub(crate) mod imports;
pub(crate) mod keys;
pub(crate) mod pauses;
pub(crate) mod pins;
pub(crate) mod policies;
pub(crate) mod revocations;
pub(crate) mod servers;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tollgate_identity::{key, names};
use tollgate_model::{TenantId, Timestamp};

use crate::plane::Plane;
use crate::problem::Problem;

/// How long something may hold that ends, in seconds.
pub(crate) const SECONDS_MAX: u64 = 10 * 366 * 86_400;
/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// Carries an act out to its end, also if whoever asked leaves meanwhile: what was done is on record.
pub(crate) async fn see_through<T: Send + 'static>(
    act: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(act).await {
        Ok(done) => done,
        Err(error) => {
            tracing::error!(%error, "an administrative act ended before its time");
            Err(Problem::unavailable("it ended before its time; look whether it was done"))
        }
    }
}

/// Tries something out, of which few go on at once. It has its place until it ends, also if whoever asked leaves: what works for
/// it on other threads does not hear of that.
pub(crate) async fn tried<T: Send + 'static>(
    plane: &Plane,
    trial: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let place = Arc::clone(&plane.reading).acquire_owned().await;
    see_through(async move {
        let _place = place;
        trial.await
    })
    .await
}

/// Somebody's reason, which is kept and goes on record.
pub(crate) fn reason(text: &str, is_needed: bool) -> Result<Arc<str>, Problem> {
    let text = text.trim();
    if is_needed && text.is_empty() {
        return Err(Problem::invalid("reason: say why"));
    }
    if text.len() > REASON_BYTES_MAX {
        return Err(Problem::invalid(format!("reason: more than {REASON_BYTES_MAX} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::invalid("reason: it is one line of text"));
    }
    if key::is_within(text) {
        return Err(Problem::invalid("reason: there is an API key in it, and it goes on record"));
    }
    Ok(Arc::from(text))
}

/// When something ends, as somebody says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Nothing is said of it.
    Unsaid,
    /// After so many seconds.
    After(u64),
    /// At this time.
    At(Timestamp),
}

impl Ends {
    /// From two members of a body, of which one is there at most.
    pub(crate) fn read(seconds: Option<u64>, at: Option<&str>) -> Result<Self, Problem> {
        match (seconds, at) {
            (None, None) => Ok(Self::Unsaid),
            (Some(_), Some(_)) => Err(Problem::invalid("say how long, or until when, and not both")),
            (Some(seconds), None) => Ok(Self::After(seconds)),
            (None, Some(at)) => at
                .parse()
                .map(Self::At)
                .map_err(|_| Problem::invalid(format!("{at:?} is no time: write 2027-01-01T00:00:00Z"))),
        }
    }

    /// When that is.
    pub(crate) fn from(self, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        let latest = now.after(Duration::from_secs(SECONDS_MAX));
        match self {
            Self::Unsaid => Ok(None),
            Self::After(0) => Err(Problem::invalid("seconds: at least 1")),
            Self::After(seconds) if seconds > SECONDS_MAX => {
                Err(Problem::invalid(format!("seconds: {SECONDS_MAX} at most")))
            }
            Self::After(seconds) => Ok(Some(now.after(Duration::from_secs(seconds)))),
            Self::At(time) if time <= now => Err(Problem::invalid("this time is over")),
            Self::At(time) if time > latest => Err(Problem::invalid(format!("{latest} at most"))),
            Self::At(time) => Ok(Some(time)),
        }
    }
}

/// A name of an agent, a user, a group or a token.
pub(crate) fn name(what: &str, text: &str) -> Result<Arc<str>, Problem> {
    names::check(text).map_err(|bad| Problem::invalid(format!("{what}: {bad}")))?;
    if key::is_within(text) {
        return Err(Problem::invalid(format!("{what}: there is an API key in it, and it goes on record")));
    }
    Ok(Arc::from(text))
}

/// A tenant that there is.
pub(crate) fn tenant(plane: &Plane, text: &str) -> Result<TenantId, Problem> {
    let configured = plane.parts()?.configured;
    let known = configured.tenants.iter().find(|tenant| tenant.as_str() == text).cloned();
    known.ok_or_else(|| Problem::invalid(format!("tenant: the configuration has no tenant {text:?}")))
}
