//! What a question about policy is about, as people name it: a public name, or a server and its own name.

use std::fmt;

use tollgate_catalog::Known;
use tollgate_catalog::KnownServer;
use tollgate_catalog::names::public_name;
use tollgate_model::ServerName;

use crate::config::closest;
use crate::exit::Failure;

/// Of what kind something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tool,
    Prompt,
    Resource,
}

impl Kind {
    /// The key, or flag, under which it is named.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
        }
    }
}

/// Something of a server that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) server: ServerName,
    /// The server's own name of it, or its URI.
    pub(crate) native: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Tool => f.write_str(&public_name(&self.server, &self.native)),
            Kind::Prompt => write!(f, "the prompt {}", public_name(&self.server, &self.native)),
            Kind::Resource => write!(f, "{} of {}", self.native, self.server),
        }
    }
}

/// What was written is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

impl Unknown {
    fn new(message: String, suggestion: Option<String>) -> Self {
        Self { message, suggestion }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "\n  help: {suggestion}"),
            None => Ok(()),
        }
    }
}

impl From<Unknown> for Failure {
    fn from(unknown: Unknown) -> Self {
        Self::usage(unknown.to_string())
    }
}

/// Finds what is meant: by the server's own name where the server is named, otherwise by the public name. Tools have to be
/// in the catalogue; of prompts and resources only the server is known.
pub(crate) fn find(
    known: &Known,
    kind: Kind,
    server: Option<&str>,
    written: &str,
) -> Result<Target, Unknown> {
    let target = |server: &KnownServer, native: &str| Target {
        kind,
        server: server.name.clone(),
        native: native.to_owned(),
    };
    if let Some(named) = server {
        let server = known_server(known, named)?;
        if kind != Kind::Tool || tools(server)?.iter().any(|tool| &*tool.native == written) {
            return Ok(target(server, written));
        }
        let names = tools(server)?.iter().map(|tool| &*tool.native);
        let suggestion = closest(written, names).map(|meant| format!("did you mean `{meant}`?"));
        return Err(Unknown::new(format!("the server `{named}` has no tool `{written}`"), suggestion));
    }
    let Some((named, native)) = written.split_once("__") else {
        let message = format!("`{written}` does not say which server has the {}", kind.word());
        return Err(Unknown::new(message, Some(format!("write `SERVER__{written}`, or name the server"))));
    };
    let server = known_server(known, named)?;
    if kind != Kind::Tool {
        return Ok(target(server, native));
    }
    let list = tools(server)?;
    let public = |tool: &tollgate_catalog::ToolDefinition| public_name(&server.name, &tool.native);
    if let Some(tool) = list.iter().find(|tool| public(tool) == written || &*tool.native == native) {
        return Ok(target(server, &tool.native));
    }
    let names: Vec<String> = list.iter().map(public).collect();
    let suggestion =
        closest(written, names.iter().map(String::as_str)).map(|meant| format!("did you mean `{meant}`?"));
    Err(Unknown::new(format!("there is no tool `{written}`"), suggestion))
}

fn known_server<'k>(known: &'k Known, named: &str) -> Result<&'k KnownServer, Unknown> {
    let names = || known.servers.iter().map(|server| server.name.as_str());
    known.servers.iter().find(|server| server.name.as_str() == named).ok_or_else(|| {
        let suggestion = match closest(named, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
        };
        let tenant = known.tenant.as_str();
        Unknown::new(format!("the tenant `{tenant}` has no server `{named}`"), Some(suggestion))
    })
}

fn tools(server: &KnownServer) -> Result<&[tollgate_catalog::ToolDefinition], Unknown> {
    server.tools.as_deref().ok_or_else(|| {
        Unknown::new(
            format!("the tools of the server `{}` are not known", server.name),
            Some("`tollgate policy snapshot` asks the servers for them".to_owned()),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tollgate_catalog::ToolDefinition;
    use tollgate_model::TenantId;

    use super::*;

    fn known() -> Known {
        let tool = |native: &str| ToolDefinition {
            native: Arc::from(native),
            input_schema: None,
            read_only: false,
            destructive: true,
        };
        let server = |name: &str, tools: Option<Vec<ToolDefinition>>| KnownServer {
            name: ServerName::new(name).expect("a name"),
            facts: Arc::default(),
            tools: tools.map(Arc::from),
        };
        let long = "x".repeat(80);
        Known {
            tenant: TenantId::default(),
            servers: vec![
                server("bank", Some(vec![tool("transfer"), tool("a b"), tool(&long)])),
                server("mail", None),
            ],
            toolsets: Vec::new(),
            redactions: Vec::new(),
        }
    }

    fn native(server: Option<&str>, written: &str) -> Result<String, String> {
        find(&known(), Kind::Tool, server, written)
            .map(|target| target.native)
            .map_err(|unknown| unknown.suggestion.unwrap_or(unknown.message))
    }

    #[test]
    fn tools_are_found_by_public_and_by_own_names() {
        assert_eq!(native(None, "bank__transfer"), Ok("transfer".into()));
        assert_eq!(native(Some("bank"), "a b"), Ok("a b".into()));
        let long = "x".repeat(80);
        let bank = ServerName::new("bank").expect("a name");
        assert_eq!(native(None, &public_name(&bank, &long)), Ok(long.clone()));
        assert_eq!(native(None, &format!("bank__{long}")), Ok(long));
    }

    #[test]
    fn what_is_not_there_gets_a_suggestion() {
        assert_eq!(native(None, "bank__trasfer"), Err("did you mean `bank__transfer`?".into()));
        assert_eq!(native(Some("bnak"), "transfer"), Err("did you mean `bank`?".into()));
        assert_eq!(native(None, "transfer"), Err("write `SERVER__transfer`, or name the server".into()));
        assert_eq!(
            native(None, "mail__send"),
            Err("`tollgate policy snapshot` asks the servers for them".into())
        );
        assert_eq!(native(Some("oracle"), "x"), Err("there are: bank, mail".into()));
    }
}
