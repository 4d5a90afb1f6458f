//! What an entry of the ledger says: the native schema, version 1.
//!
//! People and agents stand in it as references: keyed digests whose names are records beside the chain, which can be
//! erased. Arguments and results are records beside it too; the entry holds a salted digest of each. So an erasure leaves
//! the chain as it was.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_model::{Decision, Judged, Obligations};

use crate::CallId;

/// The version of the schema.
pub const VERSION: u32 = 1;

/// A text of an entry.
pub type Text<'a> = Cow<'a, str>;

/// One entry of the chain. Members that do not apply are left out. Whoever writes one leaves `seq`, `time_ms` and the
/// references to the writer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry<'a> {
    /// The entry's place in its writer's chain, from 1.
    pub seq: u64,
    /// When it was written, in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
    /// What it is.
    pub kind: Kind,
    /// The call that it belongs to. All rounds, retries and elements of one request of a client have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// Which step of the call, from 0: an intent and its outcome have the same, another round or retry has the next.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub step: u32,
    /// Of an outcome: the number of its intent's entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Text<'a>>,
    /// Reference of the principal as it was then: agent, user, groups, roles, scopes, `act` chain, proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Text<'a>>,
    /// Reference of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Text<'a>>,
    /// Reference of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Text<'a>>,
    /// Reference of the address that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Text<'a>>,
    /// Reference of the client's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Text<'a>>,
    /// The JSON-RPC method, as the client sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Text<'a>>,
    /// The revision of the protocol that the client speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Text<'a>>,
    /// `legacy` or `modern`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub era: Option<Text<'a>>,
    /// What the client says of itself: name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Text<'a>>,
    /// The endpoint; empty for the merged one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Text<'a>>,
    /// The server, by the name that its tenant calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Text<'a>>,
    /// Whether the server is every tenant's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// The session or process of the server that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Text<'a>>,
    /// The replica of the server that was used, if it has several: host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<Text<'a>>,
    /// What the client called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_name: Option<Text<'a>>,
    /// What its server calls it: a tool's or prompt's name, a resource's URI, a task's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_name: Option<Text<'a>>,
    /// Digest of the definition that the gateway knew of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Text<'a>>,
    /// What policy said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decided<'a>>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The stable name of the refusal, or the JSON-RPC code of the server's error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Text<'a>>,
    /// The stage that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Text<'a>>,
    /// Bytes and estimated tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Sizes>,
    /// Where the time went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The trace id (W3C), in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Text<'a>>,
    /// By what kind of credential it goes out: never the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Text<'a>>,
    /// The place among the elements of a batch, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<u32>,
    /// Refusals of strangers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strangers: Option<Stranger>,
    /// What was changed, by a word such as `key.created`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Text<'a>>,
    /// More of it, as the kind of entry has it. Never a secret, a payload or a name of a person or agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Map<String, serde_json::Value>>,
    /// The arguments, or what else the client sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Committed<'a>>,
    /// The result, or what else the server answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Committed<'a>>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A segment begins: which writer's, after what.
    Segment,
    /// The writer began.
    Started,
    /// The writer began after a crash: what was cut off, and how many intents were closed as `unknown`.
    Recovered,
    /// The writer ended in good order.
    Stopped,
    /// Something is about to have an effect at a server.
    #[default]
    Intent,
    /// What has become of an intent.
    Outcome,
    /// A request that was refused before any intent.
    Refusal,
    /// A list that a client was shown.
    List,
    /// Refusals of callers that nobody knows, of one minute: `detail` has the `sources` of most, and the number of `others`.
    Strangers,
    /// A session with a client began.
    SessionOpened,
    /// A session with a client ended.
    SessionEnded,
    /// What the gateway found out of a server by itself: definitions that changed, a refusal.
    Upkeep,
    /// Somebody changed what is desired: a key, a revocation, a policy, the configuration.
    Change,
    /// Signed: everything up to here stands.
    Checkpoint,
    /// Segments were removed for their age or size.
    Retention,
    /// Names or payloads were erased.
    Erasure,
    /// Entries could not be written: how many, how many calls were carried out all the same, since when.
    Gap,
}

