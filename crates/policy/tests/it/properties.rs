//! What holds for all policies, callers and calls: generated ones, against Cedar itself judging the whole set.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Context, Decision as Verdict, Entities, Entity, EntityUid, PolicyId, Request,
    RestrictedExpression,
};
use proptest::prelude::*;
use tollgate_mcp::{Limits, Span, validate};
use tollgate_model::{Decision, Principal, Timestamp};
use tollgate_policy::{Ask, Gaps, Mode, PolicySet, Scene, What};

use crate::world::{NOON, call_in, ids, known, name, scene, sources, who};

const TOOLS: [&str; 6] = [
    "bank__pay",
    "bank__read_balance",
    "files__read-file",
    "files__delete_file",
    "files__a/b.c",
    "files__odd",
];

/// Tools with the groups that their actions are in.
fn groups(tool: &str) -> Vec<String> {
    let (server, native) = tool.split_once("__").unwrap();
    let mut groups = vec!["call".to_owned(), format!("server:{server}")];
    groups.extend(native.starts_with("read").then(|| "read_only".to_owned()));
    groups.extend(native.starts_with("delete").then(|| "destructive".to_owned()));
    groups.extend((server == "bank").then(|| "risk:high".to_owned()));
    groups.extend((server == "files" || native == "pay").then(|| "toolset:office".to_owned()));
    groups
}

fn condition() -> impl Strategy<Value = &'static str> {
    // Those on arguments hold for tools with and without them.
    prop::sample::select(vec![
        "context.env.hour >= 9",
        "context.env.hour < 18 && context.env.minute != 34",
        "[\"saturday\", \"sunday\"].contains(context.env.weekday)",
        "context.env has source && context.env.source.isInRange(ip(\"10.0.0.0/8\"))",
        "context.env has environment && context.env.environment == \"production\"",
        "context.env.now < datetime(\"2026-11-26\")",
        "resource in Server::\"bank\"",
        "principal in Group::\"finance\" || context.env.hour == 3",
        "principal in Group::\"staff\"",
        "principal has user && principal.user == \"ann\"",
        "action in Action::\"read_only\"",
        "!(resource in Server::\"files\" || principal in Agent::\"other\")",
        "resource is Tool && resource.destructive",
        "if principal has user then context.env.minute > 30 else context.env.hour == 3",
        "context.env.hour * 4000000000000000000 > 0",
        "true",
    ])
}

fn argument_condition() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "context.input has amount && context.input.amount.lessThan(decimal(\"10.5\"))",
        "context.input has to && context.input.to like \"a*\"",
        "context.input has count && context.input.count + 1 > 3",
        "!(context.input has urgent && context.input.urgent)",
        "context.input has tags && context.input.tags.contains(\"x\")",
        "context.input has from.branch && context.input.from.branch == 7",
        "context.input has note || principal in Group::\"finance\"",
        "if context.input has urgent then context.input.urgent else context.env.hour == 12",
        "context.input has from",
        "context.env.hour == 12 && context.input has count && context.input.count == 2",
    ])
}

#[derive(Debug, Clone)]
struct Written {
    head: String,
    conditions: Vec<(bool, String)>,
    is_permit: bool,
}

impl Written {
    fn text(&self, at: usize) -> String {
        let effect = if self.is_permit { "permit" } else { "forbid" };
        let mut text = format!("@id(\"r{at}\") {effect}({})", self.head);
        for (is_when, condition) in &self.conditions {
            let word = if *is_when { "when" } else { "unless" };
            text.extend([" ", word, " { ", condition, " }"]);
        }
        text.push(';');
        text
    }

