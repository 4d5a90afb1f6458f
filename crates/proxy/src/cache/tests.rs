//! The cache against a model of what each server would say to exactly this caller now: callers, servers, scopes, news, and the
//! order in which fetches end, are made up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tollgate_catalog::ListKind;
use tollgate_mcp::{Limits, Message};
use tollgate_model::{
    Caller, ClientProfile, Era, KeyId, Principal, PrincipalId, Proof, Revision, ServerName, SessionId,
    TenantId,
};
use tollgate_upstream::{HttpSettings, Isolation, LegacySessions, Server, ServerSettings, Transport};

use super::entry::Kept;
use super::flights::{Landed, Seat};
use super::key::{Ask, Part, Reach, What};
use super::settings::Rule;
use super::{Cache, CacheSettings, Current, Epoch, Look};

/// How servers are, each as one of these.
const SERVERS: [(Era, Option<Isolation>, LegacySessions); 7] = [
    (Era::Modern, None, LegacySessions::Pooled),
    (Era::Modern, Some(Isolation::Principal), LegacySessions::Pooled),
    (Era::Legacy, None, LegacySessions::Pooled),
    (Era::Legacy, Some(Isolation::Shared), LegacySessions::Pooled),
    (Era::Legacy, Some(Isolation::Tenant), LegacySessions::Pooled),
    (Era::Legacy, Some(Isolation::Principal), LegacySessions::Pooled),
    (Era::Legacy, None, LegacySessions::Strict),
];
const CALLERS: usize = 18;
const WHATS: usize = 4;

