//! What is wrong with a configuration, where, and what to do about it.

use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::node::{Place, Span};

/// Problems beyond this many are counted, not kept.
const PROBLEMS_MAX: usize = 100;
/// The widest part of a source line that is shown, in characters.
const EXCERPT_MAX: usize = 160;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration is used; this part of it has no effect, or not the expected one.
    Warning,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 if the problem is with the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 if the problem is with the file as a whole.
    pub column: usize,
    /// The key it concerns (`servers.files.command`); empty for the file as a whole.
    pub path: String,
    /// What is wrong. Never holds a secret.
    pub message: String,
    /// What to do about it, if there is something better to say than the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The line of the file, with what may be secret blotted out.
    #[serde(skip)]
    source: Option<String>,
    /// The column of the mark below the line that is shown.
    #[serde(skip)]
    mark: usize,
    /// How many characters the problem spans on its line.
    #[serde(skip)]
    width: usize,
}

impl Problem {
    /// A problem with a file as a whole.
    pub(crate) fn of_file(file: &Path, message: String, suggestion: Option<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            line: 0,
            column: 0,
            path: String::new(),
            message,
            suggestion,
            source: None,
            mark: 0,
            width: 0,
        }
    }

    /// A problem with a line of a text in which nothing is secret. `line` and `column` are counted from 1, in characters;
    /// the word that begins there is marked.
    pub(crate) fn in_text(
        severity: Severity,
        (file, text): (&Path, &str),
        (line, column): (usize, usize),
        message: String,
        suggestion: Option<String>,
    ) -> Self {
        let mut problem = Self { severity, ..Self::of_file(file, message, suggestion) };
        let found = line.checked_sub(1).and_then(|before| text.split('\n').nth(before));
        let Some(found) = found else { return problem };
        let rest: String = found.chars().skip(column.saturating_sub(1)).collect();
        let before = text.split('\n').take(line - 1).map(|line| line.len() + 1).sum::<usize>();
        let start = (before + found.len() - rest.len()).min(text.len());
        let excerpt = excerpt(text, Span { start, end: start + word(&rest).len() }, None);
        problem.line = line;
        problem.column = excerpt.column;
        problem.source = Some(excerpt.shown);
        problem.mark = excerpt.mark;
        problem.width = excerpt.width;
        problem
    }

    /// The problem with the line of the source that it is in and a mark below the place; `colour` for a terminal.
    pub fn render(&self, colour: bool) -> String {
        let paint = |code: &str, text: &str| {
            if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        let (word, code) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
        };
        let subject = if self.path.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.path, self.message)
        };
        let mut out = format!("{}: {}\n", paint(code, word), paint("1", &subject));
        if self.line == 0 {
            let _ = writeln!(out, " {} {}", paint("34", "-->"), self.file.display());
        } else {
            let number = self.line.to_string();
            let gutter = " ".repeat(number.len());
            let bar = paint("34", "|");
            let _ = writeln!(
                out,
                "{gutter}{} {}:{}:{}",
                paint("34", "-->"),
                self.file.display(),
                self.line,
                self.column
            );
            if let Some(source) = &self.source {
                let before: String = source
                    .chars()
                    .take(self.mark.saturating_sub(1))
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                let mark = paint(code, &"^".repeat(self.width.max(1)));
                let _ = writeln!(out, "{} {bar} {source}", paint("34", &number));
                let _ = writeln!(out, "{gutter} {bar} {before}{mark}");
            }
        }
        if let Some(suggestion) = &self.suggestion {
            let _ = writeln!(out, "  {} {suggestion}", paint("36", "help:"));
        }
        out
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}

/// Why a configuration cannot be used: every problem that was found, in the order of the file. At least one of them is
/// an [`Severity::Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems.
    pub problems: Vec<Problem>,
    /// How many more there were than are kept.
    pub left_out: usize,
    /// The files that the configuration refers to, as far as it could be read: a change of one may mend it.
    pub files: Vec<PathBuf>,
}

impl ConfigError {
    pub(crate) fn one(problem: Problem) -> Self {
        Self { problems: vec![problem], left_out: 0, files: Vec::new() }
    }

    /// All problems with their source lines, for a terminal or a log file; `colour` for a terminal.
    pub fn render(&self, colour: bool) -> String {
        let mut out: String = self.problems.iter().map(|problem| problem.render(colour) + "\n").collect();
        let errors = self.left_out + self.problems.iter().filter(|p| p.severity == Severity::Error).count();
        let plural = if errors == 1 { "" } else { "s" };
        let _ = writeln!(out, "{errors} error{plural}");
        out
    }

    /// All problems as one JSON object: `{"problems":[{severity, file, line, column, path, message, suggestion?}]}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "problems": self.problems })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        if self.left_out > 0 {
            write!(f, "\nand {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A problem that still has to be placed in its file.
#[derive(Debug)]
struct Found {
    severity: Severity,
    span: Span,
    path: String,
    message: String,
    suggestion: Option<String>,
}

/// Collects what is wrong with one file.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Found>,
    left_out: usize,
    /// Values that may be secret, and so are not shown.
    hidden: Vec<Span>,
    /// The keys whose text is not known.
    unread: BTreeSet<String>,
}

impl Problems {
    pub(super) fn error(&mut self, place: &Place<'_>, message: impl Into<String>) {
        self.add(Severity::Error, place.span, &place.path, message.into(), None);
    }

    pub(super) fn error_with(
        &mut self,
        place: &Place<'_>,
        message: impl Into<String>,
        suggestion: impl Into<String>,
    ) {
        self.add(Severity::Error, place.span, &place.path, message.into(), Some(suggestion.into()));
    }

