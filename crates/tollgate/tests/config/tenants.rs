//! Tenants: whose servers and toolsets are, and what is said of servers.

use super::yaml;
use tollgate_model::{Holder, ServerName, TenantId};
use tollgate_proxy::ToolHandling;

const TWO: &str = "servers:
  docs: { url: 'http://127.0.0.1:1/docs', shared: true, owner: Platform team, environment: production, risk: low,
          scopes: [docs, docs, 'docs:read'],
          tools: { delete page: { risk: high, destructive: true, scopes: [docs.write] }, find: { read_only: true } } }
  notes: { url: 'http://127.0.0.1:1/notes' }
tenants:
  acme:
    servers:
      crm: { url: 'http://127.0.0.1:1/acme', headers: { Authorization: of-acme } }
    toolsets:
      sales: { tools: [crm__find, docs__find] }
  globex:
    servers:
      crm: { url: 'http://127.0.0.1:1/globex', headers: { Authorization: of-globex } }
      notes: { url: 'http://127.0.0.1:1/others' }
    toolsets:
      sales: { tools: [notes__find] }
  empty: {}
";

#[test]
fn one_name_is_another_server_with_every_tenant() {
    let config = yaml(TWO).good("tollgate.yaml");
    let of = |tenant: &str| -> Vec<String> {
        let tenant = TenantId::new(tenant);
        let own = config.servers.iter().filter(|server| server.holder.serves(&tenant));
        own.map(|server| server.id().label().to_string()).collect()
    };
    assert_eq!(of("default"), ["docs", "notes"]);
    assert_eq!(of("acme"), ["docs", "acme/crm"]);
    assert_eq!(of("globex"), ["docs", "globex/crm", "globex/notes"]);
    assert_eq!(of("empty"), ["docs"]);
    let tenants: Vec<_> =
        config.tenants.iter().map(|tenant| (tenant.id.as_str(), tenant.toolsets.len())).collect();
    assert_eq!(tenants, [("default", 0), ("acme", 1), ("globex", 1), ("empty", 0)]);
    assert_eq!(config.servers[0].holder, Holder::Shared);
}

#[test]
fn a_tenant_has_policies_of_its_own() {
    let bench =
        yaml("policy: { files: [own.cedar] }\ntenants: { acme: { policy: { files: [acme] } }, other: {} }\n")
            .file("own.cedar", "// own")
            .file("acme/a.cedar", "// acme's");
    let policies = bench.good("tollgate.yaml").policies;
    let texts = |tenant: &str| -> Vec<String> {
        let sources = policies.of(&TenantId::new(tenant)).tenant;
        sources.iter().map(|source| source.text.to_string()).collect()
    };
    assert_eq!(texts("default"), ["// own"]);
    assert_eq!(texts("acme"), ["// acme's"]);
    assert!(texts("other").is_empty());
}

#[test]
fn what_is_said_of_a_server_reaches_its_facts() {
    let config = yaml(TWO).good("tollgate.yaml");
    assert_eq!(config.facts.len(), 1, "nothing is said of the others");
    let facts = &config.facts[&config.servers[0].id()];
    let words = [&facts.owner, &facts.environment, &facts.risk].map(|word| word.as_deref().expect("a word"));
    assert_eq!(words, ["Platform team", "production", "low"]);
    assert_eq!(facts.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>(), ["docs", "docs:read"]);
    let tool = &facts.tools["delete page"];
    assert_eq!((tool.risk.as_deref(), tool.read_only, tool.destructive), (Some("high"), None, Some(true)));
    assert_eq!(tool.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>(), ["docs.write"]);
    assert_eq!(facts.tools["find"].read_only, Some(true));
}

/// Within a tenant's namespace every name is taken once; across tenants any may be taken again.
#[test]
fn names_that_are_taken_are_refused_where_they_stand() {
    let bench = yaml(
        "servers:
  docs: { url: 'http://127.0.0.1:1/', shared: true }
  notes: { url: 'http://127.0.0.1:1/' }
  off: { url: 'http://127.0.0.1:1/', shared: true, disabled: true }
tenants:
  acme:
    servers:
      docs: { url: 'http://127.0.0.1:1/' }
      crm: { url: 'http://127.0.0.1:1/', shared: true }
      off: { url: 'http://127.0.0.1:1/' }
    toolsets:
      docs: {}
      crm: {}
      notes: { tools: [notes__find, docks__find] }
  de__fault: {}
  default: { servers: {} }
",
    );
    assert_eq!(
        bench.bad("tollgate.yaml").replace("tollgate.yaml:", ""),
        "\
8:7: tenants.acme.servers.docs: `docs` is a shared server, which every tenant has under this name (rename one of them)
9:50: tenants.acme.servers.crm.shared: a tenant's server is its own (move it to `servers` at the top of the file to share it with every tenant)
10:7: tenants.acme.servers.off: `off` is a shared server, which every tenant has under this name (rename one of them)
12:7: tenants.acme.toolsets.docs: `docs` is a server already; servers and toolsets share one set of names (rename the toolset)
13:7: tenants.acme.toolsets.crm: `crm` is a server already; servers and toolsets share one set of names (rename the toolset)
14:24: tenants.acme.toolsets.notes.tools[0]: there is no server `notes`
14:37: tenants.acme.toolsets.notes.tools[1]: there is no server `docks` (did you mean `docs`?)
15:3: tenants.de__fault: \"de__fault\" cannot be a name: a name has ASCII letters, digits, `-` and single `_`, and begins and ends with a letter or digit (write `de_fault`)
16:3: tenants.default: the tenant `default` has what stands at the top of the file (move its servers and toolsets to the top)"
    );
}

