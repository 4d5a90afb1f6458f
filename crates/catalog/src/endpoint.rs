//! Endpoints: what `/mcp`, `/mcp/{server}` and `/mcp/{toolset}` each serve, and how a name used there is understood.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use tollgate_model::{EndpointName, ServerName};

use crate::list::{Exposure, ListKind};
use crate::names::{PublicName, public_name};
use crate::settings::{Pick, ToolChoice, ToolsetSettings};
use crate::uris;

/// What exists, as one immutable snapshot.
#[derive(Debug)]
pub struct Catalog {
    merged: Arc<Endpoint>,
    named: HashMap<EndpointName, Arc<Endpoint>>,
}

/// Two things of one name, or a toolset that names a server that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Servers and toolsets share one namespace, since both are served at `/mcp/{name}`.
    #[error("`{0}` names two servers or toolsets; each needs a name of its own")]
    Taken(EndpointName),
    /// A toolset chooses from a server that is not configured.
    #[error("toolset `{toolset}` chooses from server `{server}`, which is not configured")]
    NoServer {
        /// The toolset.
        toolset: EndpointName,
        /// The server that is missing.
        server: ServerName,
    },
}

impl Catalog {
    /// Builds the snapshot. The servers keep the order of the configuration.
    pub fn new(servers: &[ServerName], toolsets: &[ToolsetSettings]) -> Result<Self, CatalogError> {
        let mut named = HashMap::new();
        let mut add = |name: &EndpointName, shape: Shape, servers: Vec<ServerName>| {
            let endpoint = Arc::new(Endpoint { name: Some(name.clone()), shape, servers });
            match named.insert(name.clone(), endpoint) {
                None => Ok(()),
                Some(_) => Err(CatalogError::Taken(name.clone())),
            }
        };
        for server in servers {
            add(server, Shape::Native, vec![server.clone()])?;
        }
        for toolset in toolsets {
            let chosen = chosen_servers(toolset);
            if let Some(missing) = chosen.iter().find(|server| !servers.contains(server)) {
                return Err(CatalogError::NoServer {
                    toolset: toolset.name.clone(),
                    server: (*missing).clone(),
                });
            }
            let in_order = servers.iter().filter(|server| chosen.contains(server)).cloned().collect();
            add(&toolset.name, Shape::Toolset(toolset.clone()), in_order)?;
        }
        let merged = Arc::new(Endpoint { name: None, shape: Shape::Merged, servers: servers.to_vec() });
        Ok(Self { merged, named })
    }

    /// The endpoint of a name, or the merged one for none.
    pub fn endpoint(&self, name: Option<&str>) -> Option<&Arc<Endpoint>> {
        match name {
            None => Some(&self.merged),
            Some(name) => self.named.get(&EndpointName::new(name).ok()?),
        }
    }

    /// Every endpoint, the merged one first.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        std::iter::once(&self.merged).chain(self.named.values())
    }
}

fn chosen_servers(toolset: &ToolsetSettings) -> Vec<&ServerName> {
    let tools = toolset.tools.iter().map(|choice| &choice.server);
    let resources = toolset.resources.iter().map(|choice| &choice.server);
    let prompts = toolset.prompts.iter().map(|choice| &choice.server);
    tools.chain(resources).chain(prompts).collect()
}

/// One address and what it serves.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoint {
    name: Option<EndpointName>,
    shape: Shape,
    servers: Vec<ServerName>,
}

/// How an endpoint relates to its servers.
#[derive(Debug, PartialEq, Eq)]
pub enum Shape {
    /// All servers, under public names.
    Merged,
    /// One server, under its native names.
    Native,
    /// A choice from several servers.
    Toolset(ToolsetSettings),
}

/// What a tool or prompt name used at an endpoint stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named<'a> {
    /// This server's thing of this native name.
    Known {
        /// The server.
        server: &'a ServerName,
        /// What the server calls it.
        native: Cow<'a, str>,
        /// The toolset's entry that chose it.
        choice: Option<&'a ToolChoice>,
    },
    /// A name that was cut: only the list of this server can tell what it stands for.
    Cut {
        /// The server whose list to read.
        server: &'a ServerName,
    },
    /// Nothing here has this name.
    Unknown,
}

/// One entry of a toolset that gives a name.
struct Choice<'a> {
    server: &'a ServerName,
    pick: &'a Pick,
    rename: Option<&'a str>,
    /// The entry itself, if it chose a tool.
    tool: Option<&'a ToolChoice>,
}

impl Endpoint {
    /// The name in the URL; none for the merged endpoint.
    pub fn name(&self) -> Option<&EndpointName> {
        self.name.as_ref()
    }

    /// How it relates to its servers.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The servers behind it, in the order of the configuration.
    pub fn servers(&self) -> &[ServerName] {
        &self.servers
    }

    /// The only server of an endpoint that serves one server natively.
    pub fn native_server(&self) -> Option<&ServerName> {
        match self.shape {
            Shape::Native => self.servers.first(),
            _ => None,
        }
    }

