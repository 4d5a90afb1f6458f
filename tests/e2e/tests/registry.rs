//! Servers that are registered while gateways run: their whole life on the command line of a real gateway, seen by clients of two
//! gateways that share a store.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::time::Instant;

use serde_json::{Value, json};
use tokio::process::Command;
use tollgate_database::Server;
use tollgate_e2e::gateway::{EVERYBODY, Gateway, binary, http, servers, with};
use tollgate_e2e::guarded::{BASE, declared, unthrottled};
use tollgate_e2e::prompt::at_once;
use tollgate_testkit::fake::stdio::Stage;
use tollgate_testkit::fake::{
    Answer, Ask, Call, Dialect, FakeServer, Http, HttpPeer, Peer, Script, soon, until,
};
use tollgate_testkit::issuer::api_key;

const CHILD: &str = env!("CARGO_BIN_EXE_fake-stdio-server");
const TOOLS: [&str; 3] = ["echo", "count", "gate"];

/// Two gateways on one store, whose file names one server.
struct Replicas {
    gateways: Vec<Gateway>,
    /// The server of the file.
    old: FakeServer,
    /// The server that is registered.
    crm: FakeServer,
    config: Value,
}

impl Replicas {
    async fn start(members: Value) -> Self {
        let old = FakeServer::start(Script::modern().with_tools(["echo", "gate"])).await;
        let crm = FakeServer::start(Script::modern().with_tools(TOOLS)).await;
        let config = servers([("old", http(&old.url()))]);
        let config =
            with(&config, json!({ "registry": { "allow_private": true, "credentials": ["CRM_*"] } }));
        let config = with(&config, members);
        let first = Gateway::start_with(&config, &[("CRM_TOKEN", "t0p")]).await;
        let second = Gateway::start_on(&config, first.data()).await;
        Self { gateways: vec![first, second], old, crm, config }
    }

    async fn run(&self, words: &[&str]) -> Value {
        self.gateways[0].command(&[&["servers"], words, &["--json"]].concat()).await
    }

    async fn approved(&self, name: &str, version: &str, url: &str, more: &[&str]) {
        self.run(&["add", name, "--version", version, "--url", url]).await;
        self.run(&["submit", name, "--version", version]).await;
        self.run(&[&["approve", name, "--version", version], more].concat()).await;
    }

