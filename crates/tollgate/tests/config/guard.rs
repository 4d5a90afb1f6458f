//! The section `guard`.

use tollgate_guard::outside::{OnFailure, OutsideKind};
use tollgate_guard::{Action, Beyond, Bound, GuardSettings, Place, Rule};

use crate::{Bench, yaml};

const SERVER: &str = "servers: { a: { url: 'http://127.0.0.1:9/' } }\n";

fn bench(text: &str) -> Bench {
    yaml(&format!("{SERVER}{text}"))
}

fn good(text: &str) -> GuardSettings {
    bench(text).good("tollgate.yaml").guards
}

#[test]
fn without_the_section_nothing_is_looked_for_and_an_empty_one_only_reports() {
    assert_eq!(good(""), GuardSettings::default());
    let usual = good("guard: {}\n");
    let (results, arguments) = (usual.results.expect("results"), usual.arguments.expect("arguments"));
    for direction in [results, arguments, usual.definitions.expect("definitions")] {
        assert!(!direction.acts);
        assert!(direction.rules.contains_key(&Rule::Email) && !direction.rules.contains_key(&Rule::Ip));
    }
    assert_eq!(good("guard: { arguments: { mode: 'off' } }\n").arguments, None);
}

#[test]
fn an_action_that_no_mode_has_done_is_warned_of() {
    let warned = |text: &str| {
        let warnings = bench(text).good("tollgate.yaml").warnings;
        warnings.iter().filter(|warning| warning.message.contains("there is no `mode`")).count()
    };
    assert_eq!(
        warned("guard: { results: { personal: mask }, arguments: { rules: { personal.ip: block } } }\n"),
        2
    );
    for text in [
        "guard: {}\n",
        "guard: { results: { mode: report, personal: mask } }\n",
        "guard: { results: { mode: act, personal: mask } }\n",
        "guard: { results: { personal: report, secret: 'off' } }\n",
        "guard: { results: { personal: mask }, overrides: [{ match: { server: a }, results: { mode: act } }] }\n",
    ] {
        assert_eq!(warned(text), 0, "{text}");
    }
}

#[test]
fn definitions_are_stripped_of_what_hides_unless_told_otherwise() {
    let text = r"
guard:
  definitions: { mode: act, personal: 'off', rules: { injection.look_alike: block, injection.bidi: fence } }
";
    let definitions = good(text).definitions.expect("definitions");
    let of = |rule: Rule| definitions.rules.get(&rule).copied();
    assert!(definitions.acts);
    assert_eq!((of(Rule::Tags), of(Rule::Override)), (Some(Action::Strip), Some(Action::Report)));
    assert_eq!((of(Rule::LookAlike), of(Rule::Bidi)), (Some(Action::Block), Some(Action::Fence)));
    assert_eq!(of(Rule::Email), None);
    bench("guard: { definitions: { injection: mask } }\n").bad("tollgate.yaml");
}

#[test]
fn only_what_can_wait_is_held() {
    let text = r"
pins: {}
guard:
  arguments: { mode: act, secret: hold }
  definitions: { mode: act, injection: hold }
  overrides:
    - match: { server: crm }
      arguments: { personal: hold }
      fields: [{ in: arguments, path: /to, rules: { personal.ip: hold } }]
";
    let settings = good(text);
    let (arguments, definitions) = (settings.arguments.unwrap(), settings.definitions.unwrap());
    assert_eq!(arguments.rules.get(&Rule::GitToken), Some(&Action::Hold));
    assert_eq!(definitions.rules.get(&Rule::Tags), Some(&Action::Hold));
    assert_eq!(settings.overrides[0].arguments.rules.get(&Rule::Email), Some(&Some(Action::Hold)));
    for (text, says) in [
        ("guard: { results: { secret: hold } }\n", "nothing that can be done in results"),
        ("guard: { results: { rules: { personal.ip: hold } } }\n", "nothing that can be done in results"),
        ("guard: { overrides: [{ results: { personal: hold } }] }\n", "nothing that can be done in results"),
        (
            "guard: { overrides: [{ fields: [{ path: /a, secret: hold }] }] }\n",
            "nothing that can be done in results",
        ),
        ("guard: { definitions: { injection: hold } }\n", "`hold` needs `pins`"),
        ("guard: { overrides: [{ definitions: { secret: hold } }] }\n", "`hold` needs `pins`"),
    ] {
        let told = bench(text).bad("tollgate.yaml");
        assert!(told.contains(says), "{text}: {told}");
    }
}

