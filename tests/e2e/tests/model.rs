//! Many clients and servers of random eras in random interleavings, against a small model of what must become of each
//! request: exactly one outcome; nothing that is another client's; every answer at the very question; and nothing kept
//! at the end. About a minute here, ten in `cargo xtask soak`. `TOLLGATE_MODEL_SEED=n` plays one episode again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails loudly")]

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tollgate_e2e::gateway::{Gateway, servers, with};
use tollgate_e2e::upstream::{Kind, Upstream};
use tollgate_testkit::fake::json as raw;
use tollgate_testkit::fake::{
    Answer, Ask, Call, Dialect, Entry, Http, HttpPeer, Live, Received, Script, soon, until,
};

/// A client that can be asked everything.
const ABLE: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}"#;
/// How long after a crash requests may still fail of it.
const GRACE: Duration = Duration::from_secs(8);
/// Change it to play other episodes.
const SEED: u64 = 0x746f_6c6c;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_of_the_model() {
    if let Some(seed) = std::env::var("TOLLGATE_MODEL_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return episode(seed).await;
    }
    let minutes = if std::env::var_os("TOLLGATE_SOAK").is_some() { 10 } else { 1 };
    let (began, length) = (Instant::now(), Duration::from_mins(minutes));
    let mut seed = SEED;
    while began.elapsed() < length {
        episode(seed).await;
        seed += 1;
    }
    eprintln!("{} episodes", seed - SEED);
}

/// A small generator of numbers that can be had again from its seed (xorshift).
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % u64::try_from(end).expect("small")).expect("small")
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn split(&mut self) -> Self {
        Self::new(self.0 ^ u64::try_from(self.below(1 << 30)).expect("small"))
    }
}

/// One server, which may crash and come back.
struct Server {
    kind: Kind,
    place: Mutex<Upstream>,
    crashed: std::sync::Mutex<Option<Instant>>,
}

impl Server {
    /// Whether a request that began then may fail.
    fn is_excused(&self, began: Instant) -> bool {
        self.crashed.lock().unwrap().is_some_and(|crash| crash + GRACE > began)
    }

    fn asks_beside_calls(&self) -> bool {
        self.kind.is_shared_channel() && self.kind.dialect() == Dialect::Legacy
    }

    async fn crash(&self) {
        let mut place = self.place.lock().await;
        *self.crashed.lock().unwrap() = Some(Instant::now());
        place.crash_and_return(Script::legacy()).await;
        *self.crashed.lock().unwrap() = Some(Instant::now());
    }

    async fn received(&self) -> Vec<Received> {
        self.place.lock().await.received()
    }
}

struct World {
    gateway: Gateway,
    servers: Vec<Server>,
}

/// One world with its clients, from its first request until nothing is left of it.
async fn episode(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut all = Vec::new();
    for _ in 0..2 + dice.below(2) {
        let kind = Kind::ALL[dice.below(Kind::ALL.len())];
        let place = Mutex::new(Upstream::start(kind, Script::legacy()).await);
        all.push(Server { kind, place, crashed: std::sync::Mutex::default() });
    }
    let mut entries = Vec::new();
    for (nth, server) in all.iter().enumerate() {
        let entry = with(
            &server.place.lock().await.entry(),
            json!({ "idle_ms": 1000, "request_timeout_ms": 20_000 }),
        );
        entries.push((format!("s{nth}"), entry));
    }
    let config = servers(entries.iter().map(|(name, entry)| (name.as_str(), entry.clone())));
    let config = with(&config, json!({ "limits": { "input_timeout_ms": 8000 } }));
    let world = Arc::new(World { gateway: Gateway::start(&config).await, servers: all });
    let kinds: Vec<Kind> = world.servers.iter().map(|server| server.kind).collect();
    eprintln!("an episode of {kinds:?}; again: TOLLGATE_MODEL_SEED={seed}");

    // Where all answers share one channel, a request of the server's names no call. Once it has been seen to ask, the
    // calls of modern clients get channels of their own.
    for (nth, server) in world.servers.iter().enumerate().filter(|(_, server)| server.asks_beside_calls()) {
        let peer = world.gateway.modern(&format!("/mcp/s{nth}"));
        let cancelled = std::sync::Mutex::default();
        let first = Deed { server, peer, who: 0, nth: 0, began: Instant::now(), cancelled: &cancelled };
        let call = Call::tool("ask_roots", "{}").able(ABLE);
        let asked = first.send("1", &call).await;
        let state = raw::find(&asked.result(), &["requestState"]).expect("it is alone and asked");
        let rest = format!(r#""inputResponses":{{"input-1":{{"roots":[]}}}},"requestState":{state}"#);
        first.send("2", &call.and(&rest)).await.result();
    }

    let crashes = dice.one_in(2);
    let over = Arc::new(AtomicBool::new(false));
    let crasher = tokio::spawn({
        let (world, over, mut dice) = (Arc::clone(&world), Arc::clone(&over), dice.split());
        async move {
            while crashes && !over.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(200 + dice.below(600) as u64)).await;
                world.servers[dice.below(world.servers.len())].crash().await;
            }
        }
    });
    let mut clients = JoinSet::new();
    for who in 0..3 + dice.below(3) {
        let (world, dice) = (Arc::clone(&world), dice.split());
        clients.spawn(visits(world, who, dice));
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
    over.store(true, Ordering::Relaxed);
    crasher.await.expect("the crasher does not fail");
    nothing_is_left(&world).await;
}

