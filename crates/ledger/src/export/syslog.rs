//! Syslog: RFC 5424 messages over TCP, octets counted (RFC 6587), or over TLS (RFC 5425).

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tollgate_egress::{Dialer, DialerSettings, EgressError, Wire};
use tollgate_model::Timestamp;

use super::facts::{Weight, facts, kind_name, weight};
use super::record::Record;
use super::settings::{Confirm, Format, Pace, SyslogSettings};
use super::target::{Batch, Failure, Target};

/// How messages name this program.
const APP_NAME: &str = "tollgate";
/// The longest value of structured data.
const VALUE_CHARS_MAX: usize = 256;

/// Sends to a syslog server.
#[derive(Debug)]
pub(super) struct Syslog {
    settings: SyslogSettings,
    format: Format,
    dialer: Dialer,
    timeout: Duration,
    /// The connection, where it is kept from batch to batch.
    wire: Option<Wire>,
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
        Ok(Self { settings, format, dialer, timeout: pace.timeout, wire: None })
    }

    async fn connect(&mut self) -> Result<Wire, Failure> {
        if let Some(wire) = self.wire.take() {
            return Ok(wire);
        }
        let connected = self.dialer.connect(&self.settings.host, self.settings.port).await;
        connected.map_err(|error: EgressError| Failure::before(error.to_string()))
    }

    async fn exchange(&mut self, mut wire: Wire, text: &[u8]) -> Result<(), Failure> {
        let place = format!("{}:{}", self.settings.host, self.settings.port);
        let broken = |error: std::io::Error| Failure::unclear(format!("{place} broke off: {error}"));
        wire.write_all(text).await.map_err(broken)?;
        wire.flush().await.map_err(broken)?;
        if self.settings.confirm == Confirm::Sent {
            self.wire = Some(wire);
            return Ok(());
        }
        wire.shutdown().await.map_err(broken)?;
        // Whoever closes a connection without having read all of it resets it, and that is an error here.
        let mut said = [0; 512];
        loop {
            match wire.read(&mut said).await {
                Ok(0) => return Ok(()),
                // Syslog has no answers. Whatever it is, it is no end.
                Ok(_) => {}
                // It was closed in order, but for the word that ends TLS, which many leave out.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

#[async_trait]
impl Target for Syslog {
    async fn send(&mut self, batch: &Batch<'_>) -> Result<u64, Failure> {
        let mut text = Vec::new();
        for record in batch.records {
            let message = message(&self.settings, self.format, batch, record);
            text.extend_from_slice(message.len().to_string().as_bytes());
            text.push(b' ');
            text.extend_from_slice(&message);
        }
        let wire = self.connect().await?;
        match tokio::time::timeout(self.timeout, self.exchange(wire, &text)).await {
            Ok(sent) => sent.map(|()| 0),
            Err(_) => {
                let SyslogSettings { host, port, .. } = &self.settings;
                Err(Failure::unclear(format!("{host}:{port} did not take everything in time")))
            }
        }
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
