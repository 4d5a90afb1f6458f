//! A real identity provider, run beside the tests: `servers/identity_provider.mjs`.

#![allow(clippy::expect_used, reason = "a test fails loudly")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tollgate_testkit::fake::{Ask, Http};

use crate::places::{node, script};

/// The client that the gateway is when it introspects, and its secret.
pub const GATEWAY: (&str, &str) = ("gateway", "gateway-secret");

/// The client that acts for itself, and its secret.
pub const ROBOT: (&str, &str) = ("robot", "robot-secret");

/// A running provider. It ends with its input, so that it cannot outlive the tests.
#[derive(Debug)]
pub struct Provider {
    _child: Child,
    _input: ChildStdin,
    /// Its issuer identifier.
    pub issuer: String,
    control: SocketAddr,
}

impl Provider {
    /// The one that the tests of a program share. What one test changes there must not disturb another: people,
    /// resources and clients are free for all, keys and faults are not.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Provider> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts one for a single test.
    ///
    /// # Panics
    /// If it is not installed.
    pub fn start() -> Self {
        let mut child = Command::new(node())
            .arg(script("servers/identity_provider.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Node.js starts");
        let input = child.stdin.take().expect("piped");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a pipe");
        let said: Value = serde_json::from_str(&line).expect("its first line is JSON");
        let text = |key: &str| said[key].as_str().expect("a text").to_owned();
        let control = text("control").parse().expect("an address");
        Self { _child: child, _input: input, issuer: text("issuer"), control }
    }

    /// Gives it a command and says what came of it.
    ///
    /// # Panics
    /// If it fails.
    pub async fn command(&self, command: Value) -> Value {
        let reply = Http::new(self.control).send(&Ask::new("POST", "/").body(command.to_string())).await;
        assert_eq!(reply.status, 200, "{command}: {}", reply.text());
        serde_json::from_slice(&reply.body).expect("JSON")
    }

    /// What the tokens of a user, or of a client by its id, say beside the standard claims.
    pub async fn person(&self, id: &str, claims: Value) {
        self.command(json!({ "do": "person", "id": id, "claims": claims })).await;
    }

    /// How tokens for a resource are: `format`, `alg`, `seconds`.
    ///
    /// # Panics
    /// If that is no object.
    pub async fn resource(&self, uri: &str, how: Value) {
        let mut command = json!({ "do": "resource", "uri": uri });
        let Value::Object(how) = how else { panic!("an object") };
        command.as_object_mut().expect("an object").extend(how);
        self.command(command).await;
    }

    /// The token response after a whole authorization code flow of this person.
    pub async fn login(&self, person: &str, resource: &str, scope: &str) -> Value {
        self.command(json!({ "do": "login", "person": person, "resource": resource, "scope": scope })).await
    }

    /// An access token of this person for a resource.
    pub async fn token(&self, person: &str, resource: &str) -> String {
        access_token(&self.login(person, resource, "mcp").await)
    }

    /// An access token of a client that acts for itself.
    pub async fn machine_token(&self, resource: &str) -> String {
        access_token(&self.command(json!({ "do": "machine", "resource": resource })).await)
    }

    /// How often a path was asked for.
    ///
    /// # Panics
    /// If it does not count.
    pub async fn asked(&self, path: &str) -> u64 {
        let said = self.command(json!({ "do": "asked", "path": path })).await;
        said["count"].as_u64().expect("a number")
    }
}

/// The access token in a token response.
///
/// # Panics
/// If there is none.
pub fn access_token(response: &Value) -> String {
    response["access_token"].as_str().unwrap_or_else(|| panic!("no token: {response}")).to_owned()
}
