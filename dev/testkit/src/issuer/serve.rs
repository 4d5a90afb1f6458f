//! A tiny authorization server: metadata, keys and introspection over HTTP, each as badly as a test wants it.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::Key;
use crate::fake::until;
use crate::fake::wire::{Framing, Reader, Writer, split};

/// How a path answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conduct {
    /// As it should.
    Proper,
    /// With this status and nothing else.
    Status(u16),
    /// As it should, after a while.
    After(Duration),
    /// Never.
    Never,
    /// With a good answer that has this many bytes of white space before it.
    Huge(usize),
    /// With a redirect to this address.
    Redirect(String),
    /// With these bytes as JSON.
    Says(String),
}

#[derive(Default)]
struct State {
    keys: Vec<Value>,
    conduct: HashMap<String, Conduct>,
    asked: HashMap<String, usize>,
    opaque: HashMap<String, Value>,
    next: u64,
}

/// An authorization server on loopback. It stops when it is dropped.
pub struct Issuer {
    addr: SocketAddr,
    key: Key,
    state: Arc<Mutex<State>>,
    accept: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl Issuer {
    /// Starts one that publishes a single key.
    pub async fn start() -> Self {
        Self::start_with(Key::es256("k1")).await
    }

    /// Starts one that publishes this key.
    pub async fn start_with(key: Key) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let addr = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State { keys: vec![key.public()], ..State::default() }));
        let accept = tokio::spawn(accept(listener, addr, Arc::clone(&state)));
        Self { addr, key, state, accept }
    }

    /// Its issuer identifier.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The key that signs its tokens.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Signs with another key from now on. The old one stays published.
    pub fn rotate(&mut self, key: Key) {
        self.state.lock().unwrap().keys.insert(0, key.public());
        self.key = key;
    }

    /// Publishes these keys and no other.
    pub fn publish(&self, keys: Vec<Value>) {
        self.state.lock().unwrap().keys = keys;
    }

    /// Changes how a path answers: `/jwks`, `/introspect`, or one of the metadata.
    pub fn behave(&self, path: &str, conduct: Conduct) {
        self.state.lock().unwrap().conduct.insert(path.to_owned(), conduct);
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.state.lock().unwrap().asked.get(path).copied().unwrap_or(0)
    }

    /// Waits until a path was asked for so often.
    pub async fn wait_asked(&self, path: &str, times: usize) {
        until(&format!("{times} requests of {path}"), async || (self.asked(path) >= times).then_some(()))
            .await;
    }

    /// The claims of a good access token for a resource, each time with another `jti`.
    pub fn claims(&self, resource: &str) -> Value {
        let nth = {
            let mut state = self.state.lock().unwrap();
            state.next += 1;
            state.next
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        json!({
            "iss": self.url(), "sub": "ann", "client_id": "desk", "aud": resource, "scope": "mcp",
            "iat": now, "exp": now + 600, "jti": format!("t-{nth}"),
        })
    }

    /// A good access token for a resource.
    pub fn token(&self, resource: &str) -> String {
        self.key.sign(&self.claims(resource))
    }

    /// An access token for a resource with these claims instead of, or beside, the usual ones; `null` leaves one out.
    ///
    /// # Panics
    /// If the claims are no object.
    pub fn token_with(&self, resource: &str, claims: Value) -> String {
        self.key.sign(&self.claims_with(resource, claims))
    }

    /// The claims of such a token.
    ///
    /// # Panics
    /// If the claims are no object.
    pub fn claims_with(&self, resource: &str, claims: Value) -> Value {
        let mut all = self.claims(resource);
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        let all_claims = all.as_object_mut().expect("an object");
        for (name, value) in claims {
            if value.is_null() {
                all_claims.remove(&name);
            } else {
                all_claims.insert(name, value);
            }
        }
        all
    }

    /// Says this of an opaque token when it is asked.
    pub fn knows(&self, token: &str, says: Value) {
        self.state.lock().unwrap().opaque.insert(token.to_owned(), says);
    }
}

async fn accept(listener: TcpListener, addr: SocketAddr, state: Arc<Mutex<State>>) {
    let mut open = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let state = Arc::clone(&state);
        open.spawn(async move { drop(serve(stream, addr, &state).await) });
        while open.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, addr: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    while let Some(head) = reader.head().await? {
        let body = reader.body(Framing::of_request(&head)).await?;
        let path = head.word(1).split('?').next().unwrap_or_default().to_owned();
        let (conduct, proper) = {
            let mut state = state.lock().unwrap();
            *state.asked.entry(path.clone()).or_default() += 1;
            let conduct = state.conduct.get(&path).cloned().unwrap_or(Conduct::Proper);
            (conduct, proper(&state, addr, &path, &body))
        };
        answer(&mut reader, &mut writer, conduct, proper).await?;
    }
    Ok(())
}

async fn answer(
    reader: &mut Reader,
    writer: &mut Writer,
    conduct: Conduct,
    proper: Option<Value>,
) -> io::Result<()> {
    let body = proper.as_ref().map(Value::to_string);
    match conduct {
        Conduct::Proper => say(writer, body.as_deref()).await,
        Conduct::Status(status) => {
            writer.all(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n").as_bytes()).await
        }
        Conduct::After(wait) => {
            tokio::time::sleep(wait).await;
            say(writer, body.as_deref()).await
        }
        Conduct::Never => {
            reader.gone().await;
            Ok(())
        }
        Conduct::Huge(bytes) => {
            // In parts, so that a reader that stops early is seen to have stopped.
            let body = body.unwrap_or_default();
            let length = bytes + body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            );
            writer.all(head.as_bytes()).await?;
            let blank = vec![b' '; 64 * 1024];
            let mut left = bytes;
            while left > 0 {
                let part = left.min(blank.len());
                writer.all(&blank[..part]).await?;
                left -= part;
            }
            writer.all(body.as_bytes()).await
        }
        Conduct::Redirect(to) => {
            writer
                .all(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").as_bytes())
                .await
        }
        Conduct::Says(text) => say(writer, Some(&text)).await,
    }
}

async fn say(writer: &mut Writer, body: Option<&str>) -> io::Result<()> {
    let (status, body) = body.map_or(("404 Not Found", "{}"), |body| ("200 OK", body));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    writer.all(&[head.as_bytes(), body.as_bytes()].concat()).await
}

/// What a good authorization server says at a path.
fn proper(state: &State, addr: SocketAddr, path: &str, body: &[u8]) -> Option<Value> {
    let issuer = format!("http://{addr}");
    match path {
        "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => Some(json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/jwks"),
            "introspection_endpoint": format!("{issuer}/introspect"),
            "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })),
        "/jwks" => Some(json!({ "keys": state.keys })),
        "/introspect" => {
            let form = String::from_utf8_lossy(body);
            // Tokens of the tests have only letters that a form leaves as they are.
            let token = form.split('&').find_map(|pair| pair.strip_prefix("token="));
            let known = token.and_then(|token| state.opaque.get(token)).cloned();
            Some(known.unwrap_or_else(|| json!({ "active": false })))
        }
        _ => None,
    }
}
