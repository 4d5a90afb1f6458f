use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Folder, Gateway, PATIENCE, calendar, get, http, modern, modern_http, notes_config, run, stderr, stdout,
};

#[test]
fn health_readiness_and_metrics() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &notes_config("notes"));
    let gateway = Gateway::start(&config);

    let alive = get(gateway.admin, "/healthz");
    assert_eq!(alive.status, 200, "{}", alive.head);
    let ready = get(gateway.admin, "/readyz");
    assert_eq!(ready.status, 200, "{}", ready.body);
    let ready: Value = serde_json::from_str(&ready.body).expect("JSON");
    assert_eq!(ready["servers"][0]["server"], "notes");
    let metrics = get(gateway.admin, "/metrics");
    assert!(
        metrics.body.contains("tollgate_server_up{server=\"notes\",transport=\"stdio\",tenant=\"default\"}"),
        "{}",
        metrics.body
    );
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let page = std::fs::read_to_string(page).expect("the page about metrics");
    for name in metrics.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(page.contains(&format!("| `{name}` |")), "docs/metrics.md does not name {name}");
    }
    assert_eq!(get(gateway.admin, "/nothing").status, 404);
    let rebound = "GET /metrics HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(http(gateway.admin, rebound).status, 403);
}

#[test]
fn tools_are_listed_and_called_through_it() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &notes_config("notes"));
    let gateway = Gateway::start(&config);
    let url = gateway.url();

    let output = run(&["tools", "list", &url, "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let tools: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let names: Vec<&str> =
        tools.as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str()).collect();
    assert!(names.contains(&"notes__read"), "{names:?}");

    let output = run(&["tools", "call", &url, "notes__read", "--args", r#"{"title":"groceries"}"#]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).trim(), "Milk, bread, coffee.");

    let output = run(&["tools", "call", &url, "notes__read", "--args", r#"{"title":"none"}"#]);
    assert_eq!(output.status.code(), Some(70), "the tool said that it failed");
    let output = run(&["tools", "call", &url, "notes__nothing"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

#[test]
fn a_list_names_the_servers_that_are_missing() {
    // Bound and closed again: nobody listens there.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|tcp| tcp.local_addr()).expect("an address");
    let folder = Folder::new();
    let absent = format!("  absent:\n    url: http://{free}/mcp\n");
    let config = folder.write("tollgate.yaml", &format!("{}{absent}", notes_config("notes")));
    let gateway = Gateway::start(&config);
    let output = run(&["tools", "list", &gateway.url()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("notes__read"));
    let said = stderr(&output);
    assert!(said.contains("missing: absent: the server cannot be reached"), "{said}");
}

#[test]
fn an_endpoint_that_is_not_there_is_told_in_one_line() {
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|tcp| tcp.local_addr()).expect("an address");
    let output = run(&["tools", "list", &format!("http://{free}/mcp")]);
    assert!(!output.status.success());
    let said = stderr(&output);
    assert!(said.starts_with("error: ") && said.trim_end().lines().count() == 1, "{said}");
}

#[test]
fn a_call_under_way_finishes_when_the_gateway_is_told_to_stop() {
    let (_server, url) = calendar();
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &format!("servers:\n  calendar:\n    url: {url}\n"));
    let mut gateway = Gateway::start(&config);

    let call =
        modern(7, "tools/call", json!({ "name": "calendar__countdown", "arguments": { "steps": 20 } }));
    let mut stream = TcpStream::connect(gateway.listen).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(modern_http(gateway.listen, &call).as_bytes()).expect("sent");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("notifications/progress") {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk).expect("progress");
        assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&chunk[..length]);
    }
    gateway.process.signal(Signal::TERM);
    gateway.process.wait_err("stopping");
    // Whoever looks late has seen the end before.
    stream.read_to_end(&mut seen).expect("an answer");
    let text = String::from_utf8_lossy(&seen);
    assert!(text.contains("Liftoff."), "{text}");
    assert_eq!(gateway.process.end().code(), Some(0));
}

#[test]
fn a_second_signal_does_not_wait() {
    let (_server, url) = calendar();
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &format!("servers:\n  calendar:\n    url: {url}\n"));
    let mut gateway = Gateway::start(&config);
    let call =
        modern(7, "tools/call", json!({ "name": "calendar__countdown", "arguments": { "steps": 60 } }));
    let mut stream = TcpStream::connect(gateway.listen).expect("a connection");
    stream.write_all(modern_http(gateway.listen, &call).as_bytes()).expect("sent");
    assert!(stream.read(&mut [0; 16]).expect("an answer begins") > 0);
    gateway.process.signal(Signal::INT);
    gateway.process.wait_err("stopping");
    gateway.process.signal(Signal::INT);
    gateway.process.wait_err("stopped before");
    assert_eq!(gateway.process.end().code(), Some(0));
}

#[test]
fn without_identity_only_loopback_is_served() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &notes_config("notes"));
    let output =
        run(&["serve", "--config", &config, "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("identity"), "{}", stderr(&output));
    let open = folder.write("open.yaml", &format!("listen: 0.0.0.0:0\n{}", notes_config("notes")));
    assert_eq!(run(&["serve", "--config", &open]).status.code(), Some(78));
    assert_eq!(run(&["check", &open]).status.code(), Some(78));

    let mut gateway = Gateway::start(&config);
    gateway.process.wait_err("no identity is configured");
}

#[test]
fn an_address_in_use_is_a_failure_of_the_run() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &notes_config("notes"));
    let output = run(&["serve", "--config", &config, "--listen", &address, "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn a_changed_configuration_is_taken_over_and_a_bad_one_is_not() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &notes_config("notes"));
    let mut gateway = Gateway::start(&config);
    let servers = |gateway: &Gateway| -> Vec<String> {
        let ready: Value = serde_json::from_str(&get(gateway.admin, "/readyz").body).expect("JSON");
        let servers = ready["servers"].as_array().into_iter().flatten();
        servers.filter_map(|server| server["server"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(servers(&gateway), ["notes"]);

    folder.write("tollgate.yaml", &notes_config("renamed"));
    gateway.process.wait_err("configuration reloaded");
    assert_eq!(servers(&gateway), ["renamed"]);

    folder.write("tollgate.yaml", "servers:\n  broken:\n    comand: x\n");
    let line = gateway.process.wait_err("the last good one stays");
    assert!(line.contains("comand") && line.contains(":3:"), "{line}");
    assert_eq!(servers(&gateway), ["renamed"]);

    gateway.process.signal(Signal::HUP);
    gateway.process.wait_err("the last good one stays");
}

#[test]
fn identity_is_not_lost_by_a_slip_in_a_file() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &(notes_config("notes") + "identity: {}\n"));
    let mut gateway = Gateway::start(&config);
    folder.write("tollgate.yaml", &notes_config("notes"));
    let line = gateway.process.wait_err("the last good one stays");
    assert!(line.contains("`identity` is gone"), "{line}");
}

#[test]
fn a_missing_file_that_comes_mends_the_configuration() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &notes_config("notes"));
    let mut gateway = Gateway::start(&config);
    let more = "  more: { url: 'http://127.0.0.1:1/mcp', headers: { X-Key: { file: key } } }\n";
    folder.write("tollgate.yaml", &(notes_config("notes") + more));
    let line = gateway.process.wait_err("the last good one stays");
    assert!(line.contains("key does not exist"), "{line}");
    folder.write("key", "k");
    gateway.process.wait_err("configuration reloaded");
}

#[test]
fn log_lines_are_json_where_a_machine_reads_them() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &notes_config("notes"));
    let mut command = crate::support::tollgate();
    command.args(["serve", "--config", &config, "--json", "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", "127.0.0.1:0", "--log-format", "json", "--log", "debug"]);
    let mut gateway = crate::support::Running::start(command);
    gateway.json();
    gateway.wait_err("no identity is configured");
    gateway.signal(Signal::TERM);
    gateway.wait_err("\"message\":\"stopped\"");
    for line in &gateway.err_seen {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(event["time"].is_string() && event["level"].is_string(), "{line}");
    }
    assert_eq!(gateway.end().code(), Some(0));
}