    pub(super) fn warning(
        &mut self,
        place: &Place<'_>,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.add(Severity::Warning, place.span, &place.path, message.into(), suggestion);
    }

    pub(super) fn add(
        &mut self,
        severity: Severity,
        span: Span,
        path: &str,
        message: String,
        suggestion: Option<String>,
    ) {
        if severity == Severity::Error && self.unread.contains(path) {
            return;
        }
        if self.found.len() < PROBLEMS_MAX {
            self.found.push(Found { severity, span, path: path.to_owned(), message, suggestion });
        } else if severity == Severity::Error {
            self.left_out += 1;
        }
    }

    /// Whether a key at or below this path was refused. When not all problems were kept, one of the others may be there.
    pub(super) fn below(&self, path: &str) -> bool {
        self.left_out > 0
            || self.found.iter().any(|found| {
                found.severity == Severity::Error
                    && found
                        .path
                        .strip_prefix(path)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            })
    }

    /// Says nothing more of the text at this path: that it could not be read has been said, and all else follows from that.
    pub(super) fn unread(&mut self, path: &str) {
        self.unread.insert(path.to_owned());
    }

    /// Blots this value out of every excerpt.
    pub(super) fn hide(&mut self, span: Span) {
        self.hidden.push(span);
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.left_out > 0 || self.found.iter().any(|found| found.severity == Severity::Error)
    }

    /// All problems in the order of the file, placed in it.
    pub(super) fn placed(mut self, file: &Path, source: &str) -> (Vec<Problem>, usize) {
        self.found.sort_by_key(|found| (found.span.start, found.severity == Severity::Warning));
        let hidden = self.hidden;
        let place = |found: Found| {
            let excerpt = excerpt(source, found.span, Some(&hidden));
            Problem {
                severity: found.severity,
                file: file.to_owned(),
                line: excerpt.line,
                column: excerpt.column,
                path: found.path,
                message: found.message,
                suggestion: found.suggestion,
                source: Some(excerpt.shown),
                mark: excerpt.mark,
                width: excerpt.width,
            }
        };
        (self.found.into_iter().map(place).collect(), self.left_out)
    }
}

/// Where a stretch stands, in characters, and what is shown of its line.
struct Excerpt {
    line: usize,
    column: usize,
    /// The column of the mark in what is shown.
    mark: usize,
    width: usize,
    shown: String,
}

/// The word at the beginning of a text: a quoted one whole, or what belongs to one name.
fn word(text: &str) -> &str {
    let quoted = text.strip_prefix('"').and_then(|inner| inner.find('"')).map(|end| end + 2);
    let name = || text.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '@'));
    let end = quoted.or_else(name).unwrap_or(text.len());
    &text[..end]
}

/// Finds the line of a stretch, and blots hidden values out of it, and what looks like one; nothing where nothing can be
/// secret.
fn excerpt(source: &str, span: Span, hidden: Option<&[Span]>) -> Excerpt {
    let start = floor_boundary(source, span.start);
    let end = floor_boundary(source, span.end.max(start));
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let line = source[..line_start].bytes().filter(|b| *b == b'\n').count() + 1;
    let column = source[line_start..start].chars().count() + 1;
    let width = source[start..end.min(line_end).max(start)].trim_end().chars().count();
    // Of a very long line only the surroundings of the place are shown.
    let skipped = if column > EXCERPT_MAX / 2 { column - EXCERPT_MAX / 4 } else { 0 };
    let guarded: Vec<Span> = match hidden {
        Some(_) => sensitive(source, line_start, line_end).collect(),
        None => Vec::new(),
    };
    let hidden = hidden.unwrap_or_default();
    let named: Vec<Span> = variables(source, line_start, line_end).collect();
    let shown: String = source[line_start..line_end]
        .char_indices()
        .skip(skipped)
        .take(EXCERPT_MAX)
        .map(|(at, c)| {
            let at = line_start + at;
            let within = |spans: &[Span]| spans.iter().any(|span| span.start <= at && at < span.end);
            let secret = (within(hidden) || within(&guarded)) && !within(&named);
            if secret && !c.is_whitespace() { '*' } else { c }
        })
        .collect();
    let mark = column - skipped;
    Excerpt {
        line,
        column,
        mark,
        width: width.min(EXCERPT_MAX.saturating_sub(mark)),
        shown: shown.trim_end().to_owned(),
    }
}

/// What on this line looks like the value of a secret, judged by its key alone: a file that cannot be read as a tree
/// still must not put its tokens into a log.
fn sensitive(source: &str, start: usize, end: usize) -> impl Iterator<Item = Span> {
    const WORDS: [&str; 7] = ["token", "secret", "password", "key", "auth", "credential", "cookie"];
    let line = &source[start..end];
    let mut offset = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = line.get(offset..)?;
            let colon = rest.find([':', '='])?;
            let key = rest[..colon].to_lowercase();
            let value_start = offset + colon + 1;
            let value = &line[value_start..];
            let value_end = value.find(['{', ',']).map_or(line.len(), |at| value_start + at);
            offset = value_end.max(value_start) + usize::from(value_end < line.len());
            if WORDS.iter().any(|word| key.contains(word)) && !value.trim_start().starts_with(['{', '[']) {
                return Some(Span { start: start + value_start, end: start + value_end });
            }
        }
    })
}

/// The `${…}` of a line: they name secrets, and are none.
fn variables(source: &str, start: usize, end: usize) -> impl Iterator<Item = Span> {
    source[start..end].match_indices("${").map(move |(at, _)| {
        let length = source[start + at..end].find('}').map_or(2, |close| close + 1);
        Span { start: start + at, end: start + at + length }
    })
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The word among `known` that was probably meant.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let wanted = plain(word);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