    /// Paths of arguments that the conditions read, and whether only their presence matters.
    fn reads(&self) -> Vec<(Vec<&'static str>, bool)> {
        let text: String =
            self.conditions.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
        let all = [
            ("context.input.amount", vec!["amount"], false),
            ("context.input has amount", vec!["amount"], true),
            ("context.input.to ", vec!["to"], false),
            ("context.input has to", vec!["to"], true),
            ("context.input.count", vec!["count"], false),
            ("context.input has count", vec!["count"], true),
            ("context.input.urgent", vec!["urgent"], false),
            ("context.input has urgent", vec!["urgent"], true),
            ("context.input.tags", vec!["tags"], false),
            ("context.input.from.branch", vec!["from", "branch"], false),
            ("context.input has from", vec!["from"], true),
            ("context.input has note", vec!["note"], true),
        ];
        all.into_iter()
            .filter(|(needle, ..)| text.contains(needle))
            .map(|(_, path, has)| (path, has))
            .collect()
    }
}

fn written() -> impl Strategy<Value = Written> {
    let principal = prop::sample::select(vec![
        "principal",
        "principal",
        "principal in Agent::\"bot\"",
        "principal in Group::\"finance\"",
        "principal in User::\"ann\"",
        "principal in Tenant::\"default\"",
        "principal is Caller in Role::\"admin\"",
        "principal == Caller::\"bot ann\"",
    ]);
    // Rules on arguments are about the one tool that has them.
    let scope = prop_oneof![
        Just(("action", "resource", true)),
        Just(("action in Action::\"call\"", "resource", true)),
        Just(("action in Action::\"server:files\"", "resource is Tool", false)),
        Just(("action in [Action::\"bank__pay\", Action::\"files__odd\"]", "resource", true)),
        Just(("action == Action::\"bank__pay\"", "resource in Server::\"bank\"", true)),
        Just(("action in Action::\"risk:high\"", "resource", true)),
        Just(("action", "resource == Tool::\"files__a/b.c\"", false)),
        Just(("action in Action::\"toolset:office\"", "resource", true)),
    ];
    let free = prop::collection::vec((prop::bool::weighted(0.8), condition().prop_map(str::to_owned)), 0..3);
    let bound = prop::collection::vec(
        (prop::bool::weighted(0.8), argument_condition().prop_map(str::to_owned)),
        0..3,
    );
    (principal, scope, free, bound, prop::bool::weighted(0.7)).prop_map(
        |(principal, scope, free, bound, is_permit)| {
            let (action, resource, has_arguments) = scope;
            let mut conditions = free;
            // The resource of an unbounded action may be no tool: only conditions that fit all kinds are put there.
            let fits_all = !(action == "action" && resource == "resource");
            conditions.retain(|(_, text)| fits_all || !text.contains("Tool"));
            if has_arguments {
                let at = conditions.len() / 2;
                for one in bound {
                    conditions.insert(at, one);
                }
            }
            Written { head: format!("{principal}, {action}, {resource}"), conditions, is_permit }
        },
    )
}

fn caller() -> impl Strategy<Value = Principal> {
    let groups = prop::sample::subsequence(vec!["finance", "staff", "sales"], 0..3);
    let user = prop::sample::select(vec![None, Some("ann"), Some("paul")]);
    let agent = prop::sample::select(vec!["bot", "other"]);
    (agent, user, groups, any::<bool>()).prop_map(|(agent, user, groups, is_admin)| {
        let mut who = who(agent, user, &groups);
        who.roles = is_admin.then(|| Arc::from("admin")).into_iter().collect();
        who
    })
}

/// An argument: how it is written, and its value where Cedar can hold it.
type Argument = (&'static str, Option<&'static str>);

