//! Syslog: RFC 5424 messages over TCP, octets counted (RFC 6587), or over TLS (RFC 5425).
//!
//! The protocol has no acknowledgement. That a server has read something says that its machine has it, and not that it is
//! written: a server that is killed takes that with it. So what was sent last is kept for a while, and sent once more to a
//! server that turns out to have been gone.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tollgate_egress::{Dialer, DialerSettings, EgressError, Wire};
use tollgate_model::Timestamp;

use super::facts::{Weight, facts, kind_name, weight};
use super::record::Record;
use super::settings::{Confirm, Format, Pace, SyslogSettings};
use super::target::{Batch, Failure, Sent, Target};

/// How messages name this program.
const APP_NAME: &str = "tollgate";
/// The longest value of structured data.
const VALUE_CHARS_MAX: usize = 256;

/// For how long a server has to be there after it has read something, to count as having written it.
const SETTLED: Duration = Duration::from_secs(5);
/// How many bytes of messages are kept for as long, at most.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a server may take to accept another connection, before the first is ended.
const NEXT_MAX: Duration = Duration::from_secs(2);

/// Sends to a syslog server.
#[derive(Debug)]
pub(super) struct Syslog {
    settings: SyslogSettings,
    format: Format,
    dialer: Dialer,
    timeout: Duration,
    /// The connection for the next batch. It is there before the last batch counts as received: where the server goes
    /// afterwards, it shows here.
    wire: Option<Wire>,
    /// What was sent last.
    kept: Kept,
    /// Whether the server has been gone since: what is kept is to be sent again.
    was_gone: bool,
    /// Whether it takes one connection at a time: then it does not show that it goes between two batches.
    takes_one: bool,
}

/// What was received a moment ago, as messages that say that they come again.
#[derive(Debug, Default)]
struct Kept {
    batches: VecDeque<(Instant, Messages)>,
    bytes: usize,
}

/// Messages with their lengths in front.
#[derive(Debug, Default)]
struct Messages {
    text: Vec<u8>,
    count: usize,
}

impl Kept {
    /// Forgets what the server has had long enough, being still there.
    fn settle(&mut self) {
        while self.batches.front().is_some_and(|(received, _)| received.elapsed() >= SETTLED) {
            self.forget_one();
        }
    }

    fn add(&mut self, messages: Messages) {
        self.bytes += messages.text.len();
        self.batches.push_back((Instant::now(), messages));
        while self.bytes > KEPT_BYTES_MAX && self.batches.len() > 1 {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        if let Some((_, messages)) = self.batches.pop_front() {
            self.bytes -= messages.text.len();
        }
    }

    /// All of it was sent once more.
    fn sent_again(&mut self) -> usize {
        let now = Instant::now();
        self.batches.iter_mut().for_each(|(received, _)| *received = now);
        self.batches.iter().map(|(_, messages)| messages.count).sum()
    }
}

impl Syslog {
    pub(super) fn new(settings: SyslogSettings, format: Format, pace: &Pace) -> Result<Self, String> {
        let dialer = Dialer::new(&DialerSettings {
            allow_private: settings.allow_private,
            tls: settings.tls,
            ca_pem: settings.ca_pem.clone(),
            connect_timeout: pace.timeout,
        });
        let dialer = dialer.map_err(|error| error.to_string())?;
        Ok(Self {
            settings,
            format,
            dialer,
            timeout: pace.timeout,
            wire: None,
            kept: Kept::default(),
            was_gone: false,
            takes_one: false,
        })
    }

    async fn connect(&self) -> Result<Wire, Failure> {
        let connected = self.dialer.connect(&self.settings.host, self.settings.port).await;
        connected.map_err(|error: EgressError| Failure::before(error.to_string()))
    }

    /// The connection for a batch.
    async fn wire(&mut self) -> Result<Wire, Failure> {
        if let Some(mut wire) = self.wire.take() {
            if is_there(&mut wire).await {
                self.kept.settle();
                return Ok(wire);
            }
            self.was_gone = true;
        }
        let connected = self.connect().await;
        self.was_gone |= connected.is_err();
        connected
    }

