//! `tollgate policy explain`: what policy says of one call, and why.

use std::fmt;

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_mcp::json::{self, JsonKind, Limits};
use tollgate_policy::{Condition, Explanation, Judged, RuleInfo, Verdict};

use super::ask::{self, Circumstances};
use super::setting::Setting;
use super::target::{self, Kind};
use super::test::{allowed, decision_json, record};
use super::who;
use crate::cli::policy::PolicyExplain;
use crate::exit::Failure;
use crate::out::{Printer, To, safe};

/// Explains one call.
pub(crate) async fn run(command: &PolicyExplain) -> Result<(), Failure> {
    let who = who::flags(&command.who, None, &[])?;
    let arguments = command.args.as_deref().map(arguments).transpose()?;
    let setting = Setting::open(&command.basis).await?;
    setting.need_policies()?;
    let principal = who.principal()?;
    let tenant = setting.tenant(&principal.tenant)?;
    let (kind, written) = match (&command.what.tool, &command.what.prompt, &command.what.resource) {
        (Some(tool), ..) => (Kind::Tool, tool),
        (_, Some(prompt), _) => (Kind::Prompt, prompt),
        (_, _, Some(resource)) => (Kind::Resource, resource),
        _ => return Err(Failure::usage("name a tool, a prompt or a resource")),
    };
    let target = target::find(&tenant.known, kind, command.server.as_deref(), written)?;
    let environment = command.scene.environment.as_deref();
    let set = setting.lenient(tenant, environment)?;
    let circumstances = Circumstances::from(&command.scene);
    let explained = set.explain(&principal, &ask::question(&target, arguments.as_ref(), &circumstances));
    let listed = ask::is_listed(&set, &principal, &target, &circumstances);

    let out = Printer::new(To::Out);
    if command.json {
        let mut object = decision_json(&explained.decision, listed);
        object["rules"] = explained.rules.iter().map(rule_json).collect();
        out.line(object.to_string());
        return Ok(());
    }
    let Explanation { decision, rules } = &explained;
    let word = allowed(decision.allowed);
    let word = if decision.allowed { out.green(word) } else { out.red(word) };
    out.line(format!(
        "{} {} for {}",
        out.bold(&word),
        safe(&target.to_string()),
        safe(&who::describe(&principal))
    ));
    let environment = environment.or(setting.environment.as_deref());
    let environment = environment.map(|word| format!(", in {word}")).unwrap_or_default();
    out.line(out.dim(&format!("  {}{environment}", circumstances.describe())));
    for note in notes(&explained, listed) {
        out.line(format!("  {}", safe(&note)));
    }
    section(out, &setting, "decided by", rules, |judged| {
        matches!(judged.verdict, Verdict::Decides) || is_blind_forbid(judged)
    });
    section(out, &setting, "overruled by a forbid", rules, |judged| judged.verdict == Verdict::Overruled);
    section(out, &setting, "nearly allowed by", rules, |judged| {
        judged.rule.is_permit && matches!(judged.verdict, Verdict::Fails | Verdict::Errs)
    });
    section(out, &setting, "nearly forbidden by", rules, |judged| {
        !judged.rule.is_permit && judged.verdict == Verdict::Fails
    });
    section(out, &setting, "without effect", rules, |judged| judged.verdict == Verdict::Inert);
    Ok(())
}

/// The arguments as they would be in a message.
fn arguments(text: &str) -> Result<Bytes, Failure> {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let span = json::validate(&bytes, &Limits::default())
        .map_err(|error| Failure::usage(format!("--args: not JSON that can be sent: {error}")))?;
    match json::kind_of(&bytes, span) {
        JsonKind::Object => Ok(span.slice(&bytes)),
        _ => Err(Failure::usage("--args: the arguments are a JSON object, as {\"amount\": 100}")),
    }
}

/// A forbid that cannot be judged forbids.
fn is_blind_forbid(judged: &Judged) -> bool {
    judged.verdict == Verdict::Errs && !judged.rule.is_permit
}

