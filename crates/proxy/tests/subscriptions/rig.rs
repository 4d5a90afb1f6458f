//! The gateway in this process, and clients that read their streams message by message.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tollgate_model::ServerName;
use tollgate_proxy::{Body, Gateway, Peer, ProxySettings, Setup, serve_http};
use tollgate_upstream::{HttpSettings, ServerSettings, Transport};

use crate::LONG;
use crate::servers::{SUBSCRIPTION, Watched};

pub(crate) fn servers<'a>(servers: impl IntoIterator<Item = (&'a str, &'a Watched)>) -> Vec<ServerSettings> {
    let servers = servers.into_iter().map(|(name, server)| {
        let transport = Transport::Http(HttpSettings::new(server.fake.url()));
        let mut settings = ServerSettings::new(ServerName::new(name).unwrap(), transport);
        settings.timeouts.backoff_min = std::time::Duration::from_millis(50);
        settings
    });
    servers.collect()
}

pub(crate) fn setup(settings: ProxySettings, servers: Vec<ServerSettings>) -> Setup {
    Setup::new(settings, servers, Vec::new())
}

pub(crate) fn gateway<'a>(named: impl IntoIterator<Item = (&'a str, &'a Watched)>) -> Gateway {
    Gateway::new(setup(ProxySettings::default(), servers(named))).unwrap()
}

async fn send(gateway: &Gateway, request: Request<Full<Bytes>>) -> Response<Body> {
    let peer = Peer::new("127.0.0.1:1".parse().unwrap(), false);
    tokio::time::timeout(LONG, serve_http(gateway, peer, request)).await.expect("an answer in time")
}

/// A response being read. Dropping it is how a client leaves.
pub(crate) struct Stream {
    body: Body,
    pending: String,
    messages: VecDeque<Value>,
    ended: bool,
}

impl Stream {
    pub(crate) fn of(response: Response<Body>) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), pending: String::new(), messages: VecDeque::new(), ended: false }
    }

    /// The next message; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        // Comments that keep the stream open do not count.
        tokio::time::timeout(LONG / 2, self.read()).await.expect("a message in time")
    }

    async fn read(&mut self) -> Option<Value> {
        while self.messages.is_empty() && !self.ended {
            match self.body.frame().await {
                Some(frame) => {
                    let data = frame.unwrap().into_data().unwrap();
                    self.pending.push_str(std::str::from_utf8(&data).unwrap());
                }
                None => self.ended = true,
            }
            while let Some(end) = self.pending.find("\n\n") {
                let event: String = self.pending.drain(..end + 2).collect();
                let data = event.lines().filter_map(|line| line.strip_prefix("data: "));
                self.messages.extend(data.filter_map(|data| serde_json::from_str(data).ok()));
            }
        }
        self.messages.pop_front()
    }

    pub(crate) async fn some(&mut self) -> Value {
        self.next().await.expect("a message")
    }
}

pub(crate) struct Modern {
    gateway: Gateway,
    path: &'static str,
}

impl Modern {
    pub(crate) fn new(gateway: &Gateway, path: &'static str) -> Self {
        Self { gateway: gateway.clone(), path }
    }

    pub(crate) async fn send(&self, id: &Value, method: &str, params: Value, accept: &str) -> Response<Body> {
        let mut params = params;
        params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                                 "io.modelcontextprotocol/clientCapabilities": {}});
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let request = Request::post(self.path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", accept)
            .header("mcp-method", method)
            .header("mcp-protocol-version", "2026-07-28");
        send(&self.gateway, request.body(Full::new(Bytes::from(body.to_string()))).unwrap()).await
    }

    /// Listens. Gives back the stream after its acknowledgement, and what that grants.
    pub(crate) async fn listen(&self, id: Value, filter: Value) -> (Stream, Value) {
        let params = json!({"notifications": filter});
        let response =
            self.send(&id, "subscriptions/listen", params, "application/json, text/event-stream").await;
        let mut stream = Stream::of(response);
        let first = stream.some().await;
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(first["params"]["_meta"], json!({SUBSCRIPTION: id}));
        (stream, first["params"]["notifications"].clone())
    }
}

pub(crate) struct Legacy {
    gateway: Gateway,
    path: &'static str,
    session: String,
}

impl Legacy {
    pub(crate) async fn new(gateway: &Gateway, path: &'static str) -> Self {
        let mut client = Self { gateway: gateway.clone(), path, session: String::new() };
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
                            "clientInfo": {"name": "it", "version": "1"}});
        let response = client.send(Method::POST, Some(("initialize", params))).await;
        response.headers()["mcp-session-id"].to_str().unwrap().clone_into(&mut client.session);
        client
    }

    async fn send(&self, method: Method, message: Option<(&str, Value)>) -> Response<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if !self.session.is_empty() {
            request =
                request.header("mcp-session-id", &self.session).header("mcp-protocol-version", "2025-11-25");
        }
        let body = message.map_or_else(String::new, |(method, params)| {
            json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
        });
        send(&self.gateway, request.body(Full::new(Bytes::from(body))).unwrap()).await
    }

    pub(crate) async fn ask(&self, method: &str, uri: &str) -> Value {
        let response = self.send(Method::POST, Some((method, json!({"uri": uri})))).await;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    pub(crate) async fn subscribe(&self, uri: &str) {
        let answer = self.ask("resources/subscribe", uri).await;
        assert_eq!(answer, json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
    }

    pub(crate) async fn stream(&self) -> Stream {
        Stream::of(self.send(Method::GET, None).await)
    }

    pub(crate) async fn leave(self) {
        assert_eq!(self.send(Method::DELETE, None).await.status(), 204);
    }
}
