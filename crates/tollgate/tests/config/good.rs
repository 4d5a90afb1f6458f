//! Files that are right, and what they mean.

use std::time::Duration;

use super::{Bench, yaml};
use tollgate::config::{Config, Format, Lack, check_listen};
use tollgate_catalog::{Pick, UriPick};
use tollgate_proxy::LoadSettings;
use tollgate_upstream::{
    EraChoice, HttpSettings, HttpVersion, Isolation, LegacySessions, RetrySettings, StdioSettings, Transport,
};

fn stdio<'c>(config: &'c Config, server: &str) -> &'c StdioSettings {
    match &config.servers.iter().find(|s| s.name.as_str() == server).expect("the server").transport {
        Transport::Stdio(stdio) => stdio,
        other @ (Transport::Http(_) | Transport::Sse(_)) => panic!("{other:?}"),
    }
}

fn http<'c>(config: &'c Config, server: &str) -> &'c HttpSettings {
    match &config.servers.iter().find(|s| s.name.as_str() == server).expect("the server").transport {
        Transport::Http(http) | Transport::Sse(http) => http,
        other @ Transport::Stdio(_) => panic!("{other:?}"),
    }
}

fn names(config: &Config) -> Vec<&str> {
    config.servers.iter().map(|server| server.name.as_str()).collect()
}

