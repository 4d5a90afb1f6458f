//! Whether calls are checked against the schemas of tools.

use tollgate_proxy::{SchemaMode, SchemaSettings, UnknownMembers};

use crate::config::section::{SchemaModeSection, SchemasSection, UnknownMembersSection};

/// What a section says; nothing where there is none.
pub(super) fn schemas(section: Option<&SchemasSection>) -> SchemaSettings {
    let Some(section) = section else { return SchemaSettings::default() };
    SchemaSettings {
        arguments: section.arguments.map(mode),
        results: section.results.map(mode),
        unknown_members: section.unknown_members.map(|unknown| match unknown {
            UnknownMembersSection::Allow => UnknownMembers::Allow,
            UnknownMembersSection::Strip => UnknownMembers::Strip,
            UnknownMembersSection::Refuse => UnknownMembers::Refuse,
        }),
    }
}

fn mode(section: SchemaModeSection) -> SchemaMode {
    match section {
        SchemaModeSection::Off => SchemaMode::Off,
        SchemaModeSection::Report => SchemaMode::Report,
        SchemaModeSection::Strict => SchemaMode::Strict,
    }
}
