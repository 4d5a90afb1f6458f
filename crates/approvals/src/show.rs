//! What people are shown of an approval: the same at the command line, in the API and in messages.

use serde_json::{Map, Value, json};
use tollgate_model::Timestamp;
use tollgate_store::Approval;

/// How much of the arguments somebody may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sees {
    /// Their digest.
    Digest,
    /// Them, without what is private.
    Redacted,
    /// Them as they are, where they are kept so.
    Whole,
}

/// An approval as an object. Times are RFC 3339 texts.
pub fn object(approval: &Approval, sees: Sees, now: Timestamp) -> Value {
    let asked = &approval.asked;
    let needs = approval.needs.iter().map(|need| json!({ "group": &*need.group, "people": need.people }));
    let missing = approval.missing();
    let missing = missing.iter().map(|need| json!({ "group": &*need.group, "people": need.people }));
    let votes = approval.votes.iter().map(|vote| {
        let groups: Vec<&str> = vote.groups.iter().map(|group| &**group).collect();
        json!({
            "by": &*vote.by, "via": &*vote.via, "agrees": vote.agrees, "groups": groups, "reason": &*vote.reason,
            "at": vote.at.to_string(),
        })
    });
    let rules: Vec<&str> = asked.rules.iter().map(|rule| &**rule).collect();
    let mut object = json!({
        "id": approval.id.as_str(), "state": approval.word(now), "tenant": approval.of.tenant.as_str(),
        "principal": approval.of.principal.as_str(), "agent": asked.agent.as_deref(), "user": asked.user.as_deref(),
        "endpoint": &*asked.endpoint, "method": &*asked.method, "server": &*asked.server, "name": &*asked.native,
        "arguments_digest": &*asked.arguments_digest, "definition_digest": &*asked.definition,
        "policy_digest": &*asked.policy, "policies": rules, "why": &*asked.why, "risk": &*asked.risk,
        "call": &*asked.call, "asked": approval.at.to_string(), "until": approval.until.to_string(),
        "needs": needs.collect::<Vec<_>>(), "missing": missing.collect::<Vec<_>>(), "votes": votes.collect::<Vec<_>>(),
    });
    if let Value::Object(members) = &mut object {
        members.extend(rest(approval));
        if let Some(arguments) = arguments(approval, sees) {
            members.insert("arguments".to_owned(), as_json(arguments));
        }
        if approval.replaces.is_some() {
            members.insert("edited".to_owned(), true.into());
        }
    }
    object
}

/// The arguments as somebody may see them; none where nothing of them may be seen, or is kept.
pub fn arguments(approval: &Approval, sees: Sees) -> Option<&str> {
    let asked = &approval.asked;
    // What an approver wrote is kept whole, since it is what leaves.
    let whole = approval.edited.as_deref().or(asked.arguments_whole.as_deref());
    let whole = whole.filter(|_| sees == Sees::Whole);
    whole.or_else(|| asked.arguments.as_deref().filter(|_| sees >= Sees::Redacted))
}

fn rest(approval: &Approval) -> Map<String, Value> {
    let said = [
        ("replaces", approval.replaces.as_ref().map(ToString::to_string)),
        ("replaced_by", approval.replaced_by.as_ref().map(ToString::to_string)),
        ("used_by", approval.used_by.as_ref().map(ToString::to_string)),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))).collect()
}

/// What was cut off is no JSON any more, and is shown as text.
fn as_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use tollgate_store::suite::approval;

    use super::*;

    #[test]
    fn arguments_are_shown_as_far_as_somebody_may_see_them() {
        let (asked, now) = (approval("a1", 1), Timestamp::from_ms(2_000));
        let shown = |sees| object(&asked, sees, now)["arguments"]["to"].clone();
        assert_eq!(shown(Sees::Digest), Value::Null);
        assert_eq!(shown(Sees::Redacted), "[redacted:email]");
        assert_eq!(shown(Sees::Whole), "eve@example.com");
        let whole = object(&asked, Sees::Digest, now);
        assert_eq!((&whole["state"], &whole["name"]), (&json!("waiting"), &json!("pay")));
        assert_eq!(whole["missing"], json!([{ "group": "finance", "people": 1 }]));
        assert_eq!(object(&asked, Sees::Digest, asked.until)["state"], "expired");
        let mut cut = asked.clone();
        cut.asked.arguments = Some("{\"amount\":10".into());
        assert_eq!(object(&cut, Sees::Redacted, now)["arguments"], "{\"amount\":10");
    }
}