#[test]
fn overrides_say_what_is_otherwise_for_some() {
    let text = r"
guard:
  results: { mode: act }
  overrides:
    - match: { server: [crm, 'mail*'], tool: get_contact }
      results: { personal: 'off', rules: { personal.card: pseudonym } }
      restore: true
      fields:
        - { path: '/structuredContent/*/email', personal: partial }
        - { in: arguments, path: /to, secret: mask }
  pseudonyms: { idle_s: 60, texts_max: 5 }
";
    let settings = good(text);
    let [one] = settings.overrides.as_slice() else { panic!("{settings:?}") };
    assert_eq!((one.servers.len(), one.tools[0].as_str(), one.restores), (2, "get_contact", Some(true)));
    assert_eq!(one.results.mode, None);
    let of = |rule: Rule| one.results.rules.get(&rule).copied();
    assert_eq!(of(Rule::Email), Some(None));
    assert_eq!((of(Rule::Card), of(Rule::GitToken)), (Some(Some(Action::Pseudonym)), None));
    assert_eq!((one.fields[0].place, one.fields[1].place), (Place::Results, Place::Arguments));
    assert_eq!(one.fields[0].rules[&Rule::Email], Some(Action::Partial));
    assert_eq!((settings.pseudonyms.idle.as_secs(), settings.pseudonyms.texts_max), (60, 5));
    for (text, said) in [
        ("[{ match: { tenant: nobody } }]", "there is no tenant"),
        ("[{ fields: [{ path: a }] }]", "begins with `/`"),
        (
            "[{ fields: [{ in: arguments, path: /a, personal: fence }] }]",
            "nothing that can be done in arguments",
        ),
        (
            "[{ fields: [{ in: definitions, path: /a, personal: mask }] }]",
            "nothing that can be done in definitions",
        ),
        ("[{ results: { rules: { personal.emial: mask } } }]", "did you mean `personal.email`?"),
    ] {
        let bad = bench(&format!("guard:\n  overrides: {text}\n")).bad("tollgate.yaml");
        assert!(bad.contains(said), "{text}: {bad}");
    }
    let bad = bench("guard: { pseudonyms: { idle_s: 0 } }\n").bad("tollgate.yaml");
    assert!(bad.contains("idle_s"), "{bad}");
}

#[test]
fn rules_weigh_more_than_families_and_families_more_than_what_is_usual() {
    let text = r"
guard:
  results:
    mode: act
    personal: hash
    rules: { personal.email: partial, personal.ip: mask, secret.jwt: 'off', own.employee: drop }
  arguments:
    mode: act
    rules: { personal.card: block }
  patterns:
    employee: { expression: '\bE\d{6}\b', words: [staff, employee] }
    project: { expression: 'PRJ-[0-9]+' }
";
    let settings = good(text);
    let results = settings.results.expect("results");
    assert!(results.acts);
    let of = |rule: Rule| results.rules.get(&rule).copied();
    assert_eq!(of(Rule::Email), Some(Action::Partial));
    assert_eq!(of(Rule::Phone), Some(Action::Hash));
    assert_eq!(of(Rule::Ip), Some(Action::Mask), "what is named is on");
    assert_eq!(of(Rule::Mac), None);
    assert_eq!((of(Rule::Jwt), of(Rule::GitToken)), (None, Some(Action::Mask)));
    assert_eq!((of(Rule::Tags), of(Rule::Override)), (Some(Action::Strip), Some(Action::Report)));
    assert_eq!((of(Rule::Own(0)), of(Rule::Own(1))), (Some(Action::Drop), Some(Action::Mask)));
    let arguments = settings.arguments.expect("arguments");
    let of = |rule: Rule| arguments.rules.get(&rule).copied();
    assert_eq!((of(Rule::Card), of(Rule::Email)), (Some(Action::Block), Some(Action::Report)));
    assert_eq!(of(Rule::GitToken), Some(Action::Block));
    assert_eq!(settings.patterns[0].words, ["staff", "employee"]);
}

