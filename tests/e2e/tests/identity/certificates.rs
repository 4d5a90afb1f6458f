//! Clients that show a certificate: who vouches for them, and whom they stand for.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tollgate_e2e::gateway::{Gateway, http, servers, with};
use tollgate_e2e::places::{node, script};
use tollgate_testkit::fake::{Call, FakeServer, HttpPeer, Script, soon, until};

struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

/// A certificate and its key, in PEM.
struct Shown {
    cert: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    fn issue(&self, names: Vec<SanType>) -> Shown {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap().pem();
        Shown { cert, key: key.serialize_pem() }
    }

    fn workload(&self, spiffe: &str) -> Shown {
        self.issue(vec![SanType::URI(Ia5String::try_from(spiffe).unwrap())])
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    // At once, as those who renew certificates do it.
    let (next, path) = (folder.join("next.tmp"), folder.join(name));
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, &path).unwrap();
    path
}

/// A gateway that asks for certificates, and an agent that alone may do anything.
struct Served {
    gateway: Gateway,
    folder: TempDir,
    public: Authority,
    server: FakeServer,
}

async fn serve(authority: &Authority, required: bool) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let public = Authority::new("the gateway's");
    let own = public.issue(vec![SanType::IpAddress([127, 0, 0, 1].into())]);
    let certificate = write(folder.path(), "own.pem", &own.cert);
    let key = write(folder.path(), "own.key", &own.key);
    let ca_file = write(folder.path(), "clients.pem", &authority.pem);
    let policy = r#"permit(principal in Agent::"reporter", action, resource);"#;
    let policy = write(folder.path(), "reporter.cedar", policy);
    let map = json!([{ "spiffe": "spiffe://example.org/agent/*", "agent": "*" }]);
    let config = json!({
        "tls": { "certificate": certificate, "key": key },
        "identity": { "certificates": { "ca_file": ca_file, "required": required, "map": map } },
        "policy": { "files": [policy] },
    });
    let server = FakeServer::start(Script::modern()).await;
    let gateway = Gateway::start(&with(&servers([("there", http(&server.url()))]), config)).await;
    Served { gateway, folder, public, server }
}

impl Served {
    /// What Node.js sees when it calls a tool with this certificate.
    async fn call(&self, shown: Option<&Shown>) -> Value {
        let ask = HttpPeer::modern(self.gateway.listen, "/mcp").ask("1", &Call::tool("there__echo", "{}"));
        let headers: serde_json::Map<String, Value> =
            ask.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let job = json!({
            "url": format!("https://{}/mcp", self.gateway.listen), "ca": self.public.pem,
            "cert": shown.map(|shown| &shown.cert), "key": shown.map(|shown| &shown.key),
            "headers": headers, "body": String::from_utf8(ask.body).unwrap(),
        });
        let mut child = Command::new(node())
            .arg(script("clients/certificate.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(job.to_string().as_bytes()).await.unwrap();
        let output = soon("the end of the client", child.wait_with_output()).await.unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn calls(&self) -> usize {
        self.server.log().of_method("tools/call").len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_is_known_by_its_spiffe_id() {
    let authority = Authority::new("the clients'");
    let served = serve(&authority, false).await;
    let known = served.call(Some(&authority.workload("spiffe://example.org/agent/reporter"))).await;
    assert_eq!(known["status"], 200, "{known}");
    assert!(known["body"].as_str().unwrap().contains("\"echo\""), "{known}");

    let calls = served.calls();
    // Known, but somebody else: whoever may do nothing learns nothing.
    let other = served.call(Some(&authority.workload("spiffe://example.org/agent/intern"))).await;
    assert_eq!(other["status"], 200, "{other}");
    assert!(other["body"].as_str().unwrap().contains("\"error\""), "{other}");
    for (what, spiffe) in [
        ("another trust domain", "spiffe://evil.example/agent/reporter"),
        ("a longer path", "spiffe://example.org/agent/x/reporter"),
        ("another path", "spiffe://example.org/service/reporter"),
        ("an empty name", "spiffe://example.org/agent/"),
    ] {
        let seen = served.call(Some(&authority.workload(spiffe))).await;
        assert_eq!(seen["status"], 401, "{what}: {seen}");
    }
    // A certificate with two SPIFFE ids is a mistake of its issuer's, whatever they say.
    let names = ["reporter", "intern"]
        .map(|name| SanType::URI(Ia5String::try_from(format!("spiffe://example.org/agent/{name}")).unwrap()));
    let seen = served.call(Some(&authority.issue(names.to_vec()))).await;
    assert_eq!(seen["status"], 401, "two ids: {seen}");
    let seen = served.call(None).await;
    assert_eq!(seen["status"], 401, "no certificate: {seen}");
    // Nobody vouches for these: the handshake ends.
    let forged = Authority::new("the clients'").workload("spiffe://example.org/agent/reporter");
    let seen = served.call(Some(&forged)).await;
    assert!(seen["error"].is_string(), "a stranger's certificate: {seen}");
    assert_eq!(served.calls(), calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_certificates_are_required_nobody_comes_in_without() {
    let authority = Authority::new("the clients'");
    let served = serve(&authority, true).await;
    let shown = authority.workload("spiffe://example.org/agent/reporter");
    let known = served.call(Some(&shown)).await;
    assert_eq!(known["status"], 200, "{known}");
    let seen = served.call(None).await;
    assert!(seen["error"].is_string(), "no certificate: {seen}");

    // Other authorities, without a restart: who was known is not any more.
    let other = Authority::new("others'");
    write(served.folder.path(), "clients.pem", &other.pem);
    until("the new authorities", async || served.call(Some(&shown)).await["error"].as_str().map(|_| ()))
        .await;
    let known = served.call(Some(&other.workload("spiffe://example.org/agent/reporter"))).await;
    assert_eq!(known["status"], 200, "{known}");
}
