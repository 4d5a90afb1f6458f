//! Names that every gateway on a store knows: of callers that have no session, where the operator has given all gateways one key.
//!
//! The store has them under a keyed digest of whose they are, each text sealed for its owner and its name. A gateway remembers what
//! it has read or given. New names leave it only once the store has them: of two gateways that give the same name at once one
//! finds it taken, reads what there is, and looks at the text again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::hmac;
use tollgate_guard::{PseudonymSettings, Pseudonyms, pseudonym};
use tollgate_model::{Secret, Timestamp};
use tollgate_store::{Digest, KeptName, NAMES_BATCH, NamesOf, Store, StoreError, numbered};

use super::{CALLERS_FULL, Owner, TEXT_BYTES_MAX};
use crate::seal::{NoRandomness, Sealer};

/// What is remembered of the store.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<HashMap<Digest, Known>>);

/// The names of one owner, as far as they are known here.
#[derive(Debug, Default)]
struct Known {
    /// By the digest of the text and its kind.
    names: HashMap<Digest, Arc<str>>,
    /// The sealed text of each name.
    texts: HashMap<Arc<str>, Arc<str>>,
    /// The last of each kind, as it is written, also of those that are forgotten.
    numbers: HashMap<Box<str>, u64>,
    /// Until when all of them are good, if nobody uses them.
    until: Timestamp,
}

impl Known {
    fn learn(&mut self, name: KeptName) {
        let KeptName { name, digest, sealed } = name;
        if let Some((kind, number)) = numbered(&name) {
            let last = self.numbers.entry(kind.into()).or_default();
            *last = (*last).max(number);
        }
        self.names.insert(digest, Arc::clone(&name));
        self.texts.insert(name, sealed);
    }
}

impl Remembered {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is not good any more.
    pub(crate) fn sweep(&self) {
        let now = Timestamp::now();
        self.lock().retain(|_, known| known.until >= now);
    }
}

/// The names of one caller.
pub(crate) struct Shared<'a> {
    remembered: &'a Remembered,
    store: Arc<dyn Store>,
    owner: Digest,
    purpose: String,
    sealer: Sealer,
    finds: hmac::Key,
    settings: PseudonymSettings,
    /// Those that the store does not have yet.
    fresh: Mutex<Vec<KeptName>>,
    gives: bool,
}

impl<'a> Shared<'a> {
    /// Gives none but those that are known already, until it is [allowed to](Self::giving).
    pub(crate) fn new(
        remembered: &'a Remembered,
        store: Arc<dyn Store>,
        owner: &Owner,
        (secret, settings): (&Secret, PseudonymSettings),
    ) -> Result<Self, NoRandomness> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let key = |of: &str| hmac::sign(&secret, of.as_bytes());
        let purpose = owner.purpose();
        let finds = hmac::Key::new(hmac::HMAC_SHA256, key("tollgate pseudonyms: find").as_ref());
        let owner = digest(&finds, &["owner", &purpose]);
        let sealer = Sealer::of_key(key("tollgate pseudonyms: seal").as_ref())?;
        let fresh = Mutex::default();
        Ok(Self { remembered, store, owner, purpose, sealer, finds, settings, fresh, gives: false })
    }

    /// The same, which gives new names: whoever asks for them [keeps](Self::keep) them before they leave.
    pub(crate) fn giving(self) -> Self {
        Self { gives: true, ..self }
    }

    /// The same, which gives none that is not known.
    pub(crate) fn giving_none(self) -> Self {
        self.fresh().clear();
        Self { gives: false, ..self }
    }

    fn of(&self) -> NamesOf {
        let now = Timestamp::now();
        let idle = u64::try_from(self.settings.idle.as_millis()).unwrap_or(u64::MAX);
        NamesOf { owner: self.owner, now, until: Timestamp::from_ms(now.as_ms().saturating_add(idle)) }
    }

    /// Reads what the store has, where what is remembered may not be all of it, or would end soon.
    pub(crate) async fn read(&self, is_anew: bool) -> Result<(), StoreError> {
        let of = self.of();
        let half = of.until.as_ms().saturating_sub(of.now.as_ms()) / 2;
        let is_good = self
            .remembered
            .lock()
            .get(&self.owner)
            .is_some_and(|known| known.until.as_ms() >= of.now.as_ms().saturating_add(half));
        if is_good && !is_anew {
            return Ok(());
        }
        let given = self.store.names_of(of).await?;
        let numbers = given.numbers.iter().map(|(kind, last)| ((&**kind).into(), *last)).collect();
        let mut known = Known { until: of.until, numbers, ..Known::default() };
        for name in given.names {
            known.learn(name);
        }
        let mut all = self.remembered.lock();
        let count: usize = all.values().map(|known| known.texts.len()).sum();
        if count >= self.settings.texts_max.saturating_mul(CALLERS_FULL) {
            all.clear(); // the store has them
        }
        all.insert(self.owner, known);
        Ok(())
    }

    /// Whether all these names are known here, so that nobody has to be asked for them.
    pub(crate) fn knows(&self, mut names: impl Iterator<Item = String>) -> bool {
        let all = self.remembered.lock();
        let known = all.get(&self.owner);
        names.all(|name| known.is_some_and(|known| known.texts.contains_key(&*name)))
    }

    /// Has the store keep the names that were given since. Says whether they may leave.
    pub(crate) async fn keep(&self) -> Result<bool, StoreError> {
        let fresh = std::mem::take(&mut *self.fresh());
        if fresh.is_empty() {
            return Ok(true);
        }
        let of = self.of();
        if !self.store.keep_names(of, &fresh).await? {
            return Ok(false);
        }
        let mut all = self.remembered.lock();
        let known = all.entry(self.owner).or_default();
        known.until = of.until;
        for name in fresh {
            known.learn(name);
        }
        Ok(true)
    }

    fn fresh(&self) -> MutexGuard<'_, Vec<KeptName>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a text is sealed for: its owner and its name, so that no row of the store can be put in another's place.
    fn purpose(&self, name: &str) -> String {
        [&*self.purpose, name].join("\0")
    }

    fn open(&self, name: &str, sealed: &str) -> Option<String> {
        String::from_utf8(self.sealer.open(&self.purpose(name), sealed)?).ok()
    }
}

