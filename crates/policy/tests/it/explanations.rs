//! Why a decision is what it is.

use tollgate_mcp::Span;
use tollgate_policy::{Ask, Mode, PolicySet, Verdict, What};

use crate::world::{known, name, scene, set, sources, who};

#[test]
fn every_rule_that_is_about_a_call_says_what_became_of_it() {
    let set = set(r#"
        @id("small") @description("small sums") permit(principal in Group::"finance", action == Action::"bank__pay", resource)
        when { context.env.hour >= 6 && context.input.amount.lessThan(decimal("10.0")) && context.env.hour < 18 };
        @id("any") permit(principal, action in Action::"server:bank", resource);
        @id("high") @reason("too risky") forbid(principal, action, resource)
        when { resource is Tool && resource has risk && resource.risk == "high" } unless { context.env.weekday == "wednesday" };
        @id("note") forbid(principal, action == Action::"bank__pay", resource) when { context.input has count && context.input.count == 3 };
        @id("else") permit(principal in Group::"sales", action, resource);
    "#);
    let bytes = br#"{"amount":12.5,"to":"x","count":null}"#;
    let what = What::Call { native: "pay", arguments: Some((bytes, Span::all(bytes))) };
    let ask = Ask { server: &name("bank"), what, scene: scene() };
    let ann = who("bot", Some("ann"), &["finance"]);
    let explained = set.explain(&ann, &ask);
    let found: Vec<_> =
        explained.rules.iter().map(|judged| (&*judged.rule.policy.id, judged.verdict)).collect();
    let expected = [
        ("small", Verdict::Fails),
        ("any", Verdict::Overruled),
        ("high", Verdict::Fails),
        ("note", Verdict::Errs),
    ];
    assert_eq!(found, expected);
    assert_eq!(explained.decision, set.decide(&ann, &ask));
    let small = &explained.rules[0];
    assert_eq!(small.rule.description.as_deref(), Some("small sums"));
    assert_eq!(small.conditions.len(), 2);
    assert!(small.conditions[0].holds && !small.conditions[1].holds);
    let read = &small.conditions[1].read[0];
    assert_eq!((read.name.as_str(), read.value.as_deref()), ("context.input.amount", Some("12.5")));
    let high = &explained.rules[2].conditions;
    let read: Vec<_> = high[2].read.iter().map(|read| (read.name.as_str(), read.value.as_deref())).collect();
    assert!(read.contains(&("resource.risk", Some("\"high\""))), "{read:?}");
    assert_eq!(high[3].read[0].value.as_deref(), Some("\"wednesday\""));
    let note = explained.rules[3].conditions.last().unwrap();
    assert_eq!(note.error.as_deref(), Some("the argument `count` is null"));
}

#[test]
fn inert_rules_are_told_of() {
    let text = r#"@id("gone") permit(principal, action == Action::"bank__gone", resource);
        @id("arg") permit(principal in Agent::"bot", action == Action::"bank__pay", resource) when { context.input.limit == 1 };"#;
    let (set, _) = PolicySet::compile(&sources(text), &known(), None, Mode::Accepted).unwrap();
    let ask =
        Ask { server: &name("bank"), what: What::Call { native: "pay", arguments: None }, scene: scene() };
    let explained = set.explain(&who("bot", None, &[]), &ask);
    assert_eq!(explained.rules.len(), 1);
    assert_eq!((explained.rules[0].verdict, explained.decision.allowed), (Verdict::Inert, false));
    assert!(explained.rules[0].rule.misfit.as_ref().unwrap().contains("`limit`"));
    assert_eq!(set.rules().filter(|rule| rule.misfit.is_some()).count(), 2);
}

#[test]
fn who_can_use_a_tool_is_what_its_rules_say() {
    let set = set(r#"
        @id("fin") permit(principal in Group::"finance", action in Action::"risk:high", resource) when { context.env.hour == 3 };
        @id("all") permit(principal, action == Action::"bank__pay", resource);
        @id("files") permit(principal, action, resource in Server::"files");
    "#);
    let about = set.about_tool(&name("bank"), "pay");
    let found: Vec<_> =
        about.iter().map(|about| (&*about.rule.policy.id, about.principal.as_deref())).collect();
    assert_eq!(found, [("fin", Some("Group::\"finance\"")), ("all", None)]);
    assert_eq!(about[0].conditions.len(), 1);
}
