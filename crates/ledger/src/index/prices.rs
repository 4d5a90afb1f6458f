//! What calls cost.

use tollgate_model::folded;

/// What calls cost. The first price that fits one counts; without any it costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prices {
    /// Three letters, or what else the amounts are of. Only shown.
    pub currency: String,
    /// The prices, in the order in which they are tried.
    pub prices: Vec<Price>,
}

/// What calls of something cost, in billionths of the currency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Price {
    /// Only of this tenant.
    pub tenant: Option<String>,
    /// Only of this server.
    pub server: Option<String>,
    /// Only of the tool of this native name. Case is not looked at: some servers take all spellings for one.
    pub tool: Option<String>,
    /// A call that reached its server.
    pub per_call_nano: u64,
    /// A million estimated tokens of results.
    pub per_million_result_tokens_nano: u64,
    /// A million estimated tokens of arguments.
    pub per_million_argument_tokens_nano: u64,
    /// A MiB of what left for the server and came back.
    pub per_mib_nano: u64,
}

/// What of a call has a price.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consumed<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The server, by the name that its tenant calls it.
    pub server: &'a str,
    /// The tool, by its native name; of what is no call of a tool the method.
    pub tool: &'a str,
    /// How many calls: none where it belongs to one that was counted.
    pub calls: u64,
    /// Estimated tokens of arguments.
    pub argument_tokens: u64,
    /// Estimated tokens of results.
    pub result_tokens: u64,
    /// Bytes of requests and responses.
    pub bytes: u64,
}

impl Prices {
    /// What it costs, in billionths of the currency.
    pub fn cost_nano(&self, of: Consumed<'_>) -> u64 {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let tool = folded(of.tool);
        let is_tool = |wanted: &String| folded(wanted) == tool;
        let fits = |price: &&Price| {
            is(&price.tenant, of.tenant)
                && is(&price.server, of.server)
                && price.tool.as_ref().is_none_or(is_tool)
        };
        let Some(price) = self.prices.iter().find(fits) else { return 0 };
        let part = |count: u64, nano: u64, unit: u128| u128::from(count) * u128::from(nano) / unit;
        let cost = part(of.calls, price.per_call_nano, 1)
            + part(of.result_tokens, price.per_million_result_tokens_nano, 1_000_000)
            + part(of.argument_tokens, price.per_million_argument_tokens_nano, 1_000_000)
            + part(of.bytes, price.per_mib_nano, 1 << 20);
        u64::try_from(cost).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_price_that_fits_counts() {
        let price = |server: Option<&str>, tool: Option<&str>, per_call_nano| Price {
            server: server.map(str::to_owned),
            tool: tool.map(str::to_owned),
            per_call_nano,
            ..Price::default()
        };
        let mut prices = Prices {
            currency: "EUR".into(),
            prices: vec![price(Some("crm"), Some("search"), 5), price(Some("crm"), None, 3)],
        };
        let of = |server, tool| Consumed { server, tool, calls: 2, ..Consumed::default() };
        assert_eq!(prices.cost_nano(of("crm", "search")), 10);
        assert_eq!(prices.cost_nano(of("crm", "Search")), 10, "a server may not look at case");
        assert_eq!(prices.cost_nano(of("crm", "delete")), 6);
        assert_eq!(prices.cost_nano(of("files", "search")), 0);
        prices.prices = vec![Price {
            per_million_result_tokens_nano: 2_000_000_000,
            per_million_argument_tokens_nano: 1_000_000_000,
            per_mib_nano: 1 << 20,
            ..Price::default()
        }];
        let consumed = Consumed { calls: 1, argument_tokens: 10, result_tokens: 100, bytes: 7, ..of("", "") };
        assert_eq!(prices.cost_nano(consumed), 10 * 1_000 + 100 * 2_000 + 7);
        let endless = Consumed { result_tokens: u64::MAX, ..consumed };
        assert_eq!(prices.cost_nano(endless), u64::MAX, "as much as can be said");
    }
}
