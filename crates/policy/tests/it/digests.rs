//! By what sets are told apart.

use std::sync::Arc;

use tollgate_catalog::{Known, KnownServer};
use tollgate_model::TenantId;
use tollgate_policy::{Mode, PolicySet, Sources};

use crate::world::{known, source, sources, tool};

const TEXT: &str = "permit(principal, action, resource);";

fn of(sources: &Sources, known: &Known, environment: Option<&str>) -> String {
    let compiled = PolicySet::compile(sources, known, environment, Mode::Accepted);
    compiled.unwrap().0.digest().to_string()
}

#[test]
fn what_a_decision_cannot_depend_on_does_not_change_the_digest() {
    let plain = of(&sources(TEXT), &known(), None);
    let mut turned = known();
    turned.servers.reverse();
    for server in &mut turned.servers {
        server.tools = server.tools.as_ref().map(|tools| tools.iter().rev().cloned().collect());
    }
    assert_eq!(of(&sources(TEXT), &turned, None), plain);
    let tenants = Sources { tenants: vec![TenantId::new("other")], ..sources(TEXT) };
    assert_eq!(of(&tenants, &known(), None), plain, "the operator forbids nothing");
    assert_eq!(plain.len(), 43);
}

#[test]
fn whatever_a_decision_can_depend_on_changes_the_digest() {
    type Change = fn(&mut Sources, &mut Known, &mut Option<&'static str>);
    let changes: [(&str, Change); 12] = [
        ("nothing", |_, _, _| {}),
        ("text", |sources, _, _| sources.tenant = vec![source("main.cedar", &format!("{TEXT}\n"))]),
        ("name of a file", |sources, _, _| sources.tenant = vec![source("other.cedar", TEXT)]),
        ("operator", |sources, _, _| sources.operator = std::mem::take(&mut sources.tenant)),
        ("environment", |_, _, environment| *environment = Some("production")),
        ("tenant", |_, known, _| known.tenant = TenantId::new("other")),
        ("toolset", |_, known, _| known.toolsets.clear()),
        ("risk", |_, known, _| facts(&mut known.servers[0]).risk = None),
        ("unlisted", |_, known, _| known.servers[0].tools = None),
        ("no tools", |_, known, _| known.servers[0].tools = Some(Arc::from([]))),
        ("schema", |_, known, _| known.servers[0].tools = Some(Arc::from([tool("pay", "{}")]))),
        ("hint", |_, known, _| {
            let mut pay = tool("pay", "{}");
            pay.read_only = true;
            known.servers[0].tools = Some(Arc::from([pay]));
        }),
    ];
    let mut seen = std::collections::HashMap::new();
    for (what, change) in changes {
        let (mut sources, mut known, mut environment) = (sources(TEXT), known(), None);
        change(&mut sources, &mut known, &mut environment);
        if what == "operator" {
            sources.operator = vec![source("main.cedar", "forbid(principal, action, resource);")];
        }
        if let Some(other) = seen.insert(of(&sources, &known, environment), what) {
            panic!("{what} is as {other}");
        }
    }
}

fn facts(server: &mut KnownServer) -> &mut tollgate_catalog::ServerFacts {
    Arc::make_mut(&mut server.facts)
}
