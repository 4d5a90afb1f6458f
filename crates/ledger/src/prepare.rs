//! Makes of a draft what is written: everything but number, time and hash, which the chain adds. This happens before anybody
//! waits for the chain.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::digest::{Context, SHA256, digest};
use tollgate_model::RecordLevel;

use crate::entropy::random;
use crate::line::{self, Hash};
use crate::names::{Known, Names};
use crate::redact::name::{CUT, name};
use crate::redact::{Redacted, redact};
use crate::text::push_members;
use crate::vault::{NameKind, SALT_LEN, Vault};
use crate::{Committed, Content, Draft, Entry, Kind, OpenCall, Text, Truncation, Unrecorded};

/// With what the JSON of an entry begins that has no number and time yet.
const UNNUMBERED: &[u8] = br#"{"seq":0,"time_ms":0,"#;

/// The longest text of a client's or server's own that stands in an entry. It stands there for good, whatever it says.
const TEXT_BYTES_MAX: usize = 2048;

/// How long an address is as text, at most.
const ADDRESS_LEN_MAX: usize = 45;
/// How much is left of an outcome where there is little room, at most.
const BARE_BYTES_MAX: usize = 1024;
/// How long a line is that holds as much: its hashes, its number and its time come on top.
pub(crate) const BARE_LINE_BYTES_MAX: usize = BARE_BYTES_MAX + 256;
/// The longest text that it says of itself.
const BARE_TEXT_BYTES_MAX: usize = 128;

/// An entry that can be written.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Its JSON behind number and time.
    pub(crate) rest: Vec<u8>,
    /// Its payload lines.
    pub(crate) payloads: Vec<u8>,
    /// Their digests.
    pub(crate) digests: Vec<Hash>,
    /// The names that it needs in its segment.
    pub(crate) names: Vec<Arc<Known>>,
    /// What it does to the calls that are open.
    pub(crate) role: Role,
}

/// What an entry does to the calls that are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// It opens one.
    Intent(OpenCall),
    /// It closes the one of this number.
    Outcome(u64),
    /// Nothing; but it is kept until it can be written, as outcomes are.
    Lasting,
    /// Nothing.
    Other,
}

