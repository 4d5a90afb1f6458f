//! `tollgate servers`, with a store in a folder and no gateway.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Folder, calendar, run, stderr, stdout};

const ONE: &str = "servers: { files: { command: 'true', owner: 'team-x' } }\n\
                   registry: { credentials: ['CRM_*', '/run/secrets/*'], stdio_commands: ['npx -y @acme/*'] }\n";
const URL: &str = "https://crm.example.com/mcp";

struct Bench {
    folder: Folder,
    config: String,
}

impl Bench {
    fn new(config: &str) -> Self {
        let folder = Folder::new();
        let config = folder.write("tollgate.yaml", config);
        Self { folder, config }
    }

    fn run(&self, args: &[&str]) -> Output {
        // What comes after `--` is the command's own.
        let at = args.iter().position(|arg| *arg == "--").unwrap_or(args.len());
        run(&[&["servers"], &args[..at], &["-c", &self.config], &args[at..]].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        let at = args.iter().position(|arg| *arg == "--").unwrap_or(args.len());
        let output = self.run(&[&args[..at], &["--json"], &args[at..]].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("JSON")
    }

    /// What is said of a command that is refused.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}{}", stdout(&output), stderr(&output));
        stderr(&output)
    }

    fn add(&self, name: &str, version: &str) -> Value {
        self.json(&["add", name, "--version", version, "--url", URL])[0].clone()
    }

    fn approved(&self, name: &str, version: &str) {
        self.add(name, version);
        self.json(&["submit", name, "--version", version]);
        self.json(&["approve", name, "--version", version]);
    }

    /// Version, life and share of a server, one version after the other.
    fn lives(&self, name: &str) -> Vec<String> {
        let shown = self.json(&["show", name]);
        let one = |one: &Value| {
            let text = |key: &str| one[key].as_str().expect("a text").to_owned();
            format!("{} {} {}", text("version"), text("life"), one["share"])
        };
        shown.as_array().expect("a list").iter().map(one).collect()
    }
}

#[test]
fn a_server_lives_from_draft_to_retired() {
    let bench = Bench::new(ONE);
    let added = bench.json(&[
        "add",
        "crm",
        "--url",
        URL,
        "--header",
        "Authorization: Bearer ${CRM_TOKEN}",
        "--owner",
        "sales",
        "--risk",
        "high",
        "--environment",
        "production",
        "--tag",
        "customers",
        "--docs",
        "https://wiki.example.com/crm",
        "--description",
        "Customers",
        "--reason",
        "sales needs it",
    ]);
    let draft = &added[0];
    assert_eq!(
        (&draft["life"], &draft["version"], &draft["tenant"]),
        (&json!("draft"), &json!("1"), &json!("default"))
    );
    assert_eq!(draft["reach"], json!({ "url": URL, "headers": { "Authorization": "Bearer ${CRM_TOKEN}" } }));
    for (key, value) in [
        ("owner", json!("sales")),
        ("risk", json!("high")),
        ("environment", json!("production")),
        ("tags", json!(["customers"])),
        ("documentation", json!("https://wiki.example.com/crm")),
        ("description", json!("Customers")),
        ("revision", json!(1)),
        ("notServed", Value::Null),
    ] {
        assert_eq!(draft[key], value, "{key}");
    }
    assert_eq!(
        (&draft["last"]["act"], &draft["last"]["reason"]),
        (&json!("registered"), &json!("sales needs it"))
    );
    assert!(draft["last"]["by"].as_str().is_some_and(|by| !by.is_empty()));

    // A draft is edited; what is in review or served is not.
    let edited = bench.json(&["add", "crm", "--url", "https://crm2.example.com/mcp"]);
    assert_eq!((&edited[0]["revision"], &edited[0]["last"]["act"]), (&json!(2), &json!("edited")));
    assert!(bench.refused(&["approve", "crm"]).contains("no version of `crm` is in_review: 1 is draft"));
    bench.json(&["submit", "crm"]);
    assert!(bench.refused(&["add", "crm", "--url", URL]).contains("crm@1 is in_review"));
    assert_eq!(bench.json(&["reject", "crm", "--reason", "whose is it?"])[0]["life"], "draft");
    bench.json(&["submit", "crm"]);
    assert_eq!(bench.lives("crm"), ["1 in_review 0"]);
    bench.json(&["approve", "crm", "--reason", "looked at"]);
    assert_eq!(bench.lives("crm"), ["1 approved 100"]);
    assert!(bench.refused(&["add", "crm", "--url", URL]).contains("another version can be registered"));
    assert!(
        bench
            .refused(&["submit", "crm", "--version", "1"])
            .contains("crm@1 is approved: it can be deprecated")
    );
    let soon = bench.refused(&["deprecate", "crm", "--sunset", "2020-01-01T00:00:00Z"]);
    assert!(soon.contains("this time is over"), "{soon}");
    let deprecated = bench.json(&["deprecate", "crm", "--sunset", "90d"]);
    assert_eq!(deprecated[0]["life"], "deprecated");
    assert!(deprecated[0]["sunset"].as_str().is_some_and(|sunset| sunset.ends_with('Z')));
    assert_eq!(bench.json(&["retire", "crm"])[0]["life"], "retired");
    assert!(bench.refused(&["retire", "crm"]).contains("1 is retired"));
    assert!(bench.refused(&["add", "crm", "--url", URL]).contains("register another version"));
}

#[test]
fn where_people_sign_in_nobody_approves_what_they_made() {
    let sign_in =
        "admin: { sign_in: { issuer: 'https://idp.example.com', client_id: tollgate, client_secret: s3cret },
                   roles: [{ role: admin, users: [ann] }] }\n";
    let bench = Bench::new(&format!("{ONE}{sign_in}"));
    bench.add("crm", "1");
    bench.json(&["submit", "crm"]);
    let refused = bench.refused(&["approve", "crm"]);
    assert!(
        refused.contains("somebody else has to approve it") && refused.contains("self_approval"),
        "{refused}"
    );
    assert_eq!(bench.lives("crm"), ["1 in_review 0"]);
    let allowed = ONE.replace("registry: {", "registry: { self_approval: true,");
    bench.folder.write("tollgate.yaml", &format!("{allowed}{sign_in}"));
    let approved = bench.json(&["approve", "crm"]);
    assert_eq!((&approved[0]["life"], &approved[0]["last"]["ownWork"]), (&json!("approved"), &json!(true)));
    // Where nobody signs in there may be nobody else, unless the file says otherwise.
    bench.folder.write("tollgate.yaml", &ONE.replace("registry: {", "registry: { self_approval: false,"));
    bench.add("crm", "2");
    bench.json(&["submit", "crm"]);
    assert!(bench.refused(&["approve", "crm"]).contains("somebody else"));
    bench.folder.write("tollgate.yaml", ONE);
    assert_eq!(bench.json(&["approve", "crm"])[1]["last"]["ownWork"], true);
}

