//! Sections of committed pages that a test writes and keeps true.

use crate::places::root;

/// Compares a section of a page with what it would be now, or writes it when `TOLLGATE_REGENERATE` is set. The section
/// stands between `<!-- begin NAME -->` and `<!-- end NAME -->`, so that several tests can write one page.
///
/// # Panics
/// If the page has no such section, or another text in it.
pub fn compare_section(page: &str, name: &str, text: &str) {
    let path = root().join(page);
    let committed =
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (begin, end) = (format!("<!-- begin {name} -->\n\n"), format!("\n<!-- end {name} -->\n"));
    let (before, rest) =
        committed.split_once(&begin).unwrap_or_else(|| panic!("{}: no {}", path.display(), begin.trim()));
    let (section, after) =
        rest.split_once(&end).unwrap_or_else(|| panic!("{}: no {}", path.display(), end.trim()));
    if std::env::var_os("TOLLGATE_REGENERATE").is_some() {
        let whole = format!("{before}{begin}{text}{end}{after}");
        std::fs::write(&path, whole).expect("the file is ours");
        return;
    }
    assert!(section == text, "{} is out of date: run `cargo xtask gen`", path.display());
}