#[test]
fn what_is_wrong_is_told_where_it_is() {
    for (text, said) in [
        ("results: { rules: { personal.emial: mask } }", "did you mean `personal.email`?"),
        ("results: { rules: { own.none: mask } }", "there is no rule"),
        ("arguments: { secret: fence }", "secret"),
        ("patterns: { x: { expression: '(' } }", "it cannot be used"),
        ("patterns: { x: { expression: 'a*' } }", "matches the empty text"),
        ("patterns: { x: {} }", "needs an `expression`"),
        ("patterns: { 'x y': { expression: a } }", "no name of a pattern"),
    ] {
        let bad = bench(&format!("guard:\n  {text}\n")).bad("tollgate.yaml");
        assert!(bad.contains(said), "{text}: {bad}");
    }
}

#[test]
fn guards_outside_are_asked_in_the_order_of_the_file() {
    let text = r#"
guard:
  external:
    dlp:
      url: https://dlp.example.com/check
      direction: arguments
      servers: [a]
      on_failure: pass
      secret: 0123456789abcdef
      timeout_ms: 250
    analyzer:
      url: http://127.0.0.1:3000/analyze
      allow_private_addresses: true
      kind: presidio
      presidio: { entities: [PERSON, US_SSN], confidence_min: 70, action: 'off', actions: { PERSON: hash } }
    classes:
      url: http://classes.internal/predict
      allow_private_addresses: true
      allow_plain_http: true
      kind: classifier
      direction: results
      tools: [a/fetch]
      classifier:
        request: '{"inputs": "{{texts}}"}'
        label: /0/label
        score: /0/score
        rules:
          - { label: INJECTION, confidence_min: 90 }
          - { name: doubt, label: UNKNOWN, action: fence }
"#;
    let outside = good(text).outside;
    let names: Vec<&str> = outside.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["dlp", "analyzer", "classes"]);
    let dlp = &outside[0];
    assert_eq!((dlp.results, dlp.arguments, dlp.on_failure), (false, true, OnFailure::Pass));
    assert_eq!((dlp.timeout.as_millis(), dlp.servers.as_slice()), (250, ["a".to_owned()].as_slice()));
    let OutsideKind::Presidio(presidio) = &outside[1].kind else { panic!("{outside:?}") };
    assert_eq!((presidio.confidence_min, presidio.action), (70, None));
    assert_eq!(presidio.actions["PERSON"], Some(Action::Hash));
    assert_eq!(outside[1].on_failure, OnFailure::Refuse, "what it has not seen does not pass");
    let OutsideKind::Classifier(classifier) = &outside[2].kind else { panic!("{outside:?}") };
    assert_eq!(classifier.rules[0].label, Some(("/0/label".to_owned(), "INJECTION".to_owned())));
    assert_eq!((classifier.rules[0].score_min, classifier.rules[0].action), (90, Action::Block));
    assert_eq!((&*classifier.rules[1].name, classifier.rules[1].action), ("doubt", Action::Fence));
}

#[test]
fn a_guard_outside_that_could_not_be_asked_is_told() {
    for (text, said) in [
        ("{}", "`url` is missing"),
        ("{ url: 'http://dlp.example.com/' }", "use https"),
        ("{ url: 'http://127.0.0.1:1/' }", "use https"),
        ("{ url: 'https://10.0.0.1/' }", "private addresses"),
        ("{ url: 'https://u:p@dlp.example.com/' }", "user name or password"),
        ("{ url: 'https://dlp.example.com/', secret: short }", "could be guessed"),
        ("{ url: 'https://dlp.example.com/', secret: 'whsec_c2hvcnQga2V5' }", "could be guessed"),
        ("{ url: 'https://dlp.example.com/', tools: [fetch] }", "SERVER/TOOL"),
        ("{ url: 'https://dlp.example.com/', presidio: {} }", "only for a guard of the kind `presidio`"),
        ("{ url: 'https://dlp.example.com/', kind: classifier }", "it cannot be used"),
        (
            "{ url: 'https://dlp.example.com/', kind: classifier, classifier: { request: '[\"{{text}}\"]', rules: [{}] } }",
            "fits everything",
        ),
    ] {
        let bad = bench(&format!("guard: {{ external: {{ dlp: {text} }} }}\n")).bad("tollgate.yaml");
        assert!(bad.contains(said), "{text}: {bad}");
    }
    let bad = bench("guard: { external: { 'x y': { url: 'https://a.example/' } } }\n").bad("tollgate.yaml");
    assert!(bad.contains("no name of a guard"), "{bad}");
}

