//! How an event becomes one line, for people or for machines.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::clean::Escaping;
use crate::clock;
use crate::setup::Format;
use crate::writer::LineWriter;

/// The layer that formats events and hands the lines to the writer.
pub(crate) struct Lines {
    pub(crate) format: Format,
    pub(crate) colour: bool,
    pub(crate) writer: LineWriter,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = match self.format {
            Format::Human => human(event, self.colour),
            Format::Json => json(event),
        };
        self.writer.line(line);
    }
}

/// `2026-07-28T09:30:00.123Z  WARN server is down server=files reason=…`
fn human(event: &Event<'_>, colour: bool) -> String {
    let paint = |code: &'static str| if colour { code } else { "" };
    let reset = paint("\x1b[0m");
    let level = *event.metadata().level();
    let mut fields = HumanFields { message: String::new(), rest: String::new(), colour };
    event.record(&mut fields);

    let mut line = String::with_capacity(160);
    let dim = paint("\x1b[2m");
    let hue = paint(level_colour(level));
    let now = clock::now();
    // Writing to a String cannot fail.
    let _ = writeln!(line, "{dim}{now}{reset} {hue}{level:>5}{reset} {}{}", fields.message, fields.rest);
    line
}

fn level_colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[36m",
        Level::TRACE => "\x1b[2m",
    }
}

struct HumanFields {
    message: String,
    rest: String,
    colour: bool,
}

impl HumanFields {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == "message" {
            let _ = Escaping(&mut self.message).write_fmt(value);
            return;
        }
        let (dim, reset) = if self.colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let _ = write!(self.rest, " {dim}{}={reset}", field.name());
        let mut text = String::new();
        let _ = Escaping(&mut text).write_fmt(value);
        if text.is_empty() || text.contains([' ', '"', '=']) {
            let _ = write!(self.rest, "\"{}\"", text.replace('"', "\\\""));
        } else {
            self.rest.push_str(&text);
        }
    }
}

impl Visit for HumanFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}

/// `{"time":…,"level":…,"target":…,"message":…,"server":…}`
fn json(event: &Event<'_>) -> String {
    let mut fields = JsonFields(serde_json::Map::new());
    event.record(&mut fields);
    let metadata = event.metadata();
    let mut object = serde_json::Map::new();
    object.insert("time".to_owned(), clock::now().into());
    object.insert("level".to_owned(), metadata.level().as_str().to_ascii_lowercase().into());
    object.insert("target".to_owned(), metadata.target().into());
    object.append(&mut fields.0);
    let mut line = serde_json::Value::Object(object).to_string();
    line.push('\n');
    line
}

struct JsonFields(serde_json::Map<String, serde_json::Value>);

impl JsonFields {
    fn put(&mut self, field: &Field, value: impl Into<serde_json::Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for JsonFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
