//! The section `limits`: rules and plans.

use std::num::NonZeroU32;
use std::time::Duration;

use tollgate_limits::{Bound, Dimension, Encoding, Every, LimitSettings, RunawaySettings, Unit, Zone};
use tollgate_model::TenantId;

use crate::{Bench, yaml};

const SERVER: &str = "servers: { a: { url: 'http://127.0.0.1:9/' }, crm: { url: 'http://127.0.0.1:9/' } }\n";

fn bench(text: &str) -> Bench {
    yaml(&format!("{SERVER}{text}"))
}

fn some(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("some")
}

#[test]
fn without_rules_nothing_is_limited() {
    let limits = bench("").good("tollgate.yaml").limits;
    assert_eq!(limits, LimitSettings { tenants: vec![TenantId::default()], ..LimitSettings::default() });
}

#[test]
fn rules_have_their_meaning() {
    let text = "\
limits:
  counters_max: 500
  abandoned_ms: 2500
  rules:
    - name: tenant-calls
      per: [tool, tenant]
      match: { tenant: acme, server: crm, tool: [\"find*\", put], method: tools/call }
      rate: { requests: 100, per: 10s, burst: 200 }
    - { name: agent-parallel, per: [tenant, agent], concurrency: 16 }
    - { name: all, rate: { requests: 5 } }
tenants: { acme: {} }
";
    let limits = bench(text).good("tollgate.yaml").limits;
    assert_eq!((limits.counters_max, limits.abandoned), (500, Duration::from_millis(2500)));
    let [first, second, third] = &limits.rules[..] else { panic!("three rules") };
    assert_eq!(&*first.name, "tenant-calls");
    assert_eq!(first.per, [Dimension::Tenant, Dimension::Tool]);
    let bound = Bound::Rate { requests: some(100), per: Duration::from_secs(10), burst: some(200) };
    assert_eq!(first.bound, bound);
    let tools: Vec<&str> = first.about.tool.iter().map(tollgate_limits::Glob::as_str).collect();
    assert_eq!(tools, ["find*", "put"]);
    assert_eq!((first.about.server.len(), first.about.method.len(), first.about.agent.len()), (1, 1, 0));
    assert_eq!(second.bound, Bound::Concurrency(some(16)));
    let bound = Bound::Rate { requests: some(5), per: Duration::from_secs(1), burst: some(5) };
    assert_eq!(third.bound, bound);
    assert!(third.per.is_empty() && third.plan.is_none());
}

#[test]
fn quotas_and_budgets_have_their_meaning() {
    let text = "\
limits:
  timezone: Europe/Berlin
  replicas: 3
  rules:
    - { name: monthly, per: [tenant], quota: { calls: 100000, every: month } }
    - { name: money, per: [tenant, agent], budget: { cost: 50.25, warn_at: 0.8, soft: true } }
    - { name: tokens, budget: { tokens: 1000, every: hour } }
usage: { currency: EUR, tokens: o200k_base, prices: [ { per_call: 0.5 } ] }
";
    let config = bench(text).good("tollgate.yaml");
    assert_eq!(config.limits.zone, Zone::named("Europe/Berlin").expect("a zone"));
    assert!(config.limits.are_metered() && config.limits.replicas == some(3));
    assert_eq!(config.limits.tokens, Encoding::O200k);
    let bounds: Vec<&Bound> = config.limits.rules.iter().map(|rule| &rule.bound).collect();
    let money = Bound::Budget {
        allowed: 50_250_000_000,
        of: Unit::Cost,
        every: Every::Day,
        warn_at: Some(800),
        is_soft: true,
    };
    let tokens =
        Bound::Budget { allowed: 1000, of: Unit::Tokens, every: Every::Hour, warn_at: None, is_soft: false };
    assert_eq!(bounds, [&Bound::Quota { calls: 100_000, every: Every::Month }, &money, &tokens]);
    assert_eq!(config.prices.prices[0].per_call_nano, 500_000_000);
}

#[test]
fn agents_are_watched_where_it_is_said() {
    assert_eq!(bench("limits: {}\n").good("tollgate.yaml").limits.runaway, None);
    let usual = bench("limits: { runaway: {} }\n").good("tollgate.yaml").limits.runaway;
    assert_eq!(usual, Some(RunawaySettings::default()));
    let text = "limits: { runaway: { repeats_max: 20, surge: 5, pause_ms: 60000 } }\n";
    let own = RunawaySettings {
        repeats_max: some(20),
        surge: some(5),
        pause: Duration::from_mins(1),
        ..RunawaySettings::default()
    };
    assert_eq!(bench(text).good("tollgate.yaml").limits.runaway, Some(own));
}

#[test]
fn tenants_have_plans() {
    let text = "\
limits:
  plan: free
  plans:
    gold: { rules: [ { name: calls, rate: { requests: 100 } } ] }
    free: { rules: [ { name: calls, rate: { requests: 1 } } ] }
tenants: { acme: { plan: gold }, globex: {} }
";
    let limits = bench(text).good("tollgate.yaml").limits;
    let plans = limits.rules.iter().map(|rule| {
        let plan = rule.plan.as_ref().expect("a plan");
        (&*plan.name, plan.tenants.iter().map(TenantId::as_str).collect::<Vec<_>>())
    });
    assert_eq!(plans.collect::<Vec<_>>(), [("gold", vec!["acme"]), ("free", vec!["default", "globex"])]);
}

/// A limit that is never in force would be taken for protection that is not there.
#[test]
fn limits_that_could_never_bite_are_refused() {
    for (about, bound, said) in [
        ("server: crn", "concurrency: 1", "there is no server `crn` (did you mean `crm`?)"),
        ("server: [a, 'x*']", "concurrency: 1", "there is no server `x*`"),
        ("toolset: kit", "concurrency: 1", "there is no toolset `kit`"),
        ("endpoint: b", "concurrency: 1", "there is no endpoint `b`"),
        ("method: tools/cal", "concurrency: 1", "did you mean `tools/call`?"),
        ("agent: []", "concurrency: 1", "an empty list fits nothing"),
        ("tool: [put, crm__put]", "concurrency: 1", "`server: crm, tool: put`"),
        ("tool: put, method: '*/list'", "concurrency: 1", "is about `tools/call` only"),
        ("method: tools/list", "budget: { tokens: 5 }", "paid for from a budget"),
        ("method: notifications/progress", "concurrency: 1", "nothing of this is ever under way"),
        ("server: a, endpoint: crm", "concurrency: 1", "no request can be for all of these"),
    ] {
        let text = format!("limits: {{ rules: [ {{ name: it, match: {{ {about} }}, {bound} }} ] }}\n");
        let bad = bench(&text).bad("tollgate.yaml");
        assert!(bad.contains(said), "{text}: {bad}");
    }
    for about in [
        "server: 'c*'",
        "endpoint: ''",
        "endpoint: [crm, '']",
        "server: a, endpoint: ['', crm]",
        "method: '*'",
        "method: ['*/list', initialize]",
        "server: a, tool: crm__put",
        "tool: 'crm_*put'",
    ] {
        let text = format!(
            "limits: {{ rules: [ {{ name: it, match: {{ {about} }}, rate: {{ requests: 1 }} }} ] }}\n"
        );
        assert_eq!(bench(&text).good("tollgate.yaml").limits.rules.len(), 1, "{about}");
    }
    let kit = "toolsets: { kit: { tools: [a__find] } }\n\
        limits: { rules: [ { name: it, match: { toolset: kit, server: a }, concurrency: 1 } ] }\n";
    assert_eq!(bench(kit).good("tollgate.yaml").limits.rules.len(), 1);
}

#[test]
fn what_is_wrong_is_said() {
    for (text, said) in [
        ("rules: [ { rate: { requests: 1 } } ]", "a limit needs a name"),
        ("rules: [ { name: 'a b', concurrency: 1 } ]", "`a b` cannot be the name of a limit"),
        (
            "rules: [ { name: a, concurrency: 1 }, { name: a, concurrency: 2 } ]",
            "there is a limit `a` already",
        ),
        ("rules: [ { name: a } ]", "exactly one of"),
        ("rules: [ { name: a, concurrency: 1, rate: { requests: 1 } } ]", "exactly one of"),
        ("rules: [ { name: a, rate: {} } ]", "how many?"),
        ("rules: [ { name: a, rate: { requests: 1, per: soon } } ]", "`soon` is no time"),
        ("rules: [ { name: a, rate: { requests: 1, per: 25h } } ]", "`25h` is no time"),
        ("rules: [ { name: a, per: [agent, agent], concurrency: 1 } ]", "`agent` stands there already"),
        ("rules: [ { name: a, match: { tenant: acme }, concurrency: 1 } ]", "there is no tenant `acme`"),
        ("timezone: Europe/Nowhere", "`Europe/Nowhere` is no time zone"),
        ("rules: [ { name: a, quota: {} } ]", "how many?"),
        ("rules: [ { name: a, budget: {} } ]", "exactly one of `tokens` and `cost`"),
        ("rules: [ { name: a, budget: { tokens: 1, cost: 1 } } ]", "exactly one of `tokens` and `cost`"),
        ("rules: [ { name: a, budget: { tokens: 1, warn_at: 1.5 } } ]", "not a number from 0.001 to 1"),
        ("rules: [ { name: a, budget: { cost: 1 } } ]", "nothing has a price"),
        ("plan: gold", "there is no plan `gold`"),
        ("plan: gald\n  plans: { gold: { rules: [] } }", "did you mean `gold`?"),
        ("rules: [ { name: a, per: [agents], concurrency: 1 } ]", "agents"),
    ] {
        let bad = bench(&format!("limits:\n  {text}\n")).bad("tollgate.yaml");
        assert!(bad.contains(said), "{text}: {bad}");
    }
}

#[test]
fn a_budget_is_about_something_that_has_a_price() {
    let budget = |about: &str, price: &str| {
        bench(&format!(
            "limits: {{ rules: [ {{ name: it, match: {{ {about} }}, budget: {{ cost: 1 }} }} ] }}\n\
             usage: {{ currency: EUR, prices: [ {price} ] }}\n"
        ))
    };
    for (about, price) in [
        ("server: a", "{ server: b, per_call: 1 }"),
        ("tool: find", "{ tool: make, per_call: 1 }"),
        ("server: a", "{ server: a, per_call: 0 }"),
        ("server: a", ""),
    ] {
        let bad = budget(about, price).bad("tollgate.yaml");
        assert!(bad.contains("nothing that this budget is about has a price"), "{about} {price}: {bad}");
    }
    for (about, price) in [
        ("server: a", "{ tool: find, per_mib: 1 }"),
        ("tool: 'f*'", "{ server: a, tool: Find, per_call: 1 }"),
        ("method: resources/read", "{ per_million_result_tokens: 1 }"),
    ] {
        assert_eq!(budget(about, price).good("tollgate.yaml").limits.rules.len(), 1, "{about} {price}");
    }
}

#[test]
fn a_price_of_a_server_that_is_not_there_is_a_warning() {
    let text =
        "usage: { currency: EUR, prices: [ { server: a, per_call: 1 }, { server: crn, per_call: 1 } ] }\n";
    let warnings = bench(text).good("tollgate.yaml").warnings;
    let said: Vec<&str> = warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(said, ["the configuration has no server `crn`: this is its price if it comes"]);
}

#[test]
fn a_webhook_has_a_url_and_a_secret_that_cannot_be_guessed() {
    let webhook = |text: &str| bench(&format!("limits: {{ runaway: {{ webhook: {{ {text} }} }} }}\n"));
    let good = webhook("url: 'https://ops.example/in', secret: 0123456789abcdef").good("tollgate.yaml");
    let found = good.limits.runaway.and_then(|runaway| runaway.webhook).expect("a webhook");
    assert_eq!((&*found.url, found.allow_private), ("https://ops.example/in", false));
    for (text, says) in [
        ("url: 'https://ops.example/in'", "secret"),
        ("secret: 0123456789abcdef", "url"),
        ("url: 'https://ops.example/in', secret: short", "less than 16 bytes"),
        ("url: 'https://ops.example/in', secret: 'whsec_c2hvcnQga2V5'", "less than 16 bytes"),
        ("url: 'http://ops.example/in', secret: 0123456789abcdef", "https"),
        ("url: 'https://127.0.0.1/in', secret: 0123456789abcdef", "private"),
    ] {
        let problems = webhook(text).bad("tollgate.yaml");
        assert!(problems.contains(says), "{text}: {problems}");
    }
}