fn env(stdio: &StdioSettings) -> Vec<(&str, &str)> {
    stdio.env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

fn headers(http: &HttpSettings) -> Vec<(&str, &str)> {
    http.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

#[test]
fn a_toolset_chooses_from_registered_servers_that_it_names() {
    let file = "servers: { a: { url: 'http://127.0.0.1:1/mcp' } }\ntoolsets:\n  t:\n    registered: [crm]\n    \
                tools: [a__x, 'crm__*']\n    prompts: [{ server: crm, prompt: hello }]\n";
    let config = yaml(file).good("tollgate.yaml");
    let toolset = &config.tenants[0].toolsets[0];
    let tools: Vec<_> = toolset.tools.iter().map(|tool| tool.server.as_str()).collect();
    assert_eq!((tools, toolset.prompts[0].server.as_str()), (vec!["a", "crm"], "crm"));
    let misspelt = yaml(&file.replace("registered: [crm]", "registered: [crn, 'a b']")).bad("tollgate.yaml");
    assert!(misspelt.contains("there is no server `crm` (did you mean `crn`?)"), "{misspelt}");
    assert!(misspelt.contains("toolsets.t.registered[1]: is no name of a server"), "{misspelt}");
}

#[test]
fn every_key_reaches_its_setting() {
    let bench = yaml(
        "listen: localhost:9000
admin_listen: 0.0.0.0:9001
public_url: https://Tools.Example.com/gateway/
allowed_hosts: [Internal, 'internal:8080']
allowed_origins: [https://app.example.com]
trusted_proxies: [10.0.0.0/8, ::1]
tls: { certificate: cert.pem, key: key.pem }
admin_tls: { certificate: cert.pem, key: key.pem }
limits:
  body_bytes_max: 2048
  body_timeout_ms: 1
  requests_max: 17
  requests_bytes_max: 2097152
  lag_ms_max: 18
  message_bytes_max: 4096
  sessions_max: ${SESSIONS}
  session_idle_ms: 1000
  in_flight_max: 2
  stream_queue_max: 3
  keep_alive_ms: 100
  resume_events_max: 7
  resume_bytes_max: 2048
  resume_session_bytes_max: 8192
  resume_keep_ms: 2000
  resume_retry_ms: 3
  resume_after_ms: 4
  batch_max: 8
  list_pages_max: 5
  list_items_max: 6
  parked_max: 15
  parked_per_principal_max: 16
  tasks_followed_max: 8
  tasks_followed_per_principal_max: 9
  task_poll_ms_min: 10
  task_poll_ms_max: 11
  task_requests_per_s_max: 12
  task_ttl_ms: 1300
  tasks_known_max: 14
  tenant_share_percent: 20
servers:
  z:
    command: ./run.sh
    args: [a b, 1.10, true, '$${X}', '${HOME}/x', '${NONE:-d}', '${EMPTY:-d}', '${EMPTY}']
    env: { PORT: 0x10, KEY: { file: secret }, TOKEN: '${TOKEN}' }
    env_file: .env
    cwd: work
    isolation: tenant
    legacy_sessions: strict
    capacity_timeout_ms: 77
    instances_max: 3
    watched_max: 4
  a:
    url: https://a.example.com/mcp?x=${TOKEN}
    transport: sse
    headers: { Authorization: 'Bearer ${TOKEN}' }
    ca_file: cert.pem
    http_version: http2
    era: modern
    message_bytes_max: 8192
    connect_timeout_ms: 1
    probe_timeout_ms: 2
    request_timeout_ms: 3
    list_timeout_ms: 4
    idle_ms: 5000
    stop_timeout_ms: 6
    backoff_ms_min: 7
    backoff_ms_max: 8
    first_byte_timeout_ms: 9
    idle_timeout_ms: 10
    queue_timeout_ms: 11
    concurrency_max: 12
    queue_max: 13
    retries: 4
    retry_percent: 14
    retry_ms_min: 15
    retry_ms_max: 16
  off: { command: '${UNSET}', disabled: true }
toolsets:
  t:
    description: For all
    tools:
      - z__one
      - { tool: z__two, rename: second, description: d, arguments: { path: '${TOKEN}', n: 1e400, deep: { a: [null] } } }
      - { server: a, tool: '*' }
      - a__*
    resources: [{ server: a }, { server: a, uri: 'file:///x' }, { server: z, uri: 'file:///y/*' }]
    prompts: [z__hello, { server: z, prompt: bye, rename: ciao }]
",
    )
    .file("cert.pem", "c")
    .file("key.pem", "k")
    .file("secret", "s3cret\r\n")
    .file("run.sh", "")
    .file(".env", "# a comment\nexport PORT=1\nFROM_FILE='a b'\nQUOTED=\"x\\ny\"\nTRAILING=v # note\n\n")
    .file("work/x", "")
    .var("SESSIONS", "7")
    .var("HOME", "/home/me")
    .var("EMPTY", "")
    .var("TOKEN", "t0ken");
    let config = bench.good("tollgate.yaml");
    let at = |name: &str| bench.folder.path().join(name);

    assert_eq!(config.format, Format::Tollgate);
    assert_eq!(
        (config.listen.to_string(), config.admin_listen.to_string()),
        ("127.0.0.1:9000".into(), "0.0.0.0:9001".into())
    );
    let tls = config.tls.as_ref().expect("TLS");
    assert_eq!((&tls.certificate, &tls.key), (&at("cert.pem"), &at("key.pem")));
    assert_eq!(config.admin_tls, config.tls);
    let proxy = &config.proxy;
    assert_eq!(proxy.public_url.as_deref(), Some("https://tools.example.com/gateway"));
    assert_eq!(proxy.allowed_hosts, ["internal", "internal:8080"]);
    assert_eq!(proxy.allowed_origins, ["https://app.example.com"]);
    assert!(proxy.trusted_proxies[0].contains("10.1.2.3".parse().expect("an address")));
    assert_eq!((proxy.body_bytes_max, proxy.sessions_max, proxy.in_flight_max), (2048, 7, 2));
    assert_eq!((proxy.stream_queue_max, proxy.list_pages_max, proxy.list_items_max), (3, 5, 6));
    assert_eq!(proxy.tenant_share_percent, 20);
    assert_eq!(proxy.batch_max, 8);
    let resume = &proxy.resume;
    assert_eq!((resume.events_max, resume.bytes_max, resume.session_bytes_max), (7, 2048, 8192));
    let ms = Duration::from_millis;
    assert_eq!((resume.keep, resume.retry, resume.after), (ms(2000), ms(3), ms(4)));
    let tasks = &proxy.tasks;
    assert_eq!((tasks.followed_max, tasks.followed_per_principal_max, tasks.known_max), (8, 9, 14));
    assert_eq!((tasks.poll_min, tasks.poll_max, tasks.ttl), (ms(10), ms(11), ms(1300)));
    assert_eq!(tasks.requests_per_s_max, 12);
    assert_eq!((proxy.parked_max, proxy.parked_per_principal_max), (15, 16));
    let load = LoadSettings { requests_max: 17, bytes_max: 2 << 20, lag_max: ms(18) };
    assert_eq!(proxy.load, load);
    assert_eq!((proxy.body_timeout, proxy.session_idle, proxy.keep_alive), (ms(1), ms(1000), ms(100)));

    assert_eq!(names(&config), ["z", "a"]);
    let z = stdio(&config, "z");
    assert_eq!(z.command, at("run.sh").display().to_string());
    assert_eq!(z.args, ["a b", "1.10", "true", "${X}", "/home/me/x", "d", "d", ""]);
    assert_eq!(
        env(z),
        [
            ("FROM_FILE", "a b"),
            ("QUOTED", "x\ny"),
            ("TRAILING", "v"),
            ("PORT", "0x10"),
            ("KEY", "s3cret"),
            ("TOKEN", "t0ken")
        ]
    );
    assert_eq!(z.cwd, Some(at("work")));
    let server = &config.servers[0];
    assert_eq!((server.isolation, server.era), (Some(Isolation::Tenant), EraChoice::Auto));
    assert_eq!(server.legacy_sessions, LegacySessions::Strict);
    assert_eq!(server.timeouts.capacity, Duration::from_millis(77));
    assert_eq!(config.servers[1].legacy_sessions, LegacySessions::Pooled);
    assert_eq!((server.limits.instances_max, server.limits.message_bytes_max), (3, 4096));
    assert_eq!(server.limits.watched_max, 4);

    let a = http(&config, "a");
    assert!(matches!(config.servers[1].transport, Transport::Sse(_)));
    assert_eq!(a.url.to_string(), "https://a.example.com/mcp?x=t0ken");
    assert_eq!(headers(a), [("authorization", "Bearer t0ken")]);
    assert_eq!((a.ca_file.clone(), a.version), (Some(at("cert.pem")), HttpVersion::Http2));
    let server = &config.servers[1];
    assert_eq!((server.era, server.limits.message_bytes_max), (EraChoice::Modern, 8192));
    let times = &server.timeouts;
    assert_eq!((times.connect, times.probe, times.request, times.list), (ms(1), ms(2), ms(3), ms(4)));
    assert_eq!(
        (times.idle, times.stop, times.backoff_min, times.backoff_max),
        (ms(5000), ms(6), ms(7), ms(8))
    );

    assert_eq!((times.first_byte, times.silence, times.queue), (Some(ms(9)), ms(10), ms(11)));
    assert_eq!((server.limits.concurrency_max, server.limits.queue_max), (12, 13));
    let retries = RetrySettings { max: 4, percent: 14, wait_min: ms(15), wait_max: ms(16) };
    assert_eq!(server.retries, retries);

    let toolset = &config.tenants[0].toolsets[0];
    assert_eq!((toolset.name.as_str(), toolset.description.as_deref()), ("t", Some("For all")));
    let tools: Vec<_> =
        toolset.tools.iter().map(|tool| (tool.server.as_str(), &tool.pick, tool.rename.as_deref())).collect();
    let native = |text: &str| Pick::Native(text.to_owned());
    assert_eq!(
        tools,
        [
            ("z", &native("one"), None),
            ("z", &native("two"), Some("second")),
            ("a", &Pick::All, None),
            ("a", &Pick::All, None)
        ]
    );
    let pinned: Vec<_> = toolset.tools[1]
        .pinned
        .iter()
        .map(|(name, json)| (name.as_str(), std::str::from_utf8(json).expect("UTF-8")))
        .collect();
    assert_eq!(pinned, [("path", "\"t0ken\""), ("n", "1e400"), ("deep", "{\"a\":[null]}")]);
    let resources: Vec<_> = toolset.resources.iter().map(|choice| choice.uris.clone()).collect();
    assert_eq!(
        resources,
        [UriPick::All, UriPick::Exact("file:///x".into()), UriPick::Prefix("file:///y/".into())]
    );
    assert_eq!(toolset.prompts[1].rename.as_deref(), Some("ciao"));

    assert_eq!(config.files, [at(".env"), at("cert.pem"), at("key.pem"), at("secret")]);
    assert_eq!(config.warnings, []);
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = yaml("servers:\n  a: { url: 'http://127.0.0.1:1/mcp' }\ntoolsets:\n").good("tollgate.yaml");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.proxy, tollgate_proxy::ProxySettings::default());
    assert_eq!(config.servers[0].timeouts, tollgate_upstream::Timeouts::default());
    assert_eq!(config.tenants[0].toolsets, []);
    assert_eq!(config.tenants.len(), 1);
    let config = Bench::new().file("t.yaml", "\u{feff}servers: {}\n").good("t.yaml");
    assert_eq!(config.warnings.len(), 1, "no servers");
}

#[test]
fn our_own_format_may_be_json() {
    for content in [
        "{\"listen\": \"127.0.0.1:0\", \"servers\": {\"a\": {\"command\": \"/x\"}}}",
        "// a comment\n{\"servers\": {\"a\": {\"command\": \"/x\", \"isolation\": \"shared\"}},}",
        "{listen: '127.0.0.1:0', servers: {a: {command: /x}}}",
    ] {
        let config = Bench::new().file("c.yaml", content).good("c.yaml");
        assert_eq!((config.format, names(&config)), (Format::Tollgate, vec!["a"]), "{content}");
    }
}

#[test]
fn client_files_are_accepted_as_they_are() {
    let bench = Bench::new()
        .file(
            "claude_desktop_config.json",
            r#"{
  "globalShortcut": "",
  "mcpServers": {
    "filesystem": { "command": "npx", "args": ["-y", "x", 5], "env": { "DEBUG": true, "GONE": null, "H": "${HOME}" } },
    "My Search (prod)": { "type": "http", "url": "https://a.example.com/mcp", "headers": { "Authorization": "Bearer ${T:-none}" } },
    "cursor": { "url": "https://b.example.com/mcp", "command": "", "headers": { "Accept": "*/*", "X": "y" } },
    "windsurf": { "serverUrl": "https://c.example.com/sse", "disabled": false },
    "gemini": { "httpUrl": "https://d.example.com/mcp", "timeout": 5000, "trust": true },
    "streamable": { "type": "streamable-http", "url": "https://e.example.com/mcp" },
    "old": { "type": "sse", "url": "https://f.example.com/sse" },
    "cline": { "command": "x", "disabled": true, "autoApprove": ["a"], "timeout": 60, "args": ["${NOT_SET}"] },
    "zed": { "command": "x", "enabled": true, "type": "stdio", "envFile": ".env", "cwd": null }
  }
}"#,
        )
        .file(".env", "A=1\n")
        .var("HOME", "/home/me");
    let config = bench.good("claude_desktop_config.json");
    assert_eq!(config.format, Format::McpServers);
    assert_eq!(
        names(&config),
        ["filesystem", "My-Search-prod", "cursor", "windsurf", "gemini", "streamable", "old", "zed"]
    );
    let filesystem = stdio(&config, "filesystem");
    assert_eq!(filesystem.args, ["-y", "x", "5"]);
    assert_eq!(env(filesystem), [("DEBUG", "true"), ("H", "/home/me")]);
    assert_eq!(headers(http(&config, "My-Search-prod")), [("authorization", "Bearer none")]);
    assert_eq!(headers(http(&config, "cursor")), [("x", "y")]);
    assert_eq!(http(&config, "windsurf").url.to_string(), "https://c.example.com/sse");
    assert!(matches!(config.servers[6].transport, Transport::Sse(_)));
    assert_eq!(env(stdio(&config, "zed")), [("A", "1")]);
    let warnings: Vec<String> =
        config.warnings.iter().map(|warning| bench.plain(&warning.to_string())).collect();
    assert_eq!(
        warnings,
        [
            "claude_desktop_config.json:2:3: no effect in a gateway: `globalShortcut`",
            "claude_desktop_config.json:6:91: mcpServers.cursor.headers.Accept: the gateway sets this header itself",
            "claude_desktop_config.json:8:57: mcpServers.gemini: no effect in a gateway: `timeout`, `trust`",
            "claude_desktop_config.json:11:50: mcpServers.cline: no effect in a gateway: `autoApprove`, `timeout`",
        ]
    );
}

#[test]
fn vs_code_files_are_accepted_in_all_their_shapes() {
    let server = r#"{
      "command": "${workspaceFolder}/bin/x", // a comment
      "args": ["${userHome}", "${env:A}", "${input:api-key}", "${workspaceFolderBasename}"],
      "dev": { "watch": "x" },
    }"#;
    for (path, content) in [
        ("repo/.vscode/mcp.json", format!("{{\"inputs\": [], \"servers\": {{\"a\": {server}}},}}")),
        (
            "repo/settings.json",
            format!("{{\"editor.fontSize\": 12, \"mcp\": {{\"servers\": {{\"a\": {server}}}}}}}"),
        ),
        ("repo/settings.json", format!("{{\"mcp.servers\": {{\"a\": {server}}}}}")),
    ] {
        let bench = Bench::new()
            .file(path, &content)
            .file("repo/bin/x", "")
            .var("HOME", "/home/me")
            .var("A", "1")
            .var("API_KEY", "k");
        let config = bench.good(path);
        assert_eq!(config.format, Format::VsCode, "{content}");
        let a = stdio(&config, "a");
        assert_eq!(a.command, bench.folder.path().join("repo/bin/x").display().to_string());
        assert_eq!(a.args, ["/home/me", "1", "k", "repo"]);
    }
}

