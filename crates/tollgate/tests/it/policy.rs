//! The commands for authors of policies, on the examples and on what is wrong with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use bytes::Bytes;
use serde_json::Value;
use tollgate_backends::{Bounds, Place};
use tollgate_model::{KeyHash, KeyId, KeyRecord, ServerName, TenantId, Timestamp};
use tollgate_store::{Definitions, DefinitionsOf, List};

use crate::support::{Folder, calendar, run, stderr, stdout};

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies")
}

/// A `policy` command about one of the examples.
fn policy(example: &str, command: &str, args: &[&str]) -> Output {
    let folder = examples().join(example);
    let (config, catalog) = (folder.join("tollgate.yaml"), folder.join("catalog.json"));
    let (config, catalog) = (config.to_string_lossy(), catalog.to_string_lossy());
    let mut all = vec!["policy", command, "--config", &config, "--catalog", &catalog];
    all.extend(args);
    run(&all)
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|_| panic!("no JSON: {}", stderr(output)))
}

/// A copy of the bank, to be spoilt.
struct Bank(Folder);

impl Bank {
    fn new() -> Self {
        let (bank, from) = (Folder::new(), examples().join("regulated-bank"));
        fs::create_dir(bank.path("policies")).expect("a folder");
        let files = ["tollgate.yaml", "catalog.json", "operator.cedar", "tests.yaml"];
        for file in files.iter().map(Path::new).chain([Path::new("policies/payments.cedar")]) {
            fs::copy(from.join(file), bank.path(&file.to_string_lossy())).expect("a copy");
        }
        Self(bank)
    }

    fn replace(&self, file: &str, old: &str, new: &str) -> &Self {
        let path = self.0.path(file);
        let text = fs::read_to_string(&path).expect("a file");
        assert!(text.contains(old), "{file} has no {old}");
        fs::write(path, text.replacen(old, new, 1)).expect("a file");
        self
    }

    fn run(&self, command: &str, args: &[&str]) -> Output {
        let at = |name: &str| self.0.path(name).to_string_lossy().into_owned();
        let (config, catalog) = (at("tollgate.yaml"), at("catalog.json"));
        let mut all = vec!["policy", command, "-c", &config, "--catalog", &catalog];
        all.extend(args);
        run(&all)
    }

    fn test(&self) -> Output {
        self.run("test", &[&self.0.path("tests.yaml").to_string_lossy()])
    }
}

#[test]
fn every_example_is_sound_and_its_tests_pass() {
    let mut names: Vec<String> = fs::read_dir(examples())
        .expect("examples")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["developer-platform", "internal-assistant", "multi-tenant-saas", "regulated-bank"]);
    for name in names {
        let folder = examples().join(&name);
        let checked = run(&["check", &folder.join("tollgate.yaml").to_string_lossy(), "--json"]);
        assert!(checked.status.success(), "{name}: {}{}", stdout(&checked), stderr(&checked));
        assert_eq!(json(&checked)["problems"], serde_json::json!([]), "{name}");
        let checked = policy(&name, "check", &["--json"]);
        assert!(checked.status.success(), "{name}: {}{}", stdout(&checked), stderr(&checked));
        assert_eq!(json(&checked)["problems"], serde_json::json!([]), "{name}");
        let tested = policy(&name, "test", &[&folder.join("tests.yaml").to_string_lossy()]);
        assert!(tested.status.success(), "{name}: {}{}", stdout(&tested), stderr(&tested));
        let last = stdout(&tested).lines().last().map(ToOwned::to_owned).unwrap_or_default();
        assert!(last.ends_with(" passed, 0 failed") && !last.starts_with("0 "), "{name}: {last}");
    }
}

