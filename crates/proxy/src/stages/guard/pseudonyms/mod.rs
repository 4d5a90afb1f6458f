//! What the names stand for that callers were given in place of texts.
//!
//! A name is its caller's alone: of a legacy client its session's, of a modern one, which has no session, its principal's. It
//! is known to this process only, for as long as it is used now and then. Texts are kept sealed, and found by a keyed digest.
//! Those of modern clients can be known to every gateway on a store ([`shared`]).

mod shared;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::hmac;
use tokio::time::Instant;
use tollgate_guard::{PseudonymSettings, Pseudonyms, pseudonym};
use tollgate_model::{Caller, PrincipalId, SessionId, TenantId};

use crate::seal::Sealer;

pub(crate) use shared::{Remembered, Shared};

/// The longest text that a name may stand for.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// How many names there may be of all callers together, as many times those of one.
const CALLERS_FULL: usize = 32;
/// Of how many callers whose names are forgotten the last numbers are remembered one by one.
const FORGOTTEN_MAX: usize = 10_000;

/// Whose a name is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    tenant: TenantId,
    principal: PrincipalId,
    session: Option<SessionId>,
}

impl Owner {
    pub(crate) fn of(caller: &Caller) -> Self {
        let session = caller.session.clone();
        Self { tenant: caller.tenant().clone(), principal: caller.principal().clone(), session }
    }

    /// Whether it may come to another gateway: a session stays where it is.
    pub(crate) fn moves(&self) -> bool {
        self.session.is_none()
    }

    /// What its texts are sealed for. No part can hold a NUL, so no two are one text.
    fn purpose(&self) -> String {
        let session = self.session.as_ref().map_or("", |session| session.as_str());
        ["pseudonym", self.tenant.as_str(), self.principal.as_str(), session].join("\0")
    }
}

/// All names.
#[derive(Debug, Default)]
pub(crate) struct Table {
    own: Mutex<State>,
    /// What is remembered of what the store has.
    pub(crate) shared: Remembered,
}

#[derive(Debug, Default)]
struct State {
    of: HashMap<Owner, Own>,
    count: usize,
    /// The last numbers of callers whose names are forgotten: a name may still be written down somewhere, and stands for nothing else.
    numbers: HashMap<Owner, Numbers>,
    /// The highest number of callers whose numbers are not remembered any more. Nobody new is given one of these.
    floor: u64,
}

/// How many names there were of each kind.
type Numbers = HashMap<Box<str>, u64>;

/// Those of one caller.
#[derive(Debug)]
struct Own {
    /// By the digest of the text and its kind.
    names: HashMap<[u8; 32], Arc<str>>,
    /// The sealed text of each name.
    texts: HashMap<Arc<str>, String>,
    numbers: Numbers,
    /// The numbers of these names are higher.
    floor: u64,
    used: Instant,
}

impl Table {
    /// The names of a caller.
    pub(crate) fn of<'a>(
        &'a self,
        owner: Owner,
        (sealer, key): (&'a Sealer, &'a [u8]),
        settings: PseudonymSettings,
    ) -> Names<'a> {
        Names { table: self, owner, sealer, key, settings }
    }

    /// Forgets what nobody has used for long.
    pub(crate) fn sweep(&self, idle: Duration) {
        self.lock().sweep(idle);
        self.shared.sweep();
    }

    /// Forgets what a session was given.
    pub(crate) fn forget(&self, caller: &Caller) {
        let (mut state, owner) = (self.lock(), Owner::of(caller));
        let gone = state.of.remove(&owner);
        state.count -= gone.map_or(0, |own| own.texts.len());
        // No other session has its id.
        state.numbers.remove(&owner);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sweep(&mut self, idle: Duration) {
        let now = Instant::now();
        let is_idle = |own: &Own| now.saturating_duration_since(own.used) >= idle;
        let gone: Vec<_> = self.of.extract_if(|_, own| is_idle(own)).collect();
        for (owner, own) in gone {
            self.let_go(owner, own);
        }
    }

    /// Forgets what somebody's names stand for, and not which there were.
    fn let_go(&mut self, owner: Owner, own: Own) {
        self.count -= own.texts.len();
        self.remember(owner, own.numbers);
    }

    fn remember(&mut self, owner: Owner, numbers: Numbers) {
        if self.numbers.len() >= FORGOTTEN_MAX {
            let highest = self.numbers.drain().flat_map(|(_, numbers)| numbers.into_values()).max();
            self.floor = self.floor.max(highest.unwrap_or_default());
        }
        self.numbers.insert(owner, numbers);
    }
}

/// The names of one caller.
pub(crate) struct Names<'a> {
    table: &'a Table,
    owner: Owner,
    sealer: &'a Sealer,
    key: &'a [u8],
    settings: PseudonymSettings,
}

impl Names<'_> {
    fn digest(&self, kind: &str, text: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.key));
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(text.as_bytes());
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        digest
    }
}

