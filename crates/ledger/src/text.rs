//! An entry as JSON, as serde would write it: byte by byte the same, in a third of the time. Every call writes two.

use serde::Serialize;
use serde_json::Error;

use crate::entry::Decided;
use crate::{Committed, Entry, Latency, Sizes, Text};

/// Appends the members of an entry but its number and its time, with the end of the object.
pub(crate) fn push_members(entry: &Entry<'_>, json: &mut Vec<u8>) -> Result<(), Error> {
    // Whole, so that no member is forgotten that comes to be.
    let Entry {
        seq: _,
        time_ms: _,
        kind,
        call,
        step,
        of,
        tenant,
        who,
        agent,
        user,
        source,
        session,
        method,
        revision,
        era,
        client,
        endpoint,
        server,
        shared,
        instance,
        replica,
        public_name,
        native_name,
        definition,
        decision,
        outcome,
        code,
        stage,
        sizes,
        latency,
        trace,
        credential,
        element,
        strangers,
        change,
        detail,
        arguments,
        result,
    } = entry;
    let mut members = Members { json, is_first: true };
    members.other("kind", kind)?;
    members.any("call", call.as_ref())?;
    members.nonzero("step", u64::from(*step));
    members.number("of", *of);
    for (name, text) in [
        ("tenant", tenant),
        ("who", who),
        ("agent", agent),
        ("user", user),
        ("source", source),
        ("session", session),
        ("method", method),
        ("revision", revision),
        ("era", era),
        ("client", client),
        ("endpoint", endpoint),
        ("server", server),
    ] {
        members.text(name, text.as_deref())?;
    }
    members.flag("shared", *shared);
    for (name, text) in [
        ("instance", instance),
        ("replica", replica),
        ("public_name", public_name),
        ("native_name", native_name),
        ("definition", definition),
    ] {
        members.text(name, text.as_deref())?;
    }
    if let Some(decision) = decision {
        members.decided("decision", decision)?;
    }
    members.any("outcome", outcome.as_ref())?;
    members.text("code", code.as_deref())?;
    members.text("stage", stage.as_deref())?;
    if let Some(sizes) = sizes {
        members.sizes(*sizes);
    }
    if let Some(latency) = latency {
        members.latency(*latency);
    }
    members.text("trace", trace.as_deref())?;
    members.text("credential", credential.as_deref())?;
    members.number("element", element.map(u64::from));
    members.any("strangers", strangers.as_ref())?;
    members.text("change", change.as_deref())?;
    members.any("detail", detail.as_ref())?;
    members.committed("arguments", arguments.as_ref())?;
    members.committed("result", result.as_ref())?;
    json.push(b'}');
    Ok(())
}

/// Writes the members of an object, behind one another.
struct Members<'a> {
    json: &'a mut Vec<u8>,
    is_first: bool,
}