#[test]
fn a_case_that_fails_says_how_and_the_command_fails() {
    let bank = Bank::new();
    bank.replace("policies/payments.cedar", r#"decimal("1000.0")"#, r#"decimal("500.0")"#).replace(
        "policies/payments.cedar",
        "@record(\"full\")\npermit",
        "@record(\"digest\")\npermit",
    );
    let output = bank.test();
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let text = stdout(&output);
    for part in [
        "FAILED a small transfer in business hours",
        "tests.yaml:",
        "agent payments-bot for user ada (finance)",
        r#"payments__transfer {"from_account":"DE01","#,
        "2026-07-28T09:30:00Z (tuesday), from 10.20.7.7, in production",
        "expected allow",
        "found    deny",
        "expected small-transfers",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    assert!(text.lines().last().is_some_and(|line| line.ends_with("failed") && !line.ends_with("0 failed")));
}

#[test]
fn a_file_of_cases_is_checked_to_the_letter() {
    let bank = Bank::new();
    bank.replace("tests.yaml", "who: { agent: chat", "who: { agnet: chat")
        .replace("tests.yaml", "tool: payments__transfer", "tool: payments__trasfer")
        .replace("tests.yaml", "expect: { decision: deny, could_differ: true }", "expect: denny")
        .replace("tests.yaml", "time: 2026-07-26T09:30:00Z", "time: yesterday");
    let output = bank.test();
    assert_eq!(output.status.code(), Some(78), "{}", stdout(&output));
    let text = stderr(&output);
    for part in [
        "unknown key `agnet`",
        "did you mean `agent`?",
        "there is no tool `payments__trasfer`",
        "did you mean `payments__transfer`?",
        "`denny` is neither `allow` nor `deny`",
        "`yesterday` cannot be read",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn what_is_wrong_with_policies_is_told_with_the_line() {
    let bank = Bank::new();
    bank.replace("policies/payments.cedar", "context.input.currency", "context.input.curency")
        .replace("operator.cedar", "accounts__close_account", "accounts__close_acount")
        .replace("operator.cedar", "@reason(\"Payments are", "@raeson(\"Payments are");
    let output = bank.run("check", &[]);
    assert_eq!(output.status.code(), Some(78), "{}", stdout(&output));
    let text = stderr(&output);
    for part in [
        "policies/payments.cedar:9:22",
        "9 | when { context.input.curency",
        "^",
        "did you mean `currency`?",
        r#"there is no `Action::"accounts__close_acount"`"#,
        "operator.cedar:15:38",
        "there is no annotation `@raeson`",
        "3 errors in the policies",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    let output = bank.run("check", &["--json"]);
    let object = json(&output);
    assert_eq!(object["ok"], false);
    assert_eq!(object["problems"].as_array().map(Vec::len), Some(3));
    assert!(object["problems"][0]["line"].as_u64().is_some_and(|line| line > 1));
}

#[test]
fn explain_says_which_rules_decided_and_which_nearly_did() {
    let call = [
        "payments__transfer",
        "--args",
        r#"{"from_account":"A","to_account":"B","amount":999.5,"currency":"EUR"}"#,
        "--agent",
        "payments-bot",
        "--user",
        "ada",
        "--group",
        "finance",
        "--source",
        "10.20.0.9",
    ];
    let at = |time: &str| {
        let args: Vec<&str> = call.iter().copied().chain(["--time", time]).collect();
        policy("regulated-bank", "explain", &args)
    };
    let output = at("2026-07-28T09:30:00Z");
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        text.starts_with("allow payments__transfer for agent payments-bot for user ada (finance)"),
        "{text}"
    );
    let decided = text.find("decided by").expect("what decided");
    let nearly = text.find("nearly allowed by").expect("what nearly did");
    let forbade = text.find("nearly forbidden by").expect("what nearly did not");
    assert!(text.find("small-transfers").is_some_and(|at| decided < at && at < nearly), "{text}");
    assert!(text.find("large-transfers").is_some_and(|at| nearly < at && at < forbade), "{text}");
    assert!(text.find("no-round-trips").is_some_and(|at| forbade < at), "{text}");
    assert!(text.contains("recorded: full"), "{text}");

    let text = stdout(&at("2026-07-28T18:00:00Z"));
    assert!(text.starts_with("deny "), "{text}");
    assert!(text.contains("context.env.hour is 18"), "{text}");

    let args: Vec<&str> = call.iter().copied().chain(["--json", "--time", "2026-07-28T09:30:00Z"]).collect();
    let object = json(&policy("regulated-bank", "explain", &args));
    assert_eq!(object["decision"], "allow");
    assert_eq!(object["policies"], serde_json::json!(["small-transfers"]));
    let rules = object["rules"].as_array().expect("rules");
    let large = rules.iter().find(|rule| rule["id"] == "large-transfers").expect("the rule");
    assert_eq!(large["verdict"], "fails");
}

#[test]
fn who_can_answers_in_the_words_of_the_rules() {
    let output = policy("regulated-bank", "who-can", &["payments__transfer"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    let forbidden = text.find("forbidden by").expect("forbids");
    for (part, is_permit) in [
        ("permit small-transfers", true),
        ("Agent::\"payments-bot\"", true),
        ("principal in Group::\"finance\"", true),
        ("forbid own-network-only (operator)", false),
        ("anybody", false),
    ] {
        let at = text.find(part).unwrap_or_else(|| panic!("{part:?} is missing in:\n{text}"));
        assert_eq!(at < forbidden, is_permit, "{part}");
    }
    assert!(!text.contains("agents-close-no-accounts"), "{text}");
}

#[test]
fn what_can_lists_what_lists_would_show() {
    let tools = |args: &[&str]| {
        let all: Vec<&str> =
            args.iter().copied().chain(["--json", "--time", "2026-07-28T09:30:00Z"]).collect();
        let object = json(&policy("regulated-bank", "what-can", &all));
        let tools = object["tools"].as_array().expect("tools").clone();
        tools.iter().map(|tool| tool["tool"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let finance = ["agent:payments-bot", "--user", "ada", "--group", "finance"];
    let inside: Vec<&str> = finance.iter().copied().chain(["--source", "10.20.0.1"]).collect();
    assert_eq!(
        tools(&inside),
        [
            "accounts__list_accounts",
            "accounts__get_balance",
            "accounts__get_statement",
            "payments__quote_fees",
            "payments__transfer",
            "payments__cancel_transfer"
        ]
    );
    let outside: Vec<&str> = finance.iter().copied().chain(["--source", "192.0.2.1"]).collect();
    assert!(!tools(&outside).contains(&"payments__transfer".to_owned()));
    assert_eq!(tools(&["agent:payments-bot"]), Vec::<String>::new());
    let wrong = policy("regulated-bank", "what-can", &["payments-bot"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_schema_is_cedars_own() {
    let text = stdout(&policy("regulated-bank", "schema", &[]));
    for part in [
        "entity Caller in [",
        "action \"payments__transfer\"",
        "amount: __cedar::decimal",
        "currency: __cedar::String",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    let output = policy("multi-tenant-saas", "schema", &["--tenant", "globx"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `globex`?"), "{}", stderr(&output));
}

#[test]
fn a_snapshot_is_what_servers_list_and_serves_as_a_catalogue() {
    let (_calendar, url) = calendar();
    let folder = Folder::new();
    folder.write(
        "rules.cedar",
        "@id(\"all\") permit (principal, action in Action::\"server:dates\", resource);\n",
    );
    let config = folder.write(
        "tollgate.yaml",
        &format!("servers: {{ dates: {{ url: {url} }} }}\npolicy: {{ files: [rules.cedar] }}\n"),
    );
    let catalog = folder.path("catalog.json").to_string_lossy().into_owned();
    let output = run(&["policy", "snapshot", "-c", &config, "-o", &catalog]);
    assert!(output.status.success(), "{}", stderr(&output));
    let saved: Value = serde_json::from_str(&fs::read_to_string(&catalog).expect("a file")).expect("JSON");
    assert_eq!(saved["format"], "tollgate-catalog");
    assert_eq!(saved["version"], 1);
    let tools = saved["tenants"]["default"]["dates"]["tools"].as_array().expect("tools");
    assert!(tools.iter().any(|tool| tool["name"] == "days_between" && tool["inputSchema"].is_object()));
    let output = run(&["policy", "what-can", "-c", &config, "--catalog", &catalog, "agent:local"]);
    assert!(stdout(&output).contains("dates__days_between"), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn a_snapshot_says_which_servers_are_missing() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", "servers: { gone: { command: /nowhere/at-all } }\n");
    let output = run(&["policy", "snapshot", "-c", &config]);
    assert_eq!(output.status.code(), Some(69));
    assert!(stderr(&output).contains("gone") && stderr(&output).contains("1 of 1"), "{}", stderr(&output));
    assert!(stdout(&output).contains("\"gone\": {}"), "{}", stdout(&output));
}

#[test]
fn without_policies_there_is_nothing_to_check() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", "servers: { a: { url: 'http://127.0.0.1:9/' } }\n");
    let catalog = r#"{"format":"tollgate-catalog","version":1,"saved":"2026-07-28T09:30:00Z"}"#;
    let catalog = folder.write("catalog.json", catalog);
    let output = run(&["policy", "check", "-c", &config, "--catalog", &catalog]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("has no `policy`"), "{}", stderr(&output));
}

#[test]
fn known_keys_are_named_and_stand_for_their_agents() {
    let output = policy("multi-tenant-saas", "who-can", &["crm__get_contact", "--tenant", "globex"]);
    assert!(stdout(&output).contains("globex-assistant-1 (agent globex-assistant)"), "{}", stdout(&output));
    let output = policy("multi-tenant-saas", "who-can", &["crm__get_contact", "--tenant", "acme", "--json"]);
    assert_eq!(json(&output)["keys"], serde_json::json!([]));
    let output = policy("multi-tenant-saas", "what-can", &["key:globex-assistant-1"]);
    assert!(stdout(&output).contains("crm__find_contacts"), "{}{}", stdout(&output), stderr(&output));
    assert!(!stdout(&output).contains("crm__delete_contact"), "{}", stdout(&output));
    let output = policy("multi-tenant-saas", "what-can", &["key:other"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn without_a_catalogue_and_without_a_gateway_the_command_says_what_to_do() {
    let folder = Folder::new();
    folder.write("rules.cedar", "permit (principal, action, resource);\n");
    let config = folder.write(
        "tollgate.yaml",
        "servers: { a: { url: 'http://127.0.0.1:9/' } }\npolicy: { files: [rules.cedar] }\n",
    );
    let output = run(&["policy", "check", "-c", &config]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("policy snapshot"), "{}", stderr(&output));
    assert!(!folder.path(".tollgate").exists(), "asking makes no store");
}

#[test]
fn an_operators_rule_about_a_tenant_that_is_not_there_is_told() {
    let bank = Bank::new();
    bank.replace(
        "operator.cedar",
        "forbid (principal, action ==",
        "forbid (principal in Tenant::\"defualt\", action ==",
    );
    let output = bank.run("check", &[]);
    assert_eq!(output.status.code(), Some(78), "{}", stdout(&output));
    assert!(stderr(&output).contains("did you mean `Tenant::\"default\"`?"), "{}", stderr(&output));
}

/// What a gateway keeps of its servers, and its keys, are what the commands work on when no catalogue is given.
#[test]
fn without_a_catalogue_what_the_gateway_keeps_is_taken() {
    let folder = Folder::new();
    folder.write(
        "rules.cedar",
        "permit (principal in AgentGroup::\"readers\", action in Action::\"read_only\", resource);\n",
    );
    let config = folder.write(
        "tollgate.yaml",
        "data_dir: state\nservers: { notes: { url: 'http://127.0.0.1:9/' } }\npolicy: { files: [rules.cedar] }\n",
    );
    let place = Place::File(folder.path("state").join("tollgate.db"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = tollgate_backends::open(&place, Bounds::default()).expect("a store");
        store.prepare().await.expect("prepared");
        let of = DefinitionsOf {
            tenant: Some(TenantId::default()),
            server: ServerName::new("notes").expect("a name"),
            list: List::Tools,
        };
        let item = |text: &'static str| Bytes::from_static(text.as_bytes());
        let items = vec![
            item(r#"{"name":"find","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}"#),
            item(r#"{"name":"burn","inputSchema":{"type":"object"}}"#),
        ];
        let now = Timestamp::now();
        store.keep_definitions(&Definitions::new(of, items, now)).await.expect("kept");
        let key = KeyRecord {
            id: KeyId::new("k1"),
            tenant: TenantId::default(),
            agent: "bot".into(),
            groups: vec!["readers".into()],
            hash: KeyHash([7; 32]),
            created: now,
            expires: None,
            revoked: None,
            replaced_by: None,
        };
        store.add_key(key).await.expect("added");
    });
    let checked = run(&["policy", "check", "-c", &config]);
    assert!(checked.status.success(), "{}", stderr(&checked));
    let output = run(&["policy", "what-can", "-c", &config, "key:k1", "--json"]);
    let object = json(&output);
    assert_eq!(object["known"], 2);
    assert_eq!(object["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!(object["tools"][0]["tool"], "notes__find");
    let output = run(&["policy", "who-can", "-c", &config, "notes__find"]);
    assert!(stdout(&output).contains("k1 (agent bot)"), "{}", stdout(&output));
    let output = run(&["policy", "snapshot", "-c", &config, "--stored"]);
    let saved = json(&output);
    assert_eq!(saved["tenants"]["default"]["notes"]["tools"][1]["name"], "burn");
}