impl Pseudonyms for Shared<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let fresh =
            self.fresh().iter().find(|fresh| &*fresh.name == name).map(|fresh| Arc::clone(&fresh.sealed));
        let sealed = fresh.or_else(|| {
            let all = self.remembered.lock();
            let known = all.get(&self.owner).filter(|known| known.until >= Timestamp::now())?;
            known.texts.get(name).cloned()
        })?;
        self.open(name, &sealed)
    }

    fn name(&self, kind: &str, text: &str) -> Option<String> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let digest = digest(&self.finds, &["text", &self.purpose, kind, text]);
        let mut fresh = self.fresh();
        if let Some(known) = fresh.iter().find(|fresh| fresh.digest == digest) {
            return Some(known.name.to_string());
        }
        let written = pseudonym(kind, 0);
        let (written, _) = numbered(&written)?;
        let (count, last) = {
            let all = self.remembered.lock();
            let known = all.get(&self.owner).filter(|known| known.until >= Timestamp::now());
            if let Some(name) = known.and_then(|known| known.names.get(&digest)) {
                return Some(name.to_string());
            }
            let last = known.and_then(|known| known.numbers.get(written)).copied().unwrap_or_default();
            (known.map_or(0, |known| known.texts.len()), last)
        };
        if !self.gives || fresh.len() >= NAMES_BATCH || count + fresh.len() >= self.settings.texts_max {
            return None;
        }
        let given = fresh.iter().filter_map(|fresh| numbered(&fresh.name));
        let last = given.filter(|(kind, _)| *kind == written).map(|(_, number)| number).fold(last, u64::max);
        let name = pseudonym(kind, last + 1);
        let sealed = self.sealer.seal(&self.purpose(&name), text.as_bytes().to_vec()).ok()?;
        fresh.push(KeptName { name: name.as_str().into(), digest, sealed: sealed.into() });
        Some(name)
    }
}