#[test]
fn versions_stand_beside_each_other_and_go_back_in_one_act() {
    let bench = Bench::new(ONE);
    bench.approved("crm", "1");
    assert!(bench.refused(&["rollback", "crm"]).contains("no earlier version"));
    bench.add("crm", "2");
    bench.json(&["submit", "crm"]);
    bench.json(&["approve", "crm", "--share", "10"]);
    assert_eq!(bench.lives("crm"), ["1 approved 90", "2 approved 10"]);
    bench.json(&["share", "50", "crm", "--version", "2"]);
    assert_eq!(bench.lives("crm"), ["1 approved 50", "2 approved 50"]);
    let back = bench.json(&["rollback", "crm", "--reason", "errors"]);
    assert_eq!(back.as_array().map(Vec::len), Some(2), "{back}");
    assert_eq!(bench.lives("crm"), ["1 approved 100", "2 approved 0"]);
    bench.json(&["rollback", "crm", "--to", "2"]);
    assert_eq!(bench.lives("crm"), ["1 approved 0", "2 approved 100"]);
    assert!(bench.refused(&["deprecate", "crm", "--sunset", "1d"]).contains("say which: --version"));
    let idle = bench.run(&["deprecate", "crm", "--version", "1", "--sunset", "1d"]);
    assert!(idle.status.success() && !stderr(&idle).contains("warning"), "{}", stderr(&idle));
    let last = bench.run(&["deprecate", "crm", "--version", "2", "--sunset", "1d"]);
    assert!(last.status.success(), "{}", stderr(&last));
    assert!(stderr(&last).contains("unless version 1 is given a share"), "{}", stderr(&last));
    assert!(bench.refused(&["retire", "crm", "--version", "3"]).contains("no version \"3\" of `crm`"));
    assert!(bench.refused(&["retire", "erp"]).contains("no server `erp` is registered"));
}

