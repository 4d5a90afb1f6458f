//! Who may what.

use tollgate_model::{RecordLevel, Timestamp};
use tollgate_policy::{Ask, PolicySet, Scene, What};

use crate::world::{NOON, call, call_in, ids, name, scene, set, who};

#[test]
fn without_a_permit_nothing_is_allowed() {
    let set = set("");
    assert!(set.allows_nothing());
    let decision = call(&set, &who("bot", None, &[]), "files__read-file", r#"{"path":"/"}"#);
    assert!(!decision.allowed && decision.policies.is_empty() && !decision.could_differ);
}

#[test]
fn forbid_wins_and_says_why() {
    let set = set(r#"
        @id("all") permit(principal in Agent::"bot", action in Action::"call", resource);
        @id("no-delete") @reason("ask a person") forbid(principal, action in Action::"destructive", resource);
    "#);
    let bot = who("bot", None, &[]);
    let read = call(&set, &bot, "files__read-file", r#"{"path":"/"}"#);
    assert!(read.allowed);
    assert_eq!(ids(&read), ["all"]);
    let delete = call(&set, &bot, "files__delete_file", r#"{"path":"/"}"#);
    assert!(!delete.allowed && !delete.could_differ);
    assert_eq!(ids(&delete), ["no-delete"]);
    assert_eq!(delete.reasons, ["ask a person".into()]);
    assert!(!call(&set, &who("other", None, &[]), "files__read-file", "{}").allowed);
}

#[test]
fn one_rule_says_who_for_whom_how_much_when_and_from_where() {
    let set = set(r#"
        @id("pay") permit(principal in Agent::"bot", action == Action::"bank__pay", resource)
        when { principal in Group::"finance" && context.input.amount.lessThan(decimal("1000.0")) }
        when { context.env.hour >= 6 && context.env.hour < 18 }
        when { ["monday", "tuesday", "wednesday", "thursday", "friday"].contains(context.env.weekday) }
        when { context.env has source && context.env.source.isInRange(ip("10.0.0.0/8")) }
        when { context.env has environment && context.env.environment == "production" };
    "#);
    let paul = who("bot", Some("paul"), &["finance"]);
    let pay = r#"{"amount":999.9999,"to":"x"}"#;
    assert!(call(&set, &paul, "bank__pay", pay).allowed);
    let hour = 3_600_000;
    let at = |ms: u64| Scene { now: Timestamp::from_ms(ms), ..scene() };
    let nowhere = Scene { source: None, ..scene() };
    let mapped = Scene { source: Some("::ffff:10.1.1.1".parse().unwrap()), ..scene() };
    let outside = Scene { source: Some("11.0.0.1".parse().unwrap()), ..scene() };
    for scene in [at(NOON - 7 * hour), at(NOON + 6 * hour), at(NOON + 72 * hour), nowhere, outside] {
        let decision = call_in(&set, &paul, "bank__pay", pay, &scene);
        assert!(!decision.allowed && decision.could_differ, "{scene:?}");
    }
    assert!(call_in(&set, &paul, "bank__pay", pay, &mapped).allowed);
    for arguments in [r#"{"amount":1000,"to":"x"}"#, r#"{"amount":1e3}"#, "{}", "", r#"{"amount":"1"}"#] {
        let decision = call(&set, &paul, "bank__pay", arguments);
        assert!(!decision.allowed && decision.could_differ, "{arguments}");
    }
    let outsider = call(&set, &who("bot", Some("eve"), &["sales"]), "bank__pay", pay);
    assert!(!outsider.allowed && !outsider.could_differ);
}

#[test]
fn the_agents_groups_are_not_the_users() {
    let set = set(r#"
        @id("users") permit(principal in Group::"staff", action == Action::"files__read-file", resource);
        @id("agents") permit(principal in AgentGroup::"staff", action == Action::"files__delete_file", resource);
    "#);
    let mut bot = who("bot", Some("ann"), &["staff"]);
    assert!(call(&set, &bot, "files__read-file", "").allowed);
    assert!(!call(&set, &bot, "files__delete_file", "").allowed);
    bot.groups.clear();
    bot.agent_groups = vec!["staff".into()];
    assert!(!call(&set, &bot, "files__read-file", "").allowed);
    assert!(call(&set, &bot, "files__delete_file", "").allowed);
    // Groups of a user who is not there are nobody's.
    bot.user = None;
    bot.groups = vec!["staff".into()];
    assert!(!call(&set, &bot, "files__read-file", "").allowed);
}

#[test]
fn obligations_add_up() {
    let set = set(r#"
        @id("plain") permit(principal, action == Action::"bank__pay", resource);
        @id("approved") @require_approval("leads") @record("digest")
        permit(principal, action in Action::"server:bank", resource);
        @id("kept") @require_approval("audit") @hold("secret, personal.email") @redact("pii") @record("full")
        permit(principal, action in Action::"call", resource) when { context.env.hour == 12 };
    "#);
    let decision = call(&set, &who("bot", None, &[]), "bank__pay", r#"{"amount":1,"to":"x"}"#);
    assert!(decision.allowed);
    assert_eq!(ids(&decision), ["plain", "approved", "kept"]);
    assert_eq!(decision.obligations.approvals, ["leads".into(), "audit".into()]);
    assert_eq!(decision.obligations.redactions, ["pii".into()]);
    assert_eq!(decision.obligations.holds, ["secret".into(), "personal.email".into()]);
    assert_eq!(decision.obligations.record, Some(RecordLevel::Full));
}

#[test]
fn what_cannot_be_read_denies() {
    let set = set(r#"
        @id("pay") permit(principal, action == Action::"bank__pay", resource)
        when { !(context.input has count && context.input.count > 10) };
        @id("tags") forbid(principal, action == Action::"bank__pay", resource)
        when { context.input has tags && context.input.tags.contains("bad") };
        @id("branch") forbid(principal, action == Action::"bank__pay", resource)
        when { context.input has from.branch && context.input.from.branch == 7 };
    "#);
    let bot = who("bot", None, &[]);
    for (arguments, policies) in [
        (r#"{"amount":1,"to":"x"}"#, vec!["pay"]),
        (r#"{"count":10}"#, vec!["pay"]),
        (r#"{"count":10.0}"#, vec!["pay"]),
        (r#"{"count":9223372036854775808}"#, vec![]),
        (r#"{"count":1.5}"#, vec![]),
        (r#"{"count":null}"#, vec![]),
        (r#"{"count":"1"}"#, vec![]),
        (r#"{"count":{"__extn":{"fn":"decimal","arg":"1.0"}}}"#, vec![]),
        (r#"{"amount":0.00001,"odd":null,"nobody":{"knows":1e999}}"#, vec!["pay"]),
        (r#"{"tags":["good"]}"#, vec!["pay"]),
        (r#"{"tags":["good",1]}"#, vec!["tags"]),
        (r#"{"tags":null}"#, vec!["tags"]),
        (r#"{"from":{"account":null}}"#, vec!["pay"]),
        (r#"{"from":{"account":"x","branch":1.5}}"#, vec!["branch"]),
        (r#"{"from":[1]}"#, vec!["branch"]),
        (r#"{"count":1,"COUNT":5000}"#, vec![]),
        (r#"{"Count":5000,"count":1}"#, vec![]),
        (r#"{"Count":5000}"#, vec![]),
        (r#"{"tags":["good"],"Tag\u017f":["bad"]}"#, vec!["tags"]),
        (r#"{"from":{"branch":1,"Branch":7}}"#, vec!["branch"]),
        (r#"{"from":{"account":"x"},"From":{"branch":7}}"#, vec!["branch"]),
        (r#"{"from":{"Account":"x"},"Amount":1,"co-unt":1,"co_unt":1}"#, vec!["pay"]),
        ("[]", vec!["tags", "branch"]),
    ] {
        let decision = call(&set, &bot, "bank__pay", arguments);
        assert_eq!(ids(&decision), policies, "{arguments}: {decision:?}");
        assert_eq!(decision.allowed, policies == ["pay"], "{arguments}");
    }
    // Also where another rule reads all of what the member is in.
    let set = crate::world::set(
        r#"
        @id("pay") permit(principal, action == Action::"bank__pay", resource);
        @id("from") forbid(principal in Agent::"bot", action == Action::"bank__pay", resource)
        when { context.input has from && !([context.input.from].contains(context.input.from)) };
        @id("branch") forbid(principal, action == Action::"bank__pay", resource)
        when { context.input has from.branch && context.input.from.branch == 7 };
    "#,
    );
    let decision = call(&set, &bot, "bank__pay", r#"{"from":{"branch":1,"BRANCH":7}}"#);
    assert_eq!(ids(&decision), ["from", "branch"]);
    assert!(call(&set, &bot, "bank__pay", r#"{"from":{"branch":1}}"#).allowed);
}

#[test]
fn what_cannot_be_read_concerns_only_who_reads_it() {
    let set = set(r#"
        @id("pay") permit(principal, action == Action::"bank__pay", resource)
        when { !(context.input has count && context.input.count > 10) };
        @id("free") permit(principal in Agent::"free", action == Action::"bank__pay", resource);
    "#);
    let free = who("free", None, &[]);
    let decision = call(&set, &free, "bank__pay", r#"{"count":null}"#);
    assert_eq!(ids(&decision), ["free"]);
    assert!(decision.errors[0].contains("`count` is null"), "{:?}", decision.errors);
}

#[test]
fn errors_deny() {
    let set = set(r#"
        @id("sum") permit(principal, action == Action::"bank__pay", resource)
        when { context.input has count && context.input.count + 1 > 0 };
        @id("all") permit(principal in Agent::"bot", action, resource);
        @id("never") forbid(principal, action == Action::"bank__pay", resource)
        when { context.input has count && context.input.count * 2 == 4 };
    "#);
    let decision = call(&set, &who("bot", None, &[]), "bank__pay", r#"{"count":9223372036854775807}"#);
    assert!(!decision.allowed);
    assert_eq!(ids(&decision), ["never"]);
    assert!(decision.errors[0].contains("overflow"), "{:?}", decision.errors);
}

#[test]
fn odd_names_are_names() {
    let set = set(r#"
        @id("odd") permit(principal in Agent::"a \"b\"", action == Action::"files__a/b.c", resource)
        when { context.input.path like "/tmp/*" };
    "#);
    let odd = who("a \"b\"", None, &[]);
    assert!(call(&set, &odd, "files__a/b.c", r#"{"path":"/tmp/x"}"#).allowed);
    assert!(!call(&set, &odd, "files__a/b.c", r#"{"path":"/etc/x"}"#).allowed);
    assert!(!call(&set, &who("a", None, &[]), "files__a/b.c", r#"{"path":"/tmp/x"}"#).allowed);
}

#[test]
fn tools_that_were_never_listed_are_thought_the_worst_of() {
    let set = set(r#"
        @id("later") permit(principal, action in Action::"server:later", resource);
        @id("office") permit(principal, action in Action::"toolset:office", resource);
        @id("no") forbid(principal in Agent::"careful", action in Action::"destructive", resource);
    "#);
    let decision = call(&set, &who("bot", None, &[]), "later__x", "{}");
    assert!(decision.allowed);
    assert!(call(&set, &who("bot", None, &[]), "files__new", "{}").allowed);
    assert!(!call(&set, &who("bot", None, &[]), "bank__read_balance", "{}").allowed);
    assert!(!call(&set, &who("careful", None, &[]), "later__x", "{}").allowed);
}

fn ask(set: &PolicySet, who: &tollgate_model::Principal, server: &str, what: What<'_>) -> bool {
    set.decide(who, &Ask { server: &name(server), what, scene: scene() }).allowed
}

#[test]
fn resources_and_prompts_are_asked_for_by_name() {
    let set = set(r#"
        @id("docs") permit(principal, action == Action::"read", resource in Server::"files")
        when { context.input.uri like "file:///docs/*" };
        @id("not") forbid(principal, action == Action::"read", resource == Resource::"files file:///docs/secret");
        @id("prompt") permit(principal, action == Action::"get_prompt", resource == Prompt::"files__hello");
    "#);
    let bot = who("bot", None, &[]);
    assert!(ask(&set, &bot, "files", What::Read { uri: "file:///docs/a" }));
    assert!(!ask(&set, &bot, "files", What::Read { uri: "file:///docs/secret" }));
    assert!(!ask(&set, &bot, "files", What::Read { uri: "file:///etc" }));
    assert!(!ask(&set, &bot, "bank", What::Read { uri: "file:///docs/a" }));
    assert!(ask(&set, &bot, "files", What::Get { native: "hello", arguments: None }));
    assert!(!ask(&set, &bot, "files", What::Get { native: "bye", arguments: None }));
    assert!(!ask(&set, &bot, "bank", What::Get { native: "hello", arguments: None }));
    let files = set.visible(&bot, &name("files"), &scene());
    assert!(files.resource("file:///anything") && !files.resource("file:///docs/secret") && files.template());
    assert!(files.prompt("hello") && !files.prompt("bye") && !files.tool("read-file") && !files.is_nothing());
    let bank = set.visible(&bot, &name("bank"), &scene());
    assert!(bank.is_nothing() && !bank.template() && !bank.prompt("hello") && !bank.tool("pay"));
}

#[test]
fn a_server_that_conditions_leave_out_is_nothing() {
    let bot = who("bot", None, &[]);
    let see = |text: &str| {
        let set = set(text);
        ["files", "bank", "later"].map(|server| !set.visible(&bot, &name(server), &scene()).is_nothing())
    };
    for (text, seen) in [
        (
            r#"permit(principal, action, resource) when { resource in Server::"files" };"#,
            [true, false, false],
        ),
        (
            r#"permit(principal, action, resource) unless { resource in Server::"bank" };"#,
            [true, false, true],
        ),
        (
            r#"permit(principal, action, resource);
               forbid(principal, action, resource) when { resource in Server::"later" };"#,
            [true, true, false],
        ),
        // Prompts have their server's risk. What tools a server has is not known before it has listed them.
        (
            r#"permit(principal, action == Action::"get_prompt", resource)
               when { resource has risk && resource.risk == "high" };"#,
            [false, true, true],
        ),
    ] {
        assert_eq!(see(text), seen, "{text}");
    }
}

#[test]
fn a_resource_is_judged_by_one_spelling_of_it() {
    let bot = who("bot", None, &[]);
    let named = r#"
        permit(principal, action == Action::"read", resource);
        forbid(principal, action == Action::"read", resource == Resource::"files file:///secret/b");
    "#;
    let alike = r#"
        permit(principal, action == Action::"read", resource) when { context.input.uri like "file:///*" };
        forbid(principal, action == Action::"read", resource in Server::"files")
        when { context.input.uri like "file:///secret/*" };
    "#;
    let odd = [
        "file:///secret/./b",
        "file:///secret//b",
        "file:///secret/%62",
        "FILE:///secret/b",
        "file:///public/../secret/b",
        "file:///public/%2e%2e/secret/b",
        "file://localhost/secret/b",
        "file:///secret/b?",
        "file:///secret/b#a",
    ];
    for text in [named, alike] {
        let set = set(text);
        let files = set.visible(&bot, &name("files"), &scene());
        assert!(ask(&set, &bot, "files", What::Read { uri: "file:///public/a%20b" }), "{text}");
        assert!(!ask(&set, &bot, "files", What::Read { uri: "file:///secret/b" }), "{text}");
        for uri in odd {
            let server = name("files");
            let decision =
                set.decide(&bot, &Ask { server: &server, what: What::Read { uri }, scene: scene() });
            assert!(!decision.allowed && decision.errors[0].contains("normal form"), "{uri}: {decision:?}");
            assert!(!files.resource(uri), "{uri}");
        }
    }
    // Where no rule looks at URIs, any will do.
    assert!(ask(&set(named), &bot, "bank", What::Read { uri: "FILE:///secret/./b" }));
    let all = set(r#"
        permit(principal, action, resource in Server::"files");
        forbid(principal, action == Action::"files__read-file", resource) when { context.input.path == "/x" };
    "#);
    assert!(ask(&all, &bot, "files", What::Read { uri: "FILE:///secret/./b" }));
    assert!(all.visible(&bot, &name("files"), &scene()).resource("file:///a//b"));
}

#[test]
fn what_lists_show_is_kept_for_a_second() {
    let set = set(r#"
        permit(principal, action in Action::"call", resource)
        when { principal in Group::"finance" || context.env.now < datetime("2026-11-26") };
    "#);
    let ann = who("bot", Some("ann"), &[]);
    let see = |ms: u64| {
        let scene = Scene { now: Timestamp::from_ms(NOON + ms), ..scene() };
        set.visible(&ann, &name("bank"), &scene)
    };
    let first = see(1);
    assert!(first.tool("pay") && std::sync::Arc::ptr_eq(&first, &see(999)));
    assert!(!std::sync::Arc::ptr_eq(&first, &see(1_000)) && !see(86_400_000).tool("pay"));
}

#[test]
fn lists_show_what_could_be_allowed() {
    let set = set(r#"
        @id("pay") permit(principal in Group::"finance", action == Action::"bank__pay", resource)
        when { context.input.amount.lessThan(decimal("10.0")) || context.env.hour == 3 };
        @id("day") permit(principal, action in Action::"read_only", resource)
        when { context.env.hour < 18 && !(context.input has path && context.input.path == "/x") };
        @id("no") forbid(principal in Agent::"bad", action, resource in Server::"files");
        @id("path") forbid(principal, action == Action::"files__read-file", resource) when { context.input.path == "/y" };
    "#);
    let night = Scene { now: Timestamp::from_ms(NOON + 8 * 3_600_000), ..scene() };
    let see = |who, server: &str, scene: &Scene<'_>| set.visible(who, &name(server), scene);
    let (ann, bad) = (who("bot", Some("ann"), &["finance"]), who("bad", None, &[]));
    let bank = see(&ann, "bank", &scene());
    assert!(bank.tool("pay") && bank.tool("read_balance") && !bank.tool("unknown"));
    assert!(!see(&ann, "bank", &night).tool("read_balance") && see(&ann, "bank", &night).tool("pay"));
    assert!(!see(&bad, "bank", &scene()).tool("pay") && see(&bad, "bank", &scene()).tool("read_balance"));
    let files = see(&ann, "files", &scene());
    assert!(files.tool("read-file") && !files.tool("delete_file"));
    assert!(see(&bad, "files", &scene()).is_nothing());
    assert!(see(&bad, "bank", &night).is_nothing());
    assert!(set.visible(&ann, &name("nowhere"), &scene()).is_nothing());
    assert!(std::sync::Arc::ptr_eq(&bank, &see(&ann, "bank", &scene())));
}
