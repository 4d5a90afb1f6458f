//! `server.json` of the MCP Registry (schema 2025-12-11), and what its API (v0.1) answers, in our words.
//!
//! Whoever publishes a server says what has to be put in: those inputs become environment variables of the gateway, named after
//! the server, and are never asked for here.

use serde_json::{Map, Value, json};
use tollgate_store::About;

use super::foreign::{Apart, Found};

/// How deep `{name}` stands for another value.
const DEPTH_MAX: usize = 4;

/// The servers of a document: a `server.json`, an answer with one, or a page of a list. None if it is none of these.
pub(super) fn found(document: &Value) -> Option<Vec<Found>> {
    let is_server = |value: &Value| {
        let is_named = value["name"].as_str().is_some_and(|name| name.contains('/'));
        is_named
            && (value.get("remotes").is_some()
                || value.get("packages").is_some()
                || value.get("version").is_some())
    };
    let server = |value: &Value| {
        let inner = value.get("server").unwrap_or(value);
        is_server(inner).then(|| inner.clone())
    };
    if let Some(list) = document.get("servers").and_then(Value::as_array) {
        let servers: Vec<Value> = list.iter().filter_map(server).collect();
        let is_list = servers.len() == list.len() && !list.is_empty();
        return is_list.then(|| servers.iter().map(one).collect());
    }
    server(document).map(|server| vec![one(&server)])
}