impl Kind {
    /// What rows of the index are, as it is written: there an intent and its outcome are one `call`.
    pub const ROWS: [&'static str; 14] = [
        "call",
        "refusal",
        "list",
        "change",
        "upkeep",
        "session_opened",
        "session_ended",
        "strangers",
        "started",
        "recovered",
        "stopped",
        "retention",
        "erasure",
        "gap",
    ];
}

impl Outcome {
    /// All there are, as they are written.
    pub const WORDS: [&'static str; 12] = [
        "ok",
        "tool_error",
        "error",
        "input_required",
        "task_created",
        "refused",
        "denied",
        "cancelled",
        "client_gone",
        "taken_back",
        "stopped",
        "unknown",
    ];
}

impl Entry<'_> {
    /// An entry of this kind that says nothing yet.
    pub fn of(kind: Kind) -> Self {
        Self { kind, ..Self::default() }
    }
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With a result.
    Ok,
    /// With a result that says that the tool failed (`isError`).
    ToolError,
    /// With an error of the server's.
    Error,
    /// The server asks for input first: the call goes on in another step.
    InputRequired,
    /// The call became a task.
    TaskCreated,
    /// The gateway refused it, or answered for a server that could not.
    Refused,
    /// Policy does not allow it.
    Denied,
    /// The client cancelled it.
    Cancelled,
    /// The client left before the answer was there.
    ClientGone,
    /// What the caller had proved was taken back while it waited.
    TakenBack,
    /// The gateway stopped before the answer was there.
    Stopped,
    /// The gateway ended without a word: whether the server carried it out is not known.
    Unknown,
}

/// What policy said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decided<'a> {
    /// Whether it may.
    pub allowed: bool,
    /// Whether the caller was told that there is no such thing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Digest of the policy set; absent where the built-in permit decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Text<'a>>,
    /// When it was decided: `context.env.now`, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The rules that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Text<'a>>,
    /// What the permits demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obligations: Option<Promised<'a>>,
    /// What a candidate set that only looks on would have said, where it is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Box<Decided<'a>>>,
}

impl<'a> From<&'a Judged> for Decided<'a> {
    fn from(judged: &'a Judged) -> Self {
        let Decision { allowed, policies, obligations, .. } = &judged.decision;
        Self {
            allowed: *allowed,
            hidden: judged.is_hidden,
            set: judged.set.as_deref().map(Text::Borrowed),
            at_ms: judged.at.as_ms(),
            policies: policies.iter().map(|policy| Text::Borrowed(&*policy.id)).collect(),
            obligations: (*obligations != Obligations::default()).then(|| Promised::from(obligations)),
            shadow: judged.shadow.as_deref().map(|shadow| Box::new(Self::from(shadow))),
        }
    }
}

/// Obligations of a permit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Promised<'a> {
    /// Groups of which somebody has to agree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Text<'a>>,
    /// What must be taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redactions: Vec<Text<'a>>,
    /// What people have to agree to, if it is found in what leaves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Text<'a>>,
    /// How much is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Text<'a>>,
}

impl<'a> From<&'a Obligations> for Promised<'a> {
    fn from(obligations: &'a Obligations) -> Self {
        let texts = |texts: &'a [Arc<str>]| texts.iter().map(|text| Text::Borrowed(&**text)).collect();
        Self {
            approvals: texts(&obligations.approvals),
            redactions: texts(&obligations.redactions),
            holds: texts(&obligations.holds),
            record: obligations.record.map(|level| Text::Borrowed(level.as_str())),
        }
    }
}