impl Members<'_> {
    /// A name: one of ours, in which nothing has to be escaped.
    fn name(&mut self, name: &'static str) {
        self.json.extend_from_slice(if self.is_first { b"\"" } else { b",\"" });
        self.is_first = false;
        self.json.extend_from_slice(name.as_bytes());
        self.json.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &'static str, text: Option<&str>) -> Result<(), Error> {
        let Some(text) = text else { return Ok(()) };
        self.name(name);
        push_text(text, self.json)
    }

    fn texts(&mut self, name: &'static str, texts: &[Text<'_>]) -> Result<(), Error> {
        if texts.is_empty() {
            return Ok(());
        }
        self.name(name);
        for (place, text) in texts.iter().enumerate() {
            self.json.push(if place == 0 { b'[' } else { b',' });
            push_text(text, self.json)?;
        }
        self.json.push(b']');
        Ok(())
    }

    fn number(&mut self, name: &'static str, number: Option<u64>) {
        let Some(number) = number else { return };
        self.name(name);
        push_number(number, self.json);
    }

    fn nonzero(&mut self, name: &'static str, number: u64) {
        self.number(name, Some(number).filter(|number| *number != 0));
    }

    fn flag(&mut self, name: &'static str, is_so: bool) {
        if is_so {
            self.name(name);
            self.json.extend_from_slice(b"true");
        }
    }

    /// What is written as it comes.
    fn other(&mut self, name: &'static str, value: &impl Serialize) -> Result<(), Error> {
        self.name(name);
        serde_json::to_writer(&mut *self.json, value)
    }

    fn any(&mut self, name: &'static str, value: Option<&impl Serialize>) -> Result<(), Error> {
        value.map_or(Ok(()), |value| self.other(name, value))
    }

    /// An object within.
    fn within(&mut self, name: &'static str) -> Members<'_> {
        self.name(name);
        self.json.push(b'{');
        Members { json: self.json, is_first: true }
    }

    fn decided(&mut self, name: &'static str, decided: &Decided<'_>) -> Result<(), Error> {
        let Decided { allowed, hidden, set, at_ms, policies, obligations, shadow } = decided;
        let mut members = self.within(name);
        members.other("allowed", allowed)?;
        members.flag("hidden", *hidden);
        members.text("set", set.as_deref())?;
        members.number("at_ms", Some(*at_ms));
        members.texts("policies", policies)?;
        members.any("obligations", obligations.as_ref())?;
        members.any("shadow", shadow.as_ref())?;
        self.json.push(b'}');
        Ok(())
    }

    fn sizes(&mut self, sizes: Sizes) {
        let Sizes { sent_bytes, received_bytes, sent_tokens, received_tokens } = sizes;
        let mut members = self.within("sizes");
        members.nonzero("sent_bytes", sent_bytes);
        members.nonzero("received_bytes", received_bytes);
        members.nonzero("sent_tokens", sent_tokens);
        members.nonzero("received_tokens", received_tokens);
        self.json.push(b'}');
    }

    fn latency(&mut self, latency: Latency) {
        let Latency { total_us, resolve_us, policy_us, route_us, ledger_us, upstream_us } = latency;
        let mut members = self.within("latency");
        members.number("total_us", Some(total_us));
        members.nonzero("resolve_us", resolve_us);
        members.nonzero("policy_us", policy_us);
        members.nonzero("route_us", route_us);
        members.nonzero("ledger_us", ledger_us);
        members.nonzero("upstream_us", upstream_us);
        self.json.push(b'}');
    }

    fn committed(&mut self, name: &'static str, committed: Option<&Committed<'_>>) -> Result<(), Error> {
        let Some(committed) = committed else { return Ok(()) };
        let Committed { level, bytes, digest, commitment, redacted, truncated } = committed;
        let mut members = self.within(name);
        members.name("level");
        push_text(level, members.json)?;
        members.number("bytes", Some(*bytes));
        members.text("digest", digest.as_deref())?;
        members.text("commitment", commitment.as_deref())?;
        members.texts("redacted", redacted)?;
        members.any("truncated", truncated.as_ref())?;
        self.json.push(b'}');
        Ok(())
    }
}

/// A text between quotes. Nearly none has anything to escape, which is seen many bytes at a time.
fn push_text(text: &str, json: &mut Vec<u8>) -> Result<(), Error> {
    let is_special = |byte| matches!(byte, b'"' | b'\\' | 0..0x20);
    if text.bytes().fold(false, |found, byte| found | is_special(byte)) {
        return serde_json::to_writer(json, text);
    }
    json.push(b'"');
    json.extend_from_slice(text.as_bytes());
    json.push(b'"');
    Ok(())
}

