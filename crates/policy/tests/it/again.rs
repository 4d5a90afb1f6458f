//! Deciding again what was decided before.

use tollgate_mcp::Span;
use tollgate_policy::{Ask, Gap, Gaps, PolicySet, What};

use crate::world::{name, scene, set, who};

fn again(set: &PolicySet, tool: &str, kept: &str, gaps: &Gaps<'_>) -> Result<bool, Gap> {
    let (server, native) = tool.split_once("__").unwrap();
    let arguments = Some((kept.as_bytes(), Span::all(kept.as_bytes())));
    let ask = Ask { server: &name(server), what: What::Call { native, arguments }, scene: scene() };
    set.decide_again(&who("bot", None, &[]), &ask, gaps).map(|decision| decision.allowed)
}

fn parts(parts: &[&[&str]]) -> Vec<Vec<String>> {
    parts.iter().map(|part| part.iter().map(ToString::to_string).collect()).collect()
}

#[test]
fn what_is_missing_matters_only_to_who_looks_at_it() {
    let set = set(r#"
        permit(principal, action == Action::"bank__pay", resource)
            when { context.input.amount.lessThan(decimal("100.0")) && context.input has from };
        permit(principal, action == Action::"files__read-file", resource)
            when { context.env has source && context.env.source.isInRange(ip("10.0.0.0/8")) };
        permit(principal, action == Action::"bank__read_balance", resource);"#);
    let kept = r#"{"amount":5,"to":"[redacted]","from":{"account":"[redacted]"}}"#;
    let pay = |missing: &[&[&str]]| {
        let parts = parts(missing);
        again(&set, "bank__pay", kept, &Gaps { parts: &parts, ..Gaps::default() })
    };
    assert_eq!(pay(&[&["to"], &["from", "account"]]), Ok(true), "nobody looks at these");
    assert_eq!(pay(&[&["to"], &["amount"]]), Err(Gap::Part));
    assert_eq!(pay(&[&["from"]]), Err(Gap::Part), "of what type it was is not known");
    assert_eq!(pay(&[&[]]), Err(Gap::Part), "the whole");
    let nothing = Gaps { arguments: true, source: true, ..Gaps::default() };
    assert_eq!(again(&set, "bank__pay", "{}", &nothing), Err(Gap::Arguments));
    assert_eq!(again(&set, "files__read-file", "{}", &nothing), Err(Gap::Source));
    assert_eq!(again(&set, "bank__read_balance", "{}", &nothing), Ok(true));
    assert_eq!(again(&set, "files__odd", "{}", &nothing), Ok(false), "no rule is about it");
}

#[test]
fn what_is_not_known_of_servers_is_told_from_what_they_do_not_have() {
    let set = set("permit(principal, action, resource);");
    for (server, native, known) in [
        ("bank", "pay", Some(true)),
        ("bank", "steal", Some(false)),
        ("later", "pay", None),
        ("nowhere", "pay", None),
    ] {
        assert_eq!(set.knows_tool(&name(server), native), known, "{server} {native}");
    }
    assert!(set.knows_server(&name("later")) && !set.knows_server(&name("nowhere")));
}
