//! The matrix as a page: one table per pair of eras, one column per pair of transports.

use std::fmt::Write as _;

use super::{Expected, Feature, Pair, Way, features};

/// The section of the page that holds the matrix. It says what was asserted: a cell that does not hold fails the test.
pub fn section() -> String {
    let rows = features();
    let mut page = String::new();
    for (client, title) in [(true, "Modern clients"), (false, "Legacy clients")] {
        for (server, of) in [(true, "modern servers"), (false, "legacy servers")] {
            let _ = write!(page, "### {title}, {of}\n\n");
            table(&mut page, &rows, client, server);
            page.push('\n');
        }
    }
    legend(&mut page, &rows);
    page
}

fn table(page: &mut String, rows: &[Feature], client: bool, server: bool) {
    let of = |modern: bool| Way::ALL.into_iter().filter(move |way| way.is_modern() == modern);
    let pairs: Vec<Pair> =
        of(client).flat_map(|client| of(server).map(move |server| Pair::new(client, server))).collect();
    page.push_str("| feature |");
    for pair in &pairs {
        let _ = write!(page, " {} → {} |", pair.client.title(), pair.server.title());
    }
    page.push_str("\n|---|");
    page.push_str(&"---|".repeat(pairs.len()));
    page.push('\n');
    for feature in rows {
        let _ = write!(page, "| {} |", feature.title);
        for pair in &pairs {
            let cell = match (feature.expected)(*pair) {
                Expected::Works => "works".to_owned(),
                Expected::Impossible(reason) => format!("impossible: {reason}"),
                Expected::Absent => "–".to_owned(),
            };
            let _ = write!(page, " {cell} |");
        }
        page.push('\n');
    }
}

fn legend(page: &mut String, rows: &[Feature]) {
    page.push_str("Why there is a dash:\n\n");
    for feature in rows.iter().filter(|feature| !feature.absent.is_empty()) {
        let _ = writeln!(page, "- *{}*: {}.", feature.title, feature.absent);
    }
}
