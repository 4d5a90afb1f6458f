use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rcgen::{CertificateParams, DistinguishedName, DnType, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Answer, Folder, Gateway, PATIENCE, answer, notes_config, run, stderr};

/// A certificate authority of the test's own.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    der: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { der: certificate.der().clone(), pem: certificate.pem(), params, key }
    }

    /// PEM of a certificate for this machine, and of its key.
    fn issue(&self, common_name: &str) -> (String, String) {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).expect("parameters");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn connect(
        &self,
        address: std::net::SocketAddr,
        alpn: &[&[u8]],
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let mut connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).expect("a handshake");
        }
        StreamOwned::new(connection, stream)
    }

    fn get(&self, address: std::net::SocketAddr, path: &str) -> Answer {
        let mut stream = self.connect(address, &[b"http/1.1"]);
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        answer(stream)
    }

    /// The certificate that the other side shows now.
    fn shown(&self, address: std::net::SocketAddr) -> Vec<u8> {
        let stream = self.connect(address, &[]);
        stream.conn.peer_certificates().and_then(|chain| chain.first()).expect("a certificate").to_vec()
    }
}

fn config(folder: &Folder) -> String {
    let tls =
        "tls: { certificate: cert.pem, key: key.pem }\nadmin_tls: { certificate: cert.pem, key: key.pem }\n";
    folder.write("tollgate.yaml", &format!("{tls}{}", notes_config("notes")))
}

#[test]
fn both_listeners_speak_tls_in_both_versions_of_http() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let (certificate, key) = authority.issue("first");
    folder.write("cert.pem", &certificate);
    folder.write("key.pem", &key);
    let gateway = Gateway::start(&config(&folder));

    assert_eq!(authority.get(gateway.admin, "/healthz").status, 200);
    let h2 = authority.connect(gateway.listen, &[b"h2", b"http/1.1"]);
    assert_eq!(h2.conn.alpn_protocol(), Some(&b"h2"[..]));
    let h1 = authority.connect(gateway.listen, &[b"http/1.1"]);
    assert_eq!(h1.conn.alpn_protocol(), Some(&b"http/1.1"[..]));

    // The client commands trust what they are told to trust, and nothing else.
    let ca = folder.write("ca.pem", &authority.pem);
    let url = format!("https://127.0.0.1:{}/mcp", gateway.listen.port());
    let output = run(&["tools", "list", &url, "--ca-file", &ca]);
    assert!(output.status.success(), "{}", stderr(&output));
    let output = run(&["tools", "list", &url]);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains("--ca-file"), "{}", stderr(&output));
}

#[test]
fn a_new_certificate_is_taken_over_and_a_bad_one_is_not() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let (certificate, key) = authority.issue("first");
    folder.write("cert.pem", &certificate);
    folder.write("key.pem", &key);
    let mut gateway = Gateway::start(&config(&folder));
    let first = authority.shown(gateway.listen);

    folder.write("cert.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
    gateway.process.wait_err("certificate not reloaded");
    assert_eq!(authority.shown(gateway.listen), first, "the old certificate stays");

    let (certificate, key) = authority.issue("second");
    folder.write("key.pem", &key);
    folder.write("cert.pem", &certificate);
    // Both listeners take it over, each by itself; while only one file was new the pair did not fit.
    gateway.process.wait_err("certificate reloaded");
    gateway.process.wait_err("certificate reloaded");
    // One that looked between the two files may have said it twice, and the other not yet.
    let begun = Instant::now();
    for address in [gateway.listen, gateway.admin] {
        while authority.shown(address) == first {
            assert!(begun.elapsed() < PATIENCE, "{address} shows the old one still");
        }
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_a_wrong_configuration() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let (certificate, _) = authority.issue("first");
    let (_, other_key) = authority.issue("second");
    folder.write("cert.pem", &certificate);
    folder.write("key.pem", &other_key);
    let output = run(&["check", &config(&folder)]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("cert.pem"), "{}", stderr(&output));
    folder.write("key.pem", &certificate);
    let output = run(&["check", &config(&folder)]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("key.pem: no private key in it"), "{}", stderr(&output));
}
