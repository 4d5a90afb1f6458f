//! What holds of guards whatever they look at: nothing panics, findings are places of the text, and what is left of JSON is JSON that
//! is left alone the next time.

use std::sync::LazyLock;

use bytes::Bytes;
use tollgate_guard::{Action, Family, Guard, RuleSet, Scanner};
use tollgate_mcp::{Limits, Span, quote, validate};

static GUARD: LazyLock<Guard> = LazyLock::new(|| {
    let act = |rule: tollgate_guard::Rule| match rule.family() {
        Family::Injection => Action::Strip,
        Family::Secret => Action::Hash,
        _ => Action::Mask,
    };
    Guard::new(Scanner::new(RuleSet::ALL, Vec::new()), 0, act, b"key", true)
});

pub(crate) fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let mut found = Vec::new();
        GUARD.scanner().scan(text, "", &mut found);
        assert!(found.iter().all(|one| text.get(one.start..one.end).is_some()));
        left(&Bytes::from(
            [&b"{\"content\":[{\"type\":\"text\",\"text\":"[..], &quote(text), b"}]}"].concat(),
        ));
    }
    left(&Bytes::copy_from_slice(data));
}

fn left(json: &Bytes) {
    let is_json = validate(json, &Limits::default()).is_ok();
    let inspection = GUARD.inspect(json, Span::all(json), &[], "");
    if let (true, Some(changed), None) = (is_json, inspection.changed, inspection.blocked) {
        assert!(validate(&changed, &Limits::default()).is_ok());
        assert!(GUARD.inspect(&changed, Span::all(&changed), &[], "").changed.is_none());
    }
}