impl Pseudonyms for Names<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let sealed = {
            let mut state = self.table.lock();
            let own = state.of.get_mut(&self.owner)?;
            if own.used.elapsed() >= self.settings.idle {
                return None;
            }
            let sealed = own.texts.get(name)?.clone();
            own.used = Instant::now();
            sealed
        };
        let opened = self.sealer.open(&self.owner.purpose(), &sealed)?;
        String::from_utf8(opened).ok()
    }

    fn name(&self, kind: &str, text: &str) -> Option<String> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let digest = self.digest(kind, text);
        let mut state = self.table.lock();
        if state.count >= self.settings.texts_max.saturating_mul(CALLERS_FULL) {
            state.sweep(self.settings.idle);
        }
        let is_full = state.count >= self.settings.texts_max.saturating_mul(CALLERS_FULL);
        let state = &mut *state;
        if state.of.get(&self.owner).is_some_and(|own| own.used.elapsed() >= self.settings.idle)
            && let Some((owner, gone)) = state.of.remove_entry(&self.owner)
        {
            state.let_go(owner, gone);
        }
        let (numbers, floor) = (&mut state.numbers, state.floor);
        let empty = || Own {
            names: HashMap::new(),
            texts: HashMap::new(),
            numbers: numbers.remove(&self.owner).unwrap_or_default(),
            floor,
            used: Instant::now(),
        };
        let own = state.of.entry(self.owner.clone()).or_insert_with(empty);
        own.used = Instant::now();
        if let Some(name) = own.names.get(&digest) {
            return Some(name.to_string());
        }
        if is_full || own.texts.len() >= self.settings.texts_max {
            return None;
        }
        let sealed = self.sealer.seal(&self.owner.purpose(), text.as_bytes().to_vec()).ok()?;
        let number = own.numbers.entry(kind.into()).or_default();
        *number = (*number).max(own.floor) + 1;
        let name: Arc<str> = pseudonym(kind, *number).into();
        // Of two kinds that are written alike the later one finds its number taken.
        if own.texts.contains_key(&name) {
            return None;
        }
        own.names.insert(digest, Arc::clone(&name));
        own.texts.insert(Arc::clone(&name), sealed);
        state.count += 1;
        Some(name.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(principal: &str, session: Option<&str>) -> Owner {
        Owner {
            tenant: TenantId::default(),
            principal: PrincipalId::new(principal),
            session: session.map(SessionId::new),
        }
    }

    #[test]
    fn names_are_their_callers_own_bounded_and_forgotten() {
        let (table, sealer) = (Table::default(), Sealer::new().expect("randomness"));
        let settings = PseudonymSettings { idle: Duration::from_mins(1), texts_max: 2 };
        let of = |owner| table.of(owner, (&sealer, b"key"), settings);
        let ann = of(owner("ann", None));
        assert_eq!(ann.name("email", "a@b.c").as_deref(), Some("<EMAIL_1>"));
        assert_eq!(ann.name("email", "a@b.c").as_deref(), Some("<EMAIL_1>"));
        assert_eq!(ann.name("phone", "1").as_deref(), Some("<PHONE_1>"));
        assert_eq!(ann.name("phone", "2"), None, "there is no room");
        assert_eq!(ann.text("<EMAIL_1>").as_deref(), Some("a@b.c"));
        for other in [owner("bob", None), owner("ann", Some("s"))] {
            assert_eq!(of(other).text("<EMAIL_1>"), None);
        }
        let held = format!("{:?}", table.lock());
        assert!(!held.contains("a@b.c"), "{held}");
        table.sweep(Duration::ZERO);
        assert_eq!(ann.text("<EMAIL_1>"), None);
        let hasty = table.of(
            owner("ann", None),
            (&sealer, b"key"),
            PseudonymSettings { idle: Duration::ZERO, ..settings },
        );
        assert_eq!(hasty.name("email", "x@y.z").as_deref(), Some("<EMAIL_2>"), "the first is another's");
        assert_eq!(hasty.text("<EMAIL_1>"), None, "its time is up");
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// Somebody's text is named.
        Name(u8, u8),
        /// Whoever is idle is swept out.
        Sweep,
        /// So much time passes, in seconds.
        Wait(u64),
        /// More callers are forgotten than are remembered one by one.
        Crowd,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..4_u8, 0..20_u8).prop_map(|(who, text)| Step::Name(who, text)),
            2 => Just(Step::Sweep),
            2 => (1..90_u64).prop_map(Step::Wait),
            1 => Just(Step::Crowd),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever is forgotten, and when: of one caller a name stands for one text, or for none.
        #[test]
        fn a_name_never_comes_to_stand_for_another_text(steps in steps()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let (table, sealer) = (Table::default(), Sealer::new().expect("randomness"));
                let settings = PseudonymSettings { idle: Duration::from_mins(1), texts_max: 5 };
                let mut meant: HashMap<(u8, String), String> = HashMap::new();
                for step in steps {
                    match step {
                        Step::Name(who, text) => {
                            let owner = owner(&who.to_string(), (who == 3).then_some("s"));
                            let names = table.of(owner, (&sealer, b"key"), settings);
                            let kind = if text % 2 == 0 { "email" } else { "us_ssn" };
                            let text = format!("text {text}");
                            if let Some(name) = names.name(kind, &text) {
                                assert_eq!(names.text(&name).as_deref(), Some(&*text));
                                let before = meant.entry((who, name)).or_insert_with(|| text.clone());
                                assert_eq!(*before, text);
                            }
                            for ((whose, name), text) in &meant {
                                if *whose == who && let Some(now) = names.text(name) {
                                    assert_eq!(now, *text);
                                }
                            }
                        }
                        Step::Sweep => table.sweep(settings.idle),
                        Step::Wait(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
                        Step::Crowd => {
                            let mut state = table.lock();
                            for nth in 0..=FORGOTTEN_MAX {
                                state.remember(owner("crowd", Some(&nth.to_string())), Numbers::new());
                            }
                        }
                    }
                }
            });
        }
    }
}