fn one(server: &Value) -> Found {
    let name = server["name"].as_str().unwrap_or_default();
    let label = name.rsplit('/').next().unwrap_or(name);
    let inputs = Inputs { prefix: upper(label) };
    let listed = |key: &str| server[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let kind = |remote: &&Value, kind: &str| remote["type"] == kind;
    let remotes = listed("remotes");
    let remote = remotes
        .iter()
        .find(|remote| kind(remote, "streamable-http"))
        .or_else(|| remotes.iter().find(|remote| kind(remote, "sse")));
    let reach = match remote {
        Some(remote) => inputs.remote(remote),
        None => listed("packages").iter().find_map(|package| inputs.package(package)),
    };
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(Into::into);
    let about = About {
        description: text(&server["description"]),
        documentation: text(&server["websiteUrl"]).or_else(|| text(&server["repository"]["url"])),
        ..About::default()
    };
    let is_of_version = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    let version = server["version"].as_str().unwrap_or("1");
    let version = version.chars().map(|c| if is_of_version(c) { c } else { '-' }).collect();
    let apart = match reach {
        Some(reach) => Ok(Apart { reach: reach.to_string().into(), about }),
        None => Err(format!(
            "{name} has neither a remote nor a package that could be started by npx, uvx, docker or dnx"
        )),
    };
    Found { full: name.to_owned(), label: label.to_owned(), version, apart }
}

/// What has to be put in, by whoever runs the gateway.
struct Inputs {
    /// What its variables begin with.
    prefix: String,
}

impl Inputs {
    fn remote(&self, remote: &Value) -> Option<Value> {
        let url = self.put_in(remote["url"].as_str()?, &remote["variables"], 0);
        let transport = if remote["type"] == "sse" { "sse" } else { "http" };
        let mut reach = json!({ "url": url, "transport": transport });
        let headers = self.named(&remote["headers"]);
        if !headers.is_empty() {
            reach["headers"] = headers.into();
        }
        Some(reach)
    }

    /// A package that speaks on its standard input and output.
    fn package(&self, package: &Value) -> Option<Value> {
        if package["transport"]["type"] != "stdio" {
            return None;
        }
        let identifier = package["identifier"].as_str()?;
        let version = package["version"].as_str();
        let versioned =
            |mark: &str| version.map_or_else(|| identifier.to_owned(), |v| format!("{identifier}{mark}{v}"));
        let env = self.named(&package["environmentVariables"]);
        let hint = package["runtimeHint"].as_str();
        let (program, first, what) = match package["registryType"].as_str()? {
            "npm" => (hint.unwrap_or("npx"), vec!["-y".to_owned()], versioned("@")),
            "pypi" => (hint.unwrap_or("uvx"), Vec::new(), versioned("==")),
            "nuget" => (hint.unwrap_or("dnx"), vec!["--yes".to_owned()], versioned("@")),
            "oci" => {
                let mut first: Vec<String> = ["run", "-i", "--rm"].map(str::to_owned).into();
                first.extend(env.keys().flat_map(|name| ["-e".to_owned(), name.clone()]));
                (hint.unwrap_or("docker"), first, versioned(":"))
            }
            _ => return None,
        };
        let mut args: Vec<String> = first;
        args.extend(self.arguments(&package["runtimeArguments"]).into_iter().filter(|word| word != "-y"));
        args.push(what);
        args.extend(self.arguments(&package["packageArguments"]));
        let mut reach = json!({ "command": program, "args": args });
        if !env.is_empty() {
            reach["env"] = env.into();
        }
        Some(reach)
    }

    fn arguments(&self, arguments: &Value) -> Vec<String> {
        let mut words = Vec::new();
        for argument in arguments.as_array().map(Vec::as_slice).unwrap_or_default() {
            let name = argument["name"].as_str();
            let hint = name.or_else(|| argument["valueHint"].as_str()).unwrap_or("ARGUMENT");
            let value = self.value(argument, hint);
            match name {
                Some(name) => {
                    words.push(name.to_owned());
                    words.extend(value);
                }
                None => words.extend(value),
            }
        }
        words
    }

    fn named(&self, inputs: &Value) -> Map<String, Value> {
        let inputs = inputs.as_array().map(Vec::as_slice).unwrap_or_default();
        let named = inputs.iter().filter_map(|input| {
            let name = input["name"].as_str()?;
            Some((name.to_owned(), self.value(input, name)?.into()))
        });
        named.collect()
    }

    /// What is said of an input, or the variable that takes its place. None where it may be left out.
    fn value(&self, input: &Value, name: &str) -> Option<String> {
        let is_secret = input["isSecret"] == true;
        let said = input["value"].as_str().map(|value| self.put_in(value, &input["variables"], 0));
        let said = said.or_else(|| input["default"].as_str().filter(|_| !is_secret).map(str::to_owned));
        match said {
            Some(said) => Some(said),
            None if is_secret || input["isRequired"] == true => Some(self.variable(name)),
            None => None,
        }
    }

    /// A text with what stands for its `{names}`.
    fn put_in(&self, text: &str, variables: &Value, depth: usize) -> String {
        let Some(variables) = variables.as_object().filter(|_| depth < DEPTH_MAX) else {
            return text.to_owned();
        };
        let mut put_in = text.to_owned();
        for (name, variable) in variables {
            let whole = format!("{{{name}}}");
            if put_in.contains(&whole) {
                let value = self.value(variable, name).unwrap_or_default();
                put_in = put_in.replace(&whole, &value);
            }
        }
        put_in
    }

    fn variable(&self, name: &str) -> String {
        format!("${{{}_{}}}", self.prefix, upper(name))
    }
}

/// A name as variables have it.
fn upper(name: &str) -> String {
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let upper: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if upper.starts_with(|c: char| c.is_ascii_alphabetic()) { upper } else { format!("MCP_{upper}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(document: &Value) -> Value {
        let found = found(document).expect("a document").remove(0);
        serde_json::from_str(&found.apart.expect("a server").reach).expect("JSON")
    }

    #[test]
    fn a_remote_goes_before_packages_and_its_secrets_are_named() {
        let server = json!({
            "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
            "name": "com.example/crm-mcp", "description": "Customers", "version": "1.2.3 beta",
            "websiteUrl": "https://example.com/docs",
            "packages": [{ "registryType": "npm", "identifier": "x", "version": "1", "transport": { "type": "stdio" } }],
            "remotes": [
                { "type": "sse", "url": "https://a.example/sse" },
                { "type": "streamable-http", "url": "https://{region}.example/mcp/{tenant}",
                  "variables": { "region": { "default": "eu" }, "tenant": { "isRequired": true } },
                  "headers": [
                    { "name": "Authorization", "value": "Bearer {key}", "variables": { "key": { "isSecret": true } } },
                    { "name": "X-Key", "isSecret": true, "isRequired": true, "default": "s3cret" },
                    { "name": "X-Optional" }, { "name": "X-Plain", "value": "yes" },
                  ] },
            ],
        });
        let expected = json!({
            "url": "https://eu.example/mcp/${CRM_MCP_TENANT}", "transport": "http",
            "headers": { "Authorization": "Bearer ${CRM_MCP_KEY}", "X-Key": "${CRM_MCP_X_KEY}", "X-Plain": "yes" },
        });
        assert_eq!(reach(&server), expected);
        let found = found(&json!({ "server": server, "_meta": {} })).expect("an answer");
        assert_eq!((&*found[0].label, &*found[0].version), ("crm-mcp", "1.2.3-beta"));
        let about = &found[0].apart.as_ref().expect("a server").about;
        assert_eq!(about.description.as_deref(), Some("Customers"));
        assert_eq!(about.documentation.as_deref(), Some("https://example.com/docs"));
    }

    #[test]
    fn packages_are_started_as_their_registry_does() {
        let of = |package: Value| {
            reach(&json!({ "name": "com.example/a", "version": "1", "packages": [package] }))
        };
        let stdio = json!({ "type": "stdio" });
        assert_eq!(
            of(
                json!({ "registryType": "npm", "identifier": "@acme/crm", "version": "1.0", "transport": stdio,
                "packageArguments": [
                    { "type": "named", "name": "--root", "value": "/srv" },
                    { "type": "positional", "valueHint": "dir", "isRequired": true },
                ],
                "environmentVariables": [{ "name": "API_KEY", "isSecret": true }] })
            ),
            json!({ "command": "npx", "args": ["-y", "@acme/crm@1.0", "--root", "/srv", "${A_DIR}"],
                    "env": { "API_KEY": "${A_API_KEY}" } })
        );
        assert_eq!(
            of(json!({ "registryType": "pypi", "identifier": "crm", "version": "2", "transport": stdio })),
            json!({ "command": "uvx", "args": ["crm==2"] })
        );
        assert_eq!(
            of(json!({ "registryType": "oci", "identifier": "acme/crm", "version": "3", "transport": stdio,
                "environmentVariables": [{ "name": "K", "isRequired": true }] })),
            json!({ "command": "docker", "args": ["run", "-i", "--rm", "-e", "K", "acme/crm:3"], "env": { "K": "${A_K}" } })
        );
        let none = json!({ "name": "com.example/a", "version": "1", "packages": [
            { "registryType": "mcpb", "identifier": "https://x", "transport": stdio }] });
        let none = found(&none).expect("a document").remove(0);
        assert!(none.apart.expect_err("nothing to start").contains("com.example/a"));
    }

    #[test]
    fn what_is_no_document_of_a_registry_is_told_apart() {
        for other in [
            json!({}),
            json!({ "servers": {} }),
            json!({ "servers": [] }),
            json!({ "mcpServers": { "a": {} } }),
        ] {
            assert!(found(&other).is_none(), "{other}");
        }
        let page = json!({ "servers": [
            { "server": { "name": "a/b", "version": "1", "remotes": [{ "type": "sse", "url": "https://a" }] } },
            { "server": { "name": "a/c", "version": "1", "remotes": [{ "type": "sse", "url": "https://a" }] } },
        ], "metadata": { "nextCursor": "x" } });
        assert_eq!(found(&page).expect("a page").len(), 2);
        let mixed = json!({ "servers": [
            { "server": { "name": "a/b", "version": "1", "packages": [{ "registryType": "mcpb", "identifier": "https://x" }] } },
            { "server": { "name": "a/c", "version": "1", "remotes": [{ "type": "sse", "url": "https://a" }] } },
        ] });
        let mixed = found(&mixed).expect("a page");
        let reached: Vec<bool> = mixed.iter().map(|one| one.apart.is_ok()).collect();
        assert_eq!(reached, [false, true], "one that cannot be reached keeps no other from being taken");
    }
}
