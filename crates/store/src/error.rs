//! Why a store does not do what it is asked.

use std::error::Error;

/// What lies behind an error of a store. Never holds a password or a connection's URL.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a store does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or does not answer in time. What was asked may have been done, if it was a change whose last
    /// word got lost; all changes may be asked for again.
    #[error("the store does not answer: {0}")]
    Away(#[source] Cause),
    /// There is a key of this id or digest.
    #[error("there is a key of this id already")]
    KeyTaken,
    /// There is no key of this id.
    #[error("there is no such key")]
    NoSuchKey,
    /// The key was revoked, has expired, or was rotated before.
    #[error("the key was revoked, has expired, or was rotated before")]
    KeyEnded,
    /// The new key of a rotation is another tenant's or agent's than the old one.
    #[error("a key can only be replaced by a key of the same tenant and agent")]
    KeyOfAnother,
    /// There is no such server, or no such version of it.
    #[error("no such server is registered")]
    NoSuchServer,
    /// Somebody else changed it first, or there is one of this name and version.
    #[error("somebody else was faster: look at it again")]
    Overtaken,
    /// Where it is in its life that cannot be done with it.
    #[error("that cannot be done with a server that is {}", life.as_str())]
    NotInLife {
        /// Where it is.
        life: crate::Life,
        /// What was to be done.
        act: crate::Act,
    },
    /// Whoever approves it registered, edited or submitted it.
    #[error("whoever registered, edited or submitted it cannot approve it: somebody else has to")]
    OwnWork,
    /// Where a set of policies stands that cannot be done with it.
    #[error("that cannot be done with these policies: {why}")]
    Unfit {
        /// Why.
        why: &'static str,
    },
    /// As much is kept as can be.
    #[error("no more than {most} are kept")]
    Full {
        /// How many.
        most: usize,
    },
    /// Larger than anything that is kept.
    #[error("{bytes} bytes are more than the {bytes_max} that are kept")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// A newer program has been here.
    #[error(
        "the store is of version {found}, which a newer Tollgate made; this one knows versions up to {known}: run the \
         newer one, or put back the backup that was made before it"
    )]
    TooNew {
        /// The version of what is stored.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// It answers, but not with what this program can use.
    #[error("the store cannot be used: {0}")]
    Broken(#[source] Cause),
}

impl StoreError {
    /// The store does not answer, for this reason.
    pub fn away(cause: impl Into<Cause>) -> Self {
        Self::Away(cause.into())
    }

    /// What is stored cannot be used, for this reason.
    pub fn broken(cause: impl Into<Cause>) -> Self {
        Self::Broken(cause.into())
    }

    /// Refuses to change what is not what somebody has `seen` any more; who has seen nothing changes whatever is there.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`].
    pub fn unless_seen<T: PartialEq>(now: &T, seen: Option<&T>) -> Result<(), Self> {
        if seen.is_none_or(|seen| seen == now) { Ok(()) } else { Err(Self::Overtaken) }
    }

    /// Whether it may go well when it is tried again later.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}
