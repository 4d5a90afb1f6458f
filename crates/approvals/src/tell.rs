//! What approvers are told when something waits for them, and what became of it: as an object for programs, as a message of Slack, as a mail.
//!
//! Whatever comes from a caller or a server (names, arguments, reasons) is text and nothing else in each of them: it cannot
//! make a link, mention anybody, or begin a line of its own.

use serde_json::{Value, json};
use tollgate_model::{Timestamp, hiding};
use tollgate_store::{Approval, Standing, Vote};

use crate::ApprovalSettings;
use crate::show::{self, Sees};

/// The longest text of a caller's that is told, in characters.
const TEXT_MAX: usize = 2_000;

/// What is told of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It waits for people.
    Requested,
    /// It stands in the place of another, with arguments that an approver wrote.
    Edited,
    /// Enough people agree.
    Approved,
    /// Somebody does not agree.
    Denied,
    /// Nobody has decided in time.
    Expired,
}

impl Told {
    /// What has become of an approval by the last change of it; nothing that is to be told of most.
    pub fn by_change(approval: &Approval) -> impl Iterator<Item = Self> {
        let is_new = approval.replaces.is_some() && approval.votes.len() == 1;
        let edited = (is_new && matches!(approval.standing, Standing::Waiting | Standing::Granted))
            .then_some(Self::Edited);
        let decided = match approval.standing {
            Standing::Granted => Some(Self::Approved),
            Standing::Denied => Some(Self::Denied),
            _ => None,
        };
        edited.into_iter().chain(decided)
    }

    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Edited => "edited",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }
}

/// For programs: `type` is `approval.requested`, `approval.denied` and so on.
pub fn generic(
    approval: &Approval,
    told: Told,
    settings: &ApprovalSettings,
    sees: Sees,
    now: Timestamp,
) -> Value {
    let url = settings.url_of(approval.id.as_str());
    json!({
        "type": format!("approval.{}", told.as_str()), "timestamp": now.to_string(),
        "data": { "approval": show::object(approval, sees, now), "url": url },
    })
}

/// For a webhook of Slack, or of what takes the same: every text is `plain_text`.
pub fn slack(approval: &Approval, told: Told, settings: &ApprovalSettings, sees: Sees) -> Value {
    let headline = headline(approval, told);
    let fields =
        facts(approval, told, sees).into_iter().map(|(name, value)| plain(&format!("{name}: {value}")));
    // Ten of them at most.
    let fields: Vec<Value> = fields.take(10).collect();
    let mut blocks = vec![
        json!({ "type": "section", "text": plain(&headline) }),
        json!({ "type": "section", "fields": fields }),
    ];
    if let Some(url) = settings.url_of(approval.id.as_str()) {
        let button = json!({ "type": "button", "text": plain("Review"), "url": url });
        blocks.push(json!({ "type": "actions", "elements": [button] }));
    }
    json!({ "text": escaped(&headline), "blocks": blocks })
}

/// The subject and the text of a mail.
pub fn mail(approval: &Approval, told: Told, settings: &ApprovalSettings, sees: Sees) -> (String, String) {
    let headline = headline(approval, told);
    let facts = facts(approval, told, sees).into_iter().map(|(name, value)| format!("{name}: {value}"));
    let review = match settings.url_of(approval.id.as_str()) {
        Some(url) => format!("Look at it: {url}"),
        None => format!("Look at it: tollgate approvals show {}", approval.id),
    };
    let lines = [headline.clone(), String::new()].into_iter().chain(facts).chain([String::new(), review]);
    let text = lines.fold(String::new(), |text, line| text + &line + "\n");
    (format!("[Tollgate] {headline}"), text)
}

fn headline(approval: &Approval, told: Told) -> String {
    let asked = &approval.asked;
    let agent = asked.agent.as_deref().unwrap_or("somebody");
    let wants = format!("{agent} wants to use {} of {}", asked.native, asked.server);
    line(&match told {
        Told::Requested => wants,
        Told::Edited => format!("Other arguments: {wants}"),
        Told::Approved => format!("Approved: {wants}"),
        Told::Denied => format!("Denied: {wants}"),
        Told::Expired => format!("Expired: {wants}"),
    })
}

fn said(vote: &Vote) -> String {
    if vote.reason.is_empty() { vote.by.to_string() } else { format!("{}: {}", vote.by, vote.reason) }
}