/// What is to be said of the decision as a whole.
fn notes(explained: &Explanation, listed: bool) -> Vec<String> {
    let decision = &explained.decision;
    let mut notes: Vec<String> = decision.reasons.iter().map(|reason| format!("reason: {reason}")).collect();
    if decision.allowed {
        let obligations = &decision.obligations;
        notes.extend(obligations.approvals.iter().map(|group| format!("needs an approval of {group}")));
        notes.extend(obligations.holds.iter().map(|what| format!("needs an approval of {what} in it")));
        notes.extend(obligations.redactions.iter().map(|what| format!("without {what}")));
        notes.extend(obligations.record.map(|level| format!("recorded: {}", record(Some(level)))));
        return notes;
    }
    if explained.rules.iter().all(|judged| !judged.rule.is_permit) {
        notes.push("no permit is about this caller and this call".to_owned());
    }
    notes.push(
        match (listed, decision.could_differ) {
            (true, true) => "listed; other arguments, another time or place could be allowed",
            (true, false) => "listed",
            (false, true) => "not listed now; at another time or from elsewhere it could be allowed",
            (false, false) => "not listed: for this caller it does not exist",
        }
        .to_owned(),
    );
    notes
}

fn section(out: Printer, setting: &Setting, title: &str, rules: &[Judged], which: impl Fn(&Judged) -> bool) {
    let chosen: Vec<&Judged> = rules.iter().filter(|judged| which(judged)).collect();
    if chosen.is_empty() {
        return;
    }
    out.line("");
    out.line(out.bold(title));
    for judged in chosen {
        head(out, setting, &judged.rule);
        for condition in &judged.conditions {
            show_condition(out, condition);
        }
    }
}

/// The line that names a rule, and what it says of itself.
pub(crate) fn head(out: Printer, setting: &Setting, rule: &RuleInfo) {
    let word = effect(rule.is_permit);
    let word = if rule.is_permit { out.green(word) } else { out.red(word) };
    let whose = if rule.is_operator { " (operator)" } else { "" };
    let place = format!("{}:{}:{}", setting.path_of(&rule.path).display(), rule.line, rule.column);
    out.line(format!("  {word} {}{whose}  {}", out.bold(&safe(&rule.policy.id)), out.dim(&safe(&place))));
    if let Some(description) = &rule.description {
        out.line(format!("      {}", safe(description)));
    }
    if let Some(misfit) = &rule.misfit {
        out.line(format!("      {}", out.red(&safe(misfit))));
    }
}

pub(crate) const fn effect(is_permit: bool) -> &'static str {
    if is_permit { "permit" } else { "forbid" }
}

fn show_condition(out: Printer, condition: &Condition) {
    let mark = if condition.holds { out.green("holds") } else { out.red("fails") };
    out.line(format!("      {mark}  {}", safe(&condition.text)));
    if let Some(error) = &condition.error {
        out.line(format!("             {}", out.red(&safe(error))));
    }
    if condition.holds {
        return;
    }
    for reading in &condition.read {
        let value = reading.value.as_deref().unwrap_or("(not there)");
        out.line(format!("             {}", out.dim(&safe(&format!("{} is {value}", reading.name)))));
    }
}

/// A rule, for machines.
pub(crate) fn info_json(rule: &RuleInfo) -> Value {
    json!({
        "id": &*rule.policy.id,
        "effect": effect(rule.is_permit),
        "file": &*rule.path,
        "line": rule.line,
        "column": rule.column,
        "operator": rule.is_operator,
        "description": rule.description.as_deref(),
        "misfit": rule.misfit,
    })
}

fn rule_json(judged: &Judged) -> Value {
    let conditions: Vec<Value> = judged
        .conditions
        .iter()
        .map(|condition| {
            let read: Vec<Value> = condition
                .read
                .iter()
                .map(|reading| json!({ "name": reading.name, "value": reading.value }))
                .collect();
            json!({ "text": condition.text, "holds": condition.holds, "error": condition.error, "read": read })
        })
        .collect();
    let mut object = info_json(&judged.rule);
    object["verdict"] = Word(judged.verdict).to_string().into();
    object["conditions"] = conditions.into();
    object
}

struct Word(Verdict);

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Verdict::Decides => "decides",
            Verdict::Overruled => "overruled",
            Verdict::Fails => "fails",
            Verdict::Errs => "errs",
            Verdict::Inert => "inert",
        })
    }
}
