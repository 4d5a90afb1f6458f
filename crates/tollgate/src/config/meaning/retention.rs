//! How long the record is kept.

use std::time::Duration;

use tollgate_ledger::upkeep::RetentionSettings;
use tollgate_model::TenantId;

use super::Meaning;
use crate::config::forms::Keyed;
use crate::config::node::Place;
use crate::config::section::RetentionSection;

impl Meaning<'_> {
    /// How long the record is kept: for good, where nothing is said.
    pub(super) fn retention(
        &mut self,
        section: Option<&RetentionSection>,
        tenants: &[TenantId],
        place: &Place<'_>,
    ) -> RetentionSettings {
        let days = |days: u64| Duration::from_hours(days.saturating_mul(24));
        let Some(section) = section else { return RetentionSettings::default() };
        let mut settings = RetentionSettings {
            age_max: section.age_days_max.map(days),
            bytes_max: section.bytes_max,
            ..RetentionSettings::default()
        };
        for (label, tenant) in Keyed::iter(section.tenants.as_ref()) {
            let place = place.key("tenants").key(label);
            if !tenants.iter().any(|known| known.as_str() == label) {
                self.problems.error(&place, format!("there is no tenant `{label}`"));
            }
            match tenant.age_days_max {
                Some(age) => _ = settings.tenants.insert(label.to_owned(), days(age)),
                None => self.problems.error(&place, "say `age_days_max`"),
            }
        }
        settings
    }
}
