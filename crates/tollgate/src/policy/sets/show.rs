//! What is said of sets, for people.

use serde_json::Value;
use tollgate_model::TenantId;
use tollgate_store::RuleSet;

use crate::config::Config;
use crate::keys::table;
use crate::out::{Printer, To, safe};

/// How many rows of each table are shown.
const ROWS_MAX: usize = 10;

fn number(version: Option<u64>) -> String {
    version.map_or_else(|| "-".to_owned(), |version| version.to_string())
}

/// All sets.
pub(super) fn list(sets: &[RuleSet]) {
    let row = |set: &RuleSet| {
        vec![
            safe(&set.id.name),
            set.id.tenant.as_ref().map_or_else(|| "(operator)".to_owned(), |tenant| safe(tenant.as_str())),
            set.latest.to_string(),
            number(set.in_force),
            number(set.shadow),
            set.last.act.as_str().to_owned(),
            safe(&set.last.by),
            set.last.at.to_string(),
        ]
    };
    let head = ["NAME", "TENANT", "LATEST", "DECIDES", "LOOKS ON", "LAST", "BY", "AT"].map(str::to_owned);
    table(&head, &sets.iter().map(row).collect::<Vec<_>>());
}

/// One set, and its versions.
pub(super) fn set(set: &RuleSet, config: Option<&Config>) {
    let out = Printer::new(To::Out);
    let line = |what: &str, text: &str| out.line(format!("{what:<12}{}", safe(text)));
    line("set", &set.id.name);
    line("about", set.id.tenant.as_ref().map_or("the callers of every tenant (operator)", TenantId::as_str));
    line("decides", &set.in_force.map_or("nothing of it".to_owned(), |version| format!("version {version}")));
    line("looks on", &set.shadow.map_or("nothing of it".to_owned(), |version| format!("version {version}")));
    let why = if set.last.reason.is_empty() { String::new() } else { format!(": {}", set.last.reason) };
    line("last", &format!("{} by {} at {}{why}", set.last.act.as_str(), set.last.by, set.last.at));
    out.line("");
    let row = |version: &tollgate_store::RuleVersion| {
        let digest = version.digest().to_string();
        let digest = digest.chars().take(12).collect();
        let texts = [&*version.by, &version.at.to_string(), &*version.reason].map(safe);
        [version.number.to_string(), digest].into_iter().chain(texts).collect()
    };
    let head = ["VERSION", "DIGEST", "BY", "AT", "REASON"].map(str::to_owned);
    table(&head, &set.versions.iter().map(row).collect::<Vec<_>>());
    if set.in_force.or(set.shadow).is_some() && config.is_some_and(|config| !config.policies.are_stored) {
        let err = Printer::new(To::Err);
        let text = "policies in the store do not count: `policy: { stored: true }` in the configuration turns them on";
        err.line(format!("{} {text}", err.bold("note:")));
    }
}

fn texts(value: &Value) -> String {
    let texts: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if texts.is_empty() { "no permit".to_owned() } else { texts.join(", ") }
}

fn word<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// What is said of policies, as the API says it.
pub(super) fn verdict(verdict: &Value) {
    let err = Printer::new(To::Err);
    for finding in verdict["findings"].as_array().into_iter().flatten() {
        let level = word(finding, "level");
        let level = if level == "error" { err.red("error:") } else { err.bold("warning:") };
        let at = format!("{}:{}:{}", word(finding, "path"), finding["line"], finding["column"]);
        err.line(format!("{level} {}\n  at {}", safe(word(finding, "message")), safe(&at)));
        if let Some(suggestion) = finding["suggestion"].as_str() {
            err.line(format!("  help: {}", safe(suggestion)));
        }
    }
}

/// What the cases of a file came to; how many passed, and how many did not.
pub(super) fn tested(file: &str, tested: &Value) -> (usize, usize) {
    let (out, err) = (Printer::new(To::Out), Printer::new(To::Err));
    for problem in tested["problems"].as_array().into_iter().flatten() {
        err.line(format!("{} {}", err.red("error:"), safe(problem.as_str().unwrap_or_default())));
    }
    let (mut passed, mut failed) = (0, 0);
    for case in tested["cases"].as_array().into_iter().flatten() {
        let name = safe(word(case, "name"));
        if case["passed"] == true {
            passed += 1;
            out.line(format!("{} {name}", out.green("ok    ")));
            continue;
        }
        failed += 1;
        let place = safe(&format!("{file}:{}", case["line"]));
        out.line(format!("{} {} {}", out.red("FAILED"), out.bold(&name), out.dim(&place)));
        for difference in case["differences"].as_array().into_iter().flatten() {
            let what = safe(word(difference, "what"));
            out.line(format!("       {what:<13} expected {}", safe(word(difference, "expected"))));
            out.line(format!("       {:13} found    {}", "", out.red(&safe(word(difference, "found")))));
        }
        out.line(format!("       {:<13} {}", "decided by", safe(&texts(&case["policies"]))));
    }
    (passed, failed)
}

/// What would have been decided otherwise.
pub(super) fn simulated(simulated: &Value) {
    let out = Printer::new(To::Out);
    let span = match (simulated["first"].as_str(), simulated["last"].as_str()) {
        (Some(first), Some(last)) => format!(", from {first} to {last}"),
        _ => String::new(),
    };
    let (decided, found) = (&simulated["decided"], &simulated["found"]);
    out.line(format!("{decided} of {found} recorded decisions were made again{span}."));
    if simulated["cut"] == true {
        out.line("There is more on record than was looked at: the newest were first.");
    }
    let row = |number: &Value, text: &str| out.line(format!("{:>9}  {}", number.to_string(), safe(text)));
    out.line("");
    row(&simulated["same"], "would be the same");
    let shifts = [
        ("newlyDenied", "would be denied that were allowed"),
        ("newlyAllowed", "would be allowed that were denied"),
        ("otherObligations", "would be allowed under other obligations"),
    ];
    for (name, said) in shifts {
        row(&simulated[name]["count"], said);
    }
    for count in simulated["undecidable"].as_array().into_iter().flatten() {
        row(&count["count"], &format!("cannot be decided again: {}", word(count, "name")));
    }
    for (name, said) in shifts {
        let shift = &simulated[name];
        if shift["count"] == 0 {
            continue;
        }
        out.line(format!("\n{}", out.bold(said)));
        for (by, counts) in [("policy", "byPolicy"), ("agent", "byAgent"), ("tool", "byTool")] {
            out.line(format!("  by {by}"));
            for count in shift[counts].as_array().into_iter().flatten().take(ROWS_MAX) {
                row(&count["count"], word(count, "name"));
            }
        }
        for example in shift["examples"].as_array().into_iter().flatten() {
            let user = word(example, "user");
            let user = if user.is_empty() { String::new() } else { format!(" for {user}") };
            let who = format!("{}{user}: {}", word(example, "agent"), word(example, "what"));
            let when = out.dim(&safe(&format!("{} {}", word(example, "time"), word(example, "call"))));
            out.line(format!("  {when} {}", safe(&who)));
            let (before, after) = (texts(&example["before"]), texts(&example["after"]));
            out.line(safe(&format!("    was decided by {before}, would be by {after}")));
        }
    }
}
