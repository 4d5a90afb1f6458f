//! The desks of a server's instances: where what is watched of one is kept, for as long as anybody wants anything.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use tollgate_model::{Caller, ClientProfile, Era};

use super::Registry;
use crate::event::Source;
use crate::key::{Key, Scope};
use crate::link::{Instance, Wire};
use crate::replicas::Wish;
use crate::watch::{Desk, keep};
use crate::{Interest, Lists, UpstreamError, Watch};

impl Registry {
    /// Enters wishes at the desk of the instance that serves this caller.
    pub(crate) async fn watch(
        self: &Arc<Self>,
        caller: &Caller,
        interest: Interest,
    ) -> Result<Watch, UpstreamError> {
        let instance = self.open_settled(caller, Wish::MAIN).await?;
        let desk = self.desk(caller, &instance, |desk| desk.want(&interest))?;
        Ok(Watch::new(desk, interest))
    }

    /// The changes of a modern server's lists are listened to for as long as there is an instance of it.
    pub(super) fn attend(self: &Arc<Self>, caller: &Caller, instance: &Arc<Instance>) {
        if instance.revision.era() == Era::Modern
            && instance.begin_attending()
            && !Lists::declared(&instance.hello).is_empty()
        {
            let _ = self.desk(caller, instance, |desk| {
                // Of several replicas one is listened to.
                if self.gates().len() < 2 || desk.attended().is_none() {
                    desk.attend(instance);
                }
                Ok(())
            });
        }
    }

    /// The desk of an instance; a new one if there is none. Used while no desk can be closed.
    fn desk(
        self: &Arc<Self>,
        caller: &Caller,
        instance: &Instance,
        enter: impl FnOnce(&Desk) -> Result<(), UpstreamError>,
    ) -> Result<Arc<Desk>, UpstreamError> {
        let key = match (&instance.wire, instance.revision.era()) {
            (Wire::Modern(_), _) => Key::common(Scope::Shared, None),
            (_, era) => self.key(caller, era == Era::Modern).0,
        };
        let mut desks = self.desks();
        if let Some(desk) = desks.get(&key) {
            enter(desk)?;
            return Ok(Arc::clone(desk));
        }
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.child_token());
        let desk = Arc::new(Desk::new(Source::of(key.clone()), shared, lasting(caller), stop.clone()));
        enter(&desk)?;
        desks.insert(key, Arc::clone(&desk));
        drop(desks);
        let keeping = keep(Arc::clone(&desk), Arc::downgrade(self));
        self.tasks.spawn(async move { stop.run_until_cancelled(keeping).await });
        Ok(desk)
    }

    /// Closes a desk at which nobody wants anything any more.
    pub(crate) fn close_desk(&self, desk: &Arc<Desk>) -> bool {
        let mut desks = self.desks();
        let unwanted = desk.is_unwanted();
        if unwanted {
            desks.retain(|_, other| !Arc::ptr_eq(other, desk));
        }
        unwanted
    }

    pub(super) fn desks(&self) -> MutexGuard<'_, HashMap<Key, Arc<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller as it is kept for long: without the request that it came with.
fn lasting(caller: &Caller) -> Caller {
    let client = &caller.client;
    let copied = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let client = ClientProfile {
        revision: client.revision,
        capabilities: copied(&client.capabilities),
        info: client.info.as_ref().map(copied),
    };
    Caller { client: Arc::new(client), ..caller.clone() }
}