    async fn exchange(&mut self, mut wire: Wire, text: &[u8]) -> Result<(), Failure> {
        let place = format!("{}:{}", self.settings.host, self.settings.port);
        let broken = |error: std::io::Error| Failure::unclear(format!("{place} broke off: {error}"));
        if self.was_gone {
            for (_, messages) in &self.kept.batches {
                wire.write_all(&messages.text).await.map_err(broken)?;
            }
        }
        wire.write_all(text).await.map_err(broken)?;
        wire.flush().await.map_err(broken)?;
        if self.settings.confirm == Confirm::Sent {
            self.wire = Some(wire);
            return Ok(());
        }
        let next = if self.takes_one {
            None
        } else {
            let next = tokio::time::timeout(NEXT_MAX, self.connect()).await;
            self.takes_one = next.is_err();
            next.ok()
        };
        let is_gone = matches!(next, Some(Err(_)));
        self.wire = next.and_then(Result::ok);
        wire.shutdown().await.map_err(broken)?;
        // Whoever closes a connection without having read all of it resets it, and that is an error here.
        let mut said = [0; 512];
        loop {
            match wire.read(&mut said).await {
                Ok(0) => break,
                // Syslog has no answers. Whatever it is, it is no end.
                Ok(_) => {}
                // It was closed in order, but for the word that ends TLS, which many leave out.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(broken(error)),
            }
        }
        if is_gone { Err(Failure::unclear(format!("{place} went away"))) } else { Ok(()) }
    }

    fn messages(&self, batch: &Batch<'_>) -> Messages {
        let mut text = Vec::new();
        for record in batch.records {
            let message = message(&self.settings, self.format, batch, record);
            text.extend_from_slice(message.len().to_string().as_bytes());
            text.push(b' ');
            text.extend_from_slice(&message);
        }
        Messages { text, count: batch.records.len() }
    }
}

/// Whether the other side of a connection that nothing was sent by yet is still there.
async fn is_there(wire: &mut Wire) -> bool {
    // What it may have said is nothing that is waited for.
    let read = tokio::time::timeout(Duration::ZERO, wire.read(&mut [0; 512])).await;
    !matches!(read, Ok(Ok(0) | Err(_)))
}

#[async_trait]
impl Target for Syslog {
    async fn send(&mut self, batch: &Batch<'_>) -> Result<Sent, Failure> {
        let text = self.messages(batch).text;
        let wire = self.wire().await?;
        let sent = match tokio::time::timeout(self.timeout, self.exchange(wire, &text)).await {
            Ok(sent) => sent,
            Err(_) => {
                let SyslogSettings { host, port, .. } = &self.settings;
                Err(Failure::unclear(format!("{host}:{port} did not take everything in time")))
            }
        };
        if let Err(failure) = sent {
            (self.was_gone, self.wire) = (true, None);
            return Err(failure);
        }
        let again = if std::mem::take(&mut self.was_gone) { self.kept.sent_again() } else { 0 };
        self.kept.add(self.messages(&Batch { sent_to: u64::MAX, ..*batch }));
        Ok(Sent { unwanted: 0, again })
    }
}

/// A message, without its length in front.
fn message(settings: &SyslogSettings, format: Format, batch: &Batch<'_>, record: &Record) -> Vec<u8> {
    let priority = u32::from(settings.facility) * 8 + severity(record);
    let time = Timestamp::from_ms(record.entry.time_ms);
    let mut head = format!("<{priority}>1 {time} {} {APP_NAME} ", header(&settings.hostname, 255));
    _ = write!(head, "{} {} [{}", header(batch.writer, 128), kind_name(record.entry.kind), settings.sd_id);
    for (name, value) in facts(batch, record) {
        _ = write!(head, " {name}=\"{}\"", Escaped(&value));
    }
    head.push_str("] ");
    let mut message = head.into_bytes();
    let begin = message.len();
    batch.write(format, record, &mut message);
    if message.len() > settings.message_bytes_max {
        let mut shorter = record.clone();
        if shorter.cut() {
            message.truncate(begin);
            batch.write(format, &shorter, &mut message);
        }
    }
    message
}

/// RFC 5424, 6.2.1.
fn severity(record: &Record) -> u32 {
    match weight(record) {
        Weight::Error => 3,
        Weight::Warning => 4,
        Weight::Notice => 5,
        Weight::Plain => 6,
    }
}

/// A value of the header: visible ASCII, or `-`.
fn header(text: &str, bytes_max: usize) -> String {
    let text: String = text.chars().filter(char::is_ascii_graphic).take(bytes_max).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A value of structured data (RFC 5424, 6.3.3).
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for char in self.0.chars().take(VALUE_CHARS_MAX) {
            match char {
                '"' | '\\' | ']' => write!(f, "\\{char}")?,
                _ if char.is_control() => f.write_char(' ')?,
                _ => f.write_char(char)?,
            }
        }
        Ok(())
    }
}