#[test]
fn everything_is_recorded_in_a_private_folder_unless_switched_off_loudly() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &notes_config("notes"));
    let start = |config: &str, data: &Path| {
        let mut command = crate::support::tollgate();
        command.args(["serve", "--config", config, "--json", "--listen", "127.0.0.1:0"]);
        command.args(["--admin-listen", "127.0.0.1:0", "--data-dir"]).arg(data);
        let mut gateway = crate::support::Running::start(command);
        gateway.json();
        gateway
    };
    let data = folder.path("data");
    let gateway = start(&config, &data);
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("ledger"))), (0o700, 0o700));
    drop(gateway);

    let off = format!("ledger: {{ enabled: false }}\n{}", notes_config("notes"));
    let config = folder.write("off.yaml", &off);
    let data = folder.path("unused");
    let mut gateway = start(&config, &data);
    gateway.wait_err("the ledger is switched off: nothing that passes is recorded");
    assert!(!data.join("ledger").exists());
}

#[test]
fn a_place_where_nothing_can_be_kept_is_told_with_a_way_out() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &notes_config("notes"));
    let in_the_way = folder.write("file", "");
    let output = run(&["serve", "--config", &config, "--data-dir", &format!("{in_the_way}/data")]);
    let told = stderr(&output);
    assert!(!output.status.success());
    assert!(told.contains("--data-dir") && told.contains("ledger: { enabled: false }"), "{told}");
}