#[test]
fn servers_of_the_file_are_listed_and_go_first() {
    let bench = Bench::new(ONE);
    let of_file = json!({
        "name": "files", "tenant": "default", "shared": false, "life": "approved", "owner": "team-x", "origin": "file",
        "readOnly": true,
    });
    assert_eq!(bench.json(&["list"]), json!([of_file]));
    bench.approved("crm", "1");
    bench.approved("files", "1");
    let listed = bench.json(&["list"]);
    let clash = &listed[2];
    assert_eq!(clash["notServed"], "there is another server `files`, which goes first");
    assert_eq!(listed[1]["notServed"], Value::Null);
    let shown = bench.run(&["list"]);
    assert!(stdout(&shown).contains("file") && stdout(&shown).contains("crm"), "{}", stdout(&shown));
    assert!(stdout(&shown).contains("team-x"), "{}", stdout(&shown));
    assert!(stderr(&shown).contains("files@1 is not served: there is another server"), "{}", stderr(&shown));
    assert_eq!(bench.json(&["list", "--life", "draft"]), json!([]));
    bench.json(&["retire", "files", "--version", "1"]);
    let names = |listed: &Value| listed.as_array().map(Vec::len);
    assert_eq!(names(&bench.json(&["list"])), Some(2));
    assert_eq!(names(&bench.json(&["list", "--all"])), Some(3));
    assert!(stdout(&bench.run(&["show", "files"])).contains("of the configuration file"));
}

#[test]
fn clients_are_told_the_address_of_a_server_that_is_registered() {
    let bench = Bench::new(ONE);
    let print = || run(&["client-config", "--config", &bench.config, "--for", "cursor", "--endpoint", "crm"]);
    bench.add("crm", "1");
    let output = print();
    assert_eq!(output.status.code(), Some(2), "nobody approved it");
    assert!(stderr(&output).contains("there is no server and no toolset crm"), "{}", stderr(&output));
    bench.json(&["submit", "crm"]);
    bench.json(&["approve", "crm"]);
    let output = print();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("/mcp/crm\""), "{}", stdout(&output));
}

#[test]
fn a_secret_is_named_and_never_written_down() {
    let bench = Bench::new(ONE);
    let named = |header: &str| bench.refused(&["add", "crm", "--url", URL, "--header", header]);
    for secret in ["Authorization: Bearer hunter2-hunter2", "X-Api-Key: hunter2-hunter2"] {
        let said = named(secret);
        assert!(said.contains("looks like a secret that is written down"), "{said}");
        assert!(said.contains("${NAME}") && !said.contains("hunter2"), "{said}");
    }
    let url = bench.refused(&["add", "crm", "--url", "https://crm.example.com/mcp?api_key=hunter2"]);
    assert!(url.contains("looks like a secret") && !url.contains("hunter2"), "{url}");
    let user = bench.refused(&["add", "crm", "--url", "https://ada:${CRM_PW}@crm.example.com/mcp"]);
    assert!(user.contains("must not carry a user name or password"), "{user}");
    let args = bench.refused(&["add", "crm", "--", "npx", "-y", "@acme/crm", "--token", "hunter2"]);
    assert!(args.contains("looks like a secret") && !args.contains("hunter2"), "{args}");
    // And only those are named that the gateway lends.
    let lent = named("Authorization: Bearer ${LEDGER_KEY}");
    assert!(lent.contains("may not name `LEDGER_KEY`") && lent.contains("registry.credentials"), "{lent}");
    let file = bench
        .folder
        .write("crm.yaml", &format!("url: {URL}\nheaders: {{ X-Key: {{ file: /etc/shadow }} }}\n"));
    assert!(bench.refused(&["add", "crm", "--file", &file]).contains("may not name this file"));
    let file = bench.folder.write(
        "crm.yaml",
        &format!("url: {URL}\nowner: sales\nheaders: {{ X-Key: {{ file: /run/secrets/crm }} }}\n"),
    );
    let added = bench.json(&["add", "crm", "--file", &file]);
    assert_eq!(added[0]["reach"]["headers"]["X-Key"]["file"], "/run/secrets/crm");
    assert_eq!((&added[0]["owner"], &added[0]["reach"]["owner"]), (&json!("sales"), &Value::Null));
}