pub(crate) fn push_number(mut number: u64, json: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    json.extend_from_slice(&digits[from..]);
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;
    use tollgate_model::Timestamp;

    use super::*;
    use crate::entry::{Promised, Stranger};
    use crate::{CallId, Kind, Outcome, Truncation};

    /// What serde writes, behind number and time.
    fn by_serde(entry: &Entry<'_>) -> String {
        let whole = serde_json::to_string(entry).expect("JSON");
        whole.strip_prefix(r#"{"seq":0,"time_ms":0,"#).expect("an entry without a number").to_owned()
    }

    fn by_hand(entry: &Entry<'_>) -> String {
        let mut json = Vec::new();
        push_members(entry, &mut json).expect("JSON");
        String::from_utf8(json).expect("UTF-8")
    }

    /// An entry that says all there is.
    pub(crate) fn full(text: &str, number: u64) -> Entry<'_> {
        let some = || Some(Text::Borrowed(text));
        let decided = |shadow| Decided {
            allowed: number.is_multiple_of(2),
            hidden: number % 2 == 1,
            set: some(),
            at_ms: number,
            policies: vec![text.into(), "b".into()],
            obligations: Some(Promised {
                approvals: vec![text.into()],
                redactions: vec![text.into(), text.into()],
                holds: vec![text.into()],
                record: some(),
            }),
            shadow,
        };
        let committed = || {
            Some(Committed {
                level: text.into(),
                bytes: number,
                digest: some(),
                commitment: some(),
                redacted: vec![text.into(), text.into()],
                truncated: Some(Truncation::NoRoom),
            })
        };
        Entry {
            seq: 0,
            time_ms: 0,
            kind: Kind::SessionOpened,
            call: Some(CallId::new(Timestamp::from_ms(number))),
            step: u32::try_from(number).unwrap_or(u32::MAX),
            of: Some(number),
            tenant: some(),
            who: some(),
            agent: some(),
            user: some(),
            source: some(),
            session: some(),
            method: some(),
            revision: some(),
            era: some(),
            client: some(),
            endpoint: some(),
            server: some(),
            shared: number.is_multiple_of(2),
            instance: some(),
            replica: some(),
            public_name: some(),
            native_name: some(),
            definition: some(),
            decision: Some(decided(Some(Box::new(decided(None))))),
            outcome: Some(Outcome::TaskCreated),
            code: some(),
            stage: some(),
            sizes: Some(Sizes {
                sent_bytes: number,
                received_bytes: 0,
                sent_tokens: 1,
                received_tokens: number,
            }),
            latency: Some(Latency {
                total_us: number,
                resolve_us: 0,
                policy_us: number,
                route_us: 1,
                ledger_us: number,
                upstream_us: 0,
            }),
            trace: some(),
            credential: some(),
            element: Some(7),
            strangers: Some(Stranger { minute_ms: number, count: number }),
            change: some(),
            detail: json!({ "a": text, "b": [number, { "c": null }] }).as_object().cloned(),
            arguments: committed(),
            result: committed(),
        }
    }

    #[test]
    fn an_entry_is_written_as_serde_writes_it() {
        let texts = [
            "",
            "plain",
            "é\u{2028}世",
            "\"quoted\\\"",
            "line\nand\ttab\u{8}\u{c}\r",
            "\u{0}\u{1f}\u{7f}",
            "/<>&'",
        ];
        for text in texts {
            for number in [0, 1, 9, 10, 4_294_967_295, 18_446_744_073_709_551_615] {
                let entry = full(text, number);
                assert_eq!(by_hand(&entry), by_serde(&entry));
            }
        }
        for kind in [Kind::Intent, Kind::Outcome, Kind::Refusal] {
            let bare = Entry::of(kind);
            assert_eq!(by_hand(&bare), by_serde(&bare));
            let few = Entry {
                decision: Some(Decided::default()),
                sizes: Some(Sizes::default()),
                latency: Some(Latency::default()),
                arguments: full("x", 1).arguments.map(|arguments| Committed {
                    digest: None,
                    commitment: None,
                    redacted: Vec::new(),
                    truncated: None,
                    ..arguments
                }),
                detail: Some(serde_json::Map::new()),
                ..Entry::of(kind)
            };
            assert_eq!(by_hand(&few), by_serde(&few));
        }
    }
}