/// All that a client does: it comes, has some requests under way at once, and leaves, a few times.
async fn visits(world: Arc<World>, who: usize, mut dice: Dice) {
    let mut nth = 0;
    for _ in 0..=dice.below(3) {
        let at = dice.below(world.servers.len());
        let server = &world.servers[at];
        let path = format!("/mcp/s{at}");
        let legacy = dice.one_in(2);
        let began = Instant::now();
        let peer = if legacy {
            let revision = if dice.one_in(3) { "2025-06-18" } else { "2025-11-25" };
            match HttpPeer::shake_hands(world.gateway.listen, &path, revision, ABLE).await {
                Ok(peer) => peer,
                Err(answer) => {
                    assert!(server.is_excused(began), "c{who}: no session: {answer:?}");
                    continue;
                }
            }
        } else {
            world.gateway.modern(&path)
        };
        let cancelled = std::sync::Mutex::default();
        let listening = if legacy && dice.one_in(2) { Some(peer.listen().await) } else { None };
        // Where all answers share one channel, nobody can say to which of several calls a question belongs.
        let together = if server.asks_beside_calls() && legacy { 1 } else { 3 };
        for _ in 0..=dice.below(4) {
            let deeds = (0..=dice.below(together)).map(|_| {
                nth += 1;
                let (peer, cancelled, began) = (peer.clone(), &cancelled, Instant::now());
                let deed = Deed { server, peer, who, nth, began, cancelled };
                deed.perform(dice.split())
            });
            futures(deeds.collect()).await;
        }
        if let Some(listening) = listening {
            peer.clone().leave().await;
            everything_on(listening, who).await;
        } else if legacy {
            peer.leave().await;
        }
    }
}

