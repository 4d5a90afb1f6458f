//! `/metrics` as Prometheus reads it, and the rules and the dashboard that are shipped for it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_e2e::guarded::{Guarded, declared, unthrottled};
use tollgate_testkit::fake::{Ask, Call, FakeServer, Http, HttpPeer, until};
use tollgate_testkit::issuer::api_key;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

/// A gateway with everything that has metrics, which has done something.
async fn busy() -> (Guarded, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let export = json!([{ "name": "siem", "file": { "path": folder.path().join("export.jsonl") } }]);
    let more = json!({ "ledger": { "export": export } });
    let guarded = Guarded::start_with(unthrottled(json!({ "keys": [declared("ann")] })), more).await;
    let mut peer = HttpPeer::modern(guarded.gateway.bearing(&api_key("ann")), "/mcp");
    peer.request(&Call::new("tools/list", "")).await.result();
    peer.request(&Call::tool("new__echo", "{}")).await.result();
    peer.request(&Call::tool("old__echo", "{}")).await.result();
    peer.request(&Call::tool("new__nothing", "{}")).await.error().unwrap();
    guarded.status("nobody").await;
    (guarded, folder)
}

/// The names of metrics in an expression, as families have them.
fn names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let families = words.filter(|word| {
        ["tollgate_", "mcp_", "process_"].iter().any(|prefix| word.starts_with(prefix))
            && !["mcp_method_name", "tollgate_server"].contains(word)
    });
    families
        .map(|word| {
            ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word)
        })
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_is_clean_and_has_all_that_rules_and_dashboard_ask_for() {
    let (guarded, _folder) = busy().await;
    let metrics = guarded.gateway.metrics().await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian: prometheus)");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{metrics}", String::from_utf8_lossy(&said));

    let families: BTreeSet<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let rules = fs::read_to_string(deploy("prometheus/tollgate.rules.yml")).unwrap();
    let expressions = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let mut asked: BTreeSet<String> = expressions.flat_map(names).collect();
    assert!(asked.len() > 10, "{asked:?}");
    let dashboard: Value =
        serde_json::from_slice(&fs::read(deploy("grafana/tollgate.json")).unwrap()).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            asked.extend(names(target["expr"].as_str().unwrap()));
        }
    }
    let missing: Vec<_> = asked.iter().filter(|name| !families.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "nobody writes {missing:?}; there are {families:?}");
}

#[test]
fn rules_and_configuration_pass_promtool() {
    for (what, file) in [("rules", "prometheus/tollgate.rules.yml"), ("config", "prometheus/prometheus.yml")]
    {
        let output = Command::new("promtool").args(["check", what]).arg(deploy(file)).output();
        let output = output.expect("promtool is installed (Debian: prometheus)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A real Prometheus that scrapes a gateway by the shipped configuration.
struct Prometheus {
    folder: TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Prometheus {
    /// One that is to listen at this address.
    fn of(gateway: SocketAddr, address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipped = fs::read_to_string(deploy("prometheus/prometheus.yml")).unwrap();
        let own = shipped.replace("127.0.0.1:8081", &gateway.to_string()).replace("15s", "200ms");
        assert!(own.contains(&gateway.to_string()));
        fs::write(folder.path().join("prometheus.yml"), own).unwrap();
        fs::copy(deploy("prometheus/tollgate.rules.yml"), folder.path().join("tollgate.rules.yml")).unwrap();
        Self { folder, address, child: None }
    }

    fn start(&mut self) {
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", self.folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", self.folder.path().join("data").display()))
            .arg(format!("--web.listen-address={}", self.address))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed (Debian: prometheus)");
        self.child = Some(child);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The value of the first series of a query; none while there is none.
    async fn value(&self, query: &str) -> Option<f64> {
        let path: String =
            query.bytes().fold("/api/v1/query?query=".to_owned(), |path, byte| format!("{path}%{byte:02X}"));
        let live = Http::new(self.address).open(&Ask::new("GET", &path)).await.ok()?;
        let answer: Value = serde_json::from_str(&live.finish().await.ok()?.text()).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_it_also_after_it_was_away() {
    let (guarded, _folder) = busy().await;
    let mut prometheus = Prometheus::of(guarded.gateway.admin, FakeServer::free_address().await);
    prometheus.start();
    let calls = r#"sum(mcp_server_operation_duration_seconds_count{mcp_method_name="tools/call"})"#;
    until("the first numbers", async || prometheus.value(calls).await.filter(|value| *value >= 3.0)).await;
    assert_eq!(prometheus.value("tollgate_ready").await, Some(1.0));
    until("a recorded rule", async || prometheus.value("tollgate:requests:rate5m").await).await;
    prometheus.kill();
    let mut peer = HttpPeer::modern(guarded.gateway.bearing(&api_key("ann")), "/mcp");
    for _ in 0..10 {
        peer.request(&Call::tool("new__echo", "{}")).await.result();
    }
    prometheus.start();
    // Counters say what was counted while nobody looked.
    until("what was missed", async || prometheus.value(calls).await.filter(|value| *value >= 13.0)).await;
    assert_eq!(
        prometheus.value(r#"count(ALERTS{alertname="TollgateNotReady", alertstate="firing"})"#).await,
        None
    );
}
