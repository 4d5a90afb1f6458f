//! What all handlers share.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tollgate_identity::SignIn;
use tollgate_store::{Admins, Memory, Store};

use crate::link::Link;
use crate::problem::Problem;
use crate::world::{Parts, World};
use crate::{AdminSettings, Snapshot, host};

/// How the admin listener is reached.
#[derive(Debug, Clone)]
pub struct Reached {
    /// Further values of `Host` that it answers to.
    pub hosts: Vec<String>,
    /// Whether only this machine reaches it.
    pub is_loopback: bool,
    /// `http` or `https`, and the address that it listens on.
    pub base: String,
}

/// What all handlers share.
pub(crate) struct Plane {
    world: Box<dyn World>,
    reached: Reached,
    way: RwLock<Arc<Way>>,
    /// Sessions of those who came by the link: they end with the process, as the link does.
    pub(crate) memory: Memory,
    pub(crate) link: Link,
    /// Changes are made one after the other, so that what somebody has seen is what they change.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// What changes is heard by so many at once.
    pub(crate) hearing: Arc<tokio::sync::Semaphore>,
    /// The record is verified, and read, and policies are tried out, by few at once.
    pub(crate) reading: Arc<tokio::sync::Semaphore>,
    /// Servers that nobody has approved are asked, and sources of servers fetched, by few at once.
    pub(crate) reviewing: Arc<tokio::sync::Semaphore>,
}

/// How people get in, as configured just now.
#[derive(Debug, Default)]
pub(crate) struct Way {
    pub(crate) settings: AdminSettings,
    pub(crate) sign_in: Option<SignIn>,
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane").field("reached", &self.reached).finish_non_exhaustive()
    }
}

/// How many may read the record itself at once.
const READING_MAX: usize = 2;
/// How many servers may be looked at at once.
const REVIEWING_MAX: usize = 4;
/// How many may hear what changes.
const HEARING_MAX: usize = 64;

impl Plane {
    pub(crate) fn new(world: Box<dyn World>, reached: Reached, settings: AdminSettings, link: Link) -> Self {
        let plane = Self {
            world,
            reached,
            way: RwLock::default(),
            memory: Memory::default(),
            link,
            changing: tokio::sync::Mutex::new(()),
            hearing: Arc::new(tokio::sync::Semaphore::new(HEARING_MAX)),
            reading: Arc::new(tokio::sync::Semaphore::new(READING_MAX)),
            reviewing: Arc::new(tokio::sync::Semaphore::new(REVIEWING_MAX)),
        };
        plane.configure(settings);
        plane
    }

    /// From now on people get in like this. The provider is asked anew only if it is another.
    pub(crate) fn configure(&self, settings: AdminSettings) {
        let mut way = self.way.write().unwrap_or_else(PoisonError::into_inner);
        let kept = way.sign_in.clone().filter(|known| Some(known.settings()) == settings.sign_in.as_ref());
        let sign_in = kept.or_else(|| settings.sign_in.clone().map(SignIn::new));
        *way = Arc::new(Way { settings, sign_in });
    }

    pub(crate) fn way(&self) -> Arc<Way> {
        Arc::clone(&self.way.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The URL under which browsers know it.
    pub(crate) fn base(&self) -> Arc<str> {
        self.way().settings.public_url.clone().unwrap_or_else(|| Arc::from(&*self.reached.base))
    }

    /// Whether browsers reach it over TLS, here or at a proxy in front.
    pub(crate) fn is_secure(&self) -> bool {
        self.base().starts_with("https://")
    }

    /// Whether more is served than health and metrics: to this machine always; to others only where people sign in, and
    /// nobody listens on the way.
    pub(crate) fn is_open(&self) -> bool {
        self.reached.is_loopback || (self.is_secure() && self.way().sign_in.is_some())
    }

    /// Whether it is known by this name.
    pub(crate) fn is_called(&self, host: &str) -> bool {
        let base = self.base();
        let own = base.split_once("://").map(|(_, authority)| authority);
        host::allowed(host, &self.reached.hosts) || own.is_some_and(|own| own.eq_ignore_ascii_case(host))
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.world.snapshot()
    }

    pub(crate) fn world(&self) -> &dyn World {
        &*self.world
    }

    pub(crate) fn parts(&self) -> Result<Parts, Problem> {
        self.world.parts().ok_or_else(|| Problem::unavailable("the gateway is starting"))
    }

    /// The store, if there is one.
    pub(crate) fn store(&self) -> Result<Option<Arc<dyn Store>>, Problem> {
        Ok(self.parts()?.store)
    }

    /// The store, for what is to be changed.
    pub(crate) fn make_store(&self) -> Result<Arc<dyn Store>, Problem> {
        self.parts()?;
        self.world.make_store().map_err(|reason| {
            tracing::warn!(%reason, "there is no store for what an operator wanted to change");
            Problem::unavailable("there is no store; the log says why")
        })
    }

    /// Where sessions of this kind are.
    pub(crate) fn sessions(&self, is_by_link: bool) -> Result<Option<Sessions<'_>>, Problem> {
        if is_by_link {
            return Ok(Some(Sessions::Here(&self.memory)));
        }
        Ok(self.store()?.map(Sessions::Stored))
    }
}

/// Where sessions are.
pub(crate) enum Sessions<'a> {
    Here(&'a Memory),
    Stored(Arc<dyn Store>),
}

impl Sessions<'_> {
    pub(crate) fn get(&self) -> &(dyn Admins + Send + Sync) {
        match self {
            Self::Here(memory) => *memory,
            Self::Stored(store) => &**store,
        }
    }
}