fn facts(approval: &Approval, told: Told, sees: Sees) -> Vec<(&'static str, String)> {
    let asked = &approval.asked;
    let groups: Vec<&str> = approval.needs.iter().map(|need| &*need.group).collect();
    let mut facts = vec![
        ("Approval", approval.id.to_string()),
        ("Tenant", line(approval.of.tenant.as_str())),
        ("Asked", line(&groups.join(", "))),
        ("Why", line(&asked.why)),
        ("Until", approval.until.to_string()),
    ];
    let last = approval.votes.last().filter(|_| !matches!(told, Told::Requested | Told::Expired));
    facts.extend(last.map(|vote| ("By", line(&said(vote)))));
    facts.extend(approval.replaces.as_ref().map(|id| ("In place of", id.to_string())));
    facts.extend(asked.user.as_ref().map(|user| ("For", line(user))));
    facts.extend(Some(&asked.risk).filter(|risk| !risk.is_empty()).map(|risk| ("Risk", line(risk))));
    facts.extend(show::arguments(approval, sees).map(|arguments| ("Arguments", line(arguments))));
    facts.push(("Arguments digest", asked.arguments_digest.to_string()));
    facts
}

/// On one line, with what nobody sees and what writes over other text written out, and not too long.
fn line(text: &str) -> String {
    let mut shown = String::new();
    let mut count = 0;
    for (c, hides) in hiding(text).filter(|(c, _)| !c.is_control()) {
        if count >= TEXT_MAX {
            shown.push('…');
            break;
        }
        if hides {
            let written = c.escape_unicode();
            count += written.len();
            shown.extend(written);
        } else {
            count += 1;
            shown.push(c);
        }
    }
    shown
}

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

/// As Slack wants the text of a message, which it reads as its own kind of markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use tollgate_store::suite::approval;

    use super::*;

    fn nasty() -> Approval {
        let mut asked = approval("a1", 1);
        asked.asked.native = "pay\r\nBcc: all@example.com\u{202e}<https://evil.example|click>".into();
        asked.asked.arguments = Some("{\"to\":\"<!channel>\"}".into());
        asked
    }

    #[test]
    fn what_a_caller_writes_is_text_and_nothing_else() {
        let settings =
            ApprovalSettings { url: Some("https://gate/a/{id}".into()), ..ApprovalSettings::default() };
        let told = slack(&nasty(), Told::Requested, &settings, Sees::Redacted);
        let text = told["text"].as_str().expect("a text");
        assert!(!text.contains('<') && text.contains("&lt;https://evil.example"), "{text}");
        let blocks = told["blocks"].to_string();
        assert!(!blocks.contains("mrkdwn") && blocks.contains("https://gate/a/a1"), "{blocks}");
        let (subject, text) = mail(&nasty(), Told::Requested, &settings, Sees::Redacted);
        assert!(!subject.contains(['\r', '\n', '\u{202e}']), "{subject:?}");
        assert!(text.contains("\\u{202e}"), "what turned it around is seen: {text}");
        assert!(text.contains("Arguments: {\"to\":\"<!channel>\"}") && text.contains("https://gate/a/a1"));
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    }

    #[test]
    fn decisions_are_told_with_who_and_why() {
        let settings = ApprovalSettings::default();
        let mut decided = approval("a1", 1);
        let told = |approval: &Approval| Told::by_change(approval).map(Told::as_str).collect::<Vec<_>>();
        assert!(told(&decided).is_empty(), "who asked has told of it");
        decided.votes.push(Vote {
            by: "eve\r\nBcc: all@example.com".into(),
            via: "api".into(),
            agrees: false,
            groups: Vec::new(),
            reason: "<not> ours".into(),
            at: decided.at,
        });
        decided.standing = Standing::Denied;
        assert_eq!(told(&decided), ["denied"]);
        let (subject, text) = mail(&decided, Told::Denied, &settings, Sees::Digest);
        assert!(
            subject.starts_with("[Tollgate] Denied: ") && text.contains("<not> ours"),
            "{subject} {text}"
        );
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
        let body = slack(&decided, Told::Denied, &settings, Sees::Digest);
        assert!(body["text"].as_str().is_some_and(|text| text.starts_with("Denied: ")), "{body}");
        decided.standing = Standing::Granted;
        assert_eq!(told(&decided), ["approved"]);
        decided.replaces = Some(decided.id.clone());
        assert_eq!(told(&decided), ["edited", "approved"]);
        decided.standing = Standing::Used;
        assert!(told(&decided).is_empty());
    }

    #[test]
    fn programs_are_told_all_that_may_be_seen() {
        let now = Timestamp::from_ms(1_000);
        let settings = ApprovalSettings::default();
        let told = generic(&approval("a1", 1), Told::Requested, &settings, Sees::Redacted, now);
        assert_eq!((&told["type"], &told["data"]["url"]), (&json!("approval.requested"), &Value::Null));
        assert_eq!(told["data"]["approval"]["arguments"]["to"], "[redacted:email]");
        assert_eq!(told["data"]["approval"]["until"], "1970-01-01T00:00:10Z");
    }
}
