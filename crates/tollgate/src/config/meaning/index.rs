//! How the index of the ledger is kept, and what calls cost.

use std::time::Duration;

use tollgate_ledger::{IndexSettings, Price, Prices};

use super::bites::Named;
use super::{Meaning, shown};
use crate::config::forms::Items;
use crate::config::node::Place;
use crate::config::section::{ConfigSection, LedgerSection, PriceSection, UsageSection};

/// The parts of a currency's unit that are counted.
const NANO: f64 = 1e9;
/// The largest amount of a price.
const AMOUNT_MAX: f64 = 1e6;

impl Meaning<'_> {
    /// How the index is kept, none if there is none; and what calls cost.
    pub(super) fn index(
        &mut self,
        section: &ConfigSection,
        root: &Place<'_>,
    ) -> (Option<IndexSettings>, Prices) {
        let mut settings = IndexSettings::default();
        if let Some(usage) = &section.usage {
            self.usage(&mut settings, usage, &root.key("usage"));
        }
        let named = Named::of(section);
        for (index, price) in Items::iter(section.usage.as_ref().and_then(|usage| usage.prices.as_ref())) {
            let Some(server) = price.server.as_deref().filter(|server| !named.has_server(server)) else {
                continue;
            };
            let place = root.key("usage").key("prices").item(index).key("server");
            let message = format!(
                "the configuration has no server {}: this is its price if it comes",
                shown(&place, server)
            );
            self.problems.warning(&place, message, None);
        }
        let is_recorded = section.ledger.as_ref().and_then(|ledger| ledger.enabled) != Some(false);
        let index = section.ledger.as_ref().and_then(LedgerSection::index);
        let is_indexed = is_recorded && index.and_then(|index| index.enabled) != Some(false);
        if !is_indexed && section.usage.is_some() {
            let why = "nothing is known of usage without the ledger's index";
            self.problems.warning(&root.key("usage"), why, None);
        }
        if let Some(age_max) = index.and_then(|index| index.age_max_days) {
            settings.age_max = days(age_max);
        }
        let prices = settings.prices.clone();
        (is_indexed.then_some(settings), prices)
    }

    fn usage(&mut self, settings: &mut IndexSettings, usage: &UsageSection, place: &Place<'_>) {
        if let Some(currency) = &usage.currency {
            settings.prices.currency.clone_from(currency);
        }
        if let Some(age_max) = usage.age_max_days {
            settings.usage_age_max = days(age_max);
        }
        let place = place.key("prices");
        for (index, price) in Items::iter(usage.prices.as_ref()) {
            let place = place.item(index);
            let price = self.price(price, &place);
            settings.prices.prices.push(price);
        }
        if !settings.prices.prices.is_empty() && usage.currency.is_none() {
            let suggestion = Some("add `currency`, such as `EUR`".to_owned());
            self.problems.warning(&place, "the prices are in no currency", suggestion);
        }
    }

    fn price(&mut self, section: &PriceSection, place: &Place<'_>) -> Price {
        let mut nano = |key: &'static str, amount: Option<f64>| {
            let amount = amount.unwrap_or(0.0);
            if !(0.0..=AMOUNT_MAX).contains(&amount) {
                self.problems.error(&place.key(key), "a price is a number from 0 to 1000000");
                return 0;
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in its bounds")]
            let nano = (amount * NANO).round() as u64;
            nano
        };
        Price {
            per_call_nano: nano("per_call", section.per_call),
            per_million_result_tokens_nano: nano(
                "per_million_result_tokens",
                section.per_million_result_tokens,
            ),
            per_million_argument_tokens_nano: nano(
                "per_million_argument_tokens",
                section.per_million_argument_tokens,
            ),
            per_mib_nano: nano("per_mib", section.per_mib),
            tenant: section.tenant.clone(),
            server: section.server.clone(),
            tool: section.tool.clone(),
        }
    }
}

fn days(days: u32) -> Duration {
    Duration::from_hours(24 * u64::from(days))
}
