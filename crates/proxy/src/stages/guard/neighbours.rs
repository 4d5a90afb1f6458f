//! The names of the tools of all servers, which definitions are held against.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use smallvec::SmallVec;
use tollgate_guard::{Neighbours, looks_like, skeleton};
use tollgate_model::ServerId;

use crate::snapshot::Snapshot;

/// How many names are remembered, of all servers together. What comes when it is full is held against nothing.
const NAMES_MAX: usize = 20_000;
/// The longest name that is remembered.
const NAME_BYTES_MAX: usize = 160;

/// The names that lists have shown.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: RwLock<Known>,
    /// Goes up whenever there is another name.
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    by_name: HashMap<Box<str>, SmallVec<[ServerId; 1]>>,
    by_skeleton: HashMap<Box<str>, SmallVec<[Box<str>; 1]>>,
    count: usize,
}

impl Names {
    /// A server has tools of these names. Says whether there is one among them that was not known.
    pub(super) fn learn<'a>(&self, server: &ServerId, names: impl Iterator<Item = &'a str>) -> bool {
        let new: Vec<&str> = {
            let known = self.look();
            let is_new = |name: &&str| {
                name.len() <= NAME_BYTES_MAX
                    && known.by_name.get(*name).is_none_or(|servers| !servers.contains(server))
            };
            names.filter(is_new).collect()
        };
        if new.is_empty() {
            return false;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.count;
        for name in new {
            if known.count >= NAMES_MAX {
                break;
            }
            known.count += 1;
            let servers = known.by_name.entry(name.into()).or_default();
            servers.push(server.clone());
            if servers.len() == 1 {
                known.by_skeleton.entry(skeleton(name).into()).or_default().push(name.into());
            }
        }
        let is_more = known.count > before;
        drop(known);
        if is_more {
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
        is_more
    }

    /// What is judged by the names that there are now need not be judged again while this is the same.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The names as the clients of this server see them. `is_tools`: whether what is judged are tools too.
    pub(super) fn beside<'a>(
        &'a self,
        server: &'a ServerId,
        snapshot: &'a Snapshot,
        is_tools: bool,
    ) -> Beside<'a> {
        Beside { known: self.look(), server, snapshot, is_tools }
    }

    fn look(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether somebody may see both servers: what one tenant has tells another nothing.
pub(super) fn are_beside(one: &ServerId, other: &ServerId) -> bool {
    let (own, others) = (one.holder().tenant(), other.holder().tenant());
    one != other && (own.is_none() || others.is_none() || own == others)
}

/// The tools that clients of a server see beside its own.
pub(super) struct Beside<'a> {
    known: RwLockReadGuard<'a, Known>,
    server: &'a ServerId,
    snapshot: &'a Snapshot,
    is_tools: bool,
}

impl Beside<'_> {
    fn is_beside(&self, other: &ServerId) -> bool {
        are_beside(self.server, other) && self.snapshot.server_of(other).is_some()
    }

    fn has(&self, name: &str, is: impl Fn(&ServerId) -> bool) -> bool {
        self.known.by_name.get(name).is_some_and(|servers| {
            !servers.contains(self.server)
                && servers.iter().any(|server| is(server) && self.is_beside(server))
        })
    }
}

impl Neighbours for Beside<'_> {
    fn have(&self, name: &str) -> bool {
        self.has(name, |_| true)
            || name.split_once("__").is_some_and(|(server, tool)| {
                self.has(tool, |other| {
                    other.name().as_str() == server && server != self.server.name().as_str()
                })
            })
    }

    fn have_like(&self, name: &str) -> bool {
        if !self.is_tools {
            return false;
        }
        let alike = self.known.by_skeleton.get(&*skeleton(name));
        alike.is_some_and(|names| {
            names.iter().any(|other| looks_like(name, other) && self.has(other, |_| true))
        })
    }
}
