//! Both eras over a pair of streams.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, duplex, split};
use tollgate_proxy::{Gateway, serve_stdio};

use crate::LONG;
use crate::rig::gateway;
use crate::servers::{SUBSCRIPTION, Watched};

struct Client {
    output: tokio::io::WriteHalf<DuplexStream>,
    input: Lines<BufReader<tokio::io::ReadHalf<DuplexStream>>>,
}

impl Client {
    fn new(gateway: &Gateway) -> Self {
        let (near, far) = duplex(1 << 16);
        let (input, output) = split(far);
        tokio::spawn(serve_stdio(gateway.clone(), input, output));
        let (input, output) = split(near);
        Self { output, input: BufReader::new(input).lines() }
    }

    async fn say(&mut self, message: &Value) {
        self.output.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn listen(&mut self, id: i64, filter: Value) {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                          "io.modelcontextprotocol/clientCapabilities": {}});
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": "subscriptions/listen",
                         "params": {"notifications": filter, "_meta": meta}}))
            .await;
        let first = self.hear().await.unwrap();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(first["params"]["_meta"], json!({SUBSCRIPTION: id}));
    }

    async fn hear(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(LONG, self.input.next_line()).await.expect("a line in time").unwrap();
        line.map(|line| serde_json::from_str(&line).unwrap())
    }
}

#[tokio::test]
async fn a_modern_client_has_several_subscriptions_and_cancels_each_by_its_id() {
    let server = Watched::modern(&["a:1", "a:2"]).await;
    let gateway = gateway([("one", &server)]);
    let mut client = Client::new(&gateway);
    client.listen(1, json!({"resourceSubscriptions": ["a:1"]})).await;
    client.listen(2, json!({"resourceSubscriptions": ["a:1", "a:2"]})).await;
    server.is_asked(&json!([{"resourceSubscriptions": ["a:1", "a:2"], "toolsListChanged": true}])).await;
    server.touch("a:1").await;
    let mut told = [client.hear().await.unwrap(), client.hear().await.unwrap()]
        .map(|message| message["params"]["_meta"][SUBSCRIPTION].as_i64().unwrap());
    told.sort_unstable();
    assert_eq!(told, [1, 2]);

    client
        .say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}))
        .await;
    server.is_asked(&json!([{"resourceSubscriptions": ["a:1"], "toolsListChanged": true}])).await;
    server.touch("a:1").await;
    assert_eq!(client.hear().await.unwrap()["params"]["_meta"][SUBSCRIPTION], 1);

    gateway.begin_drain();
    let end = client.hear().await.unwrap();
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!(1), &json!("complete")));
    assert_eq!(client.hear().await, None);
}

#[tokio::test]
async fn a_legacy_client_hears_of_its_subscriptions_until_it_leaves() {
    let server = Watched::modern(&["a:1"]).await;
    let gateway = gateway([("one", &server)]);
    let mut client = Client::new(&gateway);
    client
        .say(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
            {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}}))
        .await;
    let hello = client.hear().await.unwrap();
    assert_eq!(hello["result"]["capabilities"]["resources"], json!({"subscribe": true, "listChanged": true}));
    client
        .say(&json!({"jsonrpc": "2.0", "id": 2, "method": "resources/subscribe", "params": {"uri": "a:1"}}))
        .await;
    assert_eq!(client.hear().await.unwrap()["result"], json!({}));
    server.touch("a:1").await;
    assert_eq!(client.hear().await.unwrap()["method"], "notifications/resources/updated");
    drop(client);
    server.is_asked(&json!([{"toolsListChanged": true}])).await;
}

#[tokio::test]
async fn what_is_asked_right_before_the_end_is_answered() {
    let server = Watched::modern(&[]).await;
    let gateway = gateway([("one", &server)]);
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
        {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}}});
    let ping = |id: i64| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                      "io.modelcontextprotocol/clientCapabilities": {}});
    let discover = json!({"jsonrpc": "2.0", "id": 2, "method": "server/discover", "params": {"_meta": meta}});
    for last in [json!([ping(2), ping(3)]), discover] {
        let mut client = Client::new(&gateway);
        client.say(&initialize).await;
        assert_eq!(client.hear().await.unwrap()["id"], 1);
        client.say(&last).await;
        client.output.shutdown().await.unwrap();
        let answer = client.hear().await.unwrap_or_else(|| panic!("no answer to {last}"));
        assert!(answer["id"] == 2 || answer.as_array().is_some_and(|all| all.len() == 2), "{answer}");
        assert_eq!(client.hear().await, None);
    }
}
