//! What servers ask of clients, and what clients answer, over every pair of eras: the answer reaches the very question,
//! a call that waits is nobody else's, and nothing waits for ever.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_e2e::gateway::{Gateway, http, servers, with};
use tollgate_e2e::upstream::{Kind, Upstream};
use tollgate_testkit::fake::json as raw;
use tollgate_testkit::fake::stdio::alive;
use tollgate_testkit::fake::{
    Answer, Call, Dialect, Entry, FakeServer, HttpPeer, Live, Script, SsePeer, soon, until,
};

const LEGACY: [Kind; 4] = [Kind::LegacyJson, Kind::LegacyStream, Kind::LegacySse, Kind::LegacyStdio];
/// A client that can be asked everything.
const ABLE: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}"#;

const FORM: &str = r#"{"method":"elicitation/create","params":{"message":"Your name?","requestedSchema":{"type":"object","properties":{"name":{"type":"string","x":1e9}}}}}"#;
const SAMPLING: &str = r#"{"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":{"type":"text","text":"?"}}],"maxTokens":5}}"#;
const ROOTS: &str = r#"{"method":"roots/list"}"#;
const URL: &str = r#"{"method":"elicitation/create","params":{"mode":"url","message":"Sign in","url":"https://idp.example/go","elicitationId":"theirs"}}"#;

/// Answers as a client gives them. What stands in them must reach the server to the letter.
const NAMED: &str = r#"{"action":"accept","content":{"name":"\u0041da","n":12345678901234567890.10}}"#;
const SAMPLED: &str = r#"{"role":"assistant","content":{"type":"text","text":"so"},"model":"m","x-k":1.00}"#;
const ROOTED: &str = r#"{"roots":[{"uri":"file:\/\/\/home","x":[1.0]}]}"#;

