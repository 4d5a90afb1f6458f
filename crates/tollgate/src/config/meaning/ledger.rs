//! How the ledger is kept, and what becomes of calls where it cannot be.

use std::time::Duration;

use tollgate_ledger::{Durability, LedgerSettings, WhenUnwritable};
use tollgate_model::{EndpointName, RecordLevel, Secret, TenantId};
use tollgate_proxy::Unwritable;

use super::Meaning;
use crate::config::forms::{Keyed, Short};
use crate::config::node::Place;
use crate::config::section::{
    DurabilitySection, LedgerSection, RecordLevelSection, SecretSection, ToolsetSection,
    WhenUnwritableSection,
};

/// The variable that holds the key that signs; with `_FILE` behind it, the one that names its file.
const SIGNING_KEY: &str = "TOLLGATE_LEDGER_SIGNING_KEY";
/// The variable that holds the key of payloads and names, and `_FILE` likewise.
pub(crate) const ENCRYPTION_KEY: &str = "TOLLGATE_LEDGER_KEY";

impl Meaning<'_> {
    /// How the ledger is kept; none if nothing is recorded.
    pub(super) fn ledger(
        &mut self,
        section: Option<&LedgerSection>,
        place: &Place<'_>,
    ) -> Option<LedgerSettings> {
        let none = LedgerSection::default();
        let section = section.unwrap_or(&none);
        if section.enabled == Some(false) {
            return None;
        }
        let mut settings = LedgerSettings::default();
        if section.durability == Some(DurabilitySection::Power) {
            settings.durability = Durability::Power;
        }
        if let Some(record) = &section.record {
            let recording = &mut settings.recording;
            recording.arguments = record.arguments.map_or(recording.arguments, level);
            recording.results = record.results.map_or(recording.results, level);
        }
        settings.payload_bytes_max = section.payload_bytes_max.unwrap_or(settings.payload_bytes_max);
        settings.open_max = section.open_max.unwrap_or(settings.open_max);
        settings.segment_bytes_max = section.segment_bytes_max.unwrap_or(settings.segment_bytes_max);
        settings.segment_age_max =
            section.segment_age_ms_max.map_or(settings.segment_age_max, Duration::from_millis);
        let (signing, encryption) = (place.key("signing_key"), place.key("encryption_key"));
        settings.signing_key = self.ledger_key(section.signing_key.as_ref(), &signing, SIGNING_KEY);
        settings.encryption_key =
            self.ledger_key(section.encryption_key.as_ref(), &encryption, ENCRYPTION_KEY);
        Some(settings)
    }

    /// A key of the ledger: as the file has it, or the environment. None is one that the gateway makes.
    fn ledger_key(
        &mut self,
        section: Option<&Short<SecretSection>>,
        place: &Place<'_>,
        variable: &str,
    ) -> Option<Secret> {
        if let Some(Short(section)) = section {
            return self.secret(section, place);
        }
        if let Some(text) = self.env.var(variable).filter(|text| !text.is_empty()) {
            return Some(Secret::new(text));
        }
        let variable = format!("{variable}_FILE");
        let path = self.env.var(&variable).filter(|path| !path.is_empty())?;
        let read = self.files.secret(&path);
        read.map_err(|reason| self.problems.error(place, format!("{variable}: {reason}"))).ok()
    }

    /// Adds what is said of the toolsets of a tenant.
    pub(super) fn toolsets_unwritable(
        unwritable: &mut Unwritable,
        tenant: &TenantId,
        toolsets: Option<&Keyed<ToolsetSection>>,
    ) {
        for (label, section) in Keyed::iter(toolsets) {
            if let (Some(written), Ok(name)) = (section.when_unwritable, EndpointName::new(label)) {
                unwritable.toolsets.insert((tenant.clone(), name), when_unwritable(written));
            }
        }
    }
}

/// What becomes of calls while nothing can be recorded.
pub(super) fn when_unwritable(section: WhenUnwritableSection) -> WhenUnwritable {
    match section {
        WhenUnwritableSection::Refuse => WhenUnwritable::Refuse,
        WhenUnwritableSection::Degrade => WhenUnwritable::Degrade,
    }
}

fn level(section: RecordLevelSection) -> RecordLevel {
    match section {
        RecordLevelSection::Nothing => RecordLevel::Nothing,
        RecordLevelSection::Digest => RecordLevel::Digest,
        RecordLevelSection::Redacted => RecordLevel::Redacted,
        RecordLevelSection::Full => RecordLevel::Full,
    }
}
