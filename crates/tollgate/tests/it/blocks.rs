//! `tollgate block`, `tollgate unblock` and `tollgate blocks`, with a store in a folder and no gateway.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Folder, run, stderr, stdout};

struct Bench {
    _folder: Folder,
    config: String,
}

impl Bench {
    fn new(config: &str) -> Self {
        let folder = Folder::new();
        let config = folder.write("tollgate.yaml", config);
        Self { _folder: folder, config }
    }

    fn one_tenant() -> Self {
        Self::new("identity: {}\nservers: { crm: { command: 'true' } }\n")
    }

    fn run(&self, args: &[&str]) -> Output {
        run(&[args, &["-c", &self.config]].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("JSON")
    }

    fn blocks(&self) -> Value {
        self.json(&["blocks"])
    }
}

#[test]
fn what_is_blocked_is_listed_until_it_is_unblocked() {
    let bench = Bench::one_tenant();
    assert_eq!(bench.blocks(), json!([]));
    assert!(stderr(&bench.run(&["blocks"])).contains("Nothing is blocked"));
    let block = |kind: &str, name: &str| bench.json(&["block", kind, name, "--reason", "it leaks"]);
    for (kind, name, listed, tenant) in [
        ("agent", "bot", "bot", json!("default")),
        ("key", "k1", "k1", Value::Null),
        ("server", "crm", "crm", Value::Null),
        ("tenant", "default", "default", json!("default")),
        ("tool", "crm__search", "crm/search", Value::Null),
        ("user", "okta:ada", "okta:ada", json!("default")),
    ] {
        let made = block(kind, name);
        assert_eq!((&made["kind"], &made["name"], &made["tenant"]), (&json!(kind), &json!(listed), &tenant));
        assert_eq!(
            (&made["reason"], &made["shown"], &made["new"]),
            (&json!("it leaks"), &json!(false), &json!(true))
        );
        assert!(made["by"].as_str().is_some_and(|by| !by.is_empty()), "{made}");
    }
    let listed = bench.blocks();
    let kinds: Vec<_> =
        listed.as_array().unwrap().iter().map(|block| block["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["agent", "key", "server", "tenant", "tool", "user"]);
    let shown = stdout(&bench.run(&["blocks"]));
    assert!(shown.contains("crm/search") && shown.contains("it leaks"), "{shown}");

    // The other name is the same tool; what is said last counts.
    let again = bench.json(&["block", "tool", "crm/search", "--reason", "it still leaks", "--show-reason"]);
    assert_eq!((&again["new"], &again["shown"]), (&json!(false), &json!(true)));
    assert_eq!(bench.blocks()[4]["reason"], "it still leaks");

    assert_eq!(bench.json(&["unblock", "tool", "crm__search"]), json!({ "unblocked": true }));
    let twice = bench.run(&["unblock", "tool", "crm__search"]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(stderr(&twice).contains("the tool crm__search is not blocked"), "{}", stderr(&twice));
    assert_eq!(bench.blocks().as_array().map(Vec::len), Some(5));
}

#[test]
fn what_nobody_knows_is_blocked_and_said() {
    let bench = Bench::one_tenant();
    for (kind, name, said) in [
        ("server", "erp", "no server `erp`"),
        ("tool", "erp__search", "no server `erp`"),
        ("key", "k1", "there is no such key"),
        ("agent", "bot", "no key is of such an agent"),
        ("tenant", "acme", "no tenant \"acme\""),
    ] {
        let output = bench.run(&["block", kind, name, "--reason", "r"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains(said), "{kind}: {}", stderr(&output));
    }
    let known = bench.run(&["block", "server", "crm", "--reason", "r"]);
    assert_eq!(stderr(&known), "", "nothing is to be said of what is known");
    assert_eq!(bench.blocks().as_array().map(Vec::len), Some(6));
}

#[test]
fn a_key_is_blocked_by_its_whole_text_too_and_nothing_of_its_secret_is_kept() {
    let bench = Bench::one_tenant();
    let made = bench.json(&["keys", "create", "--agent", "bot"]);
    let (id, key) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    let secret = &key[16..30];
    let says_nothing = |output: &Output| {
        let said = format!("{}{}", stdout(output), stderr(output));
        assert!(!said.contains(secret), "{said}");
    };
    let blocked = bench.run(&["block", "key", key, "--reason", "seen in a repository"]);
    assert!(blocked.status.success(), "{}", stderr(&blocked));
    assert!(stderr(&blocked).contains("the id was taken from it") && stderr(&blocked).contains(id));
    assert!(!stderr(&blocked).contains("no such key"), "{}", stderr(&blocked));
    says_nothing(&blocked);
    assert_eq!(bench.blocks()[0]["name"], id);
    // What a report of a leak has left of it is enough.
    let masked = bench.run(&["unblock", "key", &format!("{}****", &key[..20])]);
    assert!(masked.status.success(), "{}", stderr(&masked));
    assert_eq!(bench.blocks(), json!([]));
    for args in [
        &["agent", key, "--reason", "r"][..],
        &["user", key, "--reason", "r"],
        &["tenant", key, "--reason", "r"],
        &["server", key, "--reason", "r"],
        &["tool", &format!("crm__{key}"), "--reason", "r"],
        &["agent", "bot", "--reason", &format!("its key is {key}")],
    ] {
        let refused = bench.run(&[&["block"], args].concat());
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        says_nothing(&refused);
    }
    assert_eq!(bench.blocks(), json!([]));
}

#[test]
fn callers_that_the_gateway_names_are_known_where_there_are_such() {
    let anonymous = "identity: { anonymous: {} }\nservers: { crm: { command: 'true' } }\n";
    let none = "servers: { crm: { command: 'true' } }\n";
    for (config, agent, said) in [
        (none, "local", ""),
        (none, "anonymous", "lets nobody in who proves nothing"),
        (anonymous, "anonymous", ""),
        (anonymous, "local", "only the client of `tollgate serve --stdio`"),
    ] {
        let output = Bench::new(config).run(&["block", "agent", agent, "--reason", "r"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let notes = stderr(&output);
        // The store is the first thing that it notes.
        let about_agents: Vec<&str> = notes
            .lines()
            .filter(|line| !line.is_empty() && !line.contains("there was no store yet"))
            .collect();
        let is_as_said = if said.is_empty() { about_agents.is_empty() } else { notes.contains(said) };
        assert!(is_as_said, "{agent}: {notes}");
    }
}

#[test]
fn among_several_tenants_nobody_guesses_whose_an_agent_is() {
    let bench =
        Bench::new("identity: {}\nservers: { crm: { command: 'true' } }\ntenants: { acme: {}, other: {} }\n");
    let unsaid = bench.run(&["block", "agent", "bot", "--reason", "r"]);
    assert_eq!(unsaid.status.code(), Some(2));
    assert!(stderr(&unsaid).contains("one of default, acme, other"), "{}", stderr(&unsaid));
    let said = bench.json(&["block", "agent", "bot", "--tenant", "acme", "--reason", "r"]);
    assert_eq!(said["tenant"], "acme");
    let other = bench.run(&["unblock", "agent", "bot", "--tenant", "other"]);
    assert_eq!(other.status.code(), Some(2), "another tenant's is another");
    // A server is everybody's unless it is said.
    for args in [&[][..], &["--tenant", "acme"]] {
        assert_eq!(bench.json(&[&["block", "server", "crm", "--reason", "r"], args].concat())["new"], true);
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let bench = Bench::one_tenant();
    for args in [
        &["tool", "search", "--reason", "r"][..],
        &["tool", "crm/", "--reason", "r"],
        &["server", "c r m", "--reason", "r"],
        &["server", "crm"],
        &["server", "crm", "--reason", ""],
        &["server", "crm", "--reason", "two\nlines"],
        &["group", "g", "--reason", "r"],
        &["key", "k", "--tenant", "default", "--reason", "r"],
        &["agent", "", "--reason", "r"],
    ] {
        let output = bench.run(&[&["block"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    }
    assert_eq!(bench.blocks(), json!([]));
}