    /// What a tool name stands for here.
    pub fn tool<'a>(&'a self, text: &'a str) -> Named<'a> {
        match &self.shape {
            Shape::Native => self.native(text),
            Shape::Merged => self.public_if(text, |_| true),
            Shape::Toolset(toolset) => {
                let choices = toolset.tools.iter().map(|choice| Choice {
                    server: &choice.server,
                    pick: &choice.pick,
                    rename: choice.rename.as_deref(),
                    tool: Some(choice),
                });
                self.chosen(text, &choices)
            }
        }
    }

    /// What a prompt name stands for here.
    pub fn prompt<'a>(&'a self, text: &'a str) -> Named<'a> {
        match &self.shape {
            Shape::Native => self.native(text),
            Shape::Merged => self.public_if(text, |_| true),
            Shape::Toolset(toolset) => {
                let choices = toolset.prompts.iter().map(|choice| Choice {
                    server: &choice.server,
                    pick: &choice.pick,
                    rename: choice.rename.as_deref(),
                    tool: None,
                });
                self.chosen(text, &choices)
            }
        }
    }

    /// Whether this endpoint lets a server's resource (or template) through.
    pub fn takes_uri(&self, server: &ServerName, uri: &str) -> bool {
        match &self.shape {
            Shape::Native | Shape::Merged => self.servers.contains(server),
            Shape::Toolset(toolset) => {
                toolset.resources.iter().any(|choice| choice.server == *server && choice.uris.takes(uri))
            }
        }
    }

    /// Whether this endpoint may show anything of this kind from this server.
    pub fn lists(&self, kind: ListKind, server: &ServerName) -> bool {
        match &self.shape {
            Shape::Native | Shape::Merged => true,
            Shape::Toolset(toolset) => match kind {
                ListKind::Tools => toolset.tools.iter().any(|choice| choice.server == *server),
                ListKind::Prompts => toolset.prompts.iter().any(|choice| choice.server == *server),
                ListKind::Resources | ListKind::Templates => {
                    toolset.resources.iter().any(|choice| choice.server == *server)
                }
            },
        }
    }

    /// How a server's item is shown here, each with its place in the list: not at all, once, or (in a toolset that
    /// chooses it twice) several times.
    pub fn exposures<'a>(
        &'a self,
        kind: ListKind,
        server: &ServerName,
        native: &'a str,
    ) -> Vec<(usize, Exposure<'a>)> {
        let named = |key: String| Exposure { key: Some(Cow::Owned(key)), ..Exposure::default() };
        match (&self.shape, kind) {
            (Shape::Native, _) | (Shape::Merged, ListKind::Resources | ListKind::Templates) => {
                vec![(0, Exposure::default())]
            }
            (Shape::Merged, ListKind::Tools | ListKind::Prompts) => {
                vec![(0, named(public_name(server, native)))]
            }
            (Shape::Toolset(_), ListKind::Resources | ListKind::Templates) => {
                if self.takes_uri(server, native) { vec![(0, Exposure::default())] } else { Vec::new() }
            }
            (Shape::Toolset(toolset), ListKind::Tools) => toolset
                .tools
                .iter()
                .enumerate()
                .filter(|(_, choice)| choice.server == *server && picks(&choice.pick, native))
                .map(|(place, choice)| {
                    let exposure = Exposure {
                        description: choice.description.as_deref(),
                        pinned: &choice.pinned,
                        ..named(exposed_name(server, native, choice.rename.as_deref()).into_owned())
                    };
                    (place, exposure)
                })
                .collect(),
            (Shape::Toolset(toolset), ListKind::Prompts) => toolset
                .prompts
                .iter()
                .enumerate()
                .filter(|(_, choice)| choice.server == *server && picks(&choice.pick, native))
                .map(|(place, choice)| {
                    let exposure = Exposure {
                        description: choice.description.as_deref(),
                        ..named(exposed_name(server, native, choice.rename.as_deref()).into_owned())
                    };
                    (place, exposure)
                })
                .collect(),
        }
    }

    /// The server and the URI it knows, if the URI is one that was rewritten here.
    pub fn rewritten_uri<'a>(&'a self, uri: &'a str) -> Option<(&'a ServerName, Cow<'a, str>)> {
        let (server, uri) = uris::read_back(uri)?;
        Some((self.server(server)?, uri))
    }

    fn server(&self, name: &str) -> Option<&ServerName> {
        self.servers.iter().find(|server| server.as_str() == name)
    }

    fn native<'a>(&'a self, text: &'a str) -> Named<'a> {
        match self.servers.first() {
            Some(server) => Named::Known { server, native: Cow::Borrowed(text), choice: None },
            None => Named::Unknown,
        }
    }

    /// A name in a toolset: one that it gave itself, or the public name of something that it chose with all the rest.
    fn chosen<'a>(
        &'a self,
        text: &'a str,
        choices: &(impl Iterator<Item = Choice<'a>> + Clone),
    ) -> Named<'a> {
        let exact = choices.clone().find_map(|choice| match choice.pick {
            Pick::Native(native) if exposed_name(choice.server, native, choice.rename) == text => {
                Some(Named::Known {
                    server: choice.server,
                    native: Cow::Borrowed(native),
                    choice: choice.tool,
                })
            }
            _ => None,
        });
        exact.unwrap_or_else(|| {
            self.public_if(text, |server| {
                choices.clone().any(|choice| *choice.pick == Pick::All && choice.server == server)
            })
        })
    }

    fn public_if<'a>(&'a self, text: &'a str, allowed: impl Fn(&ServerName) -> bool) -> Named<'a> {
        let find = |name: &str| self.server(name).filter(|server| allowed(server));
        match PublicName::read(text) {
            PublicName::Plain(server, native) => match find(server) {
                // Only the one spelling that a list shows is a name: otherwise two names would stand for one tool.
                Some(server) if public_name(server, native) == text => {
                    Named::Known { server, native: Cow::Borrowed(native), choice: None }
                }
                _ => Named::Unknown,
            },
            PublicName::Cut(server) => find(server).map_or(Named::Unknown, |server| Named::Cut { server }),
            PublicName::Native(_) => Named::Unknown,
        }
    }
}