/// What happens.
#[derive(Debug, Clone)]
enum Op {
    /// A caller wants something. What has to be fetched is on its way from then on: the server answers at once, and it
    /// arrives later. Its server says so of its keeping.
    Ask {
        caller: usize,
        server: usize,
        what: usize,
        public: bool,
        ttl_ms: u64,
    },
    /// The fetch that has been on its way longest (or shortest) arrives, of a server that is late or of one that is not.
    Land {
        newest: bool,
        is_late: bool,
    },
    /// What a server says is another from now on.
    Change {
        server: usize,
    },
    /// The news of it arrive.
    Tell {
        server: usize,
        part: Part,
    },
    /// A resource is another, and its news arrive.
    Update {
        server: usize,
        what: usize,
    },
    /// A legacy server's sessions are begun again, each with a state of its own.
    Restart {
        server: usize,
    },
    /// The server takes the gateway's credential no more, or is configured otherwise.
    Forget {
        server: usize,
    },
    Wait {
        ms: u64,
    },
    Sweep,
    /// A server cannot be asked: something may stand in.
    Away {
        caller: usize,
        server: usize,
        what: usize,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let server = || 0..SERVERS.len();
    let part = prop_oneof![Just(Part::Tools), Just(Part::Prompts), Just(Part::Resources)];
    let ttl = prop_oneof![Just(0_u64), Just(50), Just(5_000), Just(u64::MAX)];
    let op = prop_oneof![
        12 => (0..CALLERS, server(), 0..WHATS, any::<bool>(), ttl)
            .prop_map(|(caller, server, what, public, ttl_ms)| Op::Ask { caller, server, what, public, ttl_ms }),
        8 => (any::<bool>(), any::<bool>()).prop_map(|(newest, is_late)| Op::Land { newest, is_late }),
        3 => server().prop_map(|server| Op::Change { server }),
        2 => (server(), part).prop_map(|(server, part)| Op::Tell { server, part }),
        1 => (server(), 0..WHATS).prop_map(|(server, what)| Op::Update { server, what }),
        1 => server().prop_map(|server| Op::Restart { server }),
        1 => server().prop_map(|server| Op::Forget { server }),
        2 => (0_u64..4_000).prop_map(|ms| Op::Wait { ms }),
        1 => Just(Op::Sweep),
        2 => (0..CALLERS, server(), 0..WHATS)
            .prop_map(|(caller, server, what)| Op::Away { caller, server, what }),
    ];
    // Few servers and callers at once, so that they meet.
    (prop::collection::vec(op, 1..120), any::<u8>()).prop_map(|(mut ops, narrow)| {
        for op in &mut ops {
            if let Op::Ask { server, what, .. }
            | Op::Away { server, what, .. }
            | Op::Update { server, what } = op
            {
                *server = (usize::from(narrow) + *server % 2) % SERVERS.len();
                *what %= 2 + usize::from(narrow % 3);
            }
        }
        ops
    })
}

fn what(number: usize) -> What {
    match number {
        0 => What::list(ListKind::Tools, None).expect("short"),
        1 => What::read("memo://one").expect("short"),
        2 => What::call("tool", None, &[]),
        _ => What::list(ListKind::Prompts, Some("two")).expect("short"),
    }
}

fn part(number: usize) -> Part {
    what(number).part()
}

/// Two tenants, in each two principals, of whom one comes with two keys; without a session, or with one of two. All clients
/// look the same, but for one.
fn caller(number: usize) -> Caller {
    let (tenant, who, session) = (number / 9, number / 3 % 3, number % 3);
    let key = ["one", "other", "same-again"][who];
    let name = ["ann", "bob", "ann"][who];
    let id = PrincipalId::new(name);
    let proof = Proof::Key(KeyId::new(key));
    let who = Arc::new(Principal::new(TenantId::new(["acme", "globex"][tenant]), id, proof));
    let capabilities: &[u8] = if number == 4 { br#"{"sampling":{}}"# } else { b"{}" };
    let client = ClientProfile {
        revision: if session == 0 { Revision::V2026_07_28 } else { Revision::V2025_11_25 },
        capabilities: Bytes::from_static(capabilities),
        info: None,
    };
    let session = (session > 0).then(|| SessionId::new(&format!("{number}")));
    Caller { who, session, client: Arc::new(client), source: None }
}

/// Whose state at the server an answer shows, if it is not everyone's: the words of the specification, not those of the
/// cache.
fn whose(number: usize, server: usize, what_number: usize, public: bool) -> String {
    let caller = caller(number);
    let (era, isolation, sessions) = SERVERS[server];
    let tenant = caller.tenant().as_str().to_owned();
    // The same person with another key is another authorization context.
    let Proof::Key(key) = &caller.who.proof else { panic!("a key") };
    let principal = format!("{tenant}/{}", key.as_str());
    let own_session = caller
        .session
        .as_ref()
        .map_or_else(|| principal.clone(), |id| format!("{principal}/{}", id.as_str()));
    let is_call = what_number == 2;
    match (era, isolation) {
        (Era::Modern, None) if public && !is_call => "everyone".to_owned(),
        (Era::Legacy, _) if sessions == LegacySessions::Strict && caller.session.is_none() => {
            "never again".to_owned()
        }
        (Era::Legacy, None | Some(Isolation::Session)) => own_session,
        (Era::Legacy, Some(Isolation::Tenant)) if !is_call => tenant,
        (Era::Legacy, Some(Isolation::Shared)) if !is_call => "everyone".to_owned(),
        (Era::Modern | Era::Legacy, _) => principal,
    }
}

struct World {
    cache: Cache,
    servers: Vec<Server>,
    rule: Rule,
    /// How often each server's state changed, and what of that it has told for sure, by part.
    versions: Vec<u64>,
    told: HashMap<(usize, u8), u64>,
    restarts: Vec<u64>,
    /// When each version came about.
    born: HashMap<(usize, u64), Instant>,
    forgotten: HashMap<usize, u64>,
    now: Instant,
    fetches: Vec<Fetch>,
}

struct Fetch {
    ask: Ask,
    epoch: Epoch,
    kept: Arc<Kept>,
}

impl World {
    fn new(bytes_max: usize) -> Self {
        let settings = CacheSettings { bytes_max, ..CacheSettings::default() };
        let (events, _) = mpsc::channel(1);
        let server = |(number, (_, isolation, legacy_sessions)): (
            usize,
            &(Era, Option<Isolation>, LegacySessions),
        )| {
            let name = ServerName::new(&format!("s{number}")).expect("a name");
            let transport = Transport::Http(HttpSettings::new("http://localhost:1/".parse().expect("a URL")));
            let settings = ServerSettings::new(name, transport);
            let settings =
                ServerSettings { isolation: *isolation, legacy_sessions: *legacy_sessions, ..settings };
            Server::new(settings, events.clone()).expect("a server")
        };
        let ms = Duration::from_millis;
        Self {
            cache: Cache::new(&settings),
            servers: SERVERS.iter().enumerate().map(server).collect(),
            rule: Rule {
                ttl_max: ms(8_000),
                announced: ms(2_000),
                otherwise: Duration::ZERO,
                stale_max: ms(3_000),
                bytes_max: settings.entry_bytes_max,
            },
            versions: vec![0; SERVERS.len()],
            told: HashMap::new(),
            restarts: vec![0; SERVERS.len()],
            born: HashMap::new(),
            forgotten: HashMap::new(),
            now: Instant::now(),
            fetches: Vec::new(),
        }
    }

    fn ask(&self, number: usize, server: usize, what_number: usize) -> Ask {
        Ask::new(&self.servers[server], &caller(number), what(what_number))
    }

    /// Which session or process of a server serves a caller now: one for each whose it is.
    fn current(&self, number: usize, server: usize) -> Current {
        let (era, ..) = SERVERS[server];
        let whose = whose(number, server, 0, true);
        let place = whose.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let number = if era == Era::Modern { 1 } else { place.wrapping_add(self.restarts[server]) };
        Current { era, number }
    }

    /// What the server says to this caller now.
    fn says(&self, number: usize, server: usize, what_number: usize, public: bool, ttl_ms: u64) -> Kept {
        let (era, ..) = SERVERS[server];
        let whose = whose(number, server, what_number, public);
        let capabilities = String::from_utf8(caller(number).client.capabilities.to_vec()).expect("UTF-8");
        let restarts = if era == Era::Legacy { self.restarts[server] } else { 0 };
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"server":{server},"what":{what_number},"whose":"{whose}","capabilities":{capabilities},"version":{},"restarts":{restarts}}}}}"#,
            self.versions[server]
        );
        let message = Message::parse(Bytes::from(text), &Limits::default()).expect("a message");
        let is_modern = era == Era::Modern;
        Kept {
            message,
            page: None,
            listed: 0,
            era,
            info: None,
            hint: is_modern.then(|| Duration::from_millis(ttl_ms)),
            shared: is_modern && public,
            announces: true,
            instance: (!is_modern).then(|| self.current(number, server).number),
            received: self.now,
        }
    }

    /// Looks whether what a caller is given is what the server says, or said not too long ago, to this very caller.
    fn check(&self, given: &Kept, (number, server, what_number): (usize, usize, usize), is_stale: bool) {
        let text = |member: &str| {
            let message = &given.message;
            let raw = message.member(member).expect(member).of(message.bytes());
            String::from_utf8(raw.to_vec()).expect("UTF-8")
        };
        let integer = |member: &str| text(member).parse::<u64>().expect("a number");
        assert_eq!(integer("server"), server as u64);
        assert_eq!(integer("what"), what_number as u64);
        let own: Vec<String> =
            [true, false].map(|public| format!("{:?}", whose(number, server, what_number, public))).into();
        assert_ne!(text("whose"), "\"never again\"", "each request has a session of its own");
        assert!(own.contains(&text("whose")), "{} is given to {own:?}", text("whose"));
        let capabilities = &caller(number).client.capabilities;
        assert_eq!(text("capabilities").as_bytes(), &capabilities[..]);
        let version = integer("version");
        let told = self.told.get(&(server, part(what_number) as u8)).copied().unwrap_or_default();
        assert!(version >= told, "version {version} is given out, and {told} was told of");
        assert!(version >= self.forgotten.get(&server).copied().unwrap_or_default(), "it was forgotten");
        // Whatever followed it came about while it was fresh, or not so long ago as something may stand in.
        let longest = self.rule.ttl_max + if is_stale { self.rule.stale_max } else { Duration::ZERO };
        if let Some(ended) = self.born.get(&(server, version + 1)) {
            assert!(self.now.saturating_duration_since(*ended) < longest, "it is too old");
        }
        if !is_stale && SERVERS[server].0 == Era::Legacy {
            assert_eq!(integer("restarts"), self.restarts[server], "another session said it");
        }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Ask { caller: number, server, what: what_number, public, ttl_ms } => {
                let ask = self.ask(number, server, what_number);
                let current = self.current(number, server);
                match self.cache.look(&ask, &self.rule, Some(current), self.now) {
                    Look::Fresh(kept) => self.check(&kept, (number, server, what_number), false),
                    Look::Pass => self.fetch(&ask, (number, server, what_number), (public, ttl_ms)),
                    Look::Missing(reach) => {
                        self.share(&ask, reach, (number, server, what_number), (public, ttl_ms));
                        self.fetch(&ask, (number, server, what_number), (public, ttl_ms));
                    }
                }
            }
            Op::Land { newest, is_late } => {
                if self.fetches.is_empty() {
                    return;
                }
                let fetch = if newest { self.fetches.pop().expect("one") } else { self.fetches.remove(0) };
                self.cache.keep_as(&fetch.ask, fetch.epoch, &fetch.kept, &self.rule, is_late);
            }
            Op::Change { server } => {
                self.versions[server] += 1;
                self.born.insert((server, self.versions[server]), self.now);
            }
            Op::Tell { server, part } => {
                self.cache.changed(self.servers[server].number(), part);
                self.told.insert((server, part as u8), self.versions[server]);
            }
            Op::Update { server, what: _ } => {
                let number = self.servers[server].number();
                self.cache.updated(number, ["memo://one/part", "memo://one"].into_iter());
                // Only what was read is told of.
                self.told_of_read(server);
            }
            Op::Restart { server } => self.restarts[server] += 1,
            Op::Forget { server } => {
                self.cache.forget(self.servers[server].number());
                self.forgotten.insert(server, self.versions[server]);
            }
            Op::Wait { ms } => self.now += Duration::from_millis(ms),
            Op::Sweep => self.cache.sweep(|_| true),
            Op::Away { caller: number, server, what: what_number } => {
                let ask = self.ask(number, server, what_number);
                if let Some(kept) = self.cache.older(&ask, &self.rule, true, self.now) {
                    self.check(&kept, (number, server, what_number), true);
                }
            }
        }
        assert!(self.cache.lock().shelves.is_sound());
    }

    fn told_of_read(&mut self, server: usize) {
        // The only read has the number 1, whose part lists share: nothing else of that part is asked for here.
        self.told.insert((server, Part::Resources as u8), self.versions[server]);
    }

    /// The answer that the server gives now is on its way.
    fn fetch(&mut self, ask: &Ask, (number, server, what_number): (usize, usize, usize), said: (bool, u64)) {
        let epoch = self.cache.epoch(ask);
        let kept = Arc::new(self.says(number, server, what_number, said.0, said.1));
        self.fetches.push(Fetch { ask: ask.clone(), epoch, kept });
    }

    /// Whoever else would wait for the same may have what comes only if it is theirs.
    fn share(
        &self,
        ask: &Ask,
        reach: Reach,
        (number, server, what_number): (usize, usize, usize),
        (public, ttl_ms): (bool, u64),
    ) {
        let kept = self.says(number, server, what_number, public, ttl_ms);
        for other in 0..CALLERS {
            let asks = self.ask(other, server, what_number);
            let current = self.current(other, server);
            if let Look::Missing(wider) = self.cache.look(&asks, &self.rule, Some(current), self.now)
                && asks.key(wider) == ask.key(reach)
                && Cache::may_have(&asks, &kept, &self.rule, wider)
            {
                self.check(&kept, (other, server, what_number), false);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: a caller is given what its server says to it, or said to it within the bounds.
    #[test]
    fn nobody_is_given_what_is_anothers_or_no_longer_so(ops in ops(), small in any::<bool>()) {
        let mut world = World::new(if small { 6_000 } else { 1 << 20 });
        for op in &ops {
            world.run(op);
        }
    }
}

fn public_list(world: &World, ttl_ms: u64) -> (Ask, Arc<Kept>) {
    (world.ask(0, 0, 0), Arc::new(world.says(0, 0, 0, true, ttl_ms)))
}

/// Without this the property would hold for a cache that keeps nothing.
#[test]
fn what_is_everyones_is_kept_for_all_of_the_tenant_and_nobody_elses() {
    let world = World::new(1 << 20);
    let (ask, kept) = public_list(&world, 5_000);
    world.cache.keep(&ask, world.cache.epoch(&ask), &kept, &world.rule);
    let is_fresh = |number| {
        let look = world.cache.look(
            &world.ask(number, 0, 0),
            &world.rule,
            Some(world.current(number, 0)),
            world.now,
        );
        matches!(look, Look::Fresh(_))
    };
    let fresh: Vec<usize> = (0..CALLERS).filter(|number| is_fresh(*number)).collect();
    assert_eq!(fresh, [0, 1, 2, 3, 5, 6, 7, 8], "all of acme, but for the client that can do more");
}

#[test]
fn what_is_a_callers_own_is_kept_for_it() {
    let world = World::new(1 << 20);
    let ask = world.ask(0, 0, 0);
    let kept = Arc::new(world.says(0, 0, 0, false, 5_000));
    world.cache.keep(&ask, world.cache.epoch(&ask), &kept, &world.rule);
    let looks: Vec<Look> = (0..9)
        .map(|number| {
            world.cache.look(&world.ask(number, 0, 0), &world.rule, Some(world.current(number, 0)), world.now)
        })
        .collect();
    assert!(looks[..3].iter().all(|look| matches!(look, Look::Fresh(_))), "{looks:?}");
    assert!(looks[3..].iter().all(|look| !matches!(look, Look::Fresh(_))), "{looks:?}");
    // Nobody waits for what is known to be another's.
    assert!(matches!(looks[6], Look::Missing(Reach::Principal)), "{looks:?}");
}

#[test]
fn a_fetch_that_began_before_the_news_helps_nobody_who_asks_after_them() {
    let world = World::new(1 << 20);
    let (ask, kept) = public_list(&world, 5_000);
    let (first, before) = world.cache.board(&ask, Reach::Tenant);
    assert!(matches!(first, Seat::First(..)));
    assert!(matches!(world.cache.board(&ask, Reach::Tenant).0, Seat::Other(_)));
    world.cache.changed(world.servers[0].number(), Part::Tools);
    let (second, _) = world.cache.board(&ask, Reach::Tenant);
    assert!(matches!(second, Seat::First(..)), "a fetch of its own");
    world.cache.keep(&ask, before, &kept, &world.rule);
    assert!(world.cache.stand_in(&ask, &world.rule, world.now).is_none(), "it is too late to be kept");
    drop(first);
    assert!(matches!(world.cache.board(&ask, Reach::Tenant).0, Seat::Other(_)), "the second goes on");
    drop(second);
    assert_eq!(world.cache.flights.count(), 0);
}

#[tokio::test]
async fn whoever_waits_hears_what_came_or_that_nothing_did() {
    let world = World::new(1 << 20);
    let (ask, kept) = public_list(&world, 5_000);
    for lands in [true, false] {
        let (Seat::First(pilot, _), _) = world.cache.board(&ask, Reach::Tenant) else { panic!("the first") };
        let (Seat::Other(wait), _) = world.cache.board(&ask, Reach::Tenant) else { panic!("not the first") };
        if lands {
            pilot.lands(Landed::Answered(Arc::clone(&kept)));
        } else {
            drop(pilot);
        }
        assert_eq!(matches!(wait.landed().await, Landed::Answered(_)), lands);
        assert_eq!(world.cache.flights.count(), 0);
    }
}

#[test]
fn whoever_has_most_loses_what_it_used_longest_ago() {
    let world = World::new(1 << 20);
    let ask = |number: usize, cursor: usize| {
        let what = What::list(ListKind::Tools, Some(&cursor.to_string())).expect("short");
        Ask::new(&world.servers[0], &caller(number), what)
    };
    let put = |number, cursor| {
        let ask = ask(number, cursor);
        let kept = Arc::new(world.says(number, 0, 0, true, 5_000));
        world.cache.keep(&ask, world.cache.epoch(&ask), &kept, &world.rule);
    };
    let is_there = |number, cursor| {
        let look =
            world.cache.look(&ask(number, cursor), &world.rule, Some(world.current(number, 0)), world.now);
        matches!(look, Look::Fresh(_))
    };
    let (acme, globex) = (0, 9);
    put(globex, 0);
    let one = world.cache.lock().shelves.bytes();
    world.cache.apply(&CacheSettings { bytes_max: one * 5, ..CacheSettings::default() });
    put(globex, 0);
    for cursor in 0..3 {
        put(acme, cursor);
    }
    assert!(is_there(acme, 0), "used again");
    for cursor in 3..6 {
        put(acme, cursor);
    }
    assert!(is_there(globex, 0), "the other tenant loses nothing");
    let there: Vec<usize> = (0..6).filter(|cursor| is_there(acme, *cursor)).collect();
    assert!(there.contains(&0) && !there.contains(&1) && there.contains(&5), "{there:?}");
    assert!(world.cache.lock().shelves.bytes() <= one * 5);
    world.cache.apply(&CacheSettings { enabled: false, ..CacheSettings::default() });
    assert_eq!(world.cache.lock().shelves.count(), 0);
}

#[test]
fn arguments_are_the_same_however_they_are_written() {
    let call = |native, arguments: &'static str| {
        What::call(native, Some(&Bytes::from_static(arguments.as_bytes())), &[])
    };
    assert_eq!(call("t", r#"{"a":1,"b":"x"}"#), call("t", r#"{ "b":"\u0078", "a":1 }"#));
    assert_ne!(call("t", r#"{"a":1}"#), call("t", r#"{"a":1.0}"#));
    assert_ne!(call("t", r#"{"a":1}"#), call("u", r#"{"a":1}"#));
    assert_ne!(What::call("t", None, &[]), call("t", "{}"));
}