#[test]
fn how_calls_are_handled_is_said_by_name_or_pattern() {
    let config = yaml(
        "servers:
  a:
    url: 'http://127.0.0.1:1/'
    trust_annotations: true
    tools:
      \"get_*\": { read_only: true, retries: 3 }
      slow: { idempotent: true, timeout_ms: 900000, first_byte_timeout_ms: 600000, idle_timeout_ms: 30000 }
      risky: { risk: high }
  b: { url: 'http://127.0.0.1:1/', tools: { x: { scopes: [a] } } }
",
    )
    .good("tollgate.yaml");
    let [a, b] = &config.servers[..] else { panic!("two servers") };
    let handling = &config.proxy.handling[&a.id()];
    assert!(handling.trust_annotations && !config.proxy.handling.contains_key(&b.id()));
    assert_eq!((handling.of("get_x").read_only, handling.of("get_x").retries), (Some(true), Some(3)));
    let slow = handling.of("slow");
    let waits =
        [slow.timeout, slow.first_byte_timeout, slow.idle_timeout].map(|wait| wait.expect("said").as_secs());
    assert_eq!((slow.idempotent, waits), (Some(true), [900, 600, 30]));
    assert_eq!(handling.of("risky"), ToolHandling::default());
    let facts: Vec<&str> = config.facts[&a.id()].tools.keys().map(|native| &**native).collect();
    assert_eq!(facts, ["risky"], "policies are told of single tools only, and of what is about them");
}

#[test]
fn what_is_kept_is_said_for_all_for_a_server_and_for_a_tool() {
    let config = yaml(
        "cache: { bytes_max: 100000, entry_bytes_max: 2000, list_ttl_ms_max: 1, list_ttl_ms: 2, read_ttl_ms_max: 3, stale_ms_max: 4 }
servers:
  a:
    url: 'http://127.0.0.1:1/'
    cache: { enabled: false, list_ttl_ms: 5, read_ttl_ms: 6, stale_ms_max: 7 }
    tools: { \"get_*\": { read_only: true, idempotent: true, cache_ttl_ms: 8 } }
  b: { url: 'http://127.0.0.1:1/' }
",
    )
    .good("tollgate.yaml");
    let cache = &config.proxy.cache;
    assert_eq!((cache.enabled, cache.bytes_max, cache.entry_bytes_max), (true, 100_000, 2000));
    let waits = [cache.list_ttl_max, cache.list_ttl, cache.read_ttl_max, cache.stale_max];
    assert_eq!(waits.map(|wait| wait.as_millis()), [1, 2, 3, 4]);
    let [a, b] = &config.servers[..] else { panic!("two servers") };
    let own = &cache.servers[&a.id()];
    let waits = [own.list_ttl, own.read_ttl, own.stale_max].map(|wait| wait.expect("said").as_millis());
    assert_eq!((own.enabled, waits), (Some(false), [5, 6, 7]));
    assert!(!cache.servers.contains_key(&b.id()));
    let ttl = config.proxy.handling[&a.id()].of("get_x").cache_ttl;
    assert_eq!(ttl.map(|ttl| ttl.as_millis()), Some(8));
    let bench = yaml(
        "cache: { bytes_max: 65536, entry_bytes_max: 65537 }\nservers: { b: { url: 'http://127.0.0.1:1/' } }\n",
    );
    assert!(bench.bad("tollgate.yaml").contains("`entry_bytes_max` is more than `bytes_max`"));
}

#[test]
fn facts_that_policies_could_not_name_are_refused() {
    let bench = yaml(
        "servers:
  a: { url: 'http://127.0.0.1:1/', risk: very high, scopes: [one two, \"\"],
       tools: { x: { read_only: true, destructive: true }, y: { rsk: low }, \"z*\": { risk: low } } }
",
    );
    assert_eq!(
        bench.bad("tollgate.yaml").replace("tollgate.yaml:", ""),
        "\
2:42: servers.a.risk: `very high` is no single word (write letters, digits, `-`, `_` and `.` only)
2:62: servers.a.scopes[0]: `one two` is no scope (write each scope for itself, without spaces)
2:71: servers.a.scopes[1]: `` is no scope (write each scope for itself, without spaces)
3:52: servers.a.tools.x.destructive: a tool that changes nothing destroys nothing (leave one of the two out)
3:65: servers.a.tools.y.rsk: unknown key `rsk` (did you mean `risk`?)
3:91: servers.a.tools.\"z*\".risk: cannot be said of all tools that fit a pattern (say it of each tool by its name)"
    );
}

/// A client's own file knows no tenants.
#[test]
fn a_clients_file_is_the_default_tenants() {
    let bench = super::Bench::new()
        .file("c.json", r#"{ "mcpServers": { "a": { "command": "x", "shared": true } } }"#);
    let config = bench.good("c.json");
    assert_eq!(config.servers[0].holder, Holder::default());
    assert_eq!(config.servers[0].name, ServerName::new("a").expect("a name"));
    assert_eq!(config.warnings.len(), 1, "`shared` has no effect there");
}

#[test]
fn a_tenants_secrets_are_never_shown() {
    let bench = yaml(
        "tenants: { acme: { servers: { a: { url: x, headers: { Authorization: hunter2 }, isolation: nobody } } } }\n",
    );
    let error = bench.load("tollgate.yaml").expect_err("wrong");
    assert!(!error.render(false).contains("hunter2"), "{}", error.render(false));
}
