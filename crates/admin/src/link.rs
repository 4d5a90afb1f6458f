//! The way in where no other is configured: a link that is good once, for whoever sees the terminal of the process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tollgate_model::{Secret, Timestamp};
use tollgate_store::Digest;

/// How long the link is good.
pub const LINK_MAX: Duration = Duration::from_mins(15);

/// The link's secret, of which only the digest is kept; nothing once it was used.
#[derive(Debug, Default)]
pub(crate) struct Link(Mutex<Option<(Digest, Timestamp)>>);

impl Link {
    /// A link, and what whoever comes by it has to show.
    pub(crate) fn make(now: Timestamp) -> Option<(Self, Secret)> {
        let secret = crate::sessions::random()?;
        let link = Self(Mutex::new(Some((digest(&secret), now.after(LINK_MAX)))));
        Some((link, Secret::new(secret)))
    }

    /// Whether somebody could come by it.
    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        let link = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        link.is_some_and(|(_, until)| now < until)
    }

    /// Lets in whoever shows the secret, once.
    pub(crate) fn take(&self, secret: &str, now: Timestamp) -> bool {
        let mut link = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = digest(secret);
        let is_it = link.is_some_and(|(known, until)| {
            now < until && bool::from(subtle::ConstantTimeEq::ct_eq(&known.0[..], &shown.0[..]))
        });
        if is_it {
            *link = None;
        }
        is_it
    }
}

fn digest(secret: &str) -> Digest {
    Digest::of([b"link".as_slice(), secret.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_once_and_for_a_while() {
        let now = Timestamp::from_ms(1_000);
        let (link, secret) = Link::make(now).expect("randomness");
        assert!(link.is_good(now) && !link.take("other", now) && !link.take("", now));
        assert!(!link.take(secret.expose(), now.after(LINK_MAX)), "too late");
        assert!(link.take(secret.expose(), now));
        assert!(!link.is_good(now) && !link.take(secret.expose(), now), "a second time");
        let none = Link::default();
        assert!(!none.is_good(now) && !none.take("", now));
    }
}