/// The call of a tool that asks these requests, round by round.
fn dialog(rounds: &[&[&str]]) -> Call {
    let rounds: Vec<String> = rounds.iter().map(|round| format!("[{}]", round.join(","))).collect();
    Call::tool("dialog", &format!(r#"{{"rounds":[{}]}}"#, rounds.join(","))).able(ABLE)
}

/// What a modern client is asked: the keys with the raw requests, in order, and the state.
fn asked(answer: &Answer) -> (Vec<(String, String)>, String) {
    let result = answer.result();
    assert_eq!(raw::text_at(&result, &["resultType"]).as_deref(), Some("input_required"), "{answer:?}");
    let requests = raw::members(&raw::find(&result, &["inputRequests"]).expect("requests"));
    let requests = requests.0.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect();
    (requests, raw::text_at(&result, &["requestState"]).expect("a state"))
}

/// The retry of a call with the answers to these keys.
fn retry(call: &Call, answers: &[(&str, &str)], state: &str) -> Call {
    let answers: Vec<String> =
        answers.iter().map(|(key, answer)| format!("{}:{answer}", raw::quote(key))).collect();
    let (answers, state) = (answers.join(","), raw::quote(state));
    call.clone().and(&format!(r#""inputResponses":{{{answers}}},"requestState":{state}"#))
}

fn assert_state_refused(answer: &Answer, what: &str) {
    assert_eq!(
        (answer.code(), answer.refusal().as_str()),
        (-32602, "invalid_request_state"),
        "{what}: {answer:?}"
    );
}

async fn before(server: &Upstream) -> Gateway {
    Gateway::start(&servers([("there", server.entry())])).await
}

/// A gateway before one legacy server on streams, with these limits.
async fn limited(limits: Value) -> (Gateway, FakeServer) {
    let server = FakeServer::start(Script::legacy()).await;
    let config = with(&servers([("there", http(&server.url()))]), json!({ "limits": limits }));
    (Gateway::start(&config).await, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_modern_client_answers_a_legacy_server() {
    for kind in LEGACY {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let mut client = gateway.modern("/mcp/there");
        // Two rounds; the first has two questions.
        let call = dialog(&[&[FORM, ROOTS], &[SAMPLING]]);
        let mut first = client.request(&call).await;
        let mut answers: Vec<(String, &str)> = Vec::new();
        let mut rounds = 0;
        // The server sends one question after the other: they may come in one round or in two.
        let said = loop {
            rounds += 1;
            assert!(rounds <= 4, "{kind:?}: {first:?}");
            if raw::text_at(&first.result(), &["resultType"]).as_deref() == Some("complete") {
                break first.text();
            }
            let (requests, state) = asked(&first);
            assert_eq!(gateway.kept("parked_call").await, 1, "{kind:?}");
            answers.clear();
            for (key, request) in requests {
                let answer = match raw::text_at(&request, &["method"]).as_deref() {
                    Some("elicitation/create") => {
                        let message = raw::text_at(&request, &["params", "message"]).unwrap();
                        assert_eq!(message, "[there] Your name?", "{kind:?}: it is clear who asks");
                        assert!(request.contains(r#""x":1e9"#), "{kind:?}: {request}");
                        NAMED
                    }
                    Some("roots/list") => ROOTED,
                    Some("sampling/createMessage") => SAMPLED,
                    _ => panic!("{kind:?}: {request}"),
                };
                assert!(raw::find(&request, &["id"]).is_none(), "{kind:?}: {request}");
                answers.push((key, answer));
            }
            let answers: Vec<(&str, &str)> = answers.iter().map(|(key, a)| (key.as_str(), *a)).collect();
            first = client.request(&retry(&call, &answers, &state)).await;
        };
        assert_eq!(said, format!("[{NAMED},{ROOTED},{SAMPLED}]"), "{kind:?}");
        gateway.keeps("parked_call", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_unanswered_is_asked_again_and_unknown_keys_are_ignored() {
    let (gateway, _server) = limited(json!({})).await;
    let mut client = gateway.modern("/mcp/there");
    let call = dialog(&[&[FORM]]);
    let (requests, state) = asked(&client.request(&call).await);
    let (requests, state) = {
        assert_eq!(requests.len(), 1);
        asked(&client.request(&retry(&call, &[("nobody", NAMED), ("", ROOTED)], &state)).await)
    };
    assert!(requests[0].1.contains("Your name?"), "{requests:?}");
    // Without any answers at all.
    let alone = call.clone().and(&format!(r#""requestState":{}"#, raw::quote(&state)));
    let (requests, state) = asked(&client.request(&alone).await);
    let answers = [("nobody", ROOTED), (requests[0].0.as_str(), NAMED), ("__proto__", "{}")];
    assert_eq!(client.request(&retry(&call, &answers, &state)).await.text(), format!("[{NAMED}]"));
    gateway.keeps("parked_call", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_answers_are_refused_and_the_call_still_waits() {
    let (gateway, _server) = limited(json!({})).await;
    let mut client = gateway.modern("/mcp/there");
    let call = dialog(&[&[FORM]]);
    let (requests, state) = asked(&client.request(&call).await);
    let key = requests[0].0.clone();
    let quoted = raw::quote(&state);
    for bad in [
        format!(r#""inputResponses":[],"requestState":{quoted}"#),
        format!(r#""inputResponses":null,"requestState":{quoted}"#),
        format!(r#""inputResponses":"{key}","requestState":{quoted}"#),
        format!(r#""inputResponses":{{"{key}":null}},"requestState":{quoted}"#),
        format!(r#""inputResponses":{{"{key}":"accept"}},"requestState":{quoted}"#),
        format!(r#""inputResponses":{{"{key}":[{NAMED}]}},"requestState":{quoted}"#),
        format!(r#""inputResponses":{{"{key}":{NAMED},"other":1}},"requestState":{quoted}"#),
        format!(r#""inputResponses":{{"{key}":{NAMED}}},"requestState":[{quoted}]"#),
        format!(r#""inputResponses":{{"{key}":{NAMED}}},"requestState":7"#),
        format!(r#""inputResponses":{{"{key}":{NAMED}}},"requestState":null"#),
    ] {
        let answer = client.request(&call.clone().and(&bad)).await;
        assert_eq!(answer.code(), -32602, "{bad}: {answer:?}");
        assert_eq!(gateway.kept("parked_call").await, 1, "{bad}");
    }
    let answer = client.request(&retry(&call, &[(&key, NAMED)], &state)).await;
    assert_eq!(answer.text(), format!("[{NAMED}]"));
}

/// Duplicate keys could be read two ways: the gateway would take one answer and a server the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_given_twice_is_refused() {
    let (gateway, _server) = limited(json!({})).await;
    let mut client = gateway.modern("/mcp/there");
    let call = dialog(&[&[FORM]]);
    let (requests, state) = asked(&client.request(&call).await);
    let key = requests[0].0.as_str();
    let answer =
        client.request(&retry(&call, &[(key, NAMED), (key, r#"{"action":"decline"}"#)], &state)).await;
    assert!(answer.error().is_some(), "{answer:?}");
    let answer = client.request(&retry(&call, &[(key, NAMED)], &state)).await;
    assert_eq!(answer.text(), format!("[{NAMED}]"), "the call still waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_good_for_one_request_unaltered() {
    let old = FakeServer::start(Script::legacy()).await;
    let other = FakeServer::start(Script::legacy()).await;
    let config = servers([("there", http(&old.url())), ("other", http(&other.url()))]);
    let gateway = Gateway::start(&config).await;
    let stranger = Gateway::start(&config).await;
    let mut client = gateway.modern("/mcp/there");
    let call = dialog(&[&[FORM]]);
    let (requests, state) = asked(&client.request(&call).await);
    let answers = [(requests[0].0.as_str(), NAMED)];

    // Every byte, altered; the alphabet's own letters too, so that it still decodes.
    for at in 0..state.len() {
        for letter in ['A', 'b', '_', '"', ' ', '\u{e9}'] {
            let mut altered: Vec<char> = state.chars().collect();
            if altered[at] == letter || (letter != 'A' && at % 7 != 0) {
                continue;
            }
            altered[at] = letter;
            let altered: String = altered.into_iter().collect();
            let answer = client.request(&retry(&call, &answers, &altered)).await;
            assert_state_refused(&answer, &format!("byte {at} as {letter}"));
        }
    }
    for (what, bent) in [
        ("cut", state[..state.len() - 1].to_owned()),
        ("cut in half", state[..state.len() / 2].to_owned()),
        ("its end", state[state.len() / 2..].to_owned()),
        ("empty", String::new()),
        ("longer", format!("{state}A")),
        ("padded", format!("{state}=")),
        ("with a break", format!("{state}\n")),
        ("twice", format!("{state}{state}")),
        ("huge", "A".repeat(100_000)),
    ] {
        assert_state_refused(&client.request(&retry(&call, &answers, &bent)).await, what);
    }
    // Good, but for something else.
    let others = [
        ("another tool", retry(&Call::tool("interrupts", r#"{"rounds":[[]]}"#).able(ABLE), &answers, &state)),
        ("other arguments", retry(&dialog(&[&[ROOTS]]), &answers, &state)),
        (
            "a further argument",
            retry(&Call::tool("dialog", &format!(r#"{{"rounds":[[{FORM}]],"x":1}}"#)), &answers, &state),
        ),
        ("a further member", retry(&call.clone().and(r#""x":1"#), &answers, &state)),
        ("a task", retry(&call.clone().and(r#""task":{}"#), &answers, &state)),
        (
            "another method",
            retry(&Call::new("prompts/get", r#""name":"greet""#).able(ABLE), &answers, &state),
        ),
        ("a read", retry(&Call::new("resources/read", r#""uri":"memo://one""#).able(ABLE), &answers, &state)),
    ];
    for (what, other) in &others {
        assert_state_refused(&client.request(other).await, what);
    }
    assert_state_refused(
        &gateway.modern("/mcp/other").request(&retry(&call, &answers, &state)).await,
        "another server",
    );
    assert_state_refused(
        &stranger.modern("/mcp/there").request(&retry(&call, &answers, &state)).await,
        "another gateway",
    );
    let session = gateway.modern("/mcp");
    let merged = Call::tool("other__dialog", &format!(r#"{{"rounds":[[{FORM}]]}}"#)).able(ABLE);
    assert_state_refused(
        &session.clone().request(&retry(&merged, &answers, &state)).await,
        "another server, merged",
    );

    assert_eq!(old.log().of_method("tools/call").len(), 1, "nothing else reached the server");
    assert!(other.log().of_method("tools/call").is_empty(), "nothing reached the other server");
    assert_eq!(old.log().of_method("prompts/get").len() + old.log().of_method("resources/read").len(), 0);
    assert_eq!(gateway.kept("parked_call").await, 1, "the call waits unharmed");

    // The right one goes on, whatever the order of the members and the way they are written; and once only.
    let arguments = format!(r#"{{ "rounds" : [[{FORM}]] }}"#);
    let same = Call::tool("dialog", &arguments).able(r#"{"elicitation":{}}"#);
    assert_eq!(client.request(&retry(&same, &answers, &state)).await.text(), format!("[{NAMED}]"));
    assert_state_refused(&client.request(&retry(&call, &answers, &state)).await, "after use");
    gateway.keeps("parked_call", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_retries_that_race_exactly_one_goes_on() {
    let (gateway, server) = limited(json!({})).await;
    for round in 1..=10 {
        let mut client = gateway.modern("/mcp/there");
        let call = dialog(&[&[FORM]]);
        let (requests, state) = asked(&client.request(&call).await);
        let again = retry(&call, &[(requests[0].0.as_str(), NAMED)], &state);
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (mut client, again) = (client.clone(), again.clone());
            racers.spawn(async move { client.request(&again).await });
        }
        let answers = racers.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.error().is_none());
        assert_eq!((won.len(), lost.len()), (1, 3), "round {round}: {won:?} {lost:?}");
        assert_eq!(won[0].text(), format!("[{NAMED}]"));
        for answer in &lost {
            assert_state_refused(answer, "lost");
        }
    }
    let to_server = server.log().requests();
    let answered = to_server.iter().filter(|r| r.verb == "POST" && r.rpc_method().is_empty()).count();
    assert_eq!(answered, 10, "each question was answered once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_never_comes_cancels_the_call() {
    for kind in LEGACY {
        let server = Upstream::start(kind, Script::legacy()).await;
        let config =
            with(&servers([("there", server.entry())]), json!({ "limits": { "input_timeout_ms": 1000 } }));
        let gateway = Gateway::start(&config).await;
        let mut client = gateway.modern("/mcp/there");
        let call = dialog(&[&[FORM]]);
        let (requests, state) = asked(&client.request(&call).await);
        let sent = server.wait_method("tools/call", 1).await.at(&["id"]).unwrap();
        let told = server.wait_method("notifications/cancelled", 1).await;
        assert_eq!(told.at(&["params", "requestId"]).unwrap(), sent, "{kind:?}: that very call");
        if matches!(kind, Kind::LegacyJson | Kind::LegacyStream) {
            let seq = server.server().log().of_method("tools/call")[0].seq;
            server.server().log().wait_left(seq).await;
        }
        gateway.keeps("parked_call", 0).await;
        let late = client.request(&retry(&call, &[(requests[0].0.as_str(), NAMED)], &state)).await;
        assert_state_refused(&late, &format!("{kind:?}: too late"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_are_parked_than_allowed() {
    no_more_are_parked_than(json!({ "parked_max": 1 })).await;
    no_more_are_parked_than(json!({ "parked_per_principal_max": 1 })).await;
}

async fn no_more_are_parked_than(limits: Value) {
    let (gateway, server) = limited(limits).await;
    let mut client = gateway.modern("/mcp/there");
    let call = dialog(&[&[FORM]]);
    let (requests, state) = asked(&client.request(&call).await);
    let refused = client.request(&call).await;
    assert_eq!(refused.refusal(), "given_up", "{refused:?}");
    let second = server.log().of_method("tools/call")[1].clone();
    let told = server.log().wait_method("notifications/cancelled", 1).await;
    assert_eq!(told.at(&["params", "requestId"]), second.at(&["id"]), "the one that found no room");
    server.log().wait_left(second.seq).await;
    let answer = client.request(&retry(&call, &[(requests[0].0.as_str(), NAMED)], &state)).await;
    assert_eq!(answer.text(), format!("[{NAMED}]"), "the first still waits");
    asked(&client.request(&call).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_rounds_end_the_call() {
    let (gateway, server) = limited(json!({ "input_rounds_max": 2 })).await;
    let mut client = gateway.modern("/mcp/there");
    let call = dialog(&[&[ROOTS], &[ROOTS], &[ROOTS]]);
    let mut answer = client.request(&call).await;
    for _ in 0..2 {
        let (requests, state) = asked(&answer);
        answer = client.request(&retry(&call, &[(requests[0].0.as_str(), ROOTED)], &state)).await;
    }
    assert_eq!(answer.refusal(), "upstream_protocol_error", "{answer:?}");
    server.log().wait_method("notifications/cancelled", 1).await;
    gateway.keeps("parked_call", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_does_not_wait_for_parked_calls() {
    let (mut gateway, server) = limited(json!({})).await;
    let mut client = gateway.modern("/mcp/there");
    asked(&client.request(&dialog(&[&[FORM]])).await);
    gateway.signal(rustix::process::Signal::TERM);
    let status = tokio::time::timeout(Duration::from_secs(15), gateway.ended()).await;
    assert!(status.expect("it does not wait").success());
    let seq = server.log().of_method("tools/call")[0].seq;
    server.log().wait_left(seq).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_its_retry_cancels_the_call() {
    let (gateway, server) = limited(json!({})).await;
    let mut client = gateway.modern("/mcp/there");
    // The second question is withdrawn by nobody: the retry hangs in the midst of it only if the server is silent.
    let call = Call::tool("withdraws", "{}").able(ABLE);
    let (requests, state) = asked(&client.request(&call).await);
    let again = client.ask("99", &retry(&call, &[(requests[0].0.as_str(), ROOTED)], &state));
    let connection = tokio::spawn({
        let http = client.http.clone();
        async move { drop(http.open(&again).await) }
    });
    until("the retry has taken the call", async || (gateway.kept("parked_call").await == 0).then_some(()))
        .await;
    connection.abort();
    let call = server.log().of_method("tools/call")[0].clone();
    let told = server.log().wait_method("notifications/cancelled", 1).await;
    assert_eq!(told.at(&["params", "requestId"]), call.at(&["id"]));
    server.log().wait_left(call.seq).await;
    assert_state_refused(
        &client.request(&retry(&Call::tool("withdraws", "{}").able(ABLE), &[], &state)).await,
        "used",
    );
}

/// On a stream that all calls share, a question names no call. One that comes late, about a call whose client has gone,
/// must not be put to the next client that is served there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_question_about_a_call_that_was_left_reaches_no_other_client() {
    for kind in [Kind::LegacySse, Kind::LegacyStdio] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let entry = with(&server.entry(), json!({ "isolation": "shared" }));
        let gateway = Gateway::start(&servers([("there", entry)])).await;
        let mut first = gateway.modern("/mcp/there");
        let call = dialog(&[&[ROOTS]]);
        let (requests, state) = asked(&first.request(&call).await);
        first.request(&retry(&call, &[(&requests[0].0, ROOTED)], &state)).await.text();

        let about = |whose: &str| {
            let question = FORM.replace("Your name?", whose);
            Call::tool("gate_then_dialog", &format!(r#"{{"rounds":[[{question}]]}}"#)).able(ABLE)
        };
        let leaving = tokio::spawn({
            let (http, ask) = (first.http.clone(), first.ask("77", &about("The first's")));
            async move { drop(http.send(&ask).await) }
        });
        server.wait_method("tools/call", 2).await;
        leaving.abort();
        server.wait_method("notifications/cancelled", 1).await;

        let (call, mut second) = (about("The second's"), gateway.modern("/mcp/there"));
        let asking = tokio::spawn({
            let (mut client, call) = (second.clone(), call.clone());
            async move { client.request(&call).await }
        });
        server.wait_method("tools/call", 3).await;
        if kind.is_stdio() {
            assert_eq!(server.stage().pids("start").len(), 2, "the second is served by another child");
        }
        // The first call's question is let out first.
        server.release();
        server.release();
        let (requests, state) = asked(&asking.await.unwrap());
        let messages: Vec<_> = requests
            .iter()
            .map(|(_, request)| raw::text_at(request, &["params", "message"]).unwrap())
            .collect();
        assert_eq!(messages, ["[there] The second's"], "{kind:?}");
        let answer = second.request(&retry(&call, &[(&requests[0].0, NAMED)], &state)).await;
        assert_eq!(answer.text(), format!("[{NAMED}]"), "{kind:?}");
    }
}

/// A server that has forgotten its sessions counts its questions from the beginning, so what answers one of the old session
/// would answer somebody else's of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_reaches_no_question_of_the_session_that_was_begun_after() {
    let (gateway, server) = limited(json!({})).await;
    let mut first = gateway.modern("/mcp/there");
    let call = Call::tool("ask_alike", "{}").able(ABLE);
    let (requests, state) = asked(&first.request(&call).await);
    let answer = |uri: &str| format!(r#"{{"roots":[{{"uri":"file:///{uri}"}}]}}"#);

    server.forget_sessions();
    let mut second = gateway.modern("/mcp/there");
    let (of_second, its_state) = asked(&second.request(&call).await);
    let late = first.request(&retry(&call, &[(&requests[0].0, &answer("the first's"))], &state)).await;
    assert_eq!(late.refusal(), "upstream_closed", "{late:?}");
    let answer = answer("the second's");
    let heard = second.request(&retry(&call, &[(&of_second[0].0, &answer)], &its_state)).await.text();
    assert_eq!(heard, format!(r#"{{"jsonrpc":"2.0","id":"1","result":{answer}}}"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_while_the_call_is_parked_is_an_error_on_the_retry() {
    for kind in LEGACY {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let mut client = gateway.modern("/mcp/there");
        let call = dialog(&[&[FORM]]);
        let (requests, state) = asked(&client.request(&call).await);
        let key = requests[0].0.clone();
        server.die().await;
        let answer = client.request(&retry(&call, &[(&key, NAMED)], &state)).await;
        assert!(answer.refusal().starts_with("upstream_"), "{kind:?}: {answer:?}");
        gateway.keeps("parked_call", 0).await;
    }
}

/// An old server's way to say that the user must open a URL first.
const URL_NEEDED: &str = r#"{"error":{"code":-32042,"message":"first","data":{"elicitations":[{"mode":"url","message":"Sign in","url":"https://idp.example/go","elicitationId":"theirs"}]}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_server_that_needs_a_url_opened_is_called_again_once_it_is() {
    let (gateway, server) = limited(json!({})).await;
    let mut client = gateway.modern("/mcp/there");
    let call = Call::tool("raise", URL_NEEDED).able(ABLE);
    let (requests, state) = asked(&client.request(&call).await);
    let want = r#"{"method":"elicitation/create","params":{"mode":"url","message":"[there] Sign in","url":"https://idp.example/go"}}"#;
    assert_eq!(requests.iter().map(|(_, request)| request.as_str()).collect::<Vec<_>>(), [want]);
    gateway.keeps("parked_call", 0).await;
    let key = requests[0].0.as_str();
    for answers in [&[(key, r#"{"action":"decline"}"#)][..], &[(key, r#"{"action":"cancel"}"#)], &[]] {
        let answer = client.request(&retry(&call, answers, &state)).await;
        assert_eq!(answer.refusal(), "input_refused", "{answers:?}: {answer:?}");
    }
    assert_eq!(server.log().of_method("tools/call").len(), 1, "nothing was called without consent");
    // It is called anew, and says the same again; nothing of the round reaches it.
    asked(&client.request(&retry(&call, &[(key, r#"{"action":"accept"}"#)], &state)).await);
    let second = server.log().wait_method("tools/call", 2).await;
    assert!(
        !second.text().contains("inputResponses") && !second.text().contains("requestState"),
        "{}",
        second.text()
    );
    let answer = client.request(&call.clone().able(r#"{"elicitation":{}}"#)).await;
    assert_eq!(answer.code(), -32021, "{answer:?}");
    assert_eq!(required(&answer), json!({ "elicitation": { "url": {} } }));
}

fn required(answer: &Answer) -> Value {
    let required = raw::find(&answer.message, &["error", "data", "requiredCapabilities"]);
    serde_json::from_str(&required.unwrap_or_else(|| panic!("{answer:?}"))).unwrap()
}

const INTERRUPTED: &str = r#"{"resultType":"input_required","x-top":[1.0,12345678901234567890123e5],"inputRequests":{"k\u0065y \"1\"":{"x-entry":{"\u0041":1.00},"method":"elicitation\/create","params":{"requestedSchema":{"type":"object","properties":{"n":{"type":"integer","maximum":123456789012345678901234567890}}},"message":"N\u00e4me \ud83d\ude00?","x-p":null}},"2":{"params":{"x":-0.0},"method":"roots/list"}},"requestState":"\u0041\/\ud83d\ude00\\\"{}\n","_meta":{"k\/":1.50}}"#;
const STATE: &str = r#""\u0041\/\ud83d\ude00\\\"{}\n""#;

async fn modern(limits: Value) -> (Gateway, FakeServer, FakeServer) {
    let server = FakeServer::start(Script::modern()).await;
    let other = FakeServer::start(Script::modern()).await;
    let config = servers([("there", http(&server.url())), ("other", http(&other.url()))]);
    (Gateway::start(&with(&config, json!({ "limits": limits }))).await, server, other)
}

fn interrupts(result: &str) -> Call {
    Call::tool("interrupts", &format!(r#"{{"result":{result}}}"#)).able(ABLE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_modern_server_asks_passes_to_the_letter() {
    let (gateway, server, _other) = modern(json!({})).await;
    let mut client = gateway.modern("/mcp/there");
    let call = interrupts(INTERRUPTED);
    let first = client.request(&call).await;
    let (_, state) = asked(&first);
    let sealed = raw::quote(&state);
    assert_eq!(first.result(), INTERRUPTED.replace(STATE, &sealed), "all but the state");
    let responses = r#"{"k\u0065y \"1\"":{"action":"accept","content":{"n":123456789012345678901234567890,"\u0041":1.0}},"2":{"roots":[]},"unknown":{"x":12345678901234567890123e5}}"#;
    // What the state is written like is the client's affair.
    let escaped: Vec<String> = state.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let escaped = escaped.concat();
    for state in [sealed, format!("\"{escaped}\"")] {
        let again = call.clone().and(&format!(r#""inputResponses":{responses},"requestState":{state}"#));
        let answer = client.request(&again).await;
        assert_eq!(answer.text(), "retried");
        let seen = server.log().of_method("tools/call").pop().unwrap();
        assert_eq!(seen.at(&["params", "requestState"]).unwrap(), STATE);
        assert_eq!(seen.at(&["params", "inputResponses"]).unwrap(), responses);
        assert_eq!(seen.at(&["params", "arguments", "result"]).unwrap(), INTERRUPTED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_several_servers_share_an_address_the_one_that_asks_is_named() {
    let (gateway, _server, _other) = modern(json!({})).await;
    let mut client = gateway.modern("/mcp");
    let arguments = format!(r#"{{"result":{INTERRUPTED}}}"#);
    let first = client.request(&Call::tool("there__interrupts", &arguments).able(ABLE)).await;
    let (requests, state) = asked(&first);
    assert_eq!(raw::text_at(&requests[0].1, &["params", "message"]).unwrap(), "[there] N\u{e4}me \u{1f600}?");
    // Everything else is as it was.
    let message = raw::find(&requests[0].1, &["params", "message"]).unwrap();
    let rest =
        first.result().replace(&message, r#""N\u00e4me \ud83d\ude00?""#).replace(&raw::quote(&state), STATE);
    assert_eq!(rest, INTERRUPTED);
    let other = Call::tool("other__interrupts", &arguments).able(ABLE);
    assert_state_refused(&client.request(&retry(&other, &[], &state)).await, "another server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_modern_servers_state_is_good_for_one_request_unaltered_and_a_while() {
    let (gateway, server, other) = modern(json!({ "input_timeout_ms": 6000 })).await;
    let mut client = gateway.modern("/mcp/there");
    let call = interrupts(INTERRUPTED);
    let (_, state) = asked(&client.request(&call).await);
    for at in 0..state.len() {
        let mut altered = state.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert_state_refused(&client.request(&retry(&call, &[], &altered)).await, &format!("byte {at}"));
    }
    let theirs = raw::text(STATE).unwrap();
    assert_state_refused(
        &client.request(&retry(&call, &[], &theirs)).await,
        "the server's own, without its envelope",
    );
    assert_state_refused(&client.request(&retry(&interrupts("{}"), &[], &state)).await, "other arguments");
    let there = Call::new("prompts/get", r#""name":"greet""#);
    assert_state_refused(&client.request(&retry(&there, &[], &state)).await, "another method");
    assert_state_refused(
        &gateway.modern("/mcp/other").request(&retry(&call, &[], &state)).await,
        "another server",
    );
    assert_eq!(server.log().of_method("tools/call").len(), 1, "nothing reached the server");
    assert!(
        other.log().of_method("tools/call").is_empty() && server.log().of_method("prompts/get").is_empty()
    );
    let fresh = asked(&client.request(&call).await).1;
    assert_eq!(client.request(&retry(&call, &[], &fresh)).await.text(), "retried");
    until("the state has expired", async || {
        let answer = client.request(&retry(&call, &[], &fresh)).await;
        answer.error().is_some().then(|| assert_state_refused(&answer, "expired"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_and_resources_have_rounds_too() {
    for (method, members) in
        [("prompts/get", r#""name":"greet""#), ("resources/read", r#""uri":"memo://one""#)]
    {
        let script = Script::modern().saying(method, &format!(r#""result":{INTERRUPTED}"#));
        let server = FakeServer::start(script).await;
        let gateway = Gateway::start(&servers([("there", http(&server.url()))])).await;
        let mut client = gateway.modern("/mcp/there");
        let call = Call::new(method, members).able(ABLE);
        let (_, state) = asked(&client.request(&call).await);
        asked(&client.request(&retry(&call, &[("2", ROOTED)], &state)).await);
        let seen = server.log().wait_method(method, 2).await;
        assert_eq!(seen.at(&["params", "requestState"]).unwrap(), STATE, "{method}");
        assert_eq!(seen.at(&["params", "inputResponses", "2"]).unwrap(), ROOTED, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_never_asked_for_what_it_has_not_declared() {
    let (gateway, server, _other) = modern(json!({})).await;
    let old = FakeServer::start(Script::legacy()).await;
    let old_gateway = Gateway::start(&servers([("there", http(&old.url()))])).await;
    let tools = SAMPLING.replace(r#""maxTokens""#, r#""tools":[],"maxTokens""#);
    let form = r#"{"elicitation":{"form":{}}}"#;
    for (question, declared, wanted) in [
        (FORM, "{}", json!({ "elicitation": { "form": {} } })),
        (FORM, r#"{"elicitation":{"url":{}}}"#, json!({ "elicitation": { "form": {} } })),
        (FORM, r#"{"elicitation":null}"#, json!({ "elicitation": { "form": {} } })),
        (URL, form, json!({ "elicitation": { "url": {} } })),
        (SAMPLING, form, json!({ "sampling": {} })),
        (&tools, r#"{"sampling":{}}"#, json!({ "sampling": { "tools": {} } })),
        (ROOTS, form, json!({ "roots": {} })),
    ] {
        // One that it has declared beside it is not asked either.
        let both =
            format!(r#"{{"resultType":"input_required","inputRequests":{{"a":{ROOTS},"b":{question}}}}}"#);
        let call = if question == ROOTS {
            interrupts(&both.replace(&format!(r#""a":{ROOTS},"#), ""))
        } else {
            interrupts(&both)
        };
        let declared_too = if question == ROOTS || declared == "{}" {
            declared.to_owned()
        } else {
            declared.replacen('{', r#"{"roots":{},"#, 1)
        };
        let answer = gateway.modern("/mcp/there").request(&call.able(&declared_too)).await;
        assert_eq!((answer.status, answer.code()), (400, -32021), "{question}: {answer:?}");
        if declared != "{}" {
            assert_eq!(required(&answer), wanted, "{question}");
        }
        assert!(!answer.everything().contains("Your name?"), "{answer:?}");

        // A legacy client in front of the modern server: nobody is asked, and the error names what is missing.
        let legacy = HttpPeer::legacy_with(gateway.listen, "/mcp/there", "2025-11-25", declared);
        let answer = legacy.await.request(&dialog(&[&[question]])).await;
        assert_eq!(
            (answer.status, answer.refusal().as_str()),
            (200, "missing_capability"),
            "{question}: {answer:?}"
        );
        assert!(answer.before.is_empty(), "{answer:?}");
        // And in front of a legacy server, which hears that there is no such method.
        let legacy = HttpPeer::legacy_with(old_gateway.listen, "/mcp/there", "2025-11-25", declared);
        for answer in [
            legacy.await.request(&dialog(&[&[question]])).await,
            old_gateway.modern("/mcp/there").request(&dialog(&[&[question]]).able(declared)).await,
        ] {
            assert!(answer.text().contains("-32601"), "{question}: {answer:?}");
            assert!(answer.before.is_empty(), "{answer:?}");
        }
    }
    assert!(server.log().of_method("tools/call").iter().all(|r| r.at(&["params", "requestState"]).is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_where_it_may_not_breaks_the_protocol() {
    let state_only = r#""result":{"resultType":"input_required","requestState":"s"}"#;
    for method in ["tools/list", "completion/complete"] {
        let server = FakeServer::start(Script::modern().saying(method, state_only)).await;
        let gateway = Gateway::start(&servers([("there", http(&server.url()))])).await;
        let call = Call::new(
            method,
            match method {
                "tools/list" => "",
                _ => r#""ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"who","value":"a"}"#,
            },
        );
        for answer in [
            gateway.modern("/mcp/there").request(&call.clone().able(ABLE)).await,
            HttpPeer::legacy_with(gateway.listen, "/mcp/there", "2025-11-25", ABLE)
                .await
                .request(&call)
                .await,
        ] {
            assert_eq!(answer.refusal(), "upstream_protocol_error", "{method}: {answer:?}");
        }
    }
    let (gateway, server, _other) = modern(json!({})).await;
    for bad in [
        r#"{"resultType":"input_required"}"#,
        r#"{"resultType":"input_required","requestState":7}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":{"method":"ping"}}}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":{"method":"tools/call","params":{}}}}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":{}}}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":"roots/list"}}"#,
        r#"{"resultType":"input_required","inputRequests":[{"method":"roots/list"}]}"#,
        r#"{"resultType":"input_required","inputRequests":"roots/list","requestState":"s"}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}},"requestState":null}"#,
    ] {
        for answer in [
            gateway.modern("/mcp/there").request(&interrupts(bad)).await,
            HttpPeer::legacy_with(gateway.listen, "/mcp/there", "2025-11-25", ABLE)
                .await
                .request(&interrupts(bad))
                .await,
        ] {
            assert_eq!(answer.refusal(), "upstream_protocol_error", "{bad}: {answer:?}");
            assert!(answer.before.is_empty(), "{answer:?}");
        }
    }
    assert!(server.log().of_method("tools/call").iter().all(|r| r.at(&["params", "requestState"]).is_none()));
}

/// The next message on a stream.
async fn next(live: &mut Live) -> String {
    soon("a message on the stream", live.event()).await.expect("a stream").expect("a message").data
}

/// The id of a question, after a look at what it asks.
fn id_of(question: &str, method: &str) -> String {
    assert_eq!(raw::text_at(question, &["method"]).as_deref(), Some(method), "{question}");
    raw::find(question, &["id"]).unwrap_or_else(|| panic!("no id: {question}"))
}

fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// The text of a tool's result.
fn said(message: &str) -> String {
    let result: Value = serde_json::from_str(message).expect("JSON");
    result["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {message}")).to_owned()
}

fn refused(message: &str) -> String {
    raw::text_at(message, &["error", "data", "dev.tollgate/refusal", "code"]).unwrap_or_default()
}

async fn able(gateway: &Gateway) -> HttpPeer {
    HttpPeer::legacy_with(gateway.listen, "/mcp/there", "2025-11-25", ABLE).await
}

/// The answers of a person who agrees to everything.
fn answer_to(question: &str) -> &'static str {
    match raw::text_at(question, &["method"]).as_deref() {
        Some("elicitation/create") => {
            assert!(question.contains("[there] Your name?"), "it is clear who asks: {question}");
            assert!(question.contains("1e9"), "to the letter: {question}");
            NAMED
        }
        Some("roots/list") => ROOTED,
        Some("sampling/createMessage") => SAMPLED,
        _ => panic!("{question}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_client_answers_servers_of_both_eras() {
    for kind in Kind::ALL {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let call = dialog(&[&[FORM, ROOTS], &[], &[SAMPLING]]);
        let expected = format!("[{NAMED},{ROOTED},{SAMPLED}]");
        let mut client = able(&gateway).await;
        let mut stream = client.open(&call).await;
        let mut ids = Vec::new();
        loop {
            let message = next(&mut stream).await;
            if raw::find(&message, &["method"]).is_none() {
                assert_eq!(said(&message), expected, "{kind:?}");
                break;
            }
            let id = raw::find(&message, &["id"]).unwrap();
            assert!(message.contains(r#""dev.tollgate/server":"there""#), "{kind:?}: {message}");
            client.say(&result(&id, answer_to(&message))).await;
            ids.push(id);
        }
        assert_eq!(ids.len(), 3, "{kind:?}: {ids:?}");

        let mut client = SsePeer::connect_with(gateway.listen, "/sse/there", ABLE).await;
        client.post(&call.message("77", Dialect::Legacy)).await;
        loop {
            let message = next(&mut client.stream).await;
            if raw::find(&message, &["method"]).is_none() {
                assert_eq!(said(&message), expected, "{kind:?} over HTTP+SSE");
                break;
            }
            client.post(&result(&raw::find(&message, &["id"]).unwrap(), answer_to(&message))).await;
        }
        gateway.keeps("question", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_user_is_an_answer_and_an_error_is_not() {
    let error = |id: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-1,"message":"x\u0041","data":1.0}}}}"#)
    };
    for kind in [Kind::ModernJson, Kind::LegacyStream, Kind::LegacyStdio] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let mut client = able(&gateway).await;
        let decline = r#"{"action":"decline","x":1.0}"#;
        let mut stream = client.open(&dialog(&[&[FORM]])).await;
        client.say(&result(&id_of(&next(&mut stream).await, "elicitation/create"), decline)).await;
        assert_eq!(said(&next(&mut stream).await), format!("[{decline}]"), "{kind:?}");

        let is_modern = kind == Kind::ModernJson;
        let mut stream = client.open(&dialog(&[&[FORM]])).await;
        client.say(&error(&id_of(&next(&mut stream).await, "elicitation/create"))).await;
        let heard = if is_modern {
            r#"[{"action":"cancel"}]"#
        } else {
            r#"[{"error":{"code":-1,"message":"x\u0041","data":1.0}}]"#
        };
        assert_eq!(said(&next(&mut stream).await), heard, "{kind:?}");

        let mut stream = client.open(&dialog(&[&[SAMPLING]])).await;
        client.say(&error(&id_of(&next(&mut stream).await, "sampling/createMessage"))).await;
        let last = next(&mut stream).await;
        if is_modern {
            assert_eq!(refused(&last), "input_refused", "{last}");
            assert!(!last.contains("xA"), "the client's own text is not needed: {last}");
        } else {
            assert_eq!(said(&last), heard, "{kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_modern_server_that_asks_for_ever_is_given_up() {
    let (gateway, server, _other) = modern(json!({ "input_rounds_max": 3 })).await;
    let mut client = able(&gateway).await;
    let began = std::time::Instant::now();
    let state_only = r#"{"result":{"resultType":"input_required","requestState":"\u0041"}}"#;
    let answer = client.request(&Call::tool("return", state_only)).await;
    assert_eq!(answer.refusal(), "upstream_protocol_error", "{answer:?}");
    assert!(
        began.elapsed() >= Duration::from_millis(700),
        "it waits longer each time: {:?}",
        began.elapsed()
    );
    let calls = server.log().of_method("tools/call");
    assert_eq!(calls.len(), 4);
    for retry in &calls[1..] {
        assert_eq!(retry.at(&["params", "requestState"]).as_deref(), Some(r#""\u0041""#));
        assert!(retry.at(&["params", "inputResponses"]).is_none(), "{}", retry.text());
    }
    let ids: std::collections::BTreeSet<_> = calls.iter().map(|call| call.at(&["id"])).collect();
    assert_eq!(ids.len(), 4, "each retry has its own id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_call_takes_its_questions_back() {
    for kind in Kind::ALL {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let mut client = able(&gateway).await;
        let mut stream = client.open(&dialog(&[&[FORM]])).await;
        let id = id_of(&next(&mut stream).await, "elicitation/create");
        client.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
        let told = next(&mut stream).await;
        assert_eq!(
            raw::text_at(&told, &["method"]).as_deref(),
            Some("notifications/cancelled"),
            "{kind:?}: {told}"
        );
        assert_eq!(raw::find(&told, &["params", "requestId"]).unwrap(), id, "{kind:?}: {told}");
        let rest = soon("the end of the stream", stream.event()).await.expect("a clean end");
        assert_eq!(rest, None, "{kind:?}: nothing after a cancellation");
        if kind.dialect() == Dialect::Legacy {
            let call = server.wait_method("tools/call", 1).await;
            let told = server.wait_method("notifications/cancelled", 1).await;
            assert_eq!(told.at(&["params", "requestId"]), call.at(&["id"]), "{kind:?}");
        }
        gateway.keeps("question", 0).await;
        // An answer that was under way goes nowhere.
        client.say(&result(&id, NAMED)).await;
        assert_eq!(client.request(&Call::tool("echo", "{}")).await.text(), "echo", "{kind:?}");
        let calls = server.received().into_iter().filter(|r| r.text().contains(r#""dialog""#)).count();
        assert_eq!(calls, 1, "{kind:?}");
        assert!(!server.received().iter().any(|r| r.text().contains("accept")), "{kind:?}");
    }
}

/// Waits until the server has got a response to a request of its own in which this stands.
async fn hears(server: &Upstream, text: &str) {
    until("the server's question is answered", async || {
        let received = server.received();
        received.iter().any(|r| r.at(&["method"]).is_none() && r.text().contains(text)).then_some(())
    })
    .await;
}

/// What a server hears where nobody will answer it any more.
const OVER: &str = "the request that this was asked about is over";

/// A server may ask beside a call that it is about to answer, and on a stream that all calls share nothing says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_outlives_the_call_that_it_was_put_to() {
    for kind in LEGACY {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let mut client = able(&gateway).await;
        let mut stream = client.open(&Call::tool("ask_and_answer", "{}")).await;
        let id = id_of(&next(&mut stream).await, "roots/list");
        let answer = next(&mut stream).await;
        assert!(raw::find(&answer, &["result"]).is_some(), "{kind:?}: {answer}");
        let rest = soon("the end of the stream", stream.event()).await.expect("a clean end");
        assert_eq!(rest, None, "{kind:?}: the question is not withdrawn");
        client.say(&result(&id, ROOTED)).await;
        hears(&server, ROOTED).await;
        gateway.keeps("question", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_hears_that_nobody_will_answer_it() {
    for kind in LEGACY {
        // A call that its client cancels.
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let mut client = able(&gateway).await;
        let mut stream = client.open(&dialog(&[&[FORM]])).await;
        id_of(&next(&mut stream).await, "elicitation/create");
        client.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
        hears(&server, OVER).await;

        // A modern client is asked by the answer to its call, which may be there already, and need not come back.
        let server = Upstream::start(kind, Script::legacy()).await;
        let brief = json!({ "limits": { "input_timeout_ms": 1_000 } });
        let gateway = Gateway::start(&with(&servers([("there", server.entry())]), brief)).await;
        let mut client = gateway.modern("/mcp/there");
        client.request(&Call::tool("ask_and_answer", "{}").able(ABLE)).await.result();
        hears(&server, OVER).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_listen_is_asked_on_the_stream_of_a_call() {
    let (gateway, server) = limited(json!({})).await;
    let mut client = able(&gateway).await;
    let call = Call::tool("progress_then_gate", "{}").meta(r#""progressToken":"mine""#);
    let mut stream = client.open(&call).await;
    assert!(next(&mut stream).await.contains("notifications/progress"));
    until("the gateway listens", async || (server.listeners() > 0).then_some(())).await;
    server.push(r#"{"jsonrpc":"2.0","id":"beside","method":"roots/list"}"#);
    let id = id_of(&next(&mut stream).await, "roots/list");
    client.say(&result(&id, ROOTED)).await;
    let answer = format!(r#"{{"jsonrpc":"2.0","id":"beside","result":{ROOTED}}}"#);
    until("the server's question is answered", async || {
        server.log().requests().iter().any(|r| r.text() == answer).then_some(())
    })
    .await;
    server.release();
    let answer = next(&mut stream).await;
    assert!(raw::find(&answer, &["result"]).is_some(), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_leaves_nothing_asked() {
    for kind in Kind::ALL {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let mut client = able(&gateway).await;
        let mut stream = client.open(&dialog(&[&[FORM]])).await;
        next(&mut stream).await;
        assert_eq!(gateway.kept("question").await, 1, "{kind:?}");
        client.leave().await;
        gateway.keeps("question", 0).await;
        // A call ends with its session: with the stream or the process that carried it, or by a word.
        match kind {
            Kind::LegacySse => {
                let closed = |entries: &[Entry]| {
                    entries.iter().any(|e| matches!(e, Entry::StreamClosed { .. })).then_some(())
                };
                server.server().log().wait("the end of the stream", closed).await;
            }
            Kind::LegacyStdio => {
                let ended = async || {
                    let told = server.received().iter().any(|r| r.rpc_method() == "notifications/cancelled");
                    (told || !server.stage().pids("start").into_iter().any(alive)).then_some(())
                };
                until("the end of the call at the child", ended).await;
            }
            Kind::LegacyJson | Kind::LegacyStream => {
                server.wait_method("notifications/cancelled", 1).await;
            }
            _ => {}
        }
        until("no session", async || (gateway.metric("tollgate_sessions").await == 0).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_is_opened_once_and_the_client_hears_when_it_is_done() {
    let (gateway, _server, _other) = modern(json!({})).await;
    let mut client = able(&gateway).await;
    let mut stream = client.open(&dialog(&[&[URL], &[URL, ROOTS]])).await;
    let question = next(&mut stream).await;
    let id = id_of(&question, "elicitation/create");
    let elicitation = raw::text_at(&question, &["params", "elicitationId"]).expect("an elicitation id");
    assert!(elicitation.len() >= 16 && elicitation != "theirs", "{question}");
    client.say(&result(&id, r#"{"action":"accept"}"#)).await;
    let id = id_of(&next(&mut stream).await, "roots/list");
    client.say(&result(&id, ROOTED)).await;
    let told = next(&mut stream).await;
    assert_eq!(
        raw::text_at(&told, &["method"]).as_deref(),
        Some("notifications/elicitation/complete"),
        "{told}"
    );
    assert_eq!(raw::text_at(&told, &["params", "elicitationId"]).unwrap(), elicitation);
    let accept = r#"{"action":"accept"}"#;
    assert_eq!(said(&next(&mut stream).await), format!("[{accept},{accept},{ROOTED}]"));

    // The user did not agree: the server hears it, and may ask again.
    let mut stream = client.open(&dialog(&[&[URL], &[URL]])).await;
    for _ in 0..2 {
        let id = id_of(&next(&mut stream).await, "elicitation/create");
        client.say(&result(&id, r#"{"action":"decline"}"#)).await;
    }
    assert_eq!(said(&next(&mut stream).await), r#"[{"action":"decline"},{"action":"decline"}]"#);

    // Before 2025-11-25 there are no URLs, whatever the client says of itself.
    let mut old = HttpPeer::legacy_with(gateway.listen, "/mcp/there", "2025-06-18", ABLE).await;
    let answer = old.request(&dialog(&[&[URL]])).await;
    assert_eq!(answer.refusal(), "missing_capability", "{answer:?}");
    assert!(answer.message.contains("elicitation.url") && answer.before.is_empty(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rounds_that_a_legacy_client_makes_up_reach_no_server() {
    for kind in Kind::ALL {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let smuggled = r#""requestState":"forged","inputResponses":{"q0":{"action":"accept"}}"#;
        let mut client = able(&gateway).await;
        for method in ["tools/call", "prompts/get", "resources/read"] {
            let call = match method {
                "tools/call" => Call::tool("echo", "{}"),
                "prompts/get" => Call::new(method, r#""name":"greet""#),
                _ => Call::new(method, r#""uri":"memo://one""#),
            };
            client.request(&call.and(smuggled)).await.result();
            let seen = server.wait_method(method, 1).await;
            assert!(
                !seen.text().contains("forged") && !seen.text().contains("accept"),
                "{kind:?}: {}",
                seen.text()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_with_a_question_reaches_the_server_under_its_own_token() {
    for kind in LEGACY {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let mut client = able(&gateway).await;
        let question = r#"{"method":"roots/list","params":{"_meta":{"progressToken":"t\u006f\/k"}}}"#;
        let mut stream = client.open(&dialog(&[&[question]])).await;
        let question = next(&mut stream).await;
        let id = id_of(&question, "roots/list");
        let token = raw::find(&question, &["params", "_meta", "progressToken"]).unwrap();
        assert_ne!(token, r#""t\u006f\/k""#, "{kind:?}: tokens are the sender's");
        let progress = |token: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"x":1.0,"progressToken":{token},"progress":0.50,"message":"said by the way"}}}}"#
            )
        };
        client.say(&progress("999")).await;
        client.say(&progress(r#""t\u006f\/k""#)).await;
        client.say(&progress(&token)).await;
        let told = server.wait_method("notifications/progress", 1).await;
        assert_eq!(
            told.at(&["params"]).unwrap(),
            r#"{"progressToken":"t\u006f\/k","progress":0.50}"#,
            "{kind:?}: nothing that is not on record"
        );
        client.say(&result(&id, ROOTED)).await;
        assert_eq!(said(&next(&mut stream).await), format!("[{ROOTED}]"), "{kind:?}");
        let told =
            server.received().into_iter().filter(|r| r.rpc_method() == "notifications/progress").count();
        assert_eq!(told, 1, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_a_server_withdraws_is_withdrawn_at_the_client() {
    let (gateway, server) = limited(json!({})).await;
    let mut client = able(&gateway).await;
    let mut stream = client.open(&Call::tool("withdraws", "{}")).await;
    let id = id_of(&next(&mut stream).await, "roots/list");
    server.release();
    let told = next(&mut stream).await;
    assert_eq!(raw::text_at(&told, &["method"]).as_deref(), Some("notifications/cancelled"), "{told}");
    assert_eq!(raw::find(&told, &["params", "requestId"]).unwrap(), id, "{told}");
    gateway.keeps("question", 0).await;
    client.say(&result(&id, ROOTED)).await;
    server.release();
    assert_eq!(said(&next(&mut stream).await), "called withdraws");
    let late: Vec<_> = server.log().requests().into_iter().filter(|r| r.text().contains("file:")).collect();
    assert!(late.is_empty(), "the late answer goes nowhere: {late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_nothing_or_of_somebody_else_answers_nothing() {
    for kind in [Kind::LegacyStream, Kind::LegacyStdio, Kind::ModernJson] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        let (mut one, mut other) = (able(&gateway).await, able(&gateway).await);
        let mut stream = one.open(&dialog(&[&[ROOTS, FORM]])).await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            let question = next(&mut stream).await;
            ids.push((raw::find(&question, &["id"]).unwrap(), answer_to(&question)));
        }
        let mut others = other.open(&dialog(&[&[SAMPLING]])).await;
        let other_id = id_of(&next(&mut others).await, "sampling/createMessage");
        let forged = r#"{"action":"accept","content":{"forged":true}}"#;
        // Somebody else's session says what it likes about these ids.
        for (id, _) in ids.iter().filter(|(id, _)| *id != other_id) {
            other.say(&result(id, forged)).await;
        }
        for id in ["999", "0", r#""1""#, "1.0", "-1", "18446744073709551616", "1e0", r#""\u0031""#] {
            // Some are no ids at all, and refused.
            one.http.send(&one.post(&result(id, forged))).await;
        }
        assert_eq!(gateway.kept("question").await, 3, "{kind:?}: nothing is answered yet");
        for (id, answer) in &ids {
            one.say(&result(id, answer)).await;
            // Twice is once.
            one.say(&result(id, forged)).await;
        }
        let text = said(&next(&mut stream).await);
        assert!(
            text.contains(NAMED) && text.contains(ROOTED) && !text.contains("forged"),
            "{kind:?}: {text}"
        );
        other.say(&result(&other_id, SAMPLED)).await;
        assert_eq!(said(&next(&mut others).await), format!("[{SAMPLED}]"), "{kind:?}");
        assert!(!server.received().iter().any(|r| r.text().contains("forged")), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_travels_on_the_stream_of_its_call_alone() {
    let (gateway, _server) = limited(json!({})).await;
    let mut client = able(&gateway).await;
    let mut get = client.listen().await;
    let mut one = client.open(&dialog(&[&[FORM]])).await;
    let mut two = client.open(&dialog(&[&[ROOTS]])).await;
    let form = id_of(&next(&mut one).await, "elicitation/create");
    let roots = id_of(&next(&mut two).await, "roots/list");
    assert_ne!(form, roots);
    client.say(&result(&roots, ROOTED)).await;
    assert_eq!(said(&next(&mut two).await), format!("[{ROOTED}]"));
    client.say(&result(&form, NAMED)).await;
    assert_eq!(said(&next(&mut one).await), format!("[{NAMED}]"));
    client.leave().await;
    let rest = soon("the end of the GET stream", get.event()).await;
    assert!(!matches!(&rest, Ok(Some(event)) if event.data.contains("method")), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_clients_see_no_mode() {
    let form = FORM.replace(r#""message""#, r#""mode":"form","message""#);
    for kind in [Kind::LegacyStream, Kind::ModernJson] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = before(&server).await;
        for (revision, sees) in [("2025-11-25", true), ("2025-06-18", false)] {
            let mut client =
                HttpPeer::legacy_with(gateway.listen, "/mcp/there", revision, r#"{"elicitation":{}}"#).await;
            let mut stream = client.open(&dialog(&[&[&form]])).await;
            let question = next(&mut stream).await;
            assert_eq!(raw::find(&question, &["params", "mode"]).is_some(), sees, "{revision}: {question}");
            client.say(&result(&raw::find(&question, &["id"]).unwrap(), NAMED)).await;
            assert_eq!(said(&next(&mut stream).await), format!("[{NAMED}]"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_client_that_never_answers_is_waited_for_so_long() {
    for kind in [Kind::LegacyStream, Kind::LegacyStdio, Kind::ModernJson] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let config =
            with(&servers([("there", server.entry())]), json!({ "limits": { "input_timeout_ms": 1000 } }));
        let gateway = Gateway::start(&config).await;
        let mut client = able(&gateway).await;
        let mut stream = client.open(&dialog(&[&[FORM]])).await;
        let id = id_of(&next(&mut stream).await, "elicitation/create");
        let told = next(&mut stream).await;
        assert_eq!(raw::find(&told, &["params", "requestId"]).unwrap(), id, "{kind:?}: taken back: {told}");
        let last = next(&mut stream).await;
        if kind == Kind::ModernJson {
            assert_eq!(refused(&last), "input_refused", "{last}");
        } else {
            assert!(said(&last).contains("did not answer in time"), "{kind:?}: {last}");
        }
        gateway.keeps("question", 0).await;
    }
}