fn digest(key: &hmac::Key, parts: &[&str]) -> Digest {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    Digest(digest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate_model::{PrincipalId, TenantId};
    use tollgate_store::Memory;

    use super::*;

    fn owner(tenant: &str, principal: &str) -> Owner {
        Owner { tenant: TenantId::new(tenant), principal: PrincipalId::new(principal), session: None }
    }

    const SETTINGS: PseudonymSettings = PseudonymSettings { idle: Duration::from_mins(1), texts_max: 3 };

    struct Gateways {
        store: Arc<dyn Store>,
        one: Remembered,
        other: Remembered,
    }

    impl Gateways {
        fn new() -> Self {
            Self {
                store: Arc::new(Memory::default()),
                one: Remembered::default(),
                other: Remembered::default(),
            }
        }

        fn at<'a>(&self, remembered: &'a Remembered, owner: &Owner, key: &str) -> Shared<'a> {
            let secret = Secret::new(key.to_owned());
            Shared::new(remembered, Arc::clone(&self.store), owner, (&secret, SETTINGS)).unwrap().giving()
        }
    }

    #[tokio::test]
    async fn what_one_gateway_gives_the_other_restores_for_the_same_caller_alone() {
        let gateways = Gateways::new();
        let ann = owner("acme", "ann");
        let here = gateways.at(&gateways.one, &ann, "key");
        here.read(false).await.unwrap();
        assert_eq!(here.name("email", "a@b.c").as_deref(), Some("<EMAIL_1>"));
        assert_eq!(here.text("<EMAIL_1>").as_deref(), Some("a@b.c"));
        assert!(here.keep().await.unwrap());

        let there = gateways.at(&gateways.other, &ann, "key");
        assert_eq!(there.text("<EMAIL_1>"), None, "nobody has asked");
        assert!(!there.knows(["<EMAIL_1>".to_owned()].into_iter()));
        there.read(false).await.unwrap();
        assert_eq!(there.text("<EMAIL_1>").as_deref(), Some("a@b.c"));
        assert_eq!(there.text("<EMAIL_2>"), None);
        assert_eq!(there.name("email", "a@b.c").as_deref(), Some("<EMAIL_1>"));
        for (other, key) in
            [(owner("umbrella", "ann"), "key"), (owner("acme", "bob"), "key"), (ann.clone(), "other")]
        {
            let other = gateways.at(&gateways.other, &other, key);
            other.read(true).await.unwrap();
            assert_eq!(other.text("<EMAIL_1>"), None);
        }
    }

    #[tokio::test]
    async fn of_two_that_give_a_name_at_once_one_reads_and_gives_the_next() {
        let gateways = Gateways::new();
        let ann = owner("acme", "ann");
        let here = gateways.at(&gateways.one, &ann, "key");
        let there = gateways.at(&gateways.other, &ann, "key");
        here.read(false).await.unwrap();
        there.read(false).await.unwrap();
        assert_eq!(here.name("email", "a@b.c"), there.name("email", "x@y.z"));
        assert!(here.keep().await.unwrap());
        assert!(!there.keep().await.unwrap());
        there.read(true).await.unwrap();
        assert_eq!(there.name("email", "x@y.z").as_deref(), Some("<EMAIL_2>"));
        assert_eq!(there.name("email", "a@b.c").as_deref(), Some("<EMAIL_1>"));
        assert!(there.keep().await.unwrap());
        here.read(true).await.unwrap();
        assert_eq!(here.text("<EMAIL_2>").as_deref(), Some("x@y.z"));
        assert_eq!(here.name("phone", "1").as_deref(), Some("<PHONE_1>"));
        assert_eq!(here.name("phone", "2"), None, "there is no room");
        // While the store is away only what is known has a name.
        let none = here.giving_none();
        assert_eq!(none.name("phone", "1"), None, "the store never had it");
        assert_eq!(none.name("email", "a@b.c").as_deref(), Some("<EMAIL_1>"));
    }

    /// What a name stood for may be forgotten, and the name may still be written down: then it stands for nothing, at any gateway.
    #[tokio::test]
    async fn a_name_whose_text_is_forgotten_is_given_to_no_other() {
        let gateways = Gateways::new();
        let ann = owner("acme", "ann");
        let here = gateways.at(&gateways.one, &ann, "key");
        here.read(false).await.unwrap();
        here.name("email", "a@b.c");
        here.name("phone", "1");
        assert!(here.keep().await.unwrap());
        // Nobody uses them for a day.
        let later = Timestamp::from_ms(Timestamp::now().as_ms() + 24 * 3_600 * 1_000);
        let of = NamesOf { now: later, until: later, ..here.of() };
        assert!(gateways.store.keep_names(of, &[]).await.unwrap());
        // A gateway that still remembers what it was given does not know; nor one that has not asked.
        for remembered in [&gateways.one, &gateways.other, &Remembered::default()] {
            let there = gateways.at(remembered, &ann, "key");
            let first = there.name("email", "x@y.z");
            if there.keep().await.unwrap() {
                assert_ne!(first.as_deref(), Some("<EMAIL_1>"));
            }
            there.read(true).await.unwrap();
            assert_eq!(there.text("<EMAIL_1>"), None);
            assert_eq!(there.name("email", "x@y.z").as_deref(), Some("<EMAIL_2>"));
            assert!(there.keep().await.unwrap());
        }
    }

    #[tokio::test]
    async fn what_was_put_in_another_place_is_nobodys() {
        let gateways = Gateways::new();
        let ann = owner("acme", "ann");
        let here = gateways.at(&gateways.one, &ann, "key");
        here.name("email", "a@b.c");
        here.name("email", "x@y.z");
        here.keep().await.unwrap();
        let kept = gateways.store.names_of(here.of()).await.unwrap().names;
        assert!(!format!("{kept:?}").contains("a@b.c") && !format!("{kept:?}").contains("ann"));
        // Whoever can write to the store has the text of one name stand for another, or for another caller.
        let bob = gateways.at(&gateways.one, &owner("acme", "bob"), "key");
        let moved = KeptName { name: "<EMAIL_3>".into(), ..kept[0].clone() };
        gateways.store.keep_names(here.of(), &[moved]).await.unwrap();
        gateways.store.keep_names(bob.of(), &kept).await.unwrap();
        here.read(true).await.unwrap();
        bob.read(true).await.unwrap();
        assert_eq!(here.text("<EMAIL_1>").as_deref(), Some("a@b.c"));
        assert_eq!((here.text("<EMAIL_3>"), bob.text("<EMAIL_1>")), (None, None));
    }
}