#[test]
fn tollgate_keys_in_a_clients_file_are_pointed_out() {
    let config = Bench::new()
        .file(
            "c.json",
            r#"{"listen": "127.0.0.1:1", "mcpServers": {"a": {"command": "/", "isolation": "shared"}}}"#,
        )
        .good("c.json");
    assert_eq!(config.listen.port(), 8080);
    let said: Vec<_> =
        config.warnings.iter().map(|w| (w.message.as_str(), w.suggestion.as_deref())).collect();
    let help = Some("Tollgate's own keys belong into a tollgate.yaml");
    assert_eq!(
        said,
        [("no effect in a gateway: `listen`", help), ("no effect in a gateway: `isolation`", help)]
    );
}

#[test]
fn commands_that_cannot_be_found_are_a_warning() {
    let bench = yaml("servers:\n  a: { command: tool }\n  b: { command: nowhere }\n  c: { command: bin/nothing, cwd: nowhere }\n  d: { command: tool -v }\n")
        .file("path/tool", "");
    let path = bench.folder.path().join("path").display().to_string();
    let bench = bench.var("PATH", &path);
    let config = bench.good("tollgate.yaml");
    let warnings: Vec<String> =
        config.warnings.iter().map(|warning| bench.plain(&warning.to_string())).collect();
    assert_eq!(
        warnings,
        [
            "tollgate.yaml:3:17: servers.b.command: `nowhere` is not found in `PATH` (install it, or write its whole path)",
            "tollgate.yaml:4:17: servers.c.command: `bin/nothing` does not exist",
            "tollgate.yaml:4:35: servers.c.cwd: nowhere is no directory",
            "tollgate.yaml:5:17: servers.d.command: `tool -v` is not found in `PATH` (write the program alone, and its arguments under `args`)",
        ]
    );
}

