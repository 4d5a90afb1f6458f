//! Toolsets: a choice of what several servers offer.

use std::collections::HashMap;

use bytes::Bytes;
use tollgate_catalog::names::{PublicName, public_name};
use tollgate_catalog::{Pick, PromptChoice, ResourceChoice, ToolChoice, ToolsetSettings, UriPick};
use tollgate_model::ServerName;

use super::{Meaning, Servers, Standing};
use crate::config::forms::{Items, Keyed, Short};
use crate::config::node::{Node, Place};
use crate::config::section::{PromptSection, ResourceSection, ToolSection, ToolsetSection};

/// Stands for everything that a server offers.
const ALL: &str = "*";

impl Meaning<'_> {
    pub(super) fn toolsets(
        &mut self,
        section: Option<&Keyed<ToolsetSection>>,
        place: &Place<'_>,
        servers: &Servers,
    ) -> Vec<ToolsetSettings> {
        let mut toolsets = Vec::new();
        for (label, section) in Keyed::iter(section) {
            let place = place.key(label);
            let Some(name) = self.name(label, &place) else { continue };
            if servers.names.contains_key(&name) {
                let message =
                    format!("`{name}` is a server already; servers and toolsets share one set of names");
                self.problems.error_with(&place, message, "rename the toolset");
            }
            toolsets.push(self.toolset(name, section, &place, servers));
        }
        toolsets
    }

    fn toolset(
        &mut self,
        name: ServerName,
        section: &ToolsetSection,
        place: &Place<'_>,
        servers: &Servers,
    ) -> ToolsetSettings {
        let servers = &self.with_registered(section.registered.as_ref(), &place.key("registered"), servers);
        let tools_place = place.key("tools");
        let mut tools = Vec::new();
        let mut names = HashMap::new();
        for (index, Short(section)) in Items::iter(section.tools.as_ref()) {
            let place = tools_place.item(index);
            if let Some(choice) = self.tool(section, &place, servers) {
                self.unique(&choice.server, &choice.pick, choice.rename.as_deref(), &place, &mut names);
                tools.push(choice);
            }
        }
        let resources_place = place.key("resources");
        let resources = Items::iter(section.resources.as_ref())
            .filter_map(|(index, section)| self.resource(section, &resources_place.item(index), servers))
            .collect();
        let prompts_place = place.key("prompts");
        let mut prompts = Vec::new();
        let mut names = HashMap::new();
        for (index, Short(section)) in Items::iter(section.prompts.as_ref()) {
            let place = prompts_place.item(index);
            if let Some(choice) = self.prompt(section, &place, servers) {
                self.unique(&choice.server, &choice.pick, choice.rename.as_deref(), &place, &mut names);
                prompts.push(choice);
            }
        }
        ToolsetSettings { name, description: section.description.clone(), tools, resources, prompts }
    }

    /// The servers of the file, and those that may be registered.
    fn with_registered(
        &mut self,
        registered: Option<&Items<String>>,
        place: &Place<'_>,
        servers: &Servers,
    ) -> Servers {
        let mut servers = servers.clone();
        for (index, name) in Items::iter(registered) {
            match ServerName::new(name) {
                Ok(known) => {
                    let standing = Standing { label: name.clone(), disabled: false, shared: false };
                    servers.names.entry(known).or_insert(standing);
                }
                Err(bad) => self.problems.error(&place.item(index), format!("is no name of a server: {bad}")),
            }
        }
        servers
    }

    fn tool(&mut self, section: &ToolSection, place: &Place<'_>, servers: &Servers) -> Option<ToolChoice> {
        let (server, pick) =
            self.pick(section.server.as_deref(), section.tool.as_deref(), "tool", place, servers)?;
        let rename = self.rename(section.rename.as_deref(), &pick, &place.key("rename"));
        let arguments_place = place.key("arguments");
        let pinned: Vec<_> = arguments_place
            .node
            .and_then(Node::entries)
            .unwrap_or_default()
            .iter()
            .map(|entry| {
                let mut json = String::new();
                entry.value.write_json(&mut json);
                (entry.key.clone(), Bytes::from(json))
            })
            .collect();
        if pick == Pick::All && !pinned.is_empty() {
            self.problems.error(&arguments_place, "arguments can be pinned for a single tool only");
        }
        if pick == Pick::All && section.description.is_some() {
            self.problems.error(&place.key("description"), "only a single tool can be described");
        }
        Some(ToolChoice { server, pick, rename, description: section.description.clone(), pinned })
    }

    fn prompt(
        &mut self,
        section: &PromptSection,
        place: &Place<'_>,
        servers: &Servers,
    ) -> Option<PromptChoice> {
        let (server, pick) =
            self.pick(section.server.as_deref(), section.prompt.as_deref(), "prompt", place, servers)?;
        let rename = self.rename(section.rename.as_deref(), &pick, &place.key("rename"));
        if pick == Pick::All && section.description.is_some() {
            self.problems.error(&place.key("description"), "only a single prompt can be described");
        }
        Some(PromptChoice { server, pick, rename, description: section.description.clone() })
    }

    fn resource(
        &mut self,
        section: &ResourceSection,
        place: &Place<'_>,
        servers: &Servers,
    ) -> Option<ResourceChoice> {
        let Some(server) = &section.server else {
            if !self.problems.below(&place.path) {
                self.problems.error(place, "`server` is missing");
            }
            return None;
        };
        let server = self.known(server, servers, &place.key("server"))?;
        let uris = match section.uri.as_deref() {
            None | Some(ALL) => UriPick::All,
            Some(uri) => match uri.strip_suffix(ALL) {
                Some(prefix) => UriPick::Prefix(prefix.to_owned()),
                None => UriPick::Exact(uri.to_owned()),
            },
        };
        Some(ResourceChoice { server, uris })
    }

    /// Which of a server's things is chosen: by its public name alone, or by the server's own name beside the server.
    fn pick(
        &mut self,
        server: Option<&str>,
        chosen: Option<&str>,
        kind: &str,
        place: &Place<'_>,
        servers: &Servers,
    ) -> Option<(ServerName, Pick)> {
        let chosen_place =
            if place.node.and_then(Node::entries).is_some() { place.key(kind) } else { place.clone() };
        let Some(chosen) = chosen else {
            if !self.problems.below(&place.path) {
                let suggestion = format!("`{kind}: \"*\"` chooses all of them");
                self.problems.error_with(place, format!("`{kind}` is missing"), suggestion);
            }
            return None;
        };
        if let Some(server) = server {
            let server = self.known(server, servers, &place.key("server"))?;
            let pick = if chosen == ALL { Pick::All } else { Pick::Native(chosen.to_owned()) };
            return Some((server, pick));
        }
        match PublicName::read(chosen) {
            PublicName::Plain(server, native) => {
                let server = self.known(server, servers, &chosen_place)?;
                let pick = if native == ALL { Pick::All } else { Pick::Native(native.to_owned()) };
                Some((server, pick))
            }
            PublicName::Cut(_) => {
                self.problems.error_with(
                    &chosen_place,
                    format!("`{chosen}` is a shortened public name, which does not say the server's own"),
                    format!("write `server` and the server's own name of the {kind}"),
                );
                None
            }
            PublicName::Native(_) => {
                self.problems.error_with(
                    &chosen_place,
                    format!("`{chosen}` does not say which server has the {kind}"),
                    format!("write `SERVER__{chosen}`, or add `server`"),
                );
                None
            }
        }
    }

    fn rename(&mut self, rename: Option<&str>, pick: &Pick, place: &Place<'_>) -> Option<String> {
        let rename = rename?;
        if *pick == Pick::All {
            self.problems.error(place, "only a single one can be renamed");
        }
        if !rename.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
            self.problems.error(place, "a name has only letters, digits, `_`, `.` and `-`");
        }
        Some(rename.to_owned())
    }

    /// Two things of one toolset never have the same name.
    fn unique(
        &mut self,
        server: &ServerName,
        pick: &Pick,
        rename: Option<&str>,
        place: &Place<'_>,
        names: &mut HashMap<String, String>,
    ) {
        let Pick::Native(native) = pick else { return };
        let name = rename.map_or_else(|| public_name(server, native), ToOwned::to_owned);
        match names.get(&name) {
            Some(first) => {
                let message = format!("`{name}` is already the name of {first}");
                self.problems.error_with(place, message, "give one of them another `rename`");
            }
            None => {
                names.insert(name, place.path.clone());
            }
        }
    }
}
