//! Where state is, as configured.

use std::path::Path;
use std::time::Duration;

use tollgate_backends::Place;

use super::{Bench, yaml};

const SERVER: &str = "servers: { a: { url: 'http://127.0.0.1:9/' } }\n";

fn bench(text: &str) -> Bench {
    yaml(&format!("{SERVER}{text}"))
}

fn place(bench: &Bench) -> Place {
    let config = bench.good("tollgate.yaml");
    config.store.place(&config.data_dir).expect("a place")
}

fn is_postgres(place: &Place, password: &str) -> bool {
    matches!(place, Place::Postgres(url) if url.expose().contains(password))
}

#[test]
fn state_is_beside_the_configuration_unless_it_says_otherwise() {
    let plain = bench("");
    let folder = plain.folder.path().to_owned();
    assert_eq!(place(&plain), Place::File(folder.join(".tollgate/tollgate.db")));
    let named = bench("data_dir: ./state\n");
    assert_eq!(place(&named), Place::File(named.folder.path().join("state/tollgate.db")));
    let elsewhere = bench("data_dir: /var/lib/tollgate\n");
    assert_eq!(place(&elsewhere), Place::File(Path::new("/var/lib/tollgate/tollgate.db").to_owned()));
}

#[test]
fn a_database_is_named_by_the_file_or_the_environment() {
    let of_environment = bench("").var("DATABASE_URL", "postgres://env-secret@db/gate");
    assert!(is_postgres(&place(&of_environment), "env-secret"));
    let of_file = bench("store: { url: 'postgres://file-secret@db/gate' }\n")
        .var("DATABASE_URL", "postgres://env-secret@db/gate");
    assert!(is_postgres(&place(&of_file), "file-secret"));
    let secret =
        bench("store: { url: { file: url.txt } }\n").file("url.txt", "postgresql://u:kept@db/gate\n");
    assert!(is_postgres(&place(&secret), "kept"));
    assert!(matches!(place(&bench("").var("DATABASE_URL", "")), Place::File(_)));
    // Another program's database is only in the way where state is needed.
    let other = bench("").var("DATABASE_URL", "mysql://db/other").good("tollgate.yaml");
    assert!(other.store.place(&other.data_dir).is_err());
}

#[test]
fn what_is_no_database_is_told_without_its_secrets() {
    for url in ["mysql://u:hunter2@db/gate", "hunter2", "postgres://u:hunter2@db/gate?sslmode=hunter2"] {
        let bench = bench(&format!("store:\n  url: {url}\n"));
        let text = bench.bad("tollgate.yaml");
        assert!(text.contains("tollgate.yaml:3:8: store.url: the URL cannot be used"), "{text}");
        assert!(text.contains("(write `postgres://"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let error = bench.load("tollgate.yaml").expect_err("it is wrong");
        assert!(!error.render(false).contains("hunter2"), "{}", error.render(false));
    }
}

#[test]
fn how_long_state_may_be_used_unconfirmed() {
    let stale_max = |text: &str| bench(text).good("tollgate.yaml").store.follower.stale_max;
    assert_eq!(stale_max(""), Some(Duration::from_mins(5)));
    assert_eq!(stale_max("store: { stale_max_ms: 1500 }\n"), Some(Duration::from_millis(1500)));
    assert_eq!(stale_max("store: { stale_max_ms: 0, when_stale: refuse }\n"), Some(Duration::ZERO));
    assert_eq!(stale_max("store: { stale_max_ms: 1500, when_stale: serve }\n"), None);
    let text = bench("store: { when_stale: sometimes, size: 3 }\ndata_dir: ''\n").bad("tollgate.yaml");
    assert!(text.contains("store.when_stale") && text.contains("store.size"), "{text}");
}

#[test]
fn state_is_needed_where_something_is_configured_that_is_kept() {
    for (text, needed) in [
        ("", false),
        ("store: { stale_max_ms: 1 }\n", false),
        ("identity: {}\n", true),
        ("policy: {}\n", true),
        ("tenants: { acme: {} }\n", true),
    ] {
        assert_eq!(bench(text).good("tollgate.yaml").needs_store(), needed, "{text}");
    }
}
