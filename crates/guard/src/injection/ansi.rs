//! Escapes of terminals (ECMA-48).

use crate::rule::Rule;
use crate::sweep::Sweep;

/// The longest escape.
const ESCAPE_MAX: usize = 256;

/// The escape that begins here. Colours and weights of letters are nobody's harm, unless they make them invisible.
pub(crate) fn ansi(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let text = sweep.text;
    match text.at(start + 1) {
        b'[' => control(sweep, start, start + 2),
        b']' | b'P' | b'_' | b'^' | b'X' => {
            let rest = text.slice(start + 2, start + 2 + ESCAPE_MAX);
            let length = rest.iter().position(|byte| matches!(byte, 0x07 | 0x1B)).unwrap_or(rest.len());
            let mut end = start + 2 + length;
            if text.at(end) == 0x07 {
                end += 1;
            } else if text.slice(end, end + 2) == b"\x1B\\" {
                end += 2;
            }
            while !text.whole.is_char_boundary(end) {
                end += 1;
            }
            sweep.add(Rule::Ansi, start, end, 88)
        }
        _ => None,
    }
}

/// The same where one character stands for the first two (ECMA-48, in 8 bits). Text that was misread has it too; then no number follows.
pub(crate) fn short(sweep: &mut Sweep<'_, '_>, start: usize) -> Option<usize> {
    let from = start + 2;
    if sweep.text.at(from).is_ascii_digit() { control(sweep, start, from) } else { None }
}

/// A control sequence, whose parameters begin there.
fn control(sweep: &mut Sweep<'_, '_>, start: usize, from: usize) -> Option<usize> {
    let text = sweep.text;
    let rest = text.slice(from, from + 64);
    let length = rest.iter().position(|byte| !(0x20..0x40).contains(byte))?;
    let last = *rest.get(length)?;
    let end = from + length + 1;
    if !last.is_ascii() {
        return None;
    }
    let parameters = rest.get(..length)?;
    let conceals = parameters.split(|byte| *byte == b';').any(|one| one == b"8");
    // Behind the colour of 256 or of three parts, a number is none of these.
    let is_colour = parameters.starts_with(b"38;") || parameters.starts_with(b"48;");
    match last {
        b'm' if !conceals || is_colour => Some(end),
        b'm' => sweep.add(Rule::Ansi, start, end, 90),
        b'K' | b'J' | b'h' | b'l' => sweep.add(Rule::Ansi, start, end, 70),
        _ => sweep.add(Rule::Ansi, start, end, 85),
    }
}
