//! What is refused when policies are read, and what is said of it.

use tollgate_policy::{Finding, Level, Mode, PolicySet, Sources};

use crate::world::{call, compile, known, source, sources, who};

fn errors(text: &str) -> Vec<Finding> {
    compile(text).map(|(_, findings)| findings).unwrap_err()
}

#[test]
fn what_is_not_there_is_refused_with_its_place() {
    for (text, place, message, suggestion) in [
        (
            "permit(principal,\n  action == Action::\"bank__pya\", resource);",
            (2, 21),
            "there is no `Action::\"bank__pya\"`",
            "did you mean `Action::\"bank__pay\"`?",
        ),
        (
            "permit(principal, action, resource in Server::\"fils\");",
            (1, 47),
            "there is no `Server::\"fils\"`",
            "did you mean `Server::\"files\"`?",
        ),
        (
            "permit(principal, action, resource) when { resource in Server::\"fils\" };",
            (1, 64),
            "there is no `Server::\"fils\"`",
            "did you mean `Server::\"files\"`?",
        ),
        (
            "permit(principal, action == Action::\"bank__pay\", resource) when { context.input.amuont.lessThan(decimal(\"1.0\")) };",
            (1, 81),
            "nothing that this rule is about has an argument `amuont`",
            "did you mean `amount`?",
        ),
        (
            "forbid(principal, action == Action::\"bank__pay\", resource) unless { context.input has coutn };",
            (1, 87),
            "nothing that this rule is about has an argument `coutn`",
            "did you mean `count`?",
        ),
        (
            "forbid(principal, action == Action::\"bank__pay\", resource) when { context.env.hour == 3 || context.input has from.acount };",
            (1, 115),
            "nothing that this rule is about has an argument `from.acount`",
            "did you mean `from.account`?",
        ),
        (
            "permit(principal in Usr::\"ann\", action, resource);",
            (1, 21),
            "unrecognized entity type `Usr`",
            "did you mean `User`?",
        ),
        (
            "permit(principal == Agent::\"bot\", action, resource);",
            (1, 28),
            "no caller is `Agent::\"bot\"` itself",
            "write `principal in Agent::\"bot\"`",
        ),
        (
            "permit(principal, action == Action::\"call\", resource);",
            (1, 37),
            "`Action::\"call\"` is a group of actions, never an action itself",
            "write `action in Action::\"call\"`",
        ),
        (
            "permit(principal in Tenant::\"defalt\", action, resource);",
            (1, 29),
            "there is no `Tenant::\"defalt\"`",
            "did you mean `Tenant::\"default\"`?",
        ),
        (
            "permit(principal, action in Action::\"risk:hihg\", resource);",
            (1, 37),
            "there is no `Action::\"risk:hihg\"`",
            "did you mean `Action::\"risk:high\"`?",
        ),
        (
            "@record(\"all\") permit(principal, action, resource);",
            (1, 1),
            "`@record` does not know `all`",
            "it is one of `nothing`, `digest`, `redacted` and `full`",
        ),
        (
            "@redact(\"pii, personal.emial\") permit(principal, action, resource);",
            (1, 1),
            "`@redact` does not know `personal.emial`",
            "did you mean `personal.email`?",
        ),
        (
            "@hold(\"pii, personal.emial\") permit(principal, action, resource);",
            (1, 1),
            "`@hold` does not know `personal.emial`",
            "did you mean `personal.email`?",
        ),
        (
            "@raeson(\"x\") forbid(principal, action, resource);",
            (1, 1),
            "there is no annotation `@raeson`",
            "did you mean `@reason`?",
        ),
    ] {
        let found = errors(text);
        let first = &found[0];
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert_eq!((first.line, first.column), place, "{text}: {first}");
        assert_eq!((first.level, &*first.path, &*first.message), (Level::Error, "main.cedar", message));
        assert_eq!(first.suggestion.as_deref(), Some(suggestion));
    }
}

#[test]
fn what_is_wrong_in_itself_is_refused() {
    for (text, message) in [
        ("permit(principal, action);", "missing the `resource` variable"),
        ("permit(principal == ?principal, action, resource);", "template"),
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"a\") forbid(principal, action, resource);",
            "is used already, at main.cedar:1:1",
        ),
        ("@reason(\"x\") permit(principal, action, resource);", "stands only on forbids"),
        ("@require_approval(\"x\") forbid(principal, action, resource);", "stands only on permits"),
        ("@require_approval permit(principal, action, resource);", "says nothing"),
        (
            "permit(principal, action == Action::\"bank__pay\", resource) when { context.input.amount < 3 };",
            "Long",
        ),
        (
            "permit(principal, action == Action::\"bank__pay\", resource) when { context.input.note == \"x\" };",
            "optional",
        ),
        (
            "permit(principal, action == Action::\"bank__pay\", resource) when { context.input.odd == \"x\" };",
            "has no type that a policy could read: it may be of several types",
        ),
        (
            "permit(principal, action == Action::\"files__odd\", resource) when { context.input.x == \"x\" };",
            "the tool has no input schema",
        ),
        ("permit(principal, action, resource) when { context.evn.hour == 3 };", "evn"),
    ] {
        let found = errors(text);
        assert!(found.iter().any(|one| one.to_string().contains(message)), "{text}: {found:#?}");
    }
}

