//! The one place that prints. Results go to standard output, what a person should know to standard error.

use std::io::{IsTerminal, Write};

use tollgate_model::hiding;

/// Where something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// Standard output: results.
    Out,
    /// Standard error: everything else.
    Err,
}

/// A stream with or without colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    to: To,
    colour: bool,
}

impl Printer {
    /// A printer for the stream; coloured on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    pub(crate) fn new(to: To) -> Self {
        let terminal = match to {
            To::Out => std::io::stdout().is_terminal(),
            To::Err => std::io::stderr().is_terminal(),
        };
        Self { to, colour: terminal && colours_wanted() }
    }

    /// Whether colours are used.
    pub(crate) fn coloured(self) -> bool {
        self.colour
    }

    /// Whether a person sees it at once.
    pub(crate) fn is_terminal(self) -> bool {
        match self.to {
            To::Out => std::io::stdout().is_terminal(),
            To::Err => std::io::stderr().is_terminal(),
        }
    }

    /// Prints one line. A reader that is gone is not an error: `tollgate … | head` ends quietly.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        let line = format!("{}\n", text.as_ref());
        drop(match self.to {
            To::Out => std::io::stdout().lock().write_all(line.as_bytes()),
            To::Err => std::io::stderr().lock().write_all(line.as_bytes()),
        });
        if self.to == To::Out {
            drop(std::io::stdout().lock().flush());
        }
    }

    /// Prints text without a line end, as for a progress line that is written over.
    pub(crate) fn raw(self, bytes: &[u8]) {
        drop(match self.to {
            To::Out => std::io::stdout().lock().write_all(bytes).and_then(|()| std::io::stdout().flush()),
            To::Err => std::io::stderr().lock().write_all(bytes),
        });
    }

    /// Bold, where colours are used.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("\x1b[1m", text)
    }

    /// Dim, where colours are used.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("\x1b[2m", text)
    }

    /// Green, where colours are used.
    pub(crate) fn green(self, text: &str) -> String {
        self.paint("\x1b[32m", text)
    }

    /// Red, where colours are used.
    pub(crate) fn red(self, text: &str) -> String {
        self.paint("\x1b[31m", text)
    }

    /// Cyan, where colours are used.
    pub(crate) fn cyan(self, text: &str) -> String {
        self.paint("\x1b[36m", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("{code}{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Whether the environment allows colours.
pub(crate) fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text from outside, safe to print: control characters but line feed and tab are shown escaped, and so is what nobody sees or
/// what turns the order of its neighbours around.
pub(crate) fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (c, hides) in hiding(text) {
        match c {
            '\n' | '\t' => shown.push(c),
            c if c.is_control() || hides => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_does_nothing_to_a_terminal() {
        assert_eq!(safe("a\tb\n\x1b[2Jc"), "a\tb\n\\u{1b}[2Jc");
        assert_eq!(safe("rtl\u{202e}gnp.exe\u{2069}"), "rtl\\u{202e}gnp.exe\\u{2069}");
        assert_eq!(safe("مرحبا 👩\u{200d}💻"), "مرحبا 👩\u{200d}💻");
    }
}