const RULES: &str = r"
rules:
  - { id: project, expressions: ['PRJ-\d+'], severity: high }
  - { id: token, family: secret, expressions: ['tk_\w+'] }
  - { id: hurry, family: injection, phrases: [{ confidence: 60, first: [hurry] }] }
  - { id: never, family: personal, action: block, expressions: ['never'] }
  - { id: unused, action: 'off', expressions: ['unused'] }
";

#[test]
fn rules_of_files_go_with_their_families_unless_they_or_the_configuration_say_otherwise() {
    let text = r"
guard:
  rule_files: [rules.yaml]
  patterns: { employee: { expression: 'E\d{6}' } }
  results: { mode: act, injection: fence, rules: { own.project: hash } }
  arguments: { mode: act, personal: 'off' }
";
    let bench = bench(text).file("rules.yaml", RULES);
    let config = bench.good("tollgate.yaml");
    let names: Vec<&str> = config.guards.files.iter().map(|file| &*file.id).collect();
    assert_eq!(names, ["project", "token", "hurry", "never", "unused"]);
    let results = config.guards.results.expect("results").rules;
    let of = |place: u16| results.get(&Rule::Own(place)).copied();
    assert_eq!((of(0), of(1), of(2)), (Some(Action::Mask), Some(Action::Hash), Some(Action::Mask)));
    assert_eq!((of(3), of(4), of(5)), (Some(Action::Fence), Some(Action::Block), None));
    let arguments = config.guards.arguments.expect("arguments").rules;
    let of = |place: u16| arguments.get(&Rule::Own(place)).copied();
    assert_eq!((of(1), of(2), of(3)), (Some(Action::Report), Some(Action::Block), Some(Action::Report)));
    assert_eq!((of(4), of(5)), (Some(Action::Block), None), "a rule weighs more than its family");
    assert!(config.files.iter().any(|file| file.ends_with("rules.yaml")), "it is watched");
}

#[test]
fn what_is_wrong_with_a_file_of_rules_is_told_where_it_is_named() {
    for (rules, said) in [
        ("rules: [{ id: x, expressions: ['('] }]", "cannot be used"),
        ("rules: [{ id: x, expressions: [a], examples: { match: [b] } }]", "finds nothing in its example"),
        ("rules: [{ id: employee, expressions: [a] }]", "`employee` already"),
    ] {
        let text = "guard: { rule_files: [rules.yaml], patterns: { employee: { expression: 'E' } } }\n";
        let bad = bench(text).file("rules.yaml", rules).bad("tollgate.yaml");
        assert!(bad.contains("guard.rule_files[0]") && bad.contains(said), "{rules}: {bad}");
    }
    let bad = bench("guard: { rule_files: [none.yaml] }\n").bad("tollgate.yaml");
    assert!(bad.contains("guard.rule_files[0]"), "{bad}");
}

#[test]
fn what_is_too_large_to_be_looked_at_does_not_pass_by_itself() {
    assert_eq!(good("guard: {}\n").bound, Bound { bytes_max: 16 << 20, beyond: Beyond::Refuse });
    let bound = good("guard: { inspect_bytes_max: 2048, beyond: report }\n").bound;
    assert_eq!(bound, Bound { bytes_max: 2048, beyond: Beyond::Report });
    let bad = bench("guard: { beyond: pass }\n").bad("tollgate.yaml");
    assert!(bad.contains("guard.beyond"), "{bad}");
}