#[test]
fn the_operator_only_forbids() {
    let compile = |tenant: &str, operator: &str, tenants: &[&str]| {
        let tenants = tenants.iter().map(|name| tollgate_model::TenantId::new(name)).collect();
        let sources = Sources {
            tenant: vec![source("own.cedar", tenant)],
            operator: vec![source("operator.cedar", operator)],
            tenants,
        };
        PolicySet::compile(&sources, &known(), None, Mode::New)
    };
    let permit = "permit(principal, action, resource);";
    assert!(compile("", permit, &[]).unwrap_err()[0].message.contains("the operator's policies forbid"));
    let (set, _) =
        compile(permit, "forbid(principal, action in Action::\"risk:high\", resource);", &[]).unwrap();
    assert!(!call(&set, &who("bot", None, &[]), "bank__pay", "").allowed);
    assert!(call(&set, &who("bot", None, &[]), "files__odd", "").allowed);
    let other = "forbid(principal in Tenant::\"acme\", action, resource in Server::\"crm\");";
    let (set, findings) = compile(permit, other, &["default", "acme"]).unwrap();
    assert!(findings.is_empty() && call(&set, &who("bot", None, &[]), "bank__pay", "").allowed);
    let typo = compile(permit, other, &["default", "acne"]).unwrap_err();
    assert!(
        typo.iter().any(|one| one.suggestion.as_deref() == Some("did you mean `Tenant::\"acne\"`?")),
        "{typo:#?}"
    );
}

#[test]
fn a_server_that_never_listed_its_tools_makes_rules_wait() {
    let text = r#"
        @id("all") permit(principal, action in Action::"call", resource);
        @id("p") permit(principal in Agent::"p", action == Action::"later__x", resource) when { context.input.n == 1 };
        @id("f") forbid(principal in Agent::"f", action == Action::"later__x", resource) when { context.input.n == 1 };
    "#;
    let (set, findings) = compile(text).unwrap();
    assert!(findings.iter().all(|one| one.level == Level::Warning) && findings.len() == 4, "{findings:#?}");
    assert!(!call(&set, &who("f", None, &[]), "later__x", r#"{"n":2}"#).allowed);
    let decision = call(&set, &who("p", None, &[]), "later__x", r#"{"n":1}"#);
    assert_eq!(crate::world::ids(&decision), ["all"]);
}

#[test]
fn what_was_accepted_stays_safe_when_tools_change() {
    let text = r#"
        @id("gone") permit(principal, action == Action::"bank__gone", resource);
        @id("arg") permit(principal in Agent::"p", action == Action::"bank__pay", resource) when { context.input.limit < 3 };
        @id("all") permit(principal, action, resource);
        @id("f") forbid(principal in Agent::"f", action in Action::"server:bank", resource) when { context.input has limit };
    "#;
    let (set, findings) = PolicySet::compile(&sources(text), &known(), None, Mode::Accepted).unwrap();
    assert_eq!(findings.iter().filter(|one| one.message.contains("this permit has no effect")).count(), 2);
    assert_eq!(findings.iter().filter(|one| one.message.contains("this forbid denies all")).count(), 1);
    let decision = call(&set, &who("p", None, &[]), "bank__pay", r#"{"limit":1}"#);
    assert_eq!(crate::world::ids(&decision), ["all"]);
    let decision = call(&set, &who("f", None, &[]), "bank__read_balance", "");
    assert_eq!(crate::world::ids(&decision), ["f"]);
    assert!(call(&set, &who("f", None, &[]), "files__odd", "").allowed);
}

#[test]
fn the_schema_is_shown() {
    let text = PolicySet::schema_text(&known()).unwrap();
    for part in [
        "entity Caller",
        "\"files__a/b.c\"",
        "\"bank__pay\"",
        "\"server:bank\"",
        "amount: ",
        "\"get_prompt\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let untyped = PolicySet::untyped(&known());
    assert_eq!(untyped.len(), 2);
    assert_eq!(untyped[0].argument.as_deref(), Some("odd"));
    assert_eq!((&*untyped[1].native, &untyped[1].argument), ("odd", &None));
}