fn arguments() -> impl Strategy<Value = BTreeMap<&'static str, Argument>> {
    let of = |name: &'static str, values: Vec<Argument>| {
        prop::option::weighted(0.5, prop::sample::select(values)).prop_map(move |value| (name, value))
    };
    let all = (
        of(
            "amount",
            vec![
                ("1", Some("decimal(\"1.0\")")),
                ("10.5000", Some("decimal(\"10.5\")")),
                ("3e2", Some("decimal(\"300.0\")")),
                ("0.00001", None),
                ("null", None),
                ("1e40", None),
            ],
        ),
        of(
            "to",
            vec![
                ("\"abc\"", Some("\"abc\"")),
                ("\"\\u0062\"", Some("\"b\"")),
                ("{\"__entity\":{\"type\":\"User\",\"id\":\"ann\"}}", None),
                ("7", None),
            ],
        ),
        of(
            "count",
            vec![
                ("2", Some("2")),
                ("2.0", Some("2")),
                ("9223372036854775807", Some("9223372036854775807")),
                ("9223372036854775808", None),
                ("{\"__extn\":{\"fn\":\"decimal\",\"arg\":\"1.0\"}}", None),
            ],
        ),
        of("urgent", vec![("true", Some("true")), ("false", Some("false")), ("\"true\"", None)]),
        of(
            "tags",
            vec![
                ("[]", Some("[]")),
                ("[\"x\",\"y\",\"x\"]", Some("[\"x\",\"y\"]")),
                ("[\"x\",null]", None),
                ("{}", None),
            ],
        ),
        of(
            "from",
            vec![
                ("{\"branch\":7,\"account\":\"a\"}", Some("{\"branch\":7}")),
                ("{\"branch\":8}", Some("{\"branch\":8}")),
                ("{\"more\":[{}]}", Some("{}")),
                ("null", None),
            ],
        ),
        of("note", vec![("\"n\"", Some("\"n\"")), ("null", None)]),
        of("odd", vec![("1", None), ("\"x\"", None)]),
    );
    all.prop_map(|(a, b, c, d, e, f, g, h)| {
        [a, b, c, d, e, f, g, h].into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    })
}

fn json(arguments: &BTreeMap<&str, Argument>) -> String {
    let members: Vec<_> = arguments.iter().map(|(name, (text, _))| format!("\"{name}\": {text}")).collect();
    format!("{{{}}}", members.join(", "))
}

fn moment() -> impl Strategy<Value = Scene<'static>> {
    let now = (0_u64..72, 0_u64..60).prop_map(|(hours, minutes)| NOON + hours * 3_600_000 + minutes * 60_000);
    let source = prop::sample::select(vec![None, Some("10.1.1.1"), Some("192.168.0.1"), Some("::1")]);
    (now, source).prop_map(|(now, source)| Scene {
        now: Timestamp::from_ms(now),
        source: source.map(|text| text.parse().unwrap()),
        ..scene()
    })
}

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.parse().unwrap(), cedar_policy::EntityId::new(id))
}

/// All entities there are.
fn entities(who: &Principal) -> Entities {
    let one = |kind, id: &Option<Arc<str>>| id.iter().map(|id| uid(kind, id)).collect::<Vec<_>>();
    let mut parents = vec![uid("Tenant", "default")];
    parents.extend(one("Agent", &who.agent));
    parents.extend(one("User", &who.user));
    parents.extend(who.groups.iter().filter(|_| who.user.is_some()).map(|group| uid("Group", group)));
    parents.extend(who.roles.iter().map(|role| uid("Role", role)));
    let text = |text: &Arc<str>| RestrictedExpression::new_string(text.to_string());
    let attributes = [("agent", &who.agent), ("user", &who.user)];
    let attributes =
        attributes.iter().filter_map(|(name, value)| Some(((*name).to_owned(), text(value.as_ref()?))));
    let caller = uid("Caller", who.id.as_str());
    let mut all = vec![Entity::new(caller, attributes.collect(), parents.into_iter().collect()).unwrap()];
    for tool in TOOLS {
        let actions = groups(tool).iter().map(|group| uid("Action", group)).collect();
        all.push(Entity::new_no_attrs(uid("Action", tool), actions));
        let (server, native) = tool.split_once("__").unwrap();
        let flag = |name: &str, value| (name.to_owned(), RestrictedExpression::new_bool(value));
        let facts = [
            flag("read_only", native.starts_with("read")),
            flag("destructive", native.starts_with("delete")),
        ];
        let mut facts: std::collections::HashMap<_, _> = facts.into();
        if server == "bank" {
            facts.insert("risk".to_owned(), RestrictedExpression::new_string("high".to_owned()));
        }
        all.push(Entity::new(uid("Tool", tool), facts, HashSet::from([uid("Server", server)])).unwrap());
    }
    Entities::from_entities(all, None).unwrap()
}

