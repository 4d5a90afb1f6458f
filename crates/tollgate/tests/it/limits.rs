//! Limits of a configuration, as a client meets them, and as operators see them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::{Answer, Folder, Gateway, PATIENCE, get, http, modern, modern_http, notes_config};

fn call(address: SocketAddr) -> Answer {
    let message = modern(7, "tools/call", json!({ "name": "notes__read", "arguments": { "id": 1 } }));
    http(address, &modern_http(address, &message))
}

fn rules(rules: &str) -> String {
    format!("limits:\n  rules: [ {rules} ]\n{}", notes_config("notes"))
}

#[test]
fn a_limit_holds_and_goes_with_the_file() {
    let folder = Folder::new();
    let limited = rules("{ name: calls, per: [agent], rate: { requests: 2, per: 1h } }");
    let config = folder.write("tollgate.yaml", &limited);
    let gateway = Gateway::start(&config);
    for _ in 0..2 {
        let answer = call(gateway.listen);
        assert!(answer.head.starts_with("HTTP/1.1 200"), "{} {}", answer.head, answer.body);
    }
    let answer = call(gateway.listen);
    assert!(answer.head.starts_with("HTTP/1.1 429"), "{}", answer.head);
    let head = answer.head.to_ascii_lowercase();
    assert!(head.contains("\r\nretry-after: ") && head.contains("\r\nratelimit: \"calls\";r=0;t="), "{head}");
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(body["error"]["data"]["dev.tollgate/refusal"]["limit"], "calls");
    let metrics = get(gateway.admin, "/metrics").body;
    assert!(metrics.contains("tollgate_limits_reached_total{limit=\"calls\",of=\"rate\"} 1"), "{metrics}");
    // Another rate, which begins anew.
    folder.write("tollgate.yaml", &rules("{ name: calls, per: [agent], rate: { requests: 4, per: 1h } }"));
    let begun = std::time::Instant::now();
    while call(gateway.listen).head.starts_with("HTTP/1.1 429") {
        assert!(begun.elapsed() < PATIENCE, "the change is not taken over");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// A gateway that is killed gives out what is left, less the part that it had taken: never more than is allowed in all.
#[test]
fn a_quota_survives_a_kill() {
    const CALLS: usize = 300;
    let folder = Folder::new();
    let quota =
        rules(&format!("{{ name: daily, per: [tenant], quota: {{ calls: {CALLS}, every: month }} }}"));
    let config = folder.write("tollgate.yaml", &quota);
    let mut done = 0;
    for _ in 0..4 {
        let gateway = Gateway::start(&config);
        for _ in 0..25 {
            let answer = call(gateway.listen);
            assert!(answer.head.starts_with("HTTP/1.1 200"), "{} {}", answer.head, answer.body);
            done += 1;
        }
        gateway.process.signal(rustix::process::Signal::KILL);
    }
    let gateway = Gateway::start(&config);
    while call(gateway.listen).head.starts_with("HTTP/1.1 200") {
        done += 1;
        assert!(done <= CALLS, "more than is allowed");
    }
    // A hundredth of it is taken at a time.
    assert!(done >= CALLS - 4 * CALLS / 100, "{done}: more is lost than four gateways had taken");
    let answer = call(gateway.listen);
    assert!(answer.body.contains("\"code\":\"quota_exhausted\""), "{}", answer.body);
}
