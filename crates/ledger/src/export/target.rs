//! Who receives entries.

use std::time::Duration;

use async_trait::async_trait;

use super::record::Record;
use super::settings::{ExportSettings, Format, TargetSettings};
use super::{file, ocsf, otlp, syslog, webhook};

/// Receives batches, one at a time.
#[async_trait]
pub(super) trait Target: Send {
    /// Sends a batch. When it returns in order, the receiver has it, but for what it does not want at all.
    async fn send(&mut self, batch: &Batch<'_>) -> Result<Sent, Failure>;
}

/// What came of a batch that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sent {
    /// How many of its entries the receiver does not want.
    pub(super) unwanted: u64,
    /// How many of earlier batches were sent again with it.
    pub(super) again: usize,
}

/// Entries that go out together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    /// Whose entries they are.
    pub(super) writer: &'a str,
    /// The entries, at least one.
    pub(super) records: &'a [Record],
    /// The number up to which entries may have been received before.
    pub(super) sent_to: u64,
}

/// What is wrong with what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is too large for the receiver.
    TooLarge,
    /// Something in it is not to its taste.
    Unwanted,
}

impl Unfit {
    /// Why an entry was left out, in the words that the receiver gets.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::TooLarge => "too large for this receiver",
            Self::Unwanted => "not taken by this receiver",
        }
    }
}

/// Why a batch was not received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// Why, for the operator: no payload, and nothing secret.
    pub(super) reason: String,
    /// Whether it may have been received all the same, or a part of it.
    pub(super) is_unclear: bool,
    /// Whether it is what was sent that the receiver does not take: a part of it may be received.
    pub(super) unfit: Option<Unfit>,
    /// What the receiver says of when to come again.
    pub(super) after: Option<Duration>,
}

impl Failure {
    /// Nothing can have been received.
    pub(super) fn before(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_unclear: false, unfit: None, after: None }
    }

    /// Something may have been received.
    pub(super) fn unclear(reason: impl Into<String>) -> Self {
        Self { is_unclear: true, ..Self::before(reason) }
    }
}

impl Batch<'_> {
    /// Whether an entry may have been received before.
    pub(super) fn is_again(&self, record: &Record) -> bool {
        record.place.seq <= self.sent_to
    }

    /// Writes an entry in the words that the receiver gets.
    pub(super) fn write(&self, format: Format, record: &Record, out: &mut Vec<u8>) {
        let redelivered = self.is_again(record);
        match format {
            Format::Native => record.native(self.writer, redelivered, out),
            Format::Ocsf => ocsf::write(record, self.writer, redelivered, out),
        }
    }
}

/// Makes what sends to a target. Nothing is connected to yet.
pub(super) fn open(settings: &ExportSettings) -> Result<Box<dyn Target>, String> {
    let format = settings.format;
    Ok(match &settings.target {
        TargetSettings::File(to) => Box::new(file::JsonLines::new(to.clone(), format)),
        TargetSettings::Syslog(to) => Box::new(syslog::Syslog::new(to.clone(), format, &settings.pace)?),
        TargetSettings::Otlp(to) => Box::new(otlp::Otlp::new(to.clone(), format, &settings.pace)?),
        TargetSettings::Webhook(to) => Box::new(webhook::Webhook::new(to.clone(), format, &settings.pace)?),
    })
}