impl Prepared {
    /// How many bytes it holds in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.rest.len() + self.payloads.len() + 256
    }

    /// Without anything beside it.
    pub(crate) fn plain(entry: &Entry<'_>, role: Role) -> Result<Self, Unrecorded> {
        Ok(Self { rest: rest(entry)?, payloads: Vec::new(), digests: Vec::new(), names: Vec::new(), role })
    }

    /// Leaves out of an outcome what it can do without where there is little room: what stands beside it, of which digests stay,
    /// and if that is not enough, what its intent says too.
    pub(crate) fn shed(&mut self) {
        let is_bare = self.payloads.is_empty() && self.names.is_empty() && self.rest.len() <= BARE_BYTES_MAX;
        if is_bare || !matches!(self.role, Role::Outcome(_)) {
            return;
        }
        let json = [UNNUMBERED, &self.rest].concat();
        // It was written by this very type.
        let Ok(mut entry) = serde_json::from_slice::<Entry<'_>>(&json) else { return };
        for committed in [&mut entry.arguments, &mut entry.result].into_iter().flatten() {
            if committed.commitment.take().is_some() {
                committed.redacted.clear();
                committed.truncated = Some(Truncation::NoRoom);
            }
        }
        let mut left = rest(&entry);
        if left.as_ref().is_ok_and(|left| left.len() > BARE_BYTES_MAX) {
            let Entry { kind, call, step, of, outcome, sizes, latency, tenant, code, .. } = entry;
            let is_short = |text: &Text<'_>| text.len() <= BARE_TEXT_BYTES_MAX;
            let (tenant, code) = (tenant.filter(is_short), code.filter(is_short));
            left = rest(&Entry {
                kind,
                call,
                step,
                of,
                tenant,
                outcome,
                code,
                sizes,
                latency,
                ..Entry::default()
            });
        }
        if let Ok(left) = left {
            self.rest = left;
            (self.payloads, self.digests, self.names) = (Vec::new(), Vec::new(), Vec::new());
        }
    }

    /// From a draft.
    pub(crate) fn new(
        draft: Draft<'_>,
        vault: &Vault,
        names: &Names,
        payload_bytes_max: usize,
    ) -> Result<Self, Unrecorded> {
        let Draft { mut entry, who, source, session, arguments, result, crowd } = draft;
        let Entry { method, public_name, native_name, client, code, .. } = &mut entry;
        for text in [method, public_name, native_name, client, code] {
            cut(text);
        }
        let mut lines = Lines { payloads: Vec::new(), digests: Vec::new() };
        let no_randomness = |_| Unrecorded { reason: "the system gives no random bytes".into() };
        let principal = who.map(|who| names.principal(vault, who)).transpose().map_err(no_randomness)?;
        if let Some(who) = who {
            entry.tenant = Some(Cow::Borrowed(who.tenant.as_str()));
        }
        let of = entry.tenant.clone().unwrap_or_default();
        let tenant: &str = &of;
        let Entry { public_name, native_name, method, client, .. } = &mut entry;
        // All of it may be what a client likes to write.
        for text in [public_name, native_name, method, client] {
            if let Some(name) =
                text.as_deref().and_then(|text| name(text, |value| vault.digest(tenant, value)))
            {
                *text = Some(name.into());
            }
        }
        let plain = |kind, text: &str| names.plain(vault, tenant, kind, text).map_err(no_randomness);
        let mut address = [0; ADDRESS_LEN_MAX];
        let source = source.map(|source| plain(NameKind::Source, shown(source, &mut address))).transpose()?;
        let session = session.map(|session| plain(NameKind::Session, session.as_str())).transpose()?;
        // These are many, and soon gone: they are not kept at hand.
        let mut crowd_names = Vec::with_capacity(crowd.len());
        let mut counts = Vec::with_capacity(crowd.len());
        for (source, count) in crowd {
            let known = Known::new(vault, tenant, NameKind::Source, &source, source.as_str().into());
            let known = known.map_err(no_randomness)?;
            counts.push(serde_json::json!({ "source": known.reference(), "count": count }));
            crowd_names.push(known);
        }
        if !counts.is_empty() {
            entry.detail.get_or_insert_default().insert("sources".to_owned(), counts.into());
        }
        let commit = Commit { vault, tenant, payload_bytes_max };
        let arguments = arguments.map(|content| commit.to(&content, false, &mut lines)).transpose()?;
        let result = result.map(|content| commit.to(&content, true, &mut lines)).transpose()?;

        let role = match (entry.kind, entry.call, entry.of) {
            (Kind::Intent, Some(call), _) => {
                let tenant = entry.tenant.as_deref().map(ToOwned::to_owned);
                Role::Intent(OpenCall { seq: 0, call, step: entry.step, tenant })
            }
            (Kind::Outcome, _, Some(intent)) => Role::Outcome(intent),
            _ => Role::Other,
        };
        let principal = principal.as_deref();
        let (agent, user) = (
            principal.and_then(|names| names.agent.as_ref()),
            principal.and_then(|names| names.user.as_ref()),
        );
        let entry = Entry {
            who: principal.map(|names| names.who.reference()),
            agent: agent.map(|name| name.reference()),
            user: user.map(|name| name.reference()),
            source: source.as_ref().map(|name| name.reference()),
            session: session.as_ref().map(|name| name.reference()),
            arguments: arguments.or(entry.arguments),
            result: result.or(entry.result),
            ..entry
        };
        let rest = rest(&entry)?;
        let needed = principal.map(|names| &names.who).into_iter().chain(agent).chain(user);
        let needed = needed.chain(&source).chain(&session).chain(&crowd_names).cloned().collect();
        Ok(Self { rest, payloads: lines.payloads, digests: lines.digests, names: needed, role })
    }
}