#[test]
fn aliases_are_followed() {
    let config = yaml(
        "servers:
  a: &a { url: 'http://a/mcp', headers: &h { X: 'y' } }
  b: { url: 'http://b/mcp', headers: *h }
",
    )
    .good("tollgate.yaml");
    assert_eq!(headers(http(&config, "b")), [("x", "y")]);
}

#[test]
fn without_identity_only_loopback_is_listened_on() {
    let config = yaml("servers: { a: { command: x } }").good("tollgate.yaml");
    for address in ["127.0.0.1:1", "[::1]:1", "127.9.9.9:0", "[::ffff:127.0.0.1]:1"] {
        assert_eq!(check_listen(address.parse().expect("an address"), &config), Ok(()));
    }
    for address in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "[::ffff:10.0.0.1]:1"] {
        assert!(check_listen(address.parse().expect("an address"), &config).is_err(), "{address}");
    }
}

/// From other machines the data plane is reached where callers are known, and where nobody on the way can read by what.
#[test]
fn others_reach_it_only_known_and_encrypted() {
    const SERVERS: &str = "servers: { a: { command: x } }\n";
    let lack = |text: &str| {
        let config = yaml(&format!("{SERVERS}{text}"))
            .file("cert.pem", "c")
            .file("key.pem", "k")
            .good("tollgate.yaml");
        let open = "192.0.2.1:8443".parse().expect("an address");
        check_listen(open, &config).err().map(|open| open.lack)
    };
    let issuer = "identity: { issuers: [{ issuer: 'https://idp.example.com' }] }\n";
    let tls = "tls: { certificate: cert.pem, key: key.pem }\n";
    assert_eq!(lack(tls), Some(Lack::Identity));
    assert_eq!(lack("identity: {}\n"), Some(Lack::Encryption));
    assert_eq!(lack("identity: {}\npublic_url: https://a.example\n"), Some(Lack::Encryption));
    assert_eq!(lack(&format!("identity: {{}}\n{tls}")), None);
    assert_eq!(lack("identity: {}\ntrusted_proxies: [10.0.0.0/8]\n"), None);
    assert_eq!(lack(&format!("{issuer}{tls}")), Some(Lack::PublicUrl));
    assert_eq!(lack(&format!("{issuer}{tls}public_url: https://a.example\n")), None);
    let anonymous = format!("{SERVERS}{tls}listen: 192.0.2.1:8443\nidentity: {{ anonymous: {{}} }}\n");
    let config = yaml(&anonymous).file("cert.pem", "c").file("key.pem", "k").good("tollgate.yaml");
    let warned = config.warnings.iter().any(|warning| warning.to_string().contains("agent `anonymous`"));
    assert!(warned, "{:?}", config.warnings);
}

