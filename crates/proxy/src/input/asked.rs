//! One request for input, as a server made it, and as a client of either era gets it.

use bytes::Bytes;
use tollgate_mcp::{
    Change, Edit, JsonKind, Message, Segments, Span, compose, find, kind_of, meta, methods, quote, text,
};
use tollgate_model::{Code, Refusal, Revision, ServerName, Stage};

/// The key in `_meta` of a question that names the server which asks.
pub(crate) const SERVER_KEY: &str = "dev.tollgate/server";

/// The largest question: it is kept until it is answered.
const BYTES_MAX: usize = 1 << 20;

/// A server's request for input: an object with `method` and `params`.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    body: Bytes,
    method: String,
}

/// A capability that a client would need to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Its name, such as `elicitation.url`.
    pub(crate) capability: &'static str,
    /// The smallest capabilities object that has it.
    pub(crate) required: &'static str,
}

impl Missing {
    const SAMPLING: Self = Self { capability: "sampling", required: r#"{"sampling":{}}"# };
    const SAMPLING_TOOLS: Self =
        Self { capability: "sampling.tools", required: r#"{"sampling":{"tools":{}}}"# };
    const FORM: Self = Self { capability: "elicitation.form", required: r#"{"elicitation":{"form":{}}}"# };
    pub(crate) const URL: Self =
        Self { capability: "elicitation.url", required: r#"{"elicitation":{"url":{}}}"# };
    const ROOTS: Self = Self { capability: "roots", required: r#"{"roots":{}}"# };

    /// The refusal of a call that cannot go on without it (2026-07-28, error codes).
    pub(crate) fn refusal(self, server: &ServerName) -> Refusal {
        let text =
            format!("the request needs the client capability `{}`, which was not declared", self.capability);
        Refusal::new(Stage::Dispatch, Code::MissingCapability, text)
            .with_data(format!("\"requiredCapabilities\":{}", self.required))
            .of(server)
    }
}

impl Asked {
    /// A legacy server's request. Copied, since it may be kept for longer than what it came with.
    pub(crate) fn of_request(request: &Message) -> Self {
        Self { body: Bytes::copy_from_slice(request.bytes()), method: request.method().to_owned() }
    }

    /// An entry of a modern server's `inputRequests`; none if it is no request.
    pub(crate) fn of_entry(bytes: &Bytes, entry: Span) -> Option<Self> {
        let method = text(bytes, find(bytes, entry, "method")?)?.into_owned();
        Some(Self { body: entry.slice(bytes), method })
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// A text among the params.
    pub(crate) fn text(&self, member: &str) -> Option<String> {
        let span = self.param(member)?;
        text(&self.body, span).map(std::borrow::Cow::into_owned)
    }

    /// Whether it is one of the requests that a modern client takes (2026-07-28, multi round-trip requests).
    pub(crate) fn is_input(&self) -> bool {
        matches!(
            self.method.as_str(),
            methods::ELICITATION_CREATE | methods::SAMPLING_CREATE_MESSAGE | methods::ROOTS_LIST
        )
    }

    /// Whether it is more than may be kept for a client.
    pub(crate) fn is_too_large(&self) -> bool {
        self.body.len() > BYTES_MAX
    }

    /// Whether it asks to open a URL.
    pub(crate) fn is_url(&self) -> bool {
        self.method == methods::ELICITATION_CREATE && self.text("mode").as_deref() == Some("url")
    }

    /// What a client of these capabilities lacks to be asked this. A method that no revision defines needs nothing.
    pub(crate) fn missing(&self, capabilities: &Bytes) -> Option<Missing> {
        let whole = Span::all(capabilities);
        let has = |outer: &str, inner: &str| {
            find(capabilities, whole, outer).and_then(|span| find(capabilities, span, inner)).is_some()
        };
        let declares = |outer: &str| {
            find(capabilities, whole, outer)
                .is_some_and(|span| kind_of(capabilities, span) == JsonKind::Object)
        };
        let needs_tools = || self.param("tools").is_some() || self.param("toolChoice").is_some();
        match self.method.as_str() {
            methods::SAMPLING_CREATE_MESSAGE if !declares("sampling") => Some(Missing::SAMPLING),
            methods::SAMPLING_CREATE_MESSAGE if needs_tools() && !has("sampling", "tools") => {
                Some(Missing::SAMPLING_TOOLS)
            }
            methods::ELICITATION_CREATE if self.is_url() => {
                (!has("elicitation", "url")).then_some(Missing::URL)
            }
            // An empty object means forms (2025-11-25, elicitation, capabilities).
            methods::ELICITATION_CREATE => {
                let forms =
                    declares("elicitation") && (has("elicitation", "form") || !has("elicitation", "url"));
                (!forms).then_some(Missing::FORM)
            }
            methods::ROOTS_LIST if !declares("roots") => Some(Missing::ROOTS),
            _ => None,
        }
    }

    /// The progress token that the server gave, as raw JSON.
    pub(crate) fn progress_token(&self) -> Option<Bytes> {
        let meta = self.param("_meta")?;
        find(&self.body, meta, meta::PROGRESS_TOKEN).map(|span| span.slice(&self.body))
    }

    /// The request for a legacy client: under the gateway's id, which serves as the progress token too.
    pub(crate) fn for_legacy(
        &self,
        id: u64,
        to: Revision,
        server: &ServerName,
        elicitation_id: Option<&str>,
    ) -> Segments {
        let raw_id = Bytes::from(id.to_string());
        let mut params = self.worded(server);
        if self.method == methods::ELICITATION_CREATE && to < Revision::V2025_11_25 {
            params.push(Change::Remove("mode"));
        }
        if let Some(elicitation_id) = elicitation_id {
            params.push(Change::Set("elicitationId", quote(elicitation_id)));
        }
        let whole = Span::all(&self.body);
        let own = Bytes::from(format!("\"{server}\""));
        let mut edit = Edit::new(&self.body);
        match self.params() {
            Some(span) => {
                let mut named = vec![Change::Set(SERVER_KEY, own)];
                if self.progress_token().is_some() {
                    named.push(Change::Set(meta::PROGRESS_TOKEN, raw_id.clone()));
                }
                edit.object(span, &params);
                edit.within(span, "_meta", &named);
            }
            None => {
                let meta = compose::object(&[(SERVER_KEY, &own)]);
                edit.within(whole, "params", &[Change::Set("_meta", meta)]);
            }
        }
        let version = Bytes::from_static(b"\"2.0\"");
        edit.object(whole, &[Change::Set("jsonrpc", version), Change::Set("id", raw_id)]);
        edit.finish()
    }

    /// The entry of `inputRequests` for a modern client. What only a request has is taken out.
    pub(crate) fn for_modern(&self, server: &ServerName) -> Bytes {
        let mut edit = Edit::new(&self.body);
        if let Some(params) = self.params() {
            let mut changes = self.worded(server);
            changes.push(Change::Remove("elicitationId"));
            edit.object(params, &changes);
            if let Some(meta) = self.param("_meta") {
                edit.object(meta, &[Change::Remove(meta::PROGRESS_TOKEN)]);
            }
        }
        edit.object(Span::all(&self.body), &[Change::Remove("jsonrpc"), Change::Remove("id")]);
        edit.finish().into_bytes()
    }

    /// Where the text stands that a person reads, and what it says with the server's name in front (2026-07-28,
    /// elicitation, security: it must be clear which server asks).
    pub(crate) fn message(&self, server: &ServerName) -> Option<(Span, Bytes)> {
        if self.method != methods::ELICITATION_CREATE {
            return None;
        }
        let span = self.param("message")?;
        let words = text(&self.body, span)?;
        Some((span, quote(&format!("[{server}] {words}"))))
    }

    fn worded<'c>(&self, server: &ServerName) -> Vec<Change<'c>> {
        self.message(server).into_iter().map(|(_, words)| Change::Set("message", words)).collect()
    }

    fn params(&self) -> Option<Span> {
        let params = find(&self.body, Span::all(&self.body), "params")?;
        (kind_of(&self.body, params) == JsonKind::Object).then_some(params)
    }

    fn param(&self, member: &str) -> Option<Span> {
        find(&self.body, self.params()?, member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_mcp::Limits;

    fn asked(text: &'static str) -> Asked {
        let message = Message::parse(Bytes::from_static(text.as_bytes()), &Limits::default());
        Asked::of_request(&message.expect("a message"))
    }

    fn server() -> ServerName {
        ServerName::new("files").expect("a name")
    }

    #[test]
    fn a_client_is_asked_only_for_what_it_declared() {
        let missing = |request: &'static str, capabilities: &'static str| {
            let found = asked(request).missing(&Bytes::from_static(capabilities.as_bytes()));
            found.map(|missing| missing.capability)
        };
        let form = r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"m"}}"#;
        assert_eq!(missing(form, "{}"), Some("elicitation.form"));
        assert_eq!(missing(form, r#"{"elicitation":{}}"#), None);
        assert_eq!(missing(form, r#"{"elicitation":{"url":{}}}"#), Some("elicitation.form"));
        assert_eq!(missing(form, r#"{"elicitation":{"url":{},"form":{}}}"#), None);
        let url =
            r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"mode":"url","message":"m"}}"#;
        assert_eq!(missing(url, r#"{"elicitation":{}}"#), Some("elicitation.url"));
        assert_eq!(missing(url, r#"{"elicitation":{"url":{}}}"#), None);
        let sample = r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"messages":[]}}"#;
        assert_eq!(missing(sample, r#"{"sampling":{}}"#), None);
        assert_eq!(missing(sample, r#"{"sampling":null}"#), Some("sampling"));
        let tools = r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"tools":[]}}"#;
        assert_eq!(missing(tools, r#"{"sampling":{}}"#), Some("sampling.tools"));
        assert_eq!(missing(tools, r#"{"sampling":{"tools":{}}}"#), None);
        assert_eq!(missing(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#, "{}"), Some("roots"));
    }

    #[test]
    fn a_legacy_client_sees_who_asks_and_the_rest_to_the_letter() {
        let form = asked(
            r#"{"x":1.0,"jsonrpc":"2.0","id":"s","method":"elicitation/create","params":{"mode":"form","message":"Name?","requestedSchema":{"k":1e9},"_meta":{"progressToken":7}}}"#,
        );
        let sent = |revision| {
            let sent = form.for_legacy(3, revision, &server(), None).into_bytes();
            String::from_utf8(sent.to_vec()).expect("UTF-8")
        };
        assert_eq!(
            sent(Revision::V2025_11_25),
            r#"{"x":1.0,"jsonrpc":"2.0","id":3,"method":"elicitation/create","params":{"mode":"form","message":"[files] Name?","requestedSchema":{"k":1e9},"_meta":{"progressToken":3,"dev.tollgate/server":"files"}}}"#
        );
        assert!(!sent(Revision::V2025_06_18).contains("mode"));
        let roots = asked(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#);
        assert_eq!(
            roots.for_legacy(4, Revision::V2024_11_05, &server(), None).into_bytes(),
            r#"{"jsonrpc":"2.0","id":4,"method":"roots/list","params":{"_meta":{"dev.tollgate/server":"files"}}}"#
        );
    }

    #[test]
    fn a_modern_client_gets_an_entry() {
        let url = asked(
            r#"{"jsonrpc":"2.0","id":9,"method":"elicitation/create","params":{"mode":"url","message":"Go","url":"https://e.example","elicitationId":"x","_meta":{"progressToken":1,"k":2}}}"#,
        );
        assert_eq!(
            url.for_modern(&server()),
            r#"{"method":"elicitation/create","params":{"mode":"url","message":"[files] Go","url":"https://e.example","_meta":{"k":2}}}"#
        );
    }
}