fn context(arguments: &BTreeMap<&str, Argument>, is_typed: bool, scene: &Scene<'_>) -> Context {
    let expression = |text: &str| RestrictedExpression::from_str(text).unwrap();
    let read = arguments
        .iter()
        .filter(|_| is_typed)
        .filter_map(|(name, (_, value))| Some(((*name).to_owned(), expression((*value)?))));
    let day = scene.now.as_ms() / 86_400_000;
    let weekdays = ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];
    let minute = scene.now.as_ms() / 60_000;
    let long = |value: u64| RestrictedExpression::new_long(i64::try_from(value).unwrap());
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    // The day that `now` is compared with is the one after the first.
    let now = if day == NOON / 86_400_000 { "2026-11-25" } else { "2026-11-27" };
    let mut env = vec![
        ("hour".to_owned(), long(minute / 60 % 24)),
        ("minute".to_owned(), long(minute % 60)),
        ("weekday".to_owned(), text(weekdays[usize::try_from(day % 7).unwrap()])),
        ("now".to_owned(), RestrictedExpression::new_datetime(now)),
        ("environment".to_owned(), text("production")),
        ("endpoint".to_owned(), text("")),
        ("era".to_owned(), text("modern")),
    ];
    env.extend(
        scene.source.map(|source| ("source".to_owned(), RestrictedExpression::new_ip(source.to_string()))),
    );
    Context::from_pairs([
        ("input".to_owned(), RestrictedExpression::new_record(read).unwrap()),
        ("env".to_owned(), RestrictedExpression::new_record(env).unwrap()),
    ])
    .unwrap()
}

/// What Cedar says of the whole set, with the rule that what cannot be read denies.
fn reference(
    rules: &[Written],
    who: &Principal,
    tool: &str,
    arguments: &BTreeMap<&str, Argument>,
    scene: &Scene<'_>,
) -> (bool, BTreeSet<String>) {
    let is_typed = tool == "bank__pay";
    let entities = entities(who);
    let ask = |set: &cedar_policy::PolicySet| {
        let context = context(arguments, is_typed, scene);
        let caller = uid("Caller", who.id.as_str());
        let request = Request::new(caller, uid("Action", tool), uid("Tool", tool), context, None).unwrap();
        Authorizer::new().is_authorized(&request, set, &entities)
    };
    let is_blind = |rule: &Written| {
        rule.reads().iter().any(|(path, _)| match arguments.get(path[0]) {
            None => false,
            Some((_, value)) => !is_typed || value.is_none(),
        })
    };
    let parse = |rule: &Written, at: usize| {
        cedar_policy::Policy::parse(Some(PolicyId::new(format!("r{at}"))), rule.text(at)).unwrap()
    };
    let mut set = cedar_policy::PolicySet::new();
    let mut forced = BTreeSet::new();
    for (at, rule) in rules.iter().enumerate() {
        if !is_blind(rule) {
            set.add(parse(rule, at)).unwrap();
        } else if !rule.is_permit {
            // It forbids, unless what comes before all conditions that read the context says that it is not about this.
            let first = rule.conditions.iter().take_while(|(_, text)| !text.contains("context"));
            let scope = Written { conditions: first.cloned().collect(), ..rule.clone() };
            let alone = cedar_policy::PolicySet::from_policies([parse(&scope, at)]).unwrap();
            let said = ask(&alone);
            if said.diagnostics().reason().count() > 0 {
                forced.insert(format!("r{at}"));
            }
        }
    }
    let said = ask(&set);
    let failed = said.diagnostics().errors().map(|error| match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
    });
    let is_forbid = |id: &String| !rules[id[1..].parse::<usize>().unwrap()].is_permit;
    forced.extend(failed.filter(is_forbid));
    let reasons: BTreeSet<String> = said.diagnostics().reason().map(ToString::to_string).collect();
    if said.decision() == Verdict::Allow && forced.is_empty() {
        return (true, reasons);
    }
    forced.extend(reasons.into_iter().filter(is_forbid));
    (false, forced)
}