#[test]
fn what_no_gateway_could_serve_is_not_registered() {
    let bench = Bench::new(ONE);
    let sh = bench.refused(&["add", "crm", "--", "sh", "-c", "id"]);
    assert!(sh.contains("a registered server may not be a command") && sh.contains("allow_stdio"), "{sh}");
    bench.json(&["add", "listed", "--", "npx", "-y", "@acme/crm"]);
    for private in [
        "http://127.0.0.1:9/mcp",
        "http://localhost/mcp",
        "http://169.254.169.254/latest",
        "http://[::1]/mcp",
    ] {
        let said = bench.refused(&["add", "crm", "--url", private]);
        assert!(said.contains("may not be at such an address"), "{private}: {said}");
    }
    for (args, said) in [
        (&["add", "crm"][..], "how is it reached?"),
        (&["add", "c r m", "--url", URL], "no name of a server"),
        (&["add", "crm", "--url", "ftp://x"], "no http or https URL"),
        (&["add", "crm", "--url", URL, "--version", "1/2"], "--version: a version has"),
        (&["add", "crm", "--url", URL, "--docs", "javascript:alert(1)"], "--docs: no http or https URL"),
        (&["add", "crm", "--url", URL, "--owner", "a\nb"], "--owner: one line"),
        (&["add", "crm", "--url", URL, "--tenant", "acme"], "no tenant \"acme\""),
        (&["add", "crm", "--url", URL, "--risk", "very high"], "is no single word"),
    ] {
        let text = bench.refused(args);
        assert!(text.contains(said), "{args:?}: {text}");
    }
    for (text, said) in [
        ("url: [", "error"),
        ("just text", "is a mapping"),
        ("url: https://a.example/mcp\nerra: modern\n", "did you mean `era`?"),
        ("url: https://a.example/mcp\ndisabled: true\n", "a registration that is not to be served"),
        ("replicas: [{ url: 'https://a.example', version: '2' }]\n", "said of the registration itself"),
        ("{\"url\":\"https://a.example\"}, \"x\": {}", "not YAML"),
    ] {
        let file = bench.folder.write("crm.yaml", text);
        let text = bench.refused(&["add", "crm", "--file", &file]);
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(bench.json(&["list"]).as_array().map(Vec::len), Some(2), "nothing of it is registered");
}

#[test]
fn servers_of_clients_become_drafts() {
    let bench = Bench::new("registry: { credentials: ['GITHUB_*'], allow_stdio: true }\nservers: {}\n");
    let cursor = json!({ "mcpServers": {
        "GitHub MCP": { "url": "https://api.githubcopilot.com/mcp/", "headers": { "Authorization": "Bearer ${env:GITHUB_PAT}" } },
        "files": { "command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/srv"], "alwaysAllow": [] },
        "off": { "command": "rm", "disabled": true },
    }});
    let file = bench.folder.write("mcp.json", &cursor.to_string());
    let imported = bench.json(&["import", &file, "--owner", "platform"]);
    let of = |imported: &Value| -> Vec<String> {
        let all = imported.as_array().expect("a list").iter();
        all.map(|one| format!("{} {} {}", one["name"], one["life"], one["origin"]).replace('"', "")).collect()
    };
    assert_eq!(of(&imported), ["GitHub-MCP draft import", "files draft import"]);
    assert_eq!(imported[0]["owner"], "platform");
    let vscode = json!({
        "inputs": [{ "id": "github-token", "type": "promptString" }],
        "servers": { "gh": { "type": "http", "url": "https://api.githubcopilot.com/mcp/",
                             "headers": { "Authorization": "Bearer ${input:github-token}" } } },
    });
    let file = bench.folder.write("vscode.json", &vscode.to_string());
    let imported = bench.json(&["import", &file, "--name", "github"]);
    assert_eq!(of(&imported), ["github draft import"]);
    assert_eq!(imported[0]["reach"]["headers"]["Authorization"], "Bearer ${GITHUB_TOKEN}");
    // One bad server, and nothing of the file is taken.
    let literal = json!({ "mcpServers": {
        "a": { "url": "https://a.example/mcp" },
        "b": { "command": "npx", "env": { "GITHUB_TOKEN": "ghp_abcdefghijklmnopqrstuvwxyz0123456789" } },
    }});
    let file = bench.folder.write("literal.json", &literal.to_string());
    let said = bench.refused(&["import", &file]);
    assert!(said.contains("looks like a secret") && !said.contains("ghp_"), "{said}");
    assert_eq!(bench.json(&["list"]).as_array().map(Vec::len), Some(3));
    // Unless each is taken that can be: then what is wrong with the others is said.
    let each = bench.run(&["import", &file, "--each", "--json"]);
    assert_eq!(each.status.code(), Some(1), "{}", stderr(&each));
    let said = stderr(&each);
    assert!(said.contains("1 server was not imported") && said.contains("b: "), "{said}");
    assert!(said.contains("looks like a secret") && !said.contains("ghp_"), "{said}");
    assert_eq!(of(&serde_json::from_str(&stdout(&each)).expect("JSON")), ["a draft import"]);
    assert_eq!(of(&bench.json(&["import", &file, "--only", "a"])), ["a draft import"]);
    for (text, said) in
        [("{}", "no file of a client"), ("{", "error"), ("{\"mcpServers\":{}}", "there are no servers")]
    {
        let file = bench.folder.write("bad.json", text);
        let text = bench.refused(&["import", &file]);
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn a_reviewer_sees_the_tools_and_who_could_call_them() {
    let bench = Bench::new(
        "identity: {}\nservers: {}\nregistry: { allow_private: true }\npolicy: { files: [rules.cedar] }\n",
    );
    bench.folder.write(
        "rules.cedar",
        "permit (principal in Agent::\"ann\", action in Action::\"server:cal\", resource);\n",
    );
    let (_server, url) = calendar();
    bench.json(&["add", "cal", "--url", &url, "--risk", "low"]);
    let key = run(&["keys", "create", "--agent", "ann", "-c", &bench.config, "--json"]);
    assert!(key.status.success(), "{}", stderr(&key));
    let review = bench.json(&["review", "cal"]);
    assert_eq!(review["server"], "cal@1");
    let tools = review["tools"].as_array().expect("tools");
    let tool = tools.iter().find(|tool| tool["definition"]["name"] == "days_between").expect("the tool");
    assert_eq!(tool["findings"], json!([]), "{tool}");
    assert_eq!(tool["callers"]["keys"][0]["agent"], "ann", "{tool}");
    assert_eq!(tool["callers"]["rules"].as_array().map(Vec::len), Some(1), "{tool}");
    let shown = stdout(&bench.run(&["review", "cal"]));
    assert!(shown.contains("days_between") && shown.contains("agent ann"), "{shown}");
    // Nothing has become of it by being looked at.
    assert_eq!(bench.lives("cal"), ["1 draft 0"]);
}

#[test]
fn a_lock_file_has_what_registered_servers_show_too() {
    let config = "servers: {}\nregistry: { allow_private: true }\npins: { lock: tollgate.lock }\n";
    let bench = Bench::new(config);
    let (_server, url) = calendar();
    bench.json(&["add", "cal", "--url", &url]);
    bench.json(&["submit", "cal"]);
    bench.json(&["approve", "cal"]);
    let locked = run(&["pins", "lock", "-c", &bench.config]);
    assert!(locked.status.success(), "{}", stderr(&locked));
    let text = std::fs::read_to_string(bench.folder.path("tollgate.lock")).expect("a lock file");
    assert!(text.contains("days_between"), "{text}");
    let checked = run(&["pins", "check", "-c", &bench.config]);
    assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));
}
