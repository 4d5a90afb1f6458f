//! What is left of a result that is too large: valid JSON, and a notice that says so.

use bytes::Bytes;
use tollgate_mcp::json::{JsonKind, Span};
use tollgate_mcp::{Change, Edit, elements, find, kind_of, quote, text};

/// Nothing is cut to fewer bytes than this.
pub const CUT_BYTES_MIN: u64 = 1024;
/// How much of what may be there is left for what is not text: the notice, and the members around it.
const AROUND: u64 = 512;

/// Cuts the texts of a result (`content` of a tool, `contents` of a resource) so that it has about so many bytes at most. What
/// is no text goes where there is no room for it, and so does `structuredContent`, of which nobody could use a part. `notice` says
/// what was done, as a text of its own behind the others, and behind it comes `link`, a block as it is. A tool whose
/// `structuredContent` is gone counts as one that failed (`isError`): clients take a success without it for a fault of the server
/// (2025-11-25, tools, output schema). None if it has no such list, or could not be made small enough.
pub fn cut(result: &Bytes, bytes_max: u64, notice: &str, link: Option<&Bytes>) -> Option<Bytes> {
    let whole = Span::all(result);
    let (member, list) = ["content", "contents"].into_iter().find_map(|member| {
        Some((member, find(result, whole, member).filter(|span| kind_of(result, *span) == JsonKind::Array)?))
    })?;
    let quoted = quote(notice);
    let around = result.len() as u64 - list.len() as u64;
    let structured = find(result, whole, "structuredContent").map_or(0, |span| span.len() as u64);
    let fixed = around - structured + AROUND + (quoted.len() + link.map_or(0, Bytes::len)) as u64;
    let mut room = bytes_max.max(CUT_BYTES_MIN).checked_sub(fixed)?;
    let mut kept: Vec<Bytes> = Vec::new();
    let mut first = None;
    for block in elements(result, list) {
        first.get_or_insert(block);
        if block.len() as u64 <= room {
            room = room.saturating_sub(block.len() as u64 + 1);
            kept.push(block.slice(result));
            continue;
        }
        // What comes behind would be torn from what it follows on.
        kept.extend(shortened(result, block, room));
        break;
    }
    kept.push(said(result, member, first, &quoted));
    kept.extend(link.cloned());
    let mut list = vec![b'['];
    for (at, block) in kept.iter().enumerate() {
        if at > 0 {
            list.push(b',');
        }
        list.extend_from_slice(block);
    }
    list.push(b']');
    let mut edit = Edit::new(result);
    let list = Bytes::from(list);
    let mut changes = vec![Change::Set(member, list)];
    if structured > 0 {
        changes.push(Change::Remove("structuredContent"));
        changes.push(Change::Set("isError", Bytes::from_static(b"true")));
    }
    edit.object(whole, &changes);
    Some(edit.finish().into_bytes())
}

/// A block of which the text is cut to what there is room for; none if there is no text, or no room.
fn shortened(result: &Bytes, block: Span, room: u64) -> Option<Bytes> {
    let words = find(result, block, "text")?;
    let around = block.len() as u64 - words.len() as u64;
    let room = usize::try_from(room.checked_sub(around + 2)?).ok()?;
    let whole = text(result, words)?;
    let mut used = 0;
    let full = whole.char_indices().find(|(_, character)| {
        used += written_bytes(*character);
        used > room
    });
    let end = full.map_or(whole.len(), |(at, _)| at);
    if end == 0 {
        return None;
    }
    let block = block.slice(result);
    let mut edit = Edit::new(&block);
    edit.object(Span::all(&block), &[Change::Set("text", quote(&whole[..end]))]);
    Some(edit.finish().into_bytes())
}

/// How many bytes a character takes at most, written as JSON.
const fn written_bytes(character: char) -> usize {
    match character {
        '"' | '\\' => 2,
        '\0'..='\x1F' => 6,
        _ => character.len_utf8(),
    }
}

/// The notice as a block of the kind that the list has.
fn said(result: &Bytes, member: &str, first: Option<Span>, quoted: &Bytes) -> Bytes {
    let quoted = String::from_utf8_lossy(quoted);
    if member == "content" {
        return Bytes::from(format!("{{\"type\":\"text\",\"text\":{quoted}}}"));
    }
    let uri = first.and_then(|block| find(result, block, "uri")).map(|span| span.slice(result));
    let uri = uri.unwrap_or_else(|| Bytes::from_static(b"\"\""));
    Bytes::from(format!(
        "{{\"uri\":{},\"mimeType\":\"text/plain\",\"text\":{quoted}}}",
        String::from_utf8_lossy(&uri)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOTICE: &str = "[cut here]";

    fn cut_to(result: &Value, bytes: u64) -> Option<(usize, Value)> {
        let cut = cut(&Bytes::from(result.to_string()), bytes, NOTICE, None)?;
        Some((cut.len(), serde_json::from_slice(&cut).expect("valid JSON")))
    }

    #[test]
    fn texts_are_cut_between_characters_and_it_is_said() {
        for letter in ["a", "ü", "日", "\"", "\u{1}"] {
            let result = json!({"content": [{"type": "text", "text": "first"},
                {"type": "text", "text": letter.repeat(50_000), "annotations": {"priority": 1}},
                {"type": "text", "text": "last"}], "isError": false, "x-own": 1e10});
            let (bytes, cut) = cut_to(&result, 8_000).expect("cut");
            assert!(bytes <= 8_000, "{letter:?}: {bytes}");
            assert!(bytes > 3_000, "{letter:?}: {bytes}");
            let blocks = cut["content"].as_array().expect("blocks");
            assert_eq!(
                (blocks.len(), &blocks[0]["text"], &blocks[2]["text"]),
                (3, &json!("first"), &json!(NOTICE))
            );
            let text = blocks[1]["text"].as_str().expect("a text");
            assert!(!text.is_empty() && text.chars().all(|one| letter.starts_with(one)));
            assert_eq!(
                (&blocks[1]["annotations"]["priority"], &cut["isError"], &cut["x-own"]),
                (&json!(1), &json!(false), &json!(1e10))
            );
        }
    }

    #[test]
    fn what_is_no_text_goes_and_so_does_what_nobody_could_use_a_part_of() {
        let rows: Vec<u32> = (0..5_000).collect();
        let result = json!({"content": [{"type": "image", "data": "A".repeat(9_000), "mimeType": "image/png"}], "structuredContent": {"rows": rows}});
        let (bytes, cut) = cut_to(&result, 2_000).expect("cut");
        assert_eq!(cut, json!({"content": [{"type": "text", "text": NOTICE}], "isError": true}));
        assert!(bytes < 2_000);
        let read = json!({"contents": [{"uri": "file:///a", "text": "b".repeat(9_000)}]});
        let (_, cut) = cut_to(&read, 2_000).expect("cut");
        assert_eq!(
            (&cut["contents"][0]["uri"], &cut["contents"][1]["uri"]),
            (&json!("file:///a"), &json!("file:///a"))
        );
        assert_eq!(cut["contents"][1]["text"], NOTICE);
    }

    #[test]
    fn what_has_no_list_of_texts_is_not_cut() {
        assert_eq!(cut_to(&json!({"messages": "a".repeat(9_000)}), 2_000), None);
        let around = json!({"content": [], "_meta": {"x": "a".repeat(9_000)}});
        assert_eq!(cut_to(&around, 2_000), None);
    }
}
