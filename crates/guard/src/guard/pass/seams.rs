//! Texts that follow each other, read as one: a reader may.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::edits::{Changed, Changing, TextEdit, located, merged};
use super::Pass;
use crate::action::Action;
use crate::json::View;
use crate::rule::Rule;

/// How much of a block of text is read together with those beside it.
const SEAM: usize = 512;

impl Pass<'_> {
    /// What becomes of what a rule finds in a block, whose place stands for those that it goes on in.
    fn action_of_block(&self, rule: Rule, block: usize) -> Option<Action> {
        let place = self.blocks_at.get(block).copied().unwrap_or_default().to_string();
        self.guard.action_at(rule, &["content".into(), place.into(), "text".into()])
    }

    /// Reads the texts of blocks that follow each other as one, and looks for what is of two of them.
    pub(super) fn seams(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        let mut edits: BTreeMap<usize, Vec<TextEdit>> = BTreeMap::new();
        // A reader may put something between them, or nothing.
        for between in ["", " "] {
            self.seams_with(&blocks, between, &mut edits);
        }
        // Texts come in order.
        let alone = self.changed.len();
        for (block, edits) in edits {
            let Some(raw) = blocks.get(block).cloned() else { continue };
            // What a text by itself has to change comes first; the rest is found again.
            let before = self.changed.get(..alone).unwrap_or_default();
            if before.binary_search_by_key(&raw.start, |changed| changed.raw.start).is_ok() {
                continue;
            }
            let mut view = View::default();
            if view.read(self.bytes.get(raw.clone()).unwrap_or_default()).is_some() {
                let kind = located(Changing::Text(merged(edits)), &view);
                self.changed.push(Changed { raw, kind });
            }
        }
    }

    fn seams_with(
        &mut self,
        blocks: &[Range<usize>],
        between: &'static str,
        edits: &mut BTreeMap<usize, Vec<TextEdit>>,
    ) {
        let mut window = Window { between, ..Window::default() };
        for (place, raw) in blocks.iter().enumerate() {
            let content = self.bytes.get(raw.clone()).unwrap_or_default();
            let mut view = View::default();
            let Some(text) = view.read(content) else { continue };
            if text.len() <= 2 * SEAM {
                window.push(place, 0, text);
                continue;
            }
            let head = floor(text, SEAM);
            window.push(place, 0, text.get(..head).unwrap_or_default());
            self.seam(&window, edits);
            window = Window { between, ..Window::default() };
            let tail = floor(text, text.len() - SEAM);
            window.push(place, tail, text.get(tail..).unwrap_or_default());
        }
        self.seam(&window, edits);
    }

    fn seam(&mut self, window: &Window, edits: &mut BTreeMap<usize, Vec<TextEdit>>) {
        if window.pieces.len() < 2 {
            return;
        }
        let mut found = Vec::new();
        self.guard.scanner.scan(&window.text, "text", &mut found);
        for finding in found {
            let pieces: Vec<usize> = window.pieces_of(finding.start..finding.end).collect();
            if pieces.len() < 2 || self.guard.is_of_mark(&window.text, &finding) {
                continue;
            }
            let first = pieces.first().and_then(|piece| window.pieces.get(*piece)).map(|(block, ..)| *block);
            // Found already with something else between them.
            if !self.seams_told.insert((finding.rule, first.unwrap_or_default())) {
                continue;
            }
            let action = match self.action_of_block(finding.rule, first.unwrap_or_default()) {
                None => continue,
                // Of these blocks nothing stays that would have to be fenced.
                Some(Action::Fence | Action::Drop) => Action::Mask,
                Some(action) => action,
            };
            if self.is_told(finding.rule, action) {
                continue;
            }
            self.note(finding, action, &[]);
            match action {
                Action::Report => {}
                Action::Hold => self.hold(finding.rule),
                Action::Block => {
                    self.blocked = Some(finding.rule);
                    return;
                }
                action => {
                    for (nth, piece) in pieces.into_iter().enumerate() {
                        let part = window.part(piece, finding.start..finding.end);
                        let instead = match nth {
                            0 => self.instead(
                                if action == Action::Partial { Action::Mask } else { action },
                                finding,
                                &window.text,
                            ),
                            _ => String::new(),
                        };
                        if let Some((block, ..)) = window.pieces.get(piece) {
                            edits.entry(*block).or_default().push((part, instead));
                        }
                    }
                }
            }
        }
    }
}

/// Texts that follow each other, read as one.
#[derive(Default)]
struct Window {
    /// What stands between two of them.
    between: &'static str,
    text: String,
    /// Of each: which block, where in the block's text it begins, and where here.
    pieces: Vec<(usize, usize, usize)>,
}

impl Window {
    fn push(&mut self, block: usize, offset: usize, text: &str) {
        if !text.is_empty() {
            if !self.pieces.is_empty() {
                self.text.push_str(self.between);
            }
            self.pieces.push((block, offset, self.text.len()));
            self.text.push_str(text);
        }
    }

    /// Which pieces a part of the text lies in.
    fn pieces_of(&self, part: Range<usize>) -> impl Iterator<Item = usize> {
        let first = self.pieces.partition_point(|(.., start)| *start <= part.start).saturating_sub(1);
        let last = self.pieces.partition_point(|(.., start)| *start < part.end);
        first..last
    }

    /// The part of a block's text that a part of the whole is.
    fn part(&self, piece: usize, part: Range<usize>) -> Range<usize> {
        let Some((_, offset, start)) = self.pieces.get(piece) else { return 0..0 };
        let end = self.pieces.get(piece + 1).map_or(self.text.len(), |(.., next)| *next - self.between.len());
        let from = part.start.max(*start) - start + offset;
        let to = part.end.min(end) - start + offset;
        from.min(to)..to
    }
}

/// The largest boundary of characters up to here.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