fn picks(pick: &Pick, native: &str) -> bool {
    match pick {
        Pick::All => true,
        Pick::Native(picked) => picked == native,
    }
}

fn exposed_name<'a>(server: &ServerName, native: &str, rename: Option<&'a str>) -> Cow<'a, str> {
    rename.map_or_else(|| Cow::Owned(public_name(server, native)), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{PromptChoice, ResourceChoice, UriPick};

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("a name")
    }

    fn toolset() -> ToolsetSettings {
        ToolsetSettings {
            name: name("support"),
            description: None,
            tools: vec![
                ToolChoice {
                    server: name("files"),
                    pick: Pick::Native("read_file".to_owned()),
                    rename: Some("read_note".to_owned()),
                    description: None,
                    pinned: vec![],
                },
                ToolChoice {
                    server: name("clock"),
                    pick: Pick::All,
                    rename: None,
                    description: None,
                    pinned: vec![],
                },
            ],
            resources: vec![ResourceChoice {
                server: name("files"),
                uris: UriPick::Prefix("file:///notes/".to_owned()),
            }],
            prompts: vec![PromptChoice {
                server: name("files"),
                pick: Pick::Native("summary".to_owned()),
                rename: None,
                description: None,
            }],
        }
    }

    fn catalog() -> Catalog {
        Catalog::new(&[name("files"), name("clock")], &[toolset()]).expect("a catalog")
    }

    fn known(named: Named<'_>) -> Option<(String, String)> {
        match named {
            Named::Known { server, native, .. } => Some((server.to_string(), native.into_owned())),
            _ => None,
        }
    }

    #[test]
    fn names_are_understood_by_the_endpoint_they_are_used_at() {
        let catalog = catalog();
        let tool = |endpoint: Option<&str>, tool: &str| {
            known(catalog.endpoint(endpoint).expect("an endpoint").tool(tool))
        };
        let is = |server: &str, native: &str| Some((server.to_owned(), native.to_owned()));
        assert_eq!(tool(None, "files__read_file"), is("files", "read_file"));
        assert_eq!(tool(None, "read_file"), None);
        assert_eq!(tool(None, "other__read_file"), None);
        assert_eq!(tool(Some("files"), "read_file"), is("files", "read_file"));
        assert_eq!(tool(Some("support"), "read_note"), is("files", "read_file"));
        assert_eq!(tool(Some("support"), "files__read_file"), None, "renamed: the public name is gone");
        assert_eq!(tool(Some("support"), "files__write_file"), None, "not chosen");
        assert_eq!(tool(Some("support"), "clock__now"), is("clock", "now"));
    }

    #[test]
    fn a_toolset_lets_through_only_what_it_chose() {
        let catalog = catalog();
        let support = catalog.endpoint(Some("support")).expect("an endpoint");
        assert!(support.takes_uri(&name("files"), "file:///notes/a"));
        assert!(!support.takes_uri(&name("files"), "file:///etc/passwd"));
        assert!(!support.takes_uri(&name("clock"), "file:///notes/a"));
        assert_eq!(support.exposures(ListKind::Tools, &name("files"), "write_file").len(), 0);
        assert!(!support.lists(ListKind::Prompts, &name("clock")));
        assert_eq!(known(support.prompt("files__summary")).map(|(_, n)| n).as_deref(), Some("summary"));
        assert_eq!(known(support.prompt("files__other")), None);
    }

    #[test]
    fn one_namespace() {
        let mut taken = toolset();
        taken.name = name("clock");
        let error = Catalog::new(&[name("files"), name("clock")], &[taken]).expect_err("taken");
        assert_eq!(error, CatalogError::Taken(name("clock")));
        let error = Catalog::new(&[name("clock")], &[toolset()]).expect_err("no such server");
        assert!(matches!(error, CatalogError::NoServer { server, .. } if server == name("files")));
    }
}