/// An address as text, in this place.
fn shown(address: IpAddr, place: &mut [u8; ADDRESS_LEN_MAX]) -> &str {
    let mut rest = place.as_mut_slice();
    // There is room for all of it.
    _ = write!(rest, "{address}");
    let len = ADDRESS_LEN_MAX - rest.len();
    std::str::from_utf8(&place[..len]).unwrap_or_default()
}

/// Cuts a text that is too long, and says so at its end, by the digest of the whole.
fn cut(text: &mut Option<Text<'_>>) {
    if let Some(long) = text.as_mut().filter(|text| text.len() > TEXT_BYTES_MAX) {
        let end = long.floor_char_boundary(TEXT_BYTES_MAX);
        let digest = digest(&SHA256, long.as_bytes());
        *long = Cow::Owned(format!("{}{CUT}{}", &long[..end], BASE64.encode(&digest.as_ref()[..16])));
    }
}

/// The JSON of an entry behind number and time.
fn rest(entry: &Entry<'_>) -> Result<Vec<u8>, Unrecorded> {
    let failed = |reason: String| Unrecorded { reason: reason.into() };
    if (entry.seq, entry.time_ms) != (0, 0) {
        return Err(failed("an entry had a number before it was written".to_owned()));
    }
    let mut json = Vec::with_capacity(1024);
    push_members(entry, &mut json).map_err(|error| failed(error.to_string()))?;
    Ok(json)
}

/// Payload lines, and their digests.
struct Lines {
    payloads: Vec<u8>,
    digests: Vec<Hash>,
}

/// Makes commitments to payloads.
struct Commit<'a> {
    vault: &'a Vault,
    tenant: &'a str,
    payload_bytes_max: usize,
}

impl Commit<'_> {
    /// What the entry says of a payload, and the line that keeps it.
    fn to(
        &self,
        content: &Content,
        is_result: bool,
        lines: &mut Lines,
    ) -> Result<Committed<'static>, Unrecorded> {
        let mut committed = Committed {
            level: level(content.level).into(),
            bytes: content.bytes.len() as u64,
            digest: None,
            commitment: None,
            redacted: Vec::new(),
            truncated: None,
        };
        if content.level == RecordLevel::Nothing {
            return Ok(committed);
        }
        committed.digest = Some(self.vault.digest(self.tenant, &content.bytes).into());
        if content.level == RecordLevel::Digest {
            return Ok(committed);
        }
        if content.bytes.len() > self.payload_bytes_max {
            committed.truncated = Some(Truncation::TooLarge);
            return Ok(committed);
        }
        let kept = if content.level == RecordLevel::Full {
            Cow::Borrowed(&*content.bytes)
        } else {
            let Redacted { kept, taken_out } = redact(&content.bytes);
            committed.redacted = taken_out.into_iter().map(Into::into).collect();
            kept
        };
        let failed = |_| Unrecorded { reason: "a payload could not be sealed".into() };
        let salt: [u8; SALT_LEN] = random().map_err(failed)?;
        committed.commitment = Some(commitment(&salt, &kept).to_text().into());
        let sealed = self.vault.seal_payload(self.tenant, is_result, &salt, &kept).map_err(failed)?;
        let head: &[u8] = if is_result { b"p r " } else { b"p a " };
        lines.digests.push(line::push_side(&mut lines.payloads, head, sealed.as_bytes()));
        Ok(committed)
    }
}

/// By what an entry commits to a payload: SHA-256 over its salt and what is kept of it.
pub fn commitment(salt: &[u8; SALT_LEN], kept: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(salt);
    context.update(kept);
    let mut hash = Hash::default();
    hash.0.copy_from_slice(context.finish().as_ref());
    hash
}

/// A level as entries name it.
const fn level(level: RecordLevel) -> &'static str {
    match level {
        RecordLevel::Nothing => "nothing",
        RecordLevel::Digest => "digest",
        RecordLevel::Redacted => "redacted",
        RecordLevel::Full => "full",
    }
}
