//! Resource URIs of several servers behind one endpoint.
//!
//! A URI is kept to the letter where only one server has it. Where two servers have the same one, each is rewritten to
//! `tollgate:{server}:{uri}`, which reads back. `http` and `https` URIs are never rewritten, since clients may fetch
//! them directly; the server that comes first in the configuration answers those. A `ui://` URI (MCP Apps) becomes
//! `ui://tollgate/{server}/{rest}`, since hosts take no other scheme for an app.

use std::borrow::Cow;

use tollgate_model::ServerName;

const SCHEME: &str = "tollgate:";
const UI_SCHEME: &str = "ui://";
const UI_HOST: &str = "tollgate/";

/// The URI that stands for a server's own one where two servers have it.
pub fn rewrite(server: &ServerName, uri: &str) -> String {
    match uri.strip_prefix(UI_SCHEME) {
        Some(rest) => format!("{UI_SCHEME}{UI_HOST}{server}/{rest}"),
        None => format!("{SCHEME}{server}:{uri}"),
    }
}

/// The server's name and its own URI, if this is a rewritten one.
pub fn read_back(uri: &str) -> Option<(&str, Cow<'_, str>)> {
    if let Some(rest) = uri.strip_prefix(UI_SCHEME).and_then(|rest| rest.strip_prefix(UI_HOST)) {
        let (server, rest) = rest.split_once('/')?;
        return Some((server, Cow::Owned(format!("{UI_SCHEME}{rest}"))));
    }
    let (server, uri) = uri.strip_prefix(SCHEME)?.split_once(':')?;
    Some((server, Cow::Borrowed(uri)))
}

/// Whether a URI is that of an MCP App.
pub fn is_ui(uri: &str) -> bool {
    uri.starts_with(UI_SCHEME)
}

/// Whether a URI may be rewritten.
pub fn may_rewrite(uri: &str) -> bool {
    let scheme = scheme(uri).unwrap_or_default();
    !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https")
}

/// The scheme of a URI or URI template.
pub fn scheme(uri: &str) -> Option<&str> {
    uri.split_once(':').map(|(scheme, _)| scheme)
}

/// Whether a URI may have been made from a URI template (RFC 6570). Only literals are compared: an expression stands
/// for any text. Used to find the server that owns a URI, which then decides.
pub fn template_takes(template: &str, uri: &str) -> bool {
    let mut rest = uri;
    let mut literal_first = true;
    let mut template = template;
    loop {
        let (literal, after) = match template.split_once('{') {
            Some((literal, expression)) => match expression.split_once('}') {
                Some((_, after)) => (literal, Some(after)),
                None => return false,
            },
            None => (template, None),
        };
        let last = after.is_none();
        if literal_first {
            let Some(tail) = rest.strip_prefix(literal) else { return false };
            rest = tail;
            if last {
                return rest.is_empty();
            }
        } else if last {
            return rest.ends_with(literal);
        } else {
            let Some(at) = rest.find(literal) else { return false };
            rest = &rest[at + literal.len()..];
        }
        literal_first = false;
        template = after.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewriting_reads_back() {
        let server = ServerName::new("files").expect("a name");
        let rewritten = rewrite(&server, "file:///a:b?c#d");
        assert_eq!(rewritten, "tollgate:files:file:///a:b?c#d");
        assert_eq!(read_back(&rewritten), Some(("files", "file:///a:b?c#d".into())));
        let app = rewrite(&server, "ui://view/main.html?a=1");
        assert_eq!(app, "ui://tollgate/files/view/main.html?a=1", "hosts take only this scheme for an app");
        assert_eq!(read_back(&app), Some(("files", "ui://view/main.html?a=1".into())));
        assert_eq!(read_back("ui://tollgate/files"), None);
        assert_eq!(read_back("file:///a"), None);
        assert!(!may_rewrite("HTTPS://example.com/a"));
        assert!(may_rewrite("file:///a"));
    }

    #[test]
    fn templates_take_what_they_could_have_made() {
        for (template, uri, takes) in [
            ("file:///{path}", "file:///a/b", true),
            ("file:///{path}", "memo:///a", false),
            ("demo://{kind}/item/{id}", "demo://text/item/7", true),
            ("demo://{kind}/item/{id}", "demo://text/7", false),
            ("demo://{kind}.json", "demo://a.json", true),
            ("demo://{kind}.json", "demo://a.xml", false),
            ("demo://fixed", "demo://fixed", true),
            ("demo://fixed", "demo://fixed/more", false),
            ("demo://{open", "demo://x", false),
        ] {
            assert_eq!(template_takes(template, uri), takes, "{template} {uri}");
        }
    }
}
