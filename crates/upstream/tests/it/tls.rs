use std::sync::Arc;

use rustls_pki_types::PrivateKeyDer;
use serde_json::json;
use tollgate_upstream::{HttpSettings, HttpVersion, SettingsError, Transport};

use crate::fake::{Fake, Seen, discovery, json_answer, text};
use crate::{anyone, server, settings, text_of};

#[tokio::test]
async fn tls_trusts_the_given_authority_only_and_negotiates_the_version() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let fake = Fake::start_at("127.0.0.1:0".parse().unwrap(), Some(acceptor), |request: Seen| async move {
        match request.rpc() {
            "server/discover" => discovery(&request),
            _ => json_answer(&text(&request, "private")),
        }
    })
    .await;
    let url: http::Uri = format!("https://localhost:{}/mcp", fake.address.port()).parse().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.cert.pem()).unwrap();

    for (version, connections) in [(HttpVersion::Auto, 1), (HttpVersion::Http1, 2)] {
        let mut trusting = HttpSettings::new(url.clone());
        trusting.ca_file = Some(file.path().to_owned());
        trusting.version = version;
        let (server, _events) = server(settings(Transport::Http(trusting)));
        let link = server.open(&anyone()).await.unwrap();
        let nothing = json!({});
        let calls = (0..4).map(|_| text_of(&link, "x", &nothing));
        assert!(futures_util::future::join_all(calls).await.iter().all(|text| text == "private"));
        // One connection carries all calls over HTTP/2.
        assert!(fake.connections() >= connections, "{version:?}");
        if version == HttpVersion::Auto {
            assert_eq!(fake.connections(), 1);
        }
    }

    // The platform does not know this authority.
    let (stranger, _events) = server(settings(Transport::Http(HttpSettings::new(url.clone()))));
    let error = stranger.open(&anyone()).await.unwrap_err();
    assert_eq!(error.code(), tollgate_model::Code::UpstreamUnavailable);

    let mut missing = HttpSettings::new(url);
    missing.ca_file = Some("/nowhere/ca.pem".into());
    let (sender, _events) = tokio::sync::mpsc::channel(1);
    let refused = tollgate_upstream::Server::new(settings(Transport::Http(missing)), sender);
    assert!(matches!(refused, Err(SettingsError::CaFile { .. })));
}