fn set_of(rules: &[Written]) -> PolicySet {
    let text: Vec<String> = rules.iter().enumerate().map(|(at, rule)| rule.text(at)).collect();
    let compiled = PolicySet::compile(&sources(&text.join("\n")), &known(), Some("production"), Mode::New);
    compiled.unwrap_or_else(|findings| panic!("{}: {findings:#?}", text.join("\n"))).0
}

fn found(decision: &Decision) -> (bool, BTreeSet<String>) {
    (decision.allowed, ids(decision).into_iter().map(str::to_owned).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn plans_and_slices_decide_as_the_whole_set_does(
        rules in prop::collection::vec(written(), 0..12),
        calls in prop::collection::vec(
            (caller(), prop::sample::select(TOOLS.to_vec()), arguments(), moment()), 1..12),
    ) {
        let set = set_of(&rules);
        // Twice: the second time by what was kept.
        for (who, tool, arguments, scene) in calls.iter().chain(&calls) {
            let json = json(arguments);
            let decision = call_in(&set, who, tool, &json, scene);
            let expected = reference(&rules, who, tool, arguments, scene);
            prop_assert_eq!(found(&decision), expected, "{} {} {:?}", tool, json, decision);
            let (server, native) = tool.split_once("__").unwrap();
            let is_shown = set.visible(who, &name(server), scene).tool(native);
            prop_assert!(is_shown || !decision.allowed, "hidden, and allowed: {} {}", tool, json);
            let is_hopeful = decision.allowed || decision.could_differ;
            prop_assert!(is_hopeful || !is_shown, "shown, and hopeless: {} {:?}", tool, decision);
        }
    }

    #[test]
    fn what_is_decided_again_without_some_arguments_is_what_was_decided(
        written in prop::collection::vec(written(), 1..8),
        calls in prop::collection::vec(
            (caller(), prop::sample::select(TOOLS.to_vec()), arguments(), moment(), any::<u8>()), 1..12),
        nothing_is_known in prop::bool::weighted(0.2),
        is_source_known: bool,
    ) {
        let text: String = written.iter().enumerate().map(|(at, rule)| rule.text(at)).collect();
        let Ok((set, _)) = PolicySet::compile(&sources(&text), &known(), None, Mode::Accepted) else {
            return Ok(());
        };
        for (who, tool, arguments, scene, missing) in calls {
            let decided = call_in(&set, &who, tool, &json(&arguments), &scene);
            let mut kept = arguments.clone();
            let mut parts = Vec::new();
            for (at, (name, value)) in kept.iter_mut().enumerate() {
                // What was null is never taken out.
                if missing & (1 << at) != 0 && value.0 != "null" {
                    *value = ("\"[redacted]\"", None);
                    parts.push(vec![(*name).to_owned()]);
                }
            }
            let kept = if nothing_is_known { "{}".to_owned() } else { json(&kept) };
            let (server, native) = tool.split_once("__").unwrap();
            let arguments = Some((kept.as_bytes(), Span::all(kept.as_bytes())));
            let now = Scene { source: scene.source.filter(|_| is_source_known), ..scene };
            let ask = Ask { server: &name(server), what: What::Call { native, arguments }, scene: now };
            let gaps = Gaps { source: !is_source_known, arguments: nothing_is_known, parts: &parts };
            if let Ok(again) = set.decide_again(&who, &ask, &gaps) {
                prop_assert_eq!(again, decided);
            }
        }
    }

    #[test]
    fn what_is_hidden_cannot_be_called_with_any_arguments(
        rules in prop::collection::vec(written(), 0..12),
        who in caller(),
        scene in moment(),
        all in prop::collection::vec(arguments(), 1..24),
    ) {
        let set = set_of(&rules);
        for server in ["bank", "files", "later"].map(name) {
            if !set.visible(&who, &server, &scene).is_nothing() {
                continue;
            }
            let (read, get) = (What::Read { uri: "file:///a" }, What::Get { native: "p", arguments: None });
            // It has listed no tools yet, so that any name may turn out to be one.
            let call = (server.as_str() == "later").then_some(What::Call { native: "x", arguments: None });
            for what in [read, get].into_iter().chain(call) {
                let decision = set.decide(&who, &Ask { server: &server, what, scene });
                prop_assert!(!decision.allowed, "hidden, and allowed: {server} {what:?}");
            }
        }
        for tool in TOOLS {
            let (server, native) = tool.split_once("__").unwrap();
            let visible = set.visible(&who, &name(server), &scene);
            if visible.tool(native) {
                prop_assert!(!visible.is_nothing());
                continue;
            }
            for arguments in &all {
                prop_assert!(!call_in(&set, &who, tool, &json(arguments), &scene).allowed);
            }
        }
    }

    #[test]
    fn no_json_becomes_more_than_it_is(text in any_json(6)) {
        // Each rule would hold of an entity, an extension value, or a rounded or left out one.
        let set = crate::world::set(r#"
            permit(principal, action == Action::"bank__pay", resource) when { context.input has amount && context.input.amount == decimal("1.0") };
            permit(principal, action == Action::"bank__pay", resource) when { context.input has to && context.input.to == "x" };
            permit(principal, action == Action::"bank__pay", resource) when { context.input has count && context.input.count == 1 };
            permit(principal, action == Action::"bank__pay", resource) when { context.input has tags && context.input.tags == ["x"] };
        "#);
        for member in ["amount", "to", "count", "tags"] {
            let json = format!("{{\"{member}\":{text}}}");
            prop_assume!(validate(json.as_bytes(), &Limits::default()).is_ok());
            let decision = call_in(&set, &who("bot", None, &[]), "bank__pay", &json, &scene());
            let means = match member {
                "amount" | "count" => text.parse::<f64>().is_ok_and(|_| tollgate_mcp::numbers_equal(text.as_bytes(), b"1")),
                "to" => text == "\"x\"",
                _ => serde_json::from_str::<Vec<String>>(&text).is_ok_and(|all| !all.is_empty() && all.iter().all(|one| one == "x")),
            };
            prop_assert_eq!(decision.allowed, means, "{}", json);
        }
    }
}

/// JSON with what would mean something to Cedar.
fn any_json(depth: u32) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "1",
            "1.0",
            "1e0",
            "10e-1",
            "1.00001",
            "0.99999",
            "1e309",
            "18446744073709551617",
            "-0"
        ])
        .prop_map(str::to_owned),
        prop::sample::select(vec!["x", "", "1", "decimal(\\\"1.0\\\")", "__entity"])
            .prop_map(|text| format!("\"{text}\"")),
        Just(r#"{"__entity":{"type":"User","id":"x"}}"#.to_owned()),
        Just(r#"{"__extn":{"fn":"decimal","arg":"1.0"}}"#.to_owned()),
        Just(r#"{"__extn":{"fn":"unknown","arg":"x"}}"#.to_owned()),
        Just(r#"{"__expr":"\"x\""}"#.to_owned()),
    ];
    leaf.prop_recursive(depth, 24, 4, |inner| {
        let key = prop::sample::select(vec!["a", "__entity", "__extn", "fn", "arg", "in", ""]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            (key, inner.clone()).prop_map(|(key, value)| format!("{{\"{key}\":{value}}}")),
            inner,
        ]
    })
}
