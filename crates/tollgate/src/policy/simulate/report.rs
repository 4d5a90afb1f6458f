//! What would be different, for people and for machines.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use tollgate_admin::{Shift, ShiftExample, Simulated};
use tollgate_model::Timestamp;

use super::tally::{Change, Example, Tally};
use crate::out::{Printer, safe};

/// How many rows of each table people are shown.
const ROWS_MAX: usize = 10;

/// For machines. `digests` are the policies that it was decided by, by tenant.
pub(super) fn json(tally: &Tally, digests: &BTreeMap<&str, &str>) -> Value {
    let undecidable: BTreeMap<&str, u64> =
        tally.undecidable.iter().map(|(reason, count)| (reason.word(), *count)).collect();
    let mut shown = json!({
        "found": tally.found,
        "decided": tally.decided,
        "same": tally.same,
        "by_other_policies": tally.by_other_policies,
        "undecidable": undecidable,
        "others": tally.others,
        "damaged": tally.damaged,
        "sets": digests,
        "recorded_sets": tally.sets,
        "first_ms": tally.span.map(|(first, _)| first),
        "last_ms": tally.span.map(|(_, last)| last),
    });
    for (change, changed) in Change::ALL.into_iter().zip(&tally.changed) {
        let examples: Vec<Value> = changed.examples.iter().map(example_json).collect();
        shown[change.word()] = json!({
            "count": changed.count,
            "by_policy": changed.by_policy,
            "by_agent": changed.by_agent,
            "by_tool": changed.by_tool,
            "examples": examples,
        });
    }
    shown
}

fn example_json(example: &Example) -> Value {
    json!({
        "at_ms": example.at_ms,
        "call": example.call,
        "tenant": example.tenant,
        "agent": example.agent,
        "user": example.user,
        "kind": example.kind,
        "what": example.what,
        "arguments": example.arguments,
        "before": example.before,
        "after": example.after,
    })
}

/// For the console and the API: no arguments.
pub(super) fn shown(tally: &Tally, is_cut: bool) -> Simulated {
    let shift = |change: Change| {
        let changed = &tally.changed[change as usize];
        let ranked = |counts: &HashMap<String, u64>| {
            let mut rows: Vec<(String, u64)> =
                counts.iter().map(|(name, count)| (name.clone(), *count)).collect();
            rows.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
            rows.truncate(ROWS_MAX);
            rows
        };
        let example = |example: &Example| ShiftExample {
            time: Timestamp::from_ms(example.at_ms),
            call: example.call.clone(),
            agent: example.agent.clone(),
            user: example.user.clone(),
            what: example.what.clone(),
            before: example.before.clone(),
            after: example.after.clone(),
        };
        Shift {
            count: changed.count,
            by_tool: ranked(&changed.by_tool),
            by_agent: ranked(&changed.by_agent),
            by_policy: ranked(&changed.by_policy),
            examples: changed.examples.iter().map(example).collect(),
        }
    };
    let span = tally.span.map(|(first, last)| (Timestamp::from_ms(first), Timestamp::from_ms(last)));
    Simulated {
        found: tally.found,
        decided: tally.decided,
        same: tally.same,
        undecidable: tally.undecidable.iter().map(|(reason, count)| (reason.text(), *count)).collect(),
        newly_denied: shift(Change::NewlyDenied),
        newly_allowed: shift(Change::NewlyAllowed),
        other_obligations: shift(Change::OtherObligations),
        span,
        is_cut,
    }
}

/// For people.
pub(super) fn text(out: Printer, tally: &Tally) {
    let span = tally.span.map_or_else(String::new, |(first, last)| {
        format!(", from {} to {}", Timestamp::from_ms(first), Timestamp::from_ms(last))
    });
    out.line(format!("{} of {} recorded decisions were made again{span}.", tally.decided, tally.found));
    if tally.damaged > 0 {
        let text =
            format!("In {} places the record cannot be read: see `tollgate audit verify`.", tally.damaged);
        out.line(out.red(&text));
    }
    let row = |number: u64, text: &str| out.line(format!("{number:>9}  {}", safe(text)));
    out.line("");
    row(tally.same, "would be the same");
    if tally.by_other_policies > 0 {
        row(tally.by_other_policies, "  of them by other policies");
    }
    for (change, changed) in Change::ALL.into_iter().zip(&tally.changed) {
        row(changed.count, change.text());
    }
    row(tally.undecidable.values().sum(), "cannot be decided again");
    for (reason, number) in &tally.undecidable {
        row(*number, &format!("  {}", reason.text()));
    }
    for (change, changed) in Change::ALL.into_iter().zip(&tally.changed) {
        if changed.count == 0 {
            continue;
        }
        out.line(format!("\n{}", out.bold(change.text())));
        table(out, "policy", &changed.by_policy);
        table(out, "agent", &changed.by_agent);
        table(out, "tool", &changed.by_tool);
        for example in &changed.examples {
            show(out, example);
        }
    }
}

fn table(out: Printer, by: &str, counts: &HashMap<String, u64>) {
    let mut rows: Vec<(&String, &u64)> = counts.iter().collect();
    rows.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
    out.line(format!("  by {by}"));
    for (name, number) in rows.iter().take(ROWS_MAX) {
        out.line(format!("{number:>9}  {}", safe(name)));
    }
    if rows.len() > ROWS_MAX {
        out.line(format!("           and {} more", rows.len() - ROWS_MAX));
    }
}

fn show(out: Printer, example: &Example) {
    let ids = |ids: &[String]| if ids.is_empty() { "no permit".to_owned() } else { ids.join(", ") };
    let user = if example.user.is_empty() { String::new() } else { format!(" for {}", example.user) };
    let at = Timestamp::from_ms(example.at_ms);
    out.line(format!(
        "  {} {}",
        out.dim(&format!("{at} {}", example.call)),
        safe(&format!("{}{user}: {} {}", example.agent, example.what, example.arguments)),
    ));
    out.line(safe(&format!(
        "    was decided by {}, would be by {}",
        ids(&example.before),
        ids(&example.after)
    )));
}
