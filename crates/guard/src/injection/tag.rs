//! Marks of roles, comments, and elements that nobody sees.

use memchr::memmem;

use super::link::image;
use crate::rule::{Finding, Rule, RuleSet};
use crate::sweep::Sweep;
use crate::text::Text;

/// The longest comment or element that is looked into.
const INNER_MAX: usize = 4_096;

/// Marks that chat templates part turns with, and how sure each is.
const MARKS: &[(&[u8], u8)] = &[
    (b"<|im_start|>system", 85),
    (b"<|im_start|>", 72),
    (b"<|im_end|>", 66),
    (b"<|system|>", 76),
    (b"<|start_header_id|>", 78),
    (b"<|eot_id|>", 66),
    (b"<|endofprompt|>", 70),
    (b"<<SYS>>", 78),
    (b"<start_of_turn>", 68),
    (b"[INST]", 64),
    (b"[/INST]", 64),
    (b"[SYSTEM OVERRIDE]", 80),
    (b"[SYSTEM MESSAGE]", 68),
    (b"### System:", 66),
    (b"### Instruction:", 64),
    (b"### New Instructions", 72),
];

/// What begins with the bracket or number sign here.
pub(crate) fn role(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    if text.before(start) == b'#' {
        return None;
    }
    let here = text.slice(start, start + 24);
    let (mark, weight) = MARKS.iter().find(|(mark, _)| here.starts_with(mark))?;
    // In source code they stand in quotes, and in prose in backticks.
    let before = text.before(start);
    let is_quoted = matches!(before, b'"' | b'\'' | b'`' | b'>' | b'|' | b'(');
    let is_in_sentence = before == b' ' && text.at(start.wrapping_sub(2)).is_ascii_lowercase();
    let less = match (is_quoted, is_in_sentence) {
        (true, _) => 40,
        (_, true) => 30,
        _ => 0,
    };
    let weight = weight.saturating_sub(less);
    sweep.add(Rule::Role, start, start + mark.len(), weight)
}

/// What begins with the angle bracket here.
pub(crate) fn tag(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    // What nobody sees is looked into once.
    if sweep.is_hidden || start < sweep.looked_until {
        return role(sweep, start);
    }
    match text.at(start + 1) {
        b'|' | b'<' | b's' if let Some(end) = role(sweep, start) => Some(end),
        b'!' if text.slice(start + 2, start + 4) == b"--" => {
            let (inner, end) = until(&text, start + 4, b"-->");
            inner_speaks(sweep, Rule::Comment, (start, end), inner);
            None
        }
        b'I' | b'i' if text.slice(start, start + 11).eq_ignore_ascii_case(b"<important>") => {
            let (inner, end) = until(&text, start + 11, b"</");
            inner_speaks(sweep, Rule::Role, (start, start + 11), inner);
            sweep.looked_until = end;
            None
        }
        letter if letter.is_ascii_alphabetic() => image(sweep, start).or_else(|| off_screen(sweep, start)),
        _ => None,
    }
}

/// What stands up to a mark, as far as is looked; and the end of that mark.
fn until<'t>(text: &Text<'t>, from: usize, mark: &[u8]) -> (&'t str, usize) {
    let area = text.slice(from, from + INNER_MAX);
    let mut length = memmem::find(area, mark).unwrap_or(area.len());
    let is_there = length < area.len();
    while !text.whole.is_char_boundary(from + length) {
        length -= 1;
    }
    let inner = text.whole.get(from..from + length).unwrap_or_default();
    (inner, from + length + if is_there { mark.len() } else { 0 })
}

/// Whether text that nobody sees speaks to the model.
fn inner_speaks(sweep: &mut Sweep<'_, '_>, rule: Rule, (start, end): (usize, usize), inner: &str) {
    sweep.looked_until = end;
    let mut found = Vec::new();
    let wanted = [Rule::Override, Rule::Conceal, Rule::Exfiltrate];
    let rules = wanted.into_iter().fold(RuleSet::NONE, RuleSet::with);
    let mut within = Sweep::new(Text::new(inner, ""), rules, u8::MAX, &mut found);
    within.is_hidden = true;
    within.run();
    let surest = found.iter().map(|finding: &Finding| finding.confidence).max();
    if let Some(confidence) = surest {
        sweep.add(rule, start, end, confidence);
    }
}

/// Styles that hide what they are for.
const HIDING: &[&[u8]] = &[
    b"display:none",
    b"visibility:hidden",
    b"font-size:0",
    b"opacity:0;",
    b"opacity:0\"",
    b"color:white",
    b"color:#fff",
    b"color:transparent",
    b"left:-9",
    b"top:-9",
    b"text-indent:-9",
    b"width:0",
    b"height:0",
];

/// An element whose style hides it, and that speaks to the model.
fn off_screen(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    let head = text.slice(start, start + 400);
    let head = head.get(..head.iter().position(|byte| *byte == b'>')?)?;
    let has_style = memmem::find(head, b"style=").is_some() || memmem::find(head, b" hidden").is_some();
    if !has_style {
        return None;
    }
    let mut plain: Vec<u8> = head.iter().filter(|byte| **byte != b' ').map(u8::to_ascii_lowercase).collect();
    plain.push(b';');
    let hides = HIDING.iter().any(|style| memmem::find(&plain, style).is_some())
        || head.ends_with(b" hidden")
        || memmem::find(head, b" hidden ").is_some();
    if !hides {
        return None;
    }
    let (inner, end) = until(&text, start + head.len() + 1, b"</");
    inner_speaks(sweep, Rule::OffScreen, (start, end), inner);
    None
}
