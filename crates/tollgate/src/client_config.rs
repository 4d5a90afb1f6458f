//! `tollgate client-config`: what to put into a client's configuration so that it uses a gateway.

use std::path::Path;

use serde_json::json;

use crate::cli::{CONFIG_FILE, Client, ClientConfig};
use crate::config::Config;
use crate::exit::Failure;
use crate::out::{Printer, To};
use crate::policy::setting::with_registered;
use crate::state;

/// What the gateway is called in a client's configuration.
const NAME: &str = "tollgate";

/// What a client has to know of a gateway.
pub(crate) struct Target<'a> {
    /// This program, for clients that can only start one.
    pub(crate) program: &'a Path,
    /// The endpoint.
    pub(crate) url: &'a str,
    /// The environment variable with the client's API key, where it needs one.
    pub(crate) key: Option<&'a str>,
}

/// Prints a client's configuration on standard output, and where it goes on standard error.
pub(crate) async fn print(command: &ClientConfig) -> Result<(), Failure> {
    let (url, needs_key) = match &command.url {
        Some(url) => (endpoint_url(url)?, command.key_env.is_some()),
        None => {
            let file = command.config.as_deref().unwrap_or(Path::new(CONFIG_FILE));
            let mut config = state::read_config(file)?;
            if let Some(folder) = &command.data_dir {
                config.data_dir.clone_from(folder);
            }
            let endpoint = command.endpoint.as_deref();
            if !endpoint.is_none_or(|endpoint| endpoints(&config).contains(&endpoint)) {
                // It may be of a server that is registered.
                config = with_registered(config, None).await;
            }
            let needs_key = !config.identity.is_off() && config.identity.anonymous.is_none();
            (address_of(&config, endpoint)?, needs_key || command.key_env.is_some())
        }
    };
    let key = command.key_env.as_deref().unwrap_or("TOLLGATE_KEY");
    if !is_variable(key) {
        return Err(Failure::usage(format!("{key} cannot be the name of an environment variable")));
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("where this program is cannot be found out: {error}")))?;
    let target = Target { program: &program, url: &url, key: needs_key.then_some(key) };
    let (out, err) = (Printer::new(To::Out), Printer::new(To::Err));
    err.line(err.dim(&format!("{}: {}", command.client.title(), command.client.place())));
    out.line(command.client.configuration(&target));
    if let Some(key) = target.key {
        err.line(err.dim(&command.client.about_key(key)));
    }
    Ok(())
}

/// The address that was typed, if it is one.
fn endpoint_url(url: &str) -> Result<String, Failure> {
    let parsed: http::Uri = url.parse().map_err(|_| Failure::usage(format!("{url} is no URL")))?;
    let is_web = matches!(parsed.scheme_str(), Some("http" | "https"));
    match parsed.authority() {
        Some(authority) if is_web && !authority.as_str().contains('@') => Ok(url.to_owned()),
        _ => Err(Failure::usage(format!("{url} is no http or https URL without credentials"))),
    }
}

/// Where clients of a configuration connect.
fn address_of(config: &Config, endpoint: Option<&str>) -> Result<String, Failure> {
    let base = match &config.proxy.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let scheme = if config.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{}", config.listen)
        }
    };
    let Some(endpoint) = endpoint else { return Ok(format!("{base}/mcp")) };
    let names = endpoints(config);
    if names.contains(&endpoint) {
        return Ok(format!("{base}/mcp/{endpoint}"));
    }
    let names = names.join(", ");
    Err(Failure::usage(format!("there is no server and no toolset {endpoint}; there are: {names}")))
}

