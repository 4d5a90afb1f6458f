//! How large and deep arguments and results may be.

use tollgate_guard::shape::Bounds;
use tollgate_proxy::{SizeSettings, WhenLarger};

use crate::config::section::{BoundsSection, SizesSection, WhenLargerSection};

/// What a section says; nothing where there is none.
pub(super) fn sizes(section: Option<&SizesSection>) -> SizeSettings {
    let Some(section) = section else { return SizeSettings::default() };
    SizeSettings {
        arguments: bounds(section.arguments.as_ref()),
        results: bounds(section.results.as_ref()),
        when_larger: section.when_larger.map(|when| match when {
            WhenLargerSection::Refuse => WhenLarger::Refuse,
            WhenLargerSection::Cut => WhenLarger::Cut,
            WhenLargerSection::Aside => WhenLarger::Aside,
        }),
    }
}

fn bounds(section: Option<&BoundsSection>) -> Bounds {
    let Some(section) = section else { return Bounds::default() };
    Bounds {
        bytes: section.bytes_max,
        depth: section.depth_max,
        nodes: section.nodes_max,
        string_bytes: section.string_bytes_max,
        tokens: section.tokens_max,
    }
}