#[test]
fn a_server_may_be_at_several_places() {
    let bench = yaml(
        "servers:
  s:
    replicas:
      - { url: https://a.example.com/mcp, weight: 9, version: 1.20 }
      - url: https://b.example.com/mcp?key=${TOKEN}
        version: '2'
        weight: 0
        priority: 3
        headers: { X-Key: '${TOKEN}' }
        ca_file: cert.pem
    version: 1.20
    failover_percent: 70
    headers: { Authorization: 'Bearer ${TOKEN}' }
    circuit:
      failures_max: 7
      trials_max: 2
      ejected_percent_max: 30
      outliers: { interval_ms: 500, requests_min: 5, margin_percent: 9 }
    health: { interval_ms: 100, timeout_ms: 3, unhealthy_after: 4, healthy_after: 5, path: /healthz?x }
  plain: { url: https://a.example.com/mcp, circuit: { outliers: { disabled: true } } }
",
    )
    .file("cert.pem", "c")
    .var("TOKEN", "t");
    let config = bench.good("tollgate.yaml");
    let http = http(&config, "s");
    assert_eq!(headers(http), [("authorization", "Bearer t")]);
    assert_eq!((http.pinned.as_deref(), http.failover_percent), (Some("1.20"), 70));
    let [one, other] = &http.replicas[..] else { panic!("two replicas") };
    assert_eq!(one.url, http.url);
    assert_eq!((one.weight, one.version.as_deref(), one.priority), (9, Some("1.20"), 0));
    assert_eq!(other.url, "https://b.example.com/mcp?key=t");
    assert_eq!((other.weight, other.version.as_deref(), other.priority), (0, Some("2"), 3));
    assert_eq!(other.headers[0].1.expose(), "t");
    assert!(other.ca_file.as_ref().is_some_and(|path| path.ends_with("cert.pem")));
    let circuit = &config.servers[0].circuit;
    assert_eq!((circuit.failures_max, circuit.trials_max, circuit.ejected_percent_max), (7, 2, 30));
    let ms = Duration::from_millis;
    let outliers = circuit.outliers.as_ref().expect("they are compared");
    assert_eq!((outliers.interval, outliers.requests_min, outliers.margin_percent), (ms(500), 5, 9));
    let health = config.servers[0].health.as_ref().expect("it is looked at");
    assert_eq!((health.interval, health.timeout), (ms(100), ms(3)));
    assert_eq!((health.unhealthy_after, health.healthy_after), (4, 5));
    assert_eq!(health.path.as_ref().map(http::uri::PathAndQuery::as_str), Some("/healthz?x"));
    assert_eq!(config.servers[1].circuit.outliers, None);
    assert_eq!(config.servers[1].health, None);
}