/// The servers and toolsets that have an address of their own.
fn endpoints(config: &Config) -> Vec<&str> {
    let servers = config.servers.iter().map(|server| server.name.as_str());
    let toolsets = config.tenants.iter().flat_map(|tenant| &tenant.toolsets);
    let mut names: Vec<_> = servers.chain(toolsets.map(|toolset| toolset.name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn is_variable(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(is_word) && text.starts_with(|c: char| !c.is_ascii_digit())
}

impl Client {
    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
            Self::Cursor => "Cursor",
            Self::Vscode => "VS Code",
            Self::ClaudeCode => "Claude Code",
        }
    }

    /// The file that it reads.
    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "claude_desktop_config.json (Settings, Developer, Edit Config)",
            Self::Cursor => "~/.cursor/mcp.json",
            Self::Vscode => ".vscode/mcp.json",
            Self::ClaudeCode => ".mcp.json in the project's folder",
        }
    }

    /// What to put into it. Written by hand so that the lines stand in the order in which people write them.
    pub(crate) fn configuration(self, target: &Target<'_>) -> String {
        let url = json!(target.url);
        let headers = |value: &str| match target.key {
            Some(_) => format!(",\n      \"headers\": {{ \"Authorization\": {} }}", json!(value)),
            None => String::new(),
        };
        let key = target.key.unwrap_or_default();
        let http = |members: &str, headers: &str| {
            format!("{{\n    \"{NAME}\": {{\n      {members}\"url\": {url}{headers}\n    }}\n  }}")
        };
        match self {
            Self::ClaudeDesktop => claude_desktop(target),
            Self::Cursor => {
                let servers = http("", &headers(&format!("Bearer ${{env:{key}}}")));
                format!("{{\n  \"mcpServers\": {servers}\n}}")
            }
            Self::Vscode => {
                let servers = http("\"type\": \"http\",\n      ", &headers("Bearer ${input:tollgate-key}"));
                // It asks once, and keeps what was typed in the system's keyring.
                let inputs = match target.key {
                    Some(_) => {
                        "  \"inputs\": [\n    { \"type\": \"promptString\", \"id\": \"tollgate-key\", \
                         \"description\": \"API key for Tollgate\", \"password\": true }\n  ],\n"
                    }
                    None => "",
                };
                format!("{{\n{inputs}  \"servers\": {servers}\n}}")
            }
            Self::ClaudeCode => {
                let servers = http("\"type\": \"http\",\n      ", &headers(&format!("Bearer ${{{key}}}")));
                format!("{{\n  \"mcpServers\": {servers}\n}}")
            }
        }
    }

    /// How the key reaches it.
    fn about_key(self, key: &str) -> String {
        match self {
            Self::ClaudeDesktop => format!("Put the key in the place of PASTE-YOUR-KEY-HERE ({key})."),
            Self::Cursor | Self::ClaudeCode => {
                format!("Set {key} in the environment in which it is started.")
            }
            Self::Vscode => "It asks for the key when it first connects.".to_owned(),
        }
    }
}

/// It starts processes only, and hands them what stands in its file: the key is there, and not among the arguments, which
/// everybody on the machine can read.
fn claude_desktop(target: &Target<'_>) -> String {
    let (program, url) = (json!(target.program.to_string_lossy()), json!(target.url));
    let (args, env) = match target.key {
        Some(key) => {
            let header = json!(format!("Authorization: Bearer ${{{key}}}"));
            let env = format!(",\n      \"env\": {{ {}: \"PASTE-YOUR-KEY-HERE\" }}", json!(key));
            (format!("\"connect\", {url}, \"--header\", {header}"), env)
        }
        None => (format!("\"connect\", {url}"), String::new()),
    };
    format!(
        "{{\n  \"mcpServers\": {{\n    \"{NAME}\": {{\n      \"command\": {program},\n      \
         \"args\": [{args}]{env}\n    }}\n  }}\n}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Client; 4] = [Client::ClaudeDesktop, Client::Cursor, Client::Vscode, Client::ClaudeCode];

    #[test]
    fn what_is_printed_is_json_and_has_the_address() {
        for key in [None, Some("KEY")] {
            let target =
                Target { program: Path::new("/a \"b\"/tollgate"), url: "http://127.0.0.1:1/mcp", key };
            for client in ALL {
                let text = client.configuration(&target);
                let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                assert!(config.to_string().contains("http://127.0.0.1:1/mcp"), "{config}");
                assert_eq!(config.to_string().contains("Bearer"), key.is_some(), "{config}");
            }
        }
    }

    #[test]
    fn names_of_variables_are_told_from_others() {
        for (text, is_one) in [("A_1", true), ("_", true), ("1A", false), ("A}B", false), ("", false)] {
            assert_eq!(is_variable(text), is_one, "{text}");
        }
    }
}
