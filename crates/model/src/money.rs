//! Amounts of money.

/// An amount in the currency's unit, to its last digit and with no less than two behind the point, of billionths of it.
pub fn money(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    let end = text.trim_end_matches('0').len().max(text.len() - 7);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_every_digit_that_counts() {
        for (nano, text) in [
            (0, "0.00"),
            (1, "0.000000001"),
            (1_500_000_000, "1.50"),
            (12_345_600_000, "12.3456"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(money(nano), text);
        }
    }
}
