//! One text for values that mean the same.

use super::{JsonKind, Span, elements, kind_of, members, quote, text};

/// Appends the canonical form of a value: no whitespace, members ordered by name, strings escaped one way. Numbers keep
/// their digits: `1` and `1.0` stay two texts.
pub fn canonical(bytes: &[u8], value: Span, out: &mut Vec<u8>) {
    match kind_of(bytes, value) {
        JsonKind::Object => {
            let mut sorted: Vec<_> =
                members(bytes, value).map(|member| (member.key(bytes), member.value)).collect();
            sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
            out.push(b'{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(&quote(&key));
                out.push(b':');
                canonical(bytes, value, out);
            }
            out.push(b'}');
        }
        JsonKind::Array => {
            out.push(b'[');
            for (index, element) in elements(bytes, value).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                canonical(bytes, element, out);
            }
            out.push(b']');
        }
        JsonKind::String => match text(bytes, value) {
            Some(text) => out.extend_from_slice(&quote(&text)),
            None => out.extend_from_slice(value.of(bytes)),
        },
        JsonKind::Number | JsonKind::Bool | JsonKind::Null => out.extend_from_slice(value.of(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_value_has_one_text() {
        let form = |json: &str| {
            let mut out = Vec::new();
            canonical(json.as_bytes(), Span::all(json.as_bytes()), &mut out);
            String::from_utf8(out).expect("UTF-8")
        };
        let one = form(r#"{ "b" : [1, {"y":null,"x":"\u0041"}], "a":1.0 }"#);
        assert_eq!(one, form(r#"{"a":1.0,"b":[1,{"x":"A","y":null}]}"#));
        assert_ne!(one, form(r#"{"a":1,"b":[1,{"x":"A","y":null}]}"#));
    }
}
