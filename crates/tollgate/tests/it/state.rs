//! Stored state: where it is kept, and what becomes of callers when the store is away.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_backends::{Bounds, Place, open};
use tollgate_database::{PASSWORD, Server};
use tollgate_identity::key::{self, MintedKey};
use tollgate_model::{KeyRecord, Secret, TenantId, Timestamp};
use tollgate_store::Store;

use crate::support::{
    Folder, Gateway, PATIENCE, get, http, modern, modern_http, notes_config, run, stderr, tollgate,
};

const SECOND: Duration = Duration::from_secs(1);

fn postgres(url: &str) -> Place {
    Place::postgres(Secret::new(url.to_owned())).expect("a place")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Adds a key as the command line does: whether a gateway runs or not.
async fn add_key(store: &Arc<dyn Store>) -> MintedKey {
    let key = key::mint().expect("a key");
    let record = KeyRecord {
        id: key.id.clone(),
        tenant: TenantId::default(),
        agent: "bot".into(),
        groups: Vec::new(),
        hash: key.hash,
        created: Timestamp::now(),
        expires: None,
        revoked: None,
        replaced_by: None,
    };
    store.add_key(record).await.expect("added");
    key
}

/// What a caller with this key is told: the status, and the code of the refusal.
fn ask(gateway: &Gateway, key: &MintedKey) -> (u16, String) {
    let message = modern(1, "tools/list", json!({}));
    let bearer = format!("\r\nauthorization: Bearer {}\r\ncontent-length", key.text.expose());
    let request = modern_http(gateway.listen, &message).replacen("\r\ncontent-length", &bearer, 1);
    let answer = http(gateway.listen, &request);
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let code = body["error"]["data"]["dev.tollgate/refusal"]["code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code)
}

fn readiness(gateway: &Gateway) -> (u16, String) {
    let answer = get(gateway.admin, "/readyz");
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    (answer.status, body["store"]["state"].as_str().unwrap_or_default().to_owned())
}

/// Waits until it is so, and says how long it took.
fn until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o777
}

#[test]
fn state_is_kept_beside_the_configuration_where_something_is_kept() {
    let folder = Folder::new();
    let off = format!("ledger: {{ enabled: false }}\n{}", notes_config("notes"));
    let config = folder.write("tollgate.yaml", &off);
    let gateway = Gateway::start(&config);
    assert_eq!(readiness(&gateway), (200, String::new()));
    assert!(!folder.path(".tollgate").exists(), "nothing is kept");

    // The configuration is read again, and now there is something.
    folder.write("tollgate.yaml", &format!("identity: {{ failures_max: 100000 }}\n{off}"));
    until("the store is open", || readiness(&gateway) == (200, "up".to_owned()));
    let file = folder.path(".tollgate/tollgate.db");
    assert_eq!((mode(&folder.path(".tollgate")), mode(&file)), (0o700, 0o600));

    let runtime = runtime();
    let store = open(&Place::File(file), Bounds::default()).expect("a place");
    // A machine may stand still for a second: one key of several is enough.
    let mut took: Vec<(Duration, Duration)> = Vec::new();
    while !took.iter().any(|(known, gone)| *known < SECOND && *gone < SECOND) {
        assert!(took.len() < 5, "{took:?}");
        let key = runtime.block_on(add_key(&store));
        let known = until("the key is known", || ask(&gateway, &key).0 == 200);
        runtime.block_on(store.revoke_key(&key.id, Timestamp::now())).expect("revoked");
        let gone = until("the key is revoked", || ask(&gateway, &key) == (401, "unauthenticated".to_owned()));
        took.push((known, gone));
    }
}

#[test]
fn a_database_may_be_away_at_start_and_go_and_come() {
    let server = Server::start();
    let url = server.database();
    let runtime = runtime();
    let store = open(&postgres(&url), Bounds::default()).expect("a place");
    let key = runtime.block_on(add_key(&store));
    drop(store);
    server.stop();

    let folder = Folder::new();
    let settings = format!("store: {{ url: '{url}', stale_max_ms: 15000 }}\nidentity: {{}}\n");
    let config = folder.write("tollgate.yaml", &format!("{settings}{}", notes_config("notes")));
    let mut gateway = Gateway::start(&config);
    gateway.process.wait_err("nobody is let in until it does");
    assert_eq!(readiness(&gateway), (503, "too_old".to_owned()));
    assert_eq!(ask(&gateway, &key), (503, "identity_unavailable".to_owned()));
    assert!(get(gateway.admin, "/metrics").body.contains("tollgate_store_up 0\n"));

    server.start_again();
    until("the store is found", || readiness(&gateway) == (200, "up".to_owned()));
    assert_eq!(ask(&gateway, &key).0, 200);
    assert!(get(gateway.admin, "/metrics").body.contains("tollgate_store_confirmed_age_seconds "));

    // Hung: nothing waits for it, and what was confirmed last is used for a while.
    server.pause();
    until("the store is missed", || readiness(&gateway) == (200, "away".to_owned()));
    let mut took: Vec<Duration> = Vec::new();
    while !took.iter().any(|one| *one < SECOND) {
        assert!(took.len() < 5, "{took:?}");
        let begun = Instant::now();
        assert_eq!(ask(&gateway, &key).0, 200);
        took.push(begun.elapsed());
    }
    until("it is too old", || readiness(&gateway) == (503, "too_old".to_owned()));
    assert_eq!(ask(&gateway, &key), (503, "identity_unavailable".to_owned()));
    server.resume();
    until("the store is back", || readiness(&gateway) == (200, "up".to_owned()));
    assert_eq!(ask(&gateway, &key).0, 200);
    let said = gateway.process.wait_err("the store answers again");
    assert!(!said.contains(PASSWORD));
    assert!(!gateway.process.err_seen.iter().any(|line| line.contains(PASSWORD)), "a password in the log");
}

#[test]
fn a_file_that_is_no_store_is_told_by_its_name() {
    let folder = Folder::new();
    let file = folder.write("tollgate.db", &"no database ".repeat(400));
    let data = folder.path("").to_string_lossy().into_owned();
    let listed = run(&["keys", "list", "--data-dir", &data]);
    assert_eq!(listed.status.code(), Some(1), "{}", stderr(&listed));
    assert!(stderr(&listed).contains(&format!("{file}: ")), "{}", stderr(&listed));
}

#[test]
fn a_database_that_cannot_be_used_is_told_at_start() {
    let server = Server::shared();
    let url = server.database();
    runtime().block_on(async {
        open(&postgres(&url), Bounds::default()).expect("a place").prepare().await.expect("prepared");
    });
    let name = url.rsplit('/').next().and_then(|rest| rest.split('?').next()).expect("a name");
    server.sql(name, "INSERT INTO tollgate_schema (version, at_ms) VALUES (1000, 1)");
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &format!("identity: {{}}\n{}", notes_config("notes")));
    for (url, said) in [
        (url.as_str(), "of version 1000, which a newer Tollgate made"),
        (&url.replace(PASSWORD, "wrong-password"), "password authentication failed"),
        ("mysql://root@127.0.0.1/other", "DATABASE_URL cannot be used"),
    ] {
        let mut command = tollgate();
        command.args([
            "serve",
            "--config",
            &config,
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ]);
        let output = command.env("DATABASE_URL", url).output().expect("it runs");
        assert!(!output.status.success());
        let text = stderr(&output);
        assert!(text.contains(said), "{text}");
        assert!(!text.contains("wrong-password") && !text.contains(PASSWORD), "{text}");
    }
}
