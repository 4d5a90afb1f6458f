//! Agents that run away, from the call that is one too many to the operator who lets them go on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, Folder, Gateway, PATIENCE, get, http, modern, modern_http, notes_config, run, stdout,
};

/// What docs/limits.md promises.
const WITHIN: usize = 200;
const SECRET: &str = "a secret of the operator";

fn call(address: SocketAddr, id: u32) -> Answer {
    let arguments = json!({ "name": "notes__read", "arguments": { "id": id } });
    http(address, &modern_http(address, &modern(7, "tools/call", arguments)))
}

/// Takes requests, and gives their heads and bodies. The first is answered with a fault.
fn receiver() -> (SocketAddr, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).expect("a head") > 0 {}
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.expect("a length")];
            stream.read_exact(&mut body).expect("a body");
            let status = if number == 0 { "503 Busy" } else { "204 Thanks" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).expect("it is still there");
            if sender.send((head, String::from_utf8(body).expect("text"))).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

fn header(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).expect(name).1.to_owned()
}

#[test]
fn an_agent_that_runs_away_is_paused_everywhere_until_it_is_resumed() {
    let (receiver, alerts) = receiver();
    let folder = Folder::new();
    let text = format!(
        "limits:\n  runaway:\n    slow_ms: 1\n    webhook: {{ url: 'http://{receiver}/in', secret: '{SECRET}', \
         allow_private_addresses: true }}\n{}",
        notes_config("notes")
    );
    let config = folder.write("tollgate.yaml", &text);
    let (one, two) = (Gateway::start(&config), Gateway::start(&config));
    let paused = |gateway: &Gateway, id| call(gateway.listen, id).body.contains("\"code\":\"paused\"");
    let done = (0..WITHIN).find(|_| paused(&one, 1));
    assert!(done.is_some_and(|done| done > 50), "{done:?}: neither at once nor never");
    // Nothing of it is let through, wherever it turns.
    assert!(paused(&one, 2));
    let begun = Instant::now();
    while !paused(&two, 3) {
        assert!(begun.elapsed() < PATIENCE, "the other gateway does not hear of it");
    }
    let metrics = get(one.admin, "/metrics").body;
    assert!(metrics.contains("tollgate_agents_paused_total"), "{metrics}");

    // The alert, which its receiver did not take the first time.
    let (_, first) = alerts.recv_timeout(PATIENCE).expect("an alert");
    let (head, body) = alerts.recv_timeout(PATIENCE).expect("the same again");
    assert_eq!(first, body);
    let alert: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&alert["type"], &alert["data"]["why"]), (&"agent.paused".into(), &"repeats".into()));
    let signed = format!("{}.{}.{body}", header(&head, "webhook-id"), header(&head, "webhook-timestamp"));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = header(&head, "webhook-signature");
    let given = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        signature.strip_prefix("v1,").expect("a version"),
    );
    ring::hmac::verify(&key, signed.as_bytes(), &given.expect("base64")).expect("its signature");

    // The operator.
    let list = || -> Value {
        serde_json::from_str(&stdout(&run(&["paused", "--config", &config, "--json"]))).expect("JSON")
    };
    let listed = list();
    let name = listed[0]["name"].as_str().expect("somebody is paused").to_owned();
    assert_eq!((&listed[0]["why"], &alert["data"]["agent"]), (&"repeats".into(), &name.as_str().into()));
    // A gateway that is started now holds to it too.
    let three = Gateway::start(&config);
    assert!(paused(&three, 4));
    let output = run(&["resume", &name, "--config", &config, "--reason", "mended"]);
    assert!(output.status.success(), "{output:?}");
    let resumed = Instant::now();
    for gateway in [&one, &two, &three] {
        while paused(gateway, 5) {
            assert!(resumed.elapsed() < PATIENCE, "it is not let go on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert_eq!(list(), json!([]));
    assert!(!paused(&one, 1), "what it did before counts no more");
    let again = run(&["resume", &name, "--config", &config]);
    assert!(!again.status.success());
}