/// A payload that the entry commits to. The payload itself is a record beside the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Committed<'a> {
    /// `nothing`, `digest`, `redacted` or `full`.
    pub level: Text<'a>,
    /// Its length in bytes, before anything was taken out.
    pub bytes: u64,
    /// Keyed digest of the whole, to find equal ones of the same tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Text<'a>>,
    /// Salted digest of what is kept of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitment: Option<Text<'a>>,
    /// What was taken out of what is kept, as JSON pointers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<Text<'a>>,
    /// What was left out because it is too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<Truncation>,
}

/// Why a payload is not kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// It is larger than payloads may be.
    TooLarge,
    /// There was no room for it: the disk was full, or too much waited to be written.
    NoRoom,
}

/// Bytes and estimated tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sizes {
    /// Bytes of the request that left for the server.
    #[serde(default, skip_serializing_if = "is_zero_long")]
    pub sent_bytes: u64,
    /// Bytes of the server's response.
    #[serde(default, skip_serializing_if = "is_zero_long")]
    pub received_bytes: u64,
    /// Estimated tokens of the arguments.
    #[serde(default, skip_serializing_if = "is_zero_long")]
    pub sent_tokens: u64,
    /// Estimated tokens of the result.
    #[serde(default, skip_serializing_if = "is_zero_long")]
    pub received_tokens: u64,
}

/// Where the time went, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// From the first byte of the request to the outcome.
    pub total_us: u64,
    /// Resolving what is meant.
    #[serde(default, skip_serializing_if = "is_zero_long")]
    pub resolve_us: u64,
    /// Deciding whether they may.
    #[serde(default, skip_serializing_if = "is_zero_long")]
    pub policy_us: u64,
    /// Getting to the server.
    #[serde(default, skip_serializing_if = "is_zero_long")]
    pub route_us: u64,
    /// Waiting for the record.
    #[serde(default, skip_serializing_if = "is_zero_long")]
    pub ledger_us: u64,
    /// Waiting for the server.
    #[serde(default, skip_serializing_if = "is_zero_long")]
    pub upstream_us: u64,
}

/// Refusals of callers that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stranger {
    /// The minute, as milliseconds since 1970-01-01T00:00:00Z of its begin.
    pub minute_ms: u64,
    /// How many.
    pub count: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero_long(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use tollgate_model::{PolicyRef, RecordLevel, Timestamp};

    use super::*;

    #[test]
    fn what_can_be_searched_for_is_what_entries_say() {
        for word in Kind::ROWS.into_iter().filter(|word| *word != "call") {
            let kind: Kind = serde_json::from_value(word.into()).expect(word);
            assert!(
                !matches!(kind, Kind::Intent | Kind::Outcome | Kind::Segment | Kind::Checkpoint),
                "{word}"
            );
        }
        for word in Outcome::WORDS {
            serde_json::from_value::<Outcome>(word.into()).expect(word);
        }
    }

    #[test]
    fn a_decision_is_entered_with_all_that_deciding_again_is_compared_with() {
        let obligations = Obligations {
            approvals: vec![Arc::from("leads")],
            redactions: vec![Arc::from("email")],
            holds: vec![Arc::from("secret")],
            record: Some(RecordLevel::Digest),
        };
        let policies = vec![PolicyRef { id: Arc::from("a") }];
        let decision = Decision { allowed: true, policies, obligations, ..Decision::denied() };
        let mut judged = Judged::new(decision, Some(Arc::from("set")), Timestamp::from_ms(7));
        judged.shadow = Some(Box::new(Judged::hidden(None, Timestamp::from_ms(7))));
        let json = serde_json::to_value(Decided::from(&judged)).expect("JSON");
        let expected = serde_json::json!({
            "allowed": true, "set": "set", "at_ms": 7, "policies": ["a"],
            "obligations": {"approvals": ["leads"], "redactions": ["email"], "holds": ["secret"], "record": "digest"},
            "shadow": {"allowed": false, "hidden": true, "at_ms": 7},
        });
        assert_eq!(json, expected);
    }
}