    /// What a command says that is refused.
    async fn refused(&self, words: &[&str]) -> String {
        let gateway = &self.gateways[0];
        let command = Command::new(binary())
            .arg("servers")
            .args(words)
            .arg("--config")
            .arg(gateway.folder().join("tollgate.yaml"))
            .arg("--data-dir")
            .arg(gateway.data())
            .output();
        let output = soon("a refusal", command).await.expect("the binary starts");
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// What is on record of this.
async fn recorded(gateway: &Gateway, filters: &[&str]) -> Vec<Value> {
    let command = Command::new(binary())
        .args(["audit", "search", "--json"])
        .args(filters)
        .arg("--config")
        .arg(gateway.folder().join("tollgate.yaml"))
        .arg("--data-dir")
        .arg(gateway.data())
        .output();
    let output = soon("what is on record", command).await.expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

async fn call(gateway: &Gateway, tool: &str) -> Answer {
    gateway.modern("/mcp").request(&Call::tool(tool, "{}")).await
}

/// How many tools of a server a gateway lists.
async fn listed(mut peer: Peer, server: &str) -> usize {
    peer.tools().await.iter().filter(|tool| tool.starts_with(server)).count()
}

/// Waits until every gateway lists so many tools of a server, within a second.
async fn listed_everywhere(replicas: &Replicas, server: &str, count: usize) {
    let since = Instant::now();
    for gateway in &replicas.gateways {
        let is_so =
            async || (listed(Peer::from(gateway.modern("/mcp")), server).await == count).then_some(());
        until("the list", is_so).await;
        at_once(server, since.elapsed());
    }
}

async fn a_whole_life(replicas: &Replicas) {
    listed_everywhere(replicas, "old__", 2).await;
    let crm = replicas.crm.url();
    for words in [
        &["add", "crm", "--url", &crm, "--header", "Authorization: Bearer ${CRM_TOKEN}"][..],
        &["submit", "crm"],
        &["reject", "crm", "--reason", "whose is it?"],
        &["add", "crm", "--url", &crm, "--owner", "sales"],
        &["submit", "crm"],
    ] {
        replicas.run(words).await;
        for gateway in &replicas.gateways {
            assert_eq!(call(gateway, "crm__echo").await.refusal(), "unknown_tool", "{words:?}");
            assert_eq!(listed(Peer::from(gateway.modern("/mcp")), "crm__").await, 0, "{words:?}");
        }
    }
    assert_eq!(replicas.crm.log().entries().len(), 0, "nobody has asked it anything");

    // Others' calls and sessions go on while it comes and goes.
    let mut waiting = Vec::new();
    for (nth, gateway) in replicas.gateways.iter().enumerate() {
        let (mut old, session) = (gateway.modern("/mcp"), gateway.legacy("/mcp").await);
        waiting.push(tokio::spawn(async move { old.request(&Call::tool("old__gate", "{}")).await }));
        waiting.push(tokio::spawn({
            let mut session = session;
            async move { session.request(&Call::tool("old__gate", "{}")).await }
        }));
        replicas.old.log().wait_method("tools/call", 2 * nth + 2).await;
    }
    replicas.run(&["approve", "crm", "--reason", "looked at"]).await;
    listed_everywhere(replicas, "crm__", 3).await;
    for gateway in &replicas.gateways {
        assert_eq!(call(gateway, "crm__echo").await.status, 200);
        assert_eq!(call(gateway, "old__echo").await.status, 200);
        // By itself too, and for clients of any era.
        assert_eq!(listed(Peer::from(gateway.modern("/mcp/crm")), "").await, 3);
        assert_eq!(listed(gateway.peer(Dialect::Legacy, "/mcp").await, "crm__").await, 3);
    }

    let deprecated =
        replicas.run(&["deprecate", "crm", "--sunset", "90d", "--reason", "crm2 is better"]).await;
    let sunset = deprecated[0]["sunset"].as_str().expect("a time").to_owned();
    for (gateway, path, name) in
        [(&replicas.gateways[0], "/mcp", "crm__echo"), (&replicas.gateways[1], "/mcp/crm", "echo")]
    {
        let said = until("a deprecation", async || {
            let answer = gateway.modern(path).request(&Call::new("tools/list", "")).await.value();
            let tools = answer["tools"].as_array().expect("tools").clone();
            let tool = tools.into_iter().find(|tool| tool["name"] == name).expect("the tool");
            tool["_meta"].get("dev.tollgate/deprecated").is_some().then_some(tool)
        })
        .await;
        assert_eq!(said["_meta"]["dev.tollgate/deprecated"]["sunset"], sunset, "{said}");
        let description = said["description"].as_str().expect("a description");
        assert!(description.ends_with(&format!("Deprecated: this tool will be gone after {sunset}.")));
        assert_eq!(call(gateway, "crm__echo").await.status, 200, "it is served until then");
    }

    // Retired with a call under way, which gets its answer.
    let before = replicas.crm.log().of_method("tools/call").len();
    let mut under_way = replicas.gateways[1].modern("/mcp");
    let under_way = tokio::spawn(async move { under_way.request(&Call::tool("crm__gate", "{}")).await });
    replicas.crm.log().wait_method("tools/call", before + 1).await;
    replicas.run(&["retire", "crm", "--reason", "over"]).await;
    listed_everywhere(replicas, "crm__", 0).await;
    for gateway in &replicas.gateways {
        assert_eq!(call(gateway, "crm__echo").await.refusal(), "unknown_tool");
    }
    replicas.crm.release();
    assert_eq!(soon("the answer", under_way).await.unwrap().status, 200);
    for _ in &waiting {
        replicas.old.release();
    }
    for waiting in waiting {
        let answer = soon("the answer", waiting).await.unwrap();
        assert_eq!((answer.status, answer.error()), (200, None), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_lives_at_both_gateways_on_a_file() {
    let replicas = Replicas::start(json!({})).await;
    a_whole_life(&replicas).await;
    // Each step is on record, once of each gateway.
    let acts =
        ["registered", "submitted", "rejected", "edited", "submitted", "approved", "deprecated", "retired"];
    let mut wanted: Vec<String> = acts.iter().chain(&acts).map(|act| format!("server.{act}")).collect();
    wanted.sort_unstable();
    until("every change on record", async || {
        let found = recorded(&replicas.gateways[1], &["--kind", "change"]).await;
        let mut words: Vec<&str> = found.iter().filter_map(|row| row["change"].as_str()).collect();
        words.retain(|word| word.starts_with("server."));
        words.sort_unstable();
        (words == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_lives_at_both_gateways_on_a_database() {
    a_whole_life(&Replicas::start(json!({ "store": { "url": Server::shared().database() } })).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_decide_of_registered_servers_too() {
    let old = FakeServer::start(Script::modern().with_tools(["echo"])).await;
    let crm = FakeServer::start(Script::modern().with_tools(TOOLS)).await;
    let config = servers([("old", http(&old.url()))]);
    let config = with(&config, json!({ "registry": { "allow_private": true } }));
    let identity = unthrottled(json!({ "keys": [declared("ann")] }));
    let policy = json!({ "files": [EVERYBODY] });
    let config = with(&config, json!({ "public_url": BASE, "identity": identity, "policy": policy }));
    let gateway = Gateway::start(&config).await;
    for words in
        [&["add", "crm", "--url", &crm.url(), "--risk", "high"][..], &["submit", "crm"], &["approve", "crm"]]
    {
        gateway.command(&[&["servers"], words, &["--json"]].concat()).await;
    }
    let approved = Instant::now();
    let own = |agent: &str| Peer::from(HttpPeer::modern(gateway.bearing(&api_key(agent)), "/mcp"));
    until("all tools", async || (listed(own("ann"), "crm__").await == 3).then_some(())).await;
    at_once("a registered server under policies", approved.elapsed());
    // A restart brings it back, before anybody is served.
    let mut gateway = gateway;
    gateway.restart().await;
    let mut ann = HttpPeer::modern(gateway.bearing(&api_key("ann")), "/mcp");
    assert_eq!(ann.request(&Call::tool("crm__echo", "{}")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_gets_a_part_of_the_requests_and_gives_it_back_in_one_act() {
    let replicas = Replicas::start(json!({})).await;
    let newer = FakeServer::start(Script::modern().with_tools(TOOLS)).await;
    replicas.approved("crm", "1", &replicas.crm.url(), &[]).await;
    listed_everywhere(&replicas, "crm__", 3).await;
    replicas.approved("crm", "2", &newer.url(), &["--share", "50"]).await;
    let calls = |server: &FakeServer| server.log().of_method("tools/call").len();
    let gateway = &replicas.gateways[1];
    let both = async || {
        assert_eq!(call(gateway, "crm__echo").await.status, 200);
        (calls(&newer) > 3 && calls(&replicas.crm) > 3).then_some(())
    };
    until("calls of both versions", both).await;
    replicas.run(&["rollback", "crm", "--reason", "errors"]).await;
    // Once both gateways know of it the new one gets nothing more.
    let old_only = async || {
        let before = calls(&newer);
        for _ in 0..20 {
            assert_eq!(call(gateway, "crm__echo").await.status, 200);
        }
        (calls(&newer) == before).then_some(())
    };
    until("calls of the old version alone", old_only).await;
    replicas.run(&["rollback", "crm", "--to", "2"]).await;
    let new_only = async || {
        let before = calls(&replicas.crm);
        for _ in 0..20 {
            assert_eq!(call(gateway, "crm__echo").await.status, 200);
        }
        (calls(&replicas.crm) == before).then_some(())
    };
    until("calls of the new version alone", new_only).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deprecated_ends_by_itself() {
    let replicas = Replicas::start(json!({})).await;
    replicas.approved("crm", "1", &replicas.crm.url(), &[]).await;
    listed_everywhere(&replicas, "crm__", 3).await;
    replicas.run(&["deprecate", "crm", "--sunset", "2s"]).await;
    for gateway in &replicas.gateways {
        until("its end", async || {
            (call(gateway, "crm__echo").await.refusal() == "unknown_tool").then_some(())
        })
        .await;
    }
    let life = async || {
        let shown = replicas.run(&["show", "crm"]).await;
        (shown[0]["life"] == "retired").then_some(shown[0]["last"]["reason"].clone())
    };
    assert_eq!(until("the store to know", life).await, "its sunset has come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_served_is_left_out_and_told_and_stops_nothing() {
    let mut replicas = Replicas::start(json!({})).await;
    replicas.approved("crm", "1", &replicas.crm.url(), &[]).await;
    replicas.run(&["add", "erp", "--url", &replicas.crm.url(), "--header", "X-Api-Key: ${CRM_OTHER}"]).await;
    replicas.run(&["submit", "erp"]).await;
    replicas.run(&["approve", "erp"]).await;
    listed_everywhere(&replicas, "crm__", 3).await;
    let gateway = &replicas.gateways[0];
    let told = until("a reason", async || {
        let degraded = gateway.readiness().await["degraded"].clone();
        let all = degraded.as_array().cloned().unwrap_or_default();
        all.into_iter().find(|part| part["part"] == "registry" && part["name"] == "erp@1")
    })
    .await;
    let reason = told["reason"].as_str().expect("a reason");
    assert!(reason.contains("the environment variable `CRM_OTHER` is not set"), "{reason}");
    gateway.logged("is not served here").await;
    assert_eq!(call(gateway, "erp__echo").await.refusal(), "unknown_tool");

    // A server of the file takes the name: the registered one steps back, and says why.
    let mut config = replicas.config.clone();
    config["servers"]["crm"] = http(&replicas.old.url());
    for gateway in &replicas.gateways {
        gateway.configure(&config);
        until("the file's own", async || {
            (listed(Peer::from(gateway.modern("/mcp")), "crm__").await == 2).then_some(())
        })
        .await;
        until("why the other is not served", async || {
            let degraded = gateway.readiness().await["degraded"].to_string();
            degraded.contains("there is another server `crm`, which goes first").then_some(())
        })
        .await;
    }
    // What is allowed no more is served no more, and after a restart neither.
    config["servers"].as_object_mut().unwrap().remove("crm");
    config["registry"] = json!({});
    replicas.gateways[0].configure(&config);
    until("nothing private", async || {
        let degraded = replicas.gateways[0].readiness().await["degraded"].to_string();
        degraded.contains("may not be at such an address").then_some(())
    })
    .await;
    assert_eq!(call(&replicas.gateways[0], "crm__echo").await.refusal(), "unknown_tool");
    replicas.gateways[0].restart().await;
    assert_eq!(call(&replicas.gateways[0], "crm__echo").await.refusal(), "unknown_tool");
    assert_eq!(call(&replicas.gateways[0], "old__echo").await.status, 200);
    let sh = replicas.refused(&["add", "sh", "--reason", "r", "--file", "/dev/null"]).await;
    assert!(sh.contains("is a mapping"), "{sh}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_toolset_has_what_it_chooses_of_a_registered_server_while_it_is_served() {
    let tools = json!(["old__echo", "crm__echo", { "server": "crm", "tool": "count", "rename": "counted" }]);
    let toolsets = json!({ "toolsets": { "sales": { "registered": ["crm"], "tools": tools } } });
    let replicas = Replicas::start(toolsets).await;
    let names = async |gateway: &Gateway| Peer::from(gateway.modern("/mcp/sales")).tools().await;
    for gateway in &replicas.gateways {
        assert_eq!(names(gateway).await, ["old__echo"]);
    }
    replicas.approved("crm", "1", &replicas.crm.url(), &[]).await;
    for gateway in &replicas.gateways {
        let all = async || (names(gateway).await == ["old__echo", "crm__echo", "counted"]).then_some(());
        until("all of the toolset", all).await;
        let mut peer = gateway.modern("/mcp/sales");
        assert_eq!(peer.request(&Call::tool("counted", "{}")).await.status, 200);
    }
    replicas.run(&["retire", "crm"]).await;
    for gateway in &replicas.gateways {
        until("the rest of it", async || (names(gateway).await == ["old__echo"]).then_some(())).await;
    }
}

async fn get(http: Http, path: &str) -> (u16, Value) {
    let reply = http.send(&Ask::new("GET", path)).await;
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
}

fn names(page: &Value) -> Vec<String> {
    let servers = page["servers"].as_array().unwrap_or_else(|| panic!("{page}"));
    servers.iter().map(|one| one["server"]["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_find_what_they_may_use_as_in_any_registry() {
    let crm = FakeServer::start(Script::modern().with_tools(TOOLS)).await;
    let identity = unthrottled(json!({ "keys": [declared("ann"), declared("bob")] }));
    let policy = "permit (principal in Agent::\"ann\", action, resource);";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ann.cedar");
    std::fs::write(&file, policy).unwrap();
    let config = servers([("old", http(&crm.url()))]);
    let config = with(
        &config,
        json!({
            "public_url": "https://tools.example.com/gate", "identity": identity, "policy": { "files": [file] },
            "registry": { "allow_private": true },
        }),
    );
    let gateway = Gateway::start(&config).await;
    let run = async |words: &[&str]| gateway.command(&[&["servers"], words, &["--json"]].concat()).await;
    for version in ["1.0.0", "2.0.0"] {
        run(&[
            "add",
            "crm",
            "--version",
            version,
            "--url",
            &crm.url(),
            "--description",
            "Customers",
            "--docs",
            "https://wiki.example.com/crm",
        ])
        .await;
        run(&["submit", "crm", "--version", version]).await;
        run(&["approve", "crm", "--version", version, "--share", "50"]).await;
    }
    run(&["add", "draft", "--url", &crm.url()]).await;
    let ann = || gateway.bearing(&api_key("ann"));
    let both = until("both versions", async || {
        let (status, page) = get(ann(), "/gate/v0.1/servers").await;
        (status == 200 && names(&page).len() == 3).then_some(page)
    })
    .await;
    assert_eq!(names(&both), ["com.example.tools/crm", "com.example.tools/crm", "com.example.tools/old"]);
    assert_eq!(both["metadata"], json!({ "count": 3 }));
    let official = "io.modelcontextprotocol.registry/official";
    let newest = get(ann(), "/v0.1/servers/com.example.tools%2Fcrm/versions/latest").await.1;
    assert_eq!(newest["server"]["version"], "2.0.0");
    assert_eq!(newest["server"]["description"], "Customers");
    assert_eq!(newest["server"]["websiteUrl"], "https://wiki.example.com/crm");
    assert_eq!(
        (&newest["_meta"][official]["status"], &newest["_meta"][official]["isLatest"]),
        (&json!("active"), &json!(true))
    );
    // Where the server is stays the gateway's own affair.
    let remote = json!([{ "type": "streamable-http", "url": "https://tools.example.com/gate/mcp/crm" }]);
    assert_eq!(newest["server"]["remotes"], remote);
    assert!(!both.to_string().contains(&crm.addr().port().to_string()), "{both}");
    let versions = get(ann(), "/v0.1/servers/com.example.tools/crm/versions").await.1;
    let of = |page: &Value| -> Vec<Value> {
        page["servers"].as_array().unwrap().iter().map(|one| one["server"]["version"].clone()).collect()
    };
    assert_eq!(of(&versions), ["2.0.0", "1.0.0"]);

    // By pages, and as asked for.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(ann(), &format!("/v0.1/servers?limit=1{cursor}")).await.1;
        seen.extend(names(&page));
        let Some(next) = page["metadata"]["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, names(&both));
    for (query, count) in [("search=CRM", 2), ("search=erp", 0), ("version=latest", 2), ("version=1.0.0", 2)]
    {
        let page = get(ann(), &format!("/v0.1/servers?{query}")).await.1;
        assert_eq!(names(&page).len(), count, "{query}: {page}");
    }
    for (path, status) in [
        ("/v0.1/servers?limit=0", 400),
        ("/v0.1/servers?updated_since=yesterday", 400),
        ("/v0.1/servers/com.example.tools%2Fdraft/versions", 404),
        ("/v0.1/servers/com.example.tools%2Fcrm/versions/3.0.0", 404),
        ("/v0.1/servers/com.example%2Fcrm/versions", 404),
        ("/v0.1/publish", 404),
    ] {
        let (said, body) = get(ann(), path).await;
        assert_eq!(said, status, "{path}: {body}");
    }
    let posted = ann().send(&Ask::new("POST", "/v0.1/servers").body("{}")).await;
    assert_eq!(posted.status, 405);

    // Behind the same door as all the rest, and nothing of it for those who may use nothing.
    assert_eq!(get(Http::new(gateway.listen), "/v0.1/servers").await.0, 401);
    let bob = || gateway.bearing(&api_key("bob"));
    assert_eq!(
        get(bob(), "/v0.1/servers").await,
        (200, json!({ "servers": [], "metadata": { "count": 0 } }))
    );
    assert_eq!(get(bob(), "/v0.1/servers/com.example.tools%2Fcrm/versions").await.0, 404);
    gateway.command(&["block", "server", "crm", "--reason", "leaks", "--json"]).await;
    until("nothing of what is blocked", async || {
        (names(&get(ann(), "/v0.1/servers").await.1) == ["com.example.tools/old"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_is_the_registry_of_another() {
    let crm = FakeServer::start(Script::modern().with_tools(TOOLS)).await;
    let here = Gateway::start(&servers([("crm", http(&crm.url())), ("erp", http(&crm.url()))])).await;
    let there = Gateway::start(&with(&servers([]), json!({ "registry": { "allow_private": true } }))).await;
    let run = async |words: &[&str]| there.command(&[&["servers"], words, &["--json"]].concat()).await;
    let registry = format!("http://{}", here.listen);
    let imported = run(&["import", &registry, "--only", "127.0.0.1/crm"]).await;
    assert_eq!((&imported[0]["name"], &imported[0]["life"]), (&json!("crm"), &json!("draft")));
    assert_eq!(imported[0]["reach"]["url"], format!("{registry}/mcp/crm"));
    let all = run(&["import", &format!("{registry}/v0.1/servers")]).await;
    assert_eq!(all.as_array().map(Vec::len), Some(2), "{all}");
    for words in [["submit", "erp"], ["approve", "erp"]] {
        run(&words).await;
    }
    until("a call through both", async || (call(&there, "erp__echo").await.status == 200).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_started_only_where_it_is_listed() {
    let stage = Stage::new(&Script::legacy().with_tools(["echo"]));
    let line = format!("{CHILD} {}", stage.path().display());
    let listed = |lines: &[&str]| with(&servers([]), json!({ "registry": { "stdio_commands": lines } }));
    let gateway = Gateway::start(&listed(&[line.as_str()])).await;
    let file = gateway.folder().join("fake.json");
    std::fs::write(&file, json!({ "command": CHILD, "args": [stage.path()] }).to_string()).unwrap();
    let file = file.to_string_lossy();
    for words in [&["add", "fake", "--file", &file][..], &["submit", "fake"], &["approve", "fake"]] {
        gateway.command(&[&["servers"], words, &["--json"]].concat()).await;
    }
    until("a child", async || (call(&gateway, "fake__echo").await.status == 200).then_some(())).await;
    gateway.configure(&listed(&["npx *"]));
    until("its end", async || {
        let is_told = gateway.readiness().await["degraded"].to_string().contains("may not be a command");
        (is_told && gateway.children().is_empty()).then_some(())
    })
    .await;
    assert_eq!(call(&gateway, "fake__echo").await.refusal(), "unknown_tool");
}
