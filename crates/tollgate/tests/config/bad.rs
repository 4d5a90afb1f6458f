//! Files that are wrong, and what is said of them.

use super::{Bench, yaml};
use tollgate::config::Severity;

/// Files of our own, each with what is said of it: every line is one problem.
const CASES: &[(&str, &str, &str)] = &[
    ("an empty file", "", "1:1: the file is empty (it needs at least `servers`)"),
    ("no mapping", "- a\n", "1:1: expected a mapping, found a list"),
    (
        "misspelt keys and words, wrong kinds, values out of range",
        "listn: 127.0.0.1:80
servers:
  files:
    comand: npx
    args: -y
    isolation: sesion
    idle_ms: 5
    request_timeout_ms: \"500\"
    requestTimeoutMs: 500
",
        "\
1:1: listn: unknown key `listn` (did you mean `listen`?)
4:5: servers.files.comand: unknown key `comand` (did you mean `command`?)
5:11: servers.files.args: expected a list, found text (write it as a list: `[…]`)
6:16: servers.files.isolation: `sesion` is none of `shared`, `tenant`, `principal`, `session` (did you mean `session`?)
7:14: servers.files.idle_ms: 5 is not a whole number from 1000 to 604800000
8:25: servers.files.request_timeout_ms: expected a whole number, found text (write the number without quotes)
9:5: servers.files.requestTimeoutMs: unknown key `requestTimeoutMs` (did you mean `request_timeout_ms`?)
",
    ),
    (
        "a server that is everybody's and is not",
        "servers: { a: { url: \"http://x/\", isolation: principal, legacy_sessions: stateless } }\n",
        "1:74: servers.a.legacy_sessions: a `stateless` server is shared by all clients, and `isolation` keeps them apart\n",
    ),
    (
        "replicas that cannot be",
        "servers:
  a: { replicas: [] }
  b: { url: \"http://x/\", replicas: [{ url: \"http://x/\" }] }
  c: { command: x, replicas: [{ url: \"http://x/\" }] }
  d: { replicas: [{ url: \"http://x/\", version: a }, { weight: 2 }] }
  e: { replicas: [{ url: \"http://x/\", version: a }], version: b }
  f: { url: \"http://x/\", version: b, failover_percent: 0 }
  g: { command: x, circuit: { trials_max: 0 } }
  h: { url: \"http://x/\", health: { path: healthz } }
",
        "\
2:8: servers.a.replicas: needs at least one replica
3:26: servers.b.replicas: either `url` or `replicas`, and no `command`: each replica has a `url` of its own
4:20: servers.c.replicas: either `url` or `replicas`, and no `command`: each replica has a `url` of its own
5:53: servers.d.replicas[1]: needs a `url`
6:63: servers.e.version: no replica is of this version
7:35: servers.f.version: has no meaning for a server with a `url`
7:56: servers.f.failover_percent: 0 is not a whole number from 1 to 100
8:20: servers.g.circuit: has no meaning for a server with a `command`
8:43: servers.g.circuit.trials_max: 0 is not a whole number from 1 to 1000
9:42: servers.h.health.path: is no path that begins with `/`
",
    ),
    ("a client's word", "mcpServers: {}\n", "1:1: mcpServers: unknown key `mcpServers` (did you mean `servers`?)"),
    (
        "foreign keys and doubled ones",
        "servers:
  a:
    type: http
    url: htp://x
  a:
    command: x
",
        "\
3:5: servers.a.type: unknown key `type` (did you mean `transport`?)
4:10: servers.a.url: `htp://x` is no http or https URL
5:3: servers.a: the key `a` is already in line 2
",
    ),
    (
        "servers that cannot be",
        "servers:
  My Server: { command: x }
  b: {}
  c: { command: x, url: \"http://a\" }
  d: { url: \"https://u:p@a/\" }
  e: { url: search.example.com/mcp }
  f: { url: \"https://a/#x\" }
  g: { url: \"https://a/\", transport: stdio, cwd: / }
  h: { command: x, transport: http, headers: { A: b } }
  i: { command: x, backoff_ms_min: 9, backoff_ms_max: 8 }
  日本: { command: x }
  k:
",
        "\
2:3: servers.\"My Server\": \"My Server\" cannot be a name: a name has ASCII letters, digits, `-` and single `_`, and begins and ends with a letter or digit (write `My-Server`)
3:3: servers.b: needs a `command` to start or a `url` to reach
4:25: servers.c.url: either `command` or `url`: a server is started or reached, not both
5:13: servers.d.url: a URL must not carry a user name or password (put the credential into `headers`: `Authorization: \"Bearer ${TOKEN}\"`)
6:13: servers.e.url: `search.example.com/mcp` is no http or https URL (did you mean `https://search.example.com/mcp`?)
7:13: servers.f.url: a fragment (`#…`) is never sent to a server
8:38: servers.g.transport: stdio needs a `command`, not a `url`
8:50: servers.g.cwd: has no meaning for a server with a `url`
9:31: servers.h.transport: this transport needs a `url`, not a `command`
9:37: servers.h.headers: has no meaning for a server with a `command`
10:36: servers.i.backoff_ms_min: `backoff_ms_min` is longer than `backoff_ms_max`
11:3: servers.日本: \"日本\" cannot be a name: a name has ASCII letters, digits, `-` and single `_`, and begins and ends with a letter or digit
12:3: servers.k: expected a mapping, found nothing
",
    ),
    (
        "bounds that contradict each other",
        "limits: { task_poll_ms_max: 50 }
servers: { a: { command: x } }
",
        "\
1:29: limits.task_poll_ms_max: `task_poll_ms_min` is longer than `task_poll_ms_max`
",
    ),
    (
        "headers",
        "servers:
  a:
    url: https://a/mcp
    headers:
      X Y: 1
      Host: a
      Mcp-Name: a
      Accept: \"*/*\"
      X-A: one
      x-a: two
      X-B: \"a\\nb\"
      X-C: \"Bearer ${TOKEN}\"
      X-D: { fil: a }
      X-E: { file: nowhere }
      X-F: { file: folder }
      X-G: { file: empty }
",
        "\
5:12: servers.a.headers.\"X Y\": cannot be the name of a header
6:13: servers.a.headers.Host: the gateway sets this header itself
7:17: servers.a.headers.Mcp-Name: the gateway sets this header itself
8:15: servers.a.headers.Accept: the gateway sets this header itself
10:12: servers.a.headers.x-a: the same header twice: upper and lower case do not count
11:12: servers.a.headers.X-B: the value has characters that HTTP does not allow in a header
12:20: servers.a.headers.X-C: the environment variable `TOKEN` is not set (set it, or give a default: `${TOKEN:-…}`)
13:14: servers.a.headers.X-D.fil: unknown key `fil` (did you mean `file`?)
14:20: servers.a.headers.X-E.file: nowhere does not exist
15:20: servers.a.headers.X-F.file: folder is a directory
16:20: servers.a.headers.X-G.file: empty is empty
",
    ),
    (
        "variables",
        "servers:
  a:
    command: x
    args: [\"${\", \"${1A}\", \"${A:-${B}}\", \"${config:x}\", \"${workspaceFolder}\", \"$${A}\", \"${input:my-key}\"]
    env: { X: ~, \"\": y, \"A=B\": z }
limits:
  sessions_max: ${MANY}
  in_flight_max: ${WORD}
",
        "\
4:13: servers.a.args[0]: `${` is not closed (close it with `}`; `$${` stands for `${` itself)
4:19: servers.a.args[1]: `${1A}` names no environment variable (write `${NAME}` or `${NAME:-default}`; `$${` stands for `${` itself)
4:42: servers.a.args[3]: `${config:x}` names no environment variable (write `${NAME}` or `${NAME:-default}`; `$${` stands for `${` itself)
4:57: servers.a.args[4]: the environment variable `workspaceFolder` is not set (set it, or give a default: `${workspaceFolder:-…}`)
4:88: servers.a.args[6]: an editor asks its user for `my-key`; a gateway has nobody to ask (set the environment variable `MY_KEY`)
5:12: servers.a.env.X: expected text or a mapping, found nothing (an empty text is written `\"\"`)
5:22: servers.a.env.\"\": cannot be the name of an environment variable
5:32: servers.a.env.\"A=B\": cannot be the name of an environment variable
7:17: limits.sessions_max: 99999999999 is not a whole number from 1 to 10000000
8:18: limits.in_flight_max: expected a whole number, found text
",
    ),
    (
        "a variable that is not set, and nothing that only follows from it",
        "public_url: ${NOBODY}
servers: { a: { url: \"${NOBODY}\" } }
guard: { pseudonyms: { key: \"${NOBODY}\" } }
",
        "\
1:13: public_url: the environment variable `NOBODY` is not set (set it, or give a default: `${NOBODY:-…}`)
2:23: servers.a.url: the environment variable `NOBODY` is not set (set it, or give a default: `${NOBODY:-…}`)
3:30: guard.pseudonyms.key: the environment variable `NOBODY` is not set (set it, or give a default: `${NOBODY:-…}`)
",
    ),
    (
        "where and how to listen",
        "listen: 0.0.0.0:8080
admin_listen: 8081
public_url: http://tools.example.com
allowed_hosts: [\"https://a\", \"a:1\", \"a/b\", \"u@a\"]
allowed_origins: [\"*\", https://a/b, \"null\", https://a/]
trusted_proxies: [10.0.0.0/64, ten]
tls: { certificate: a.pem }
admin_tls: { certificate: empty, key: missing.pem }
servers: { a: { command: x } }
",
        "\
1:9: listen: 0.0.0.0:8080 is no loopback address: with no identity configured, everyone who reaches it could use every server (say under `identity` by what callers are known, or listen on 127.0.0.1:8080 and put a reverse proxy that authenticates callers in front)
2:15: admin_listen: expected text, found a number (write it in quotes)
3:13: public_url: http is only for loopback addresses (clients send their credentials there: use https)
4:17: allowed_hosts[0]: `https://a` is no value of `Host` (write `tools.example.com` or `tools.example.com:8443`)
4:37: allowed_hosts[2]: `a/b` is no value of `Host` (write `tools.example.com` or `tools.example.com:8443`)
4:44: allowed_hosts[3]: `u@a` is no value of `Host` (write `tools.example.com` or `tools.example.com:8443`)
5:19: allowed_origins[0]: `*` is no web origin (write scheme, host and port only: `https://app.example.com`)
5:24: allowed_origins[1]: `https://a/b` is no web origin (write scheme, host and port only: `https://app.example.com`)
5:37: allowed_origins[2]: `null` is no web origin (write scheme, host and port only: `https://app.example.com`)
5:45: allowed_origins[3]: `https://a/` is no web origin (write scheme, host and port only: `https://app.example.com`)
6:19: trusted_proxies[0]: `10.0.0.0/64` is no address and no block of addresses (write `10.0.0.7` or `10.0.0.0/8`)
6:32: trusted_proxies[1]: `ten` is no address and no block of addresses (write `10.0.0.7` or `10.0.0.0/8`)
7:1: tls: TLS needs both `certificate` and `key`
8:39: admin_tls.key: missing.pem does not exist
",
    ),
    ("a port alone", "listen: ':9000'\nadmin_listen: http://127.0.0.1:1x\nservers: { a: { command: x } }\n", "\
1:9: listen: `:9000` is no address with a port (write `127.0.0.1:9000`)
2:15: admin_listen: `http://127.0.0.1:1x` is no address with a port (an address has no scheme: write `127.0.0.1:8080`)
"),
    ("one address for both", "listen: localhost:9000\nadmin_listen: 127.0.0.1:9000\nservers: { a: { command: x } }\n", "2:15: admin_listen: the same address as `listen`"),
    ("a public URL with too much", "public_url: https://a/?x\nservers: { a: { command: x } }\n", "1:13: public_url: a public URL has no user name, password, query or fragment"),
    ("a public URL that is none", "public_url: tools.example.com\nservers: { a: { command: x } }\n", "1:13: public_url: `tools.example.com` is no http or https URL (write it whole: `https://tools.example.com`)"),
    (
        "toolsets",
        "servers:
  files: { command: x }
  off: { command: x, disabled: true }
toolsets:
  files: {}
  s:
    tools:
      - files__read
      - { tool: fils__read }
      - { tool: files__read, rename: \"a b\" }
      - { tool: files__write, rename: files__read }
      - read
      - { server: files, tool: \"*\", rename: x, description: d, arguments: { a: 1 } }
      - { server: files }
      - 5
      - off__x
      - files__a_0123456789
      - { server: nobody, tool: x, rename: \"\" }
    resources:
      - { uri: a }
      - { server: fles }
    prompts:
      - hello
      - { server: files, promt: hello }
",
        "\
5:3: toolsets.files: `files` is a server already; servers and toolsets share one set of names (rename the toolset)
9:17: toolsets.s.tools[1].tool: there is no server `fils` (did you mean `files`?)
10:38: toolsets.s.tools[2].rename: a name has only letters, digits, `_`, `.` and `-`
11:9: toolsets.s.tools[3]: `files__read` is already the name of toolsets.s.tools[0] (give one of them another `rename`)
12:9: toolsets.s.tools[4]: `read` does not say which server has the tool (write `SERVER__read`, or add `server`)
13:45: toolsets.s.tools[5].rename: only a single one can be renamed
13:61: toolsets.s.tools[5].description: only a single tool can be described
13:64: toolsets.s.tools[5].arguments: arguments can be pinned for a single tool only
14:9: toolsets.s.tools[6]: `tool` is missing (`tool: \"*\"` chooses all of them)
15:9: toolsets.s.tools[7]: expected text or a mapping, found a number (write it in quotes)
16:9: toolsets.s.tools[8]: left out: the server `off` is disabled
17:9: toolsets.s.tools[9]: `files__a_0123456789` is a shortened public name, which does not say the server's own (write `server` and the server's own name of the tool)
18:19: toolsets.s.tools[10].server: there is no server `nobody`
18:44: toolsets.s.tools[10].rename: has 0 characters; 1 to 64 are allowed
20:9: toolsets.s.resources[0]: `server` is missing
21:19: toolsets.s.resources[1].server: there is no server `fles` (did you mean `files`?)
23:9: toolsets.s.prompts[0]: `hello` does not say which server has the prompt (write `SERVER__hello`, or add `server`)
24:26: toolsets.s.prompts[1].promt: unknown key `promt` (did you mean `prompt`?)
",
    ),
    ("an open quote", "servers:\n  a:\n    command: \"x\n", "4:1: not YAML: invalid indentation in multiline quoted scalar (a closing quote may be missing further up)"),
    ("tabs", "servers:\n\ta: 1\n", "2:2: not YAML: tabs disallowed within this context (block indentation) (YAML is indented with spaces, never with tabs)"),
    ("two documents", "servers: { a: { command: x } }\n---\nb: 1\n", "2:1: a second YAML document begins here (one file holds one configuration)"),
    ("a tag", "servers: !include a.yaml\n", "1:19: the tag `!include` means nothing here (leave it out)"),
    (
        "numbers",
        "limits: { sessions_max: 0, body_bytes_max: 1.5, body_timeout_ms: ten, in_flight_max: null, list_pages_max: -1 }
servers: { a: { command: x, args: [a, [b], null], disabled: maybe } }
",
        "\
1:25: limits.sessions_max: 0 is not a whole number from 1 to 10000000
1:44: limits.body_bytes_max: 1.5 is not a whole number from 1024 to 1073741824
1:66: limits.body_timeout_ms: expected a whole number, found text
1:108: limits.list_pages_max: -1 is not a whole number from 1 to 100000
2:39: servers.a.args[1]: expected text, found a list
2:44: servers.a.args[2]: expected text, found nothing (an empty text is written `\"\"`)
2:61: servers.a.disabled: expected true or false, found text
",
    ),
];

#[test]
fn every_problem_is_told_with_its_place() {
    let mut wrong = Vec::new();
    for (case, content, expected) in CASES {
        let bench = yaml(content)
            .file("empty", "")
            .file("folder/x", "")
            .var("MANY", "99999999999")
            .var("WORD", "s3cret");
        let said = bench.bad("tollgate.yaml").replace("tollgate.yaml:", "");
        if said != expected.trim_end() {
            wrong.push(format!("## {case}\n{said}\n"));
        }
    }
    assert!(wrong.is_empty(), "said otherwise:\n\n{}", wrong.join("\n"));
}

/// JSON files, of clients and our own.
const JSON_CASES: &[(&str, &str, &str)] = &[
    (
        "a missing comma",
        "{\n  \"mcpServers\": {\n    \"a\": { \"command\": \"x\" }\n    \"b\": {}\n  }\n}",
        "3:28: expected `,` or `}` (a comma is missing here)",
    ),
    (
        "who may call, in a client's file",
        "{\"mcpServers\": {\"a\": {\"command\": \"/\"}}, \"identity\": {}}",
        "1:41: identity: no effect in a client's file: what it is to keep out would be let in (write a tollgate.yaml, which has its servers under `servers`)",
    ),
    ("cut off", "{ \"mcpServers\": {\n", "2:1: the file ends before `{` of line 1 is closed (a `}` is missing)"),
    (
        "a doubled server",
        "{\"mcpServers\": {\"a\": {\"command\": \"x\"}, \"\\u0061\": {\"command\": \"y\"}}}",
        "1:40: mcpServers.a: the key `a` is already in line 1",
    ),
    (
        "labels that become one name",
        "{\"mcpServers\": {\"My Server\": {\"command\": \"x\"}, \"My-Server\": {\"command\": \"y\"}, \"日本\": {\"command\": \"z\"}}}",
        "\
1:48: mcpServers.My-Server: `My Server` and `My-Server` both become `My-Server` (rename one of them)
1:79: mcpServers.日本: \"日本\" cannot be a name: a name needs at least one ASCII letter or digit (rename the server)
",
    ),
    (
        "what no gateway can do",
        "{\"mcpServers\": {\n\"a\": {\"type\": \"ws\", \"url\": \"wss://a\"},\n\"b\": {},\n\"c\": {\"command\": 5, \"args\": {}},\n\"d\": \"npx\",\n\"e\": {\"type\": \"sse\", \"command\": \"x\"}\n}}",
        "\
2:15: mcpServers.a.type: `ws` is none of `http`, `sse`, `stdio`
2:28: mcpServers.a.url: `wss://a` is no http or https URL
3:1: mcpServers.b: needs a `command` to start or a `url` to reach
4:18: mcpServers.c.command: expected text, found a number (write it in quotes)
5:6: mcpServers.d: expected a mapping, found text
6:15: mcpServers.e.type: this transport needs a `url`, not a `command`
",
    ),
    (
        "questions without an answer",
        "{\"inputs\": [{\"id\": \"api-key\"}], \"servers\": {\"a\": {\"url\": \"https://a\", \"headers\": {\"X\": \"${input:api-key}\", \"Y\": \"${config:y}\"}}}}",
        "\
1:89: servers.a.headers.X: an editor asks its user for `api-key`; a gateway has nobody to ask (set the environment variable `API_KEY`)
1:114: servers.a.headers.Y: `${config:y}` names no environment variable (write `${NAME}` or `${NAME:-default}`; `$${` stands for `${` itself)
",
    ),
    ("neither", "{\"name\": \"x\", \"version\": \"1\"}", "\
1:2: name: unknown key `name`
1:15: version: unknown key `version`
"),
    ("no object", "[1]", "1:1: expected a mapping, found a list"),
    ("our own in JSON", "{\"servers\": {\"a\": {\"comand\": \"x\", \"era\": \"old\"}}}", "\
1:20: servers.a.comand: unknown key `comand` (did you mean `command`?)
1:42: servers.a.era: `old` is none of `auto`, `legacy`, `modern`
"),
];

#[test]
fn problems_of_json_files_are_told_the_same_way() {
    let mut wrong = Vec::new();
    for (case, content, expected) in JSON_CASES {
        let said = Bench::new().file("c.json", content).bad("c.json").replace("c.json:", "");
        if said != expected.trim_end() {
            wrong.push(format!("## {case}\n{said}\n"));
        }
    }
    assert!(wrong.is_empty(), "said otherwise:\n\n{}", wrong.join("\n"));
}

#[test]
fn a_problem_is_shown_in_its_line() {
    let bench = yaml("servers:\n  files:\n    comand: npx\n");
    let error = bench.load("tollgate.yaml").expect_err("misspelt");
    assert_eq!(
        bench.plain(&error.render(false)),
        "\
error: servers.files.comand: unknown key `comand`
 --> tollgate.yaml:3:5
3 |     comand: npx
  |     ^^^^^^
  help: did you mean `command`?

1 error
"
    );
    assert!(error.render(true).contains("\u{1b}[1;31merror\u{1b}[0m"));
    let problem = &error.problems[0];
    assert_eq!((problem.severity, problem.line, problem.column), (Severity::Error, 3, 5));
    let json = error.to_json();
    assert_eq!(json["problems"][0]["path"], "servers.files.comand");
    assert_eq!(json["problems"][0]["severity"], "error");
    assert_eq!(json["problems"][0]["suggestion"], "did you mean `command`?");
    assert_eq!(json["problems"][0].get("source"), None);
}

/// Neither in messages, nor in the lines shown, nor in debug output.
#[test]
fn secrets_are_never_shown() {
    let bench = yaml(
        "servers:
  a: { url: \"${URL}\", headers: { Authorization: hunter2, X: \"${BAD}\" }, isolation: \"${WORD}\", oops: 1 }
  b: { command: x, env: { PLAIN: hunter2, oops: { file: missing } }, timeout: 5 }
listen: ${WORD}
public_url: ${WORD}
trusted_proxies: [\"${WORD}\"]
allowed_hosts: [\"${URL}\"]
",
    )
    .var("URL", "ftp://hunter2@x y")
    .var("BAD", "hunter2\nx")
    .var("WORD", "hunter2");
    let error = bench.load("tollgate.yaml").expect_err("wrong");
    assert!(error.problems.len() >= 8, "{error}");
    for text in [error.to_string(), error.render(false), error.to_json().to_string(), format!("{error:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    let broken =
        Bench::new().file("c.json", "{\"mcpServers\": {\"a\": {\"env\": {\"API_KEY\": \"hunter2\",, }}}}");
    let error = broken.load("c.json").expect_err("broken");
    assert!(!error.render(false).contains("hunter2"), "{}", error.render(false));
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let bench = Bench::new()
        .file("latin.yaml", b"servers:\n  a: { command: \"\xe9\" }\n")
        .file("huge.yaml", " ".repeat(tollgate::config::FILE_BYTES_MAX + 1))
        .file("folder/x", "");
    assert_eq!(bench.bad("latin.yaml"), "latin.yaml: the file is not UTF-8 in line 2 (save it as UTF-8)");
    assert_eq!(bench.bad("huge.yaml"), "huge.yaml: the file is larger than 4194304 bytes");
    assert!(bench.bad("folder").starts_with("folder: the file cannot be read"));
    assert!(bench.bad("none.yaml").starts_with("none.yaml: the file cannot be read"));
}

#[test]
fn a_file_full_of_problems_is_told_in_part() {
    let servers: Vec<String> = (0..500).map(|n| format!("  s{n}: {{ comand: x }}\n")).collect();
    let content = format!("servers:\n{}", servers.concat());
    let error = yaml(&content).load("tollgate.yaml").expect_err("wrong");
    assert_eq!((error.problems.len(), error.left_out), (100, 400));
    assert!(error.to_string().ends_with("and 400 more"));
    assert!(error.render(false).ends_with("500 errors\n"));
}

#[test]
fn missing_files_are_named_so_that_they_can_be_watched() {
    let bench = yaml("servers: { a: { url: https://a, headers: { X: { file: later } } } }");
    let error = bench.load("tollgate.yaml").expect_err("missing");
    assert_eq!(error.files, [bench.folder.path().join("later")]);
}