/// Runs all of them at once.
async fn futures<F: Future<Output = ()>>(all: Vec<F>) {
    let mut all: Vec<_> = all.into_iter().map(|future| Some(Box::pin(future))).collect();
    std::future::poll_fn(|cx| {
        for slot in &mut all {
            if slot.as_mut().is_some_and(|future| future.as_mut().poll(cx).is_ready()) {
                *slot = None;
            }
        }
        if all.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Whatever came beside all calls was for this client.
async fn everything_on(mut listening: Live, who: usize) {
    while let Ok(Some(event)) = soon("the end of a GET stream", listening.event()).await {
        assert_own(&event.data, who);
    }
}

/// Every mark in what a client got is its own.
fn assert_own(text: &str, who: usize) {
    for (at, _) in text.match_indices("m~c") {
        let owner: String = text[at + 3..].chars().take_while(char::is_ascii_digit).collect();
        assert_eq!(owner, who.to_string(), "client {who} got what is another's: {text}");
    }
}

/// One request of one client, with all that belongs to it.
struct Deed<'a> {
    server: &'a Server,
    peer: HttpPeer,
    who: usize,
    nth: usize,
    began: Instant,
    /// The marks of what was cancelled on this visit.
    cancelled: &'a std::sync::Mutex<HashSet<String>>,
}

impl Deed<'_> {
    async fn perform(mut self, mut dice: Dice) {
        match (dice.below(10), self.peer.dialect) {
            (0..=2, _) => self.echo().await,
            (3, _) => self.leaves(&mut dice).await,
            (_, Dialect::Modern) => self.modern_dialog(&mut dice).await,
            (_, Dialect::Legacy) => self.legacy_dialog(&mut dice).await,
        }
    }

    fn mark(&self) -> String {
        format!("m~c{}~o{}~", self.who, self.nth)
    }

    fn id(&self) -> String {
        // The same ids for all clients: they must not be mixed up.
        (100 + self.nth).to_string()
    }

    /// A failure is none of the gateway's if the server has crashed.
    fn assert_excused(&self, what: &str, answer: &Answer) {
        assert!(
            self.server.is_excused(self.began),
            "{} {:?}: {what}: {answer:?}",
            self.mark(),
            self.server.kind
        );
        let about = answer.refusal();
        let lost = about.starts_with("upstream_")
            || about == "session_not_found"
            || about == "invalid_request_state";
        let fails = lost || answer.status == 404 || about == "input_refused" || about == "server_unavailable";
        assert!(fails, "{} {:?}: {what}: not for a crash: {answer:?}", self.mark(), self.server.kind);
    }

    /// Reads what is left of a response: exactly one answer, under the request's id.
    fn take(&self, answer: Answer, id: &str) -> Answer {
        assert_own(&answer.everything(), self.who);
        assert!(
            answer.before.iter().all(|message| raw::find(message, &["method"]).is_some()),
            "{}: two answers: {answer:?}",
            self.mark()
        );
        if answer.status == 200 {
            assert_eq!(
                raw::find(&answer.message, &["id"]).as_deref(),
                Some(id),
                "{}: {answer:?}",
                self.mark()
            );
        }
        answer
    }

    async fn send(&self, id: &str, call: &Call) -> Answer {
        let reply = self.peer.http.send(&self.peer.ask(id, call)).await;
        self.take(Answer::of(&reply), id)
    }

    async fn echo(&self) {
        let call = Call::tool("echo", &format!(r#"{{"mark":"{}"}}"#, self.mark()));
        let answer = self.send(&self.id(), &call).await;
        if answer.error().is_some() || answer.status != 200 {
            return self.assert_excused("echo", &answer);
        }
        assert!(answer.message.contains(&self.mark()), "{}: {answer:?}", self.mark());
    }

    /// A call that never ends by itself: the client cancels it, or just goes.
    async fn leaves(&mut self, dice: &mut Dice) {
        let mark = self.mark();
        let call = Call::tool("progress_then_hang", &format!(r#"{{"mark":"{mark}"}}"#))
            .meta(format!(r#""progressToken":"{mark}""#));
        let ask = self.peer.ask(&self.id(), &call);
        let mut live = soon("a response", self.peer.http.open(&ask)).await.expect("a response");
        let is_stream =
            live.header("content-type").is_some_and(|media| media.starts_with("text/event-stream"));
        if live.status != 200 || !is_stream {
            let answer = self.take(Answer::of(&live.finish().await.expect("a body")), &self.id());
            return self.assert_excused("a call that hangs", &answer);
        }
        let first = soon("progress", live.event()).await.expect("a stream").expect("an event").data;
        assert_own(&first, self.who);
        if raw::find(&first, &["method"]).is_none() {
            let answer = Answer { status: 200, headers: Vec::new(), message: first, before: Vec::new() };
            return self.assert_excused("a call that hangs", &answer);
        }
        assert!(first.contains(&mark), "{mark}: under its own token: {first}");
        if self.peer.dialect == Dialect::Modern {
            return;
        }
        // Leaving alone is no cancellation: the end of the session is. Until then the call is under way, and no question
        // on a shared channel is of one call alone.
        if !self.server.asks_beside_calls() && dice.one_in(3) {
            return;
        }
        self.cancel().await;
        self.nothing_follows(live).await;
    }

    /// Whether a question is about a call that this very session has cancelled, which its server may not have known yet.
    /// Where all answers share one channel it names no call, and comes with the call that is under way now.
    fn is_late(&self, question: &str) -> bool {
        let cancelled = self.cancelled.lock().unwrap();
        self.server.asks_beside_calls() && cancelled.iter().any(|mark| question.contains(mark))
    }

    async fn cancel(&self) {
        self.cancelled.lock().unwrap().insert(self.mark());
        let id = self.id();
        let told = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
        );
        let reply = self.peer.http.send(&self.peer.post(&told)).await;
        if reply.status != 202 {
            self.assert_excused("a cancellation", &Answer::of(&reply));
        }
    }

    /// After a cancellation the stream ends, and no answer was on it, unless the server's crash was faster.
    async fn nothing_follows(&self, mut live: Live) {
        while let Some(event) = soon("the end of a cancelled call", live.event()).await.expect("a clean end")
        {
            assert_own(&event.data, self.who);
            if raw::find(&event.data, &["method"]).is_none() {
                let answer =
                    Answer { status: 200, headers: Vec::new(), message: event.data, before: Vec::new() };
                self.assert_excused("after a cancellation", &answer);
            }
        }
    }

    /// A call in which the server asks, and the list of the answers that it must have got.
    fn dialog(&self, dice: &mut Dice) -> (Call, Vec<String>) {
        let mut expected = Vec::new();
        let mut rounds = Vec::new();
        for round in 0..=dice.below(3) {
            let mut asked = Vec::new();
            for question in 0..dice.below(3) {
                let mark = format!("{}r{round}q{question}~", self.mark());
                let question = match dice.below(3) {
                    0 => format!(
                        r#"{{"method":"elicitation/create","params":{{"message":"{mark}","requestedSchema":{{"type":"object","properties":{{}}}}}}}}"#
                    ),
                    1 => format!(
                        r#"{{"method":"sampling/createMessage","params":{{"messages":[{{"role":"user","content":{{"type":"text","text":"{mark}"}}}}],"maxTokens":5}}}}"#
                    ),
                    _ => format!(r#"{{"method":"roots/list","params":{{"_meta":{{"mark":"{mark}"}}}}}}"#),
                };
                expected.push(answer_to(&question, &self.mark()));
                asked.push(question);
            }
            rounds.push(format!("[{}]", asked.join(",")));
        }
        let arguments = format!(r#"{{"mark":"{}","rounds":[{}]}}"#, self.mark(), rounds.join(","));
        (Call::tool("dialog", &arguments).able(ABLE), expected)
    }

    fn assert_heard(&self, answer: &Answer, expected: &[String]) {
        assert_eq!(
            answer.text(),
            format!("[{}]", expected.join(",")),
            "{} {:?} {:?}: the very answers",
            self.mark(),
            self.peer.dialect,
            self.server.kind
        );
    }

    async fn modern_dialog(&self, dice: &mut Dice) {
        let (call, expected) = self.dialog(dice);
        let mut answer = self.send(&self.id(), &call).await;
        let mut last = None;
        for round in 0.. {
            assert!(round < 40, "{}: no end: {answer:?}", self.mark());
            if answer.error().is_some() || answer.status != 200 {
                return self.assert_excused("a dialog", &answer);
            }
            let result = answer.result();
            if raw::text_at(&result, &["resultType"]).as_deref() != Some("input_required") {
                break;
            }
            // Some never come back.
            if dice.one_in(12) {
                return;
            }
            let asked =
                raw::find(&result, &["inputRequests"]).map(|asked| raw::members(&asked)).unwrap_or_default();
            let mut responses = String::new();
            for (key, question) in &asked.0 {
                if dice.one_in(8) {
                    continue;
                }
                let comma = if responses.is_empty() { "" } else { "," };
                let answer = answer_to(question.get(), &self.mark());
                let _ = write!(responses, "{comma}{}:{answer}", raw::quote(key));
            }
            let state = raw::find(&result, &["requestState"]).expect("a state");
            let again =
                call.clone().and(&format!(r#""inputResponses":{{{responses}}},"requestState":{state}"#));
            let id = format!("{}{round}", self.id());
            // Some leave in the midst of it.
            if dice.one_in(12) {
                let ask = self.peer.ask(&id, &again);
                drop(
                    tokio::time::timeout(
                        Duration::from_millis(dice.below(20) as u64),
                        self.peer.http.send(&ask),
                    )
                    .await,
                );
                return;
            }
            answer = self.send(&id, &again).await;
            last = Some((again, responses.is_empty()));
        }
        self.assert_heard(&answer, &expected);
        // A call that was parked is gone once it has ended.
        if let Some((again, _)) = last
            && self.server.kind.dialect() == Dialect::Legacy
        {
            let replayed = self.send("99", &again).await;
            let about = replayed.refusal();
            assert!(about == "invalid_request_state", "{}: replayed: {replayed:?}", self.mark());
        }
    }

    async fn legacy_dialog(&self, dice: &mut Dice) {
        let (call, expected) = self.dialog(dice);
        let ask = self.peer.ask(&self.id(), &call);
        let mut live = soon("a response", self.peer.http.open(&ask)).await.expect("a response");
        let is_stream =
            live.header("content-type").is_some_and(|media| media.starts_with("text/event-stream"));
        if live.status != 200 || !is_stream {
            let answer = self.take(Answer::of(&live.finish().await.expect("a body")), &self.id());
            if answer.status != 200 || answer.error().is_some() {
                return self.assert_excused("a dialog", &answer);
            }
            return self.assert_heard(&answer, &expected);
        }
        loop {
            let event = soon("the next message of a dialog", live.event()).await.expect("a stream");
            let message = event.unwrap_or_else(|| panic!("{}: no outcome", self.mark())).data;
            assert_own(&message, self.who);
            let is_about = raw::text_at(&message, &["method"]);
            let Some(id) = raw::find(&message, &["id"]) else { continue };
            if is_about.is_none() {
                let answer = Answer { status: 200, headers: Vec::new(), message, before: Vec::new() };
                let answer = self.take(answer, &self.id());
                let more = soon("the end of a stream", live.event()).await.expect("a clean end");
                assert_eq!(more, None, "{}: nothing follows the answer", self.mark());
                if answer.error().is_some() {
                    return self.assert_excused("a dialog", &answer);
                }
                if self.server.is_excused(self.began) && answer.text() != format!("[{}]", expected.join(","))
                {
                    return;
                }
                return self.assert_heard(&answer, &expected);
            }
            if dice.one_in(15) {
                self.cancel().await;
                return self.nothing_follows(live).await;
            }
            if self.is_late(&message) {
                continue;
            }
            // What else is asked in this call is of this call.
            let answer =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, answer_to(&message, &self.mark()));
            let reply = self.peer.http.send(&self.peer.post(&answer)).await;
            if reply.status != 202 {
                return self.assert_excused("an answer", &Answer::of(&reply));
            }
        }
    }
}

/// The answer to a question, which says which one it was.
fn answer_to(question: &str, mark: &str) -> String {
    let at = question.find(mark).unwrap_or_else(|| panic!("{mark} was asked what is another's: {question}"));
    let whole: String = question[at + mark.len()..].chars().take_while(|c| *c != '~').collect();
    let mark = format!("{mark}{whole}~");
    match raw::text_at(question, &["method"]).as_deref() {
        Some("elicitation/create") => format!(r#"{{"action":"accept","content":{{"said":"{mark}"}}}}"#),
        Some("sampling/createMessage") => {
            format!(r#"{{"role":"assistant","content":{{"type":"text","text":"{mark}"}},"model":"m"}}"#)
        }
        _ => format!(r#"{{"roots":[{{"uri":"file:///{mark}"}}]}}"#),
    }
}

/// Everything returns to zero.
async fn nothing_is_left(world: &World) {
    let gateway = &world.gateway;
    gateway.keeps("parked_call", 0).await;
    gateway.keeps("question", 0).await;
    until("no session", async || (gateway.metric("tollgate_sessions").await == 0).then_some(())).await;
    // The one that asks.
    until("no connection", async || (gateway.metric("tollgate_connections").await <= 1).then_some(())).await;
    until("no child", async || gateway.children().is_empty().then_some(())).await;
    let ready = Http::new(gateway.admin).send(&Ask::new("GET", "/readyz")).await;
    assert_eq!(ready.status, 200, "{}", ready.everything());
    for server in &world.servers {
        let place = server.place.lock().await;
        if server.kind.is_stdio() {
            continue;
        }
        let fake = place.server();
        until(&format!("no session at the {:?}", server.kind), async || (fake.sessions() == 0).then_some(()))
            .await;
        fake.log()
            .wait("every request to have ended", |entries| {
                let ended = |wanted: usize| {
                    entries.iter().any(|entry| match entry {
                        Entry::Left { seq } | Entry::Answered { seq } | Entry::StreamClosed { seq } => *seq == wanted,
                        Entry::Request(_) => false,
                    })
                };
                entries
                    .iter()
                    .all(|entry| !matches!(entry, Entry::Request(r) if r.rpc_method() == "tools/call" && !ended(r.seq)))
                    .then_some(())
            })
            .await;
    }
    for server in &world.servers {
        let heard = server.received().await;
        assert!(heard.iter().all(|r| !r.text().contains("\"requestState\":\"forged")), "a forged state");
    }
}
