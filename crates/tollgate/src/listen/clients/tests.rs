use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use super::*;
use crate::listen::tls::{CertificateFiles, Certificates};
use crate::listen::{Bounds, Listener, Stopper};

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(20);

struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
    der: CertificateDer<'static>,
}

struct Issued {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { pem: certificate.pem(), der: certificate.der().clone(), params, key }
    }

    fn issue(&self, name: &str) -> Issued {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        Issued { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }
}

/// A listener that answers with the certificate that it was shown.
struct Served {
    address: SocketAddr,
    certificates: Arc<Certificates>,
    folder: tempfile::TempDir,
    server: Authority,
    /// Told when a request waits.
    waiting: Arc<Notify>,
    _stopper: Stopper,
}

async fn serve(authorities: &str, required: bool) -> Served {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let own = server.issue("127.0.0.1");
    let (certificate, key) = (write("cert.pem", &own.pem), write("key.pem", &own.key.serialize_pem()));
    let ca = write("clients.pem", authorities);
    let clients = Some(ClientAuthorities { ca, required });
    let certificates =
        Certificates::load("test", CertificateFiles { certificate, key }, clients).expect("certificates");
    let listener =
        Listener::bind("test", (Ipv4Addr::LOCALHOST, 0).into(), Some(Arc::clone(&certificates))).await;
    let listener = listener.expect("a listener");
    let address = listener.address();
    let (stopper, stop) = Stopper::new();
    let waiting = Arc::new(Notify::new());
    let waits = Arc::clone(&waiting);
    tokio::spawn(listener.serve(Bounds::default(), stop, move |arrival, request: Request<Incoming>| {
        let waits = Arc::clone(&waits);
        async move {
            if request.uri().path() == "/wait" {
                waits.notify_one();
                std::future::pending::<()>().await;
            }
            let shown = arrival.certificate.map(|certificate| Bytes::copy_from_slice(&certificate));
            Response::new(Full::new(shown.unwrap_or_default()))
        }
    }));
    Served { address, certificates, folder, server, waiting, _stopper: stopper }
}

impl Served {
    fn trust(&self, authorities: &str) {
        std::fs::write(self.folder.path().join("clients.pem"), authorities).expect("written");
        self.certificates.reload();
    }

    fn client(&self, shows: Option<&Issued>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.der.clone()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let key = |shown: &Issued| PrivateKeyDer::try_from(shown.key.serialize_der()).expect("a key");
        Arc::new(match shows {
            Some(shown) => config
                .with_client_auth_cert(vec![shown.certificate.clone()], key(shown))
                .expect("a client's certificate"),
            None => config.with_no_client_auth(),
        })
    }

    /// Asks once; the certificate that the listener was shown, and how the handshake went.
    async fn ask(&self, client: &Arc<ClientConfig>, path: &str) -> Result<(Bytes, HandshakeKind), String> {
        let asked = async {
            let tcp = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
            let name = ServerName::try_from("127.0.0.1").expect("a name");
            let tls = TlsConnector::from(Arc::clone(client)).connect(name, tcp).await;
            let tls = tls.map_err(|error| error.to_string())?;
            let kind = tls.get_ref().1.handshake_kind().expect("a handshake");
            let http = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await;
            let (mut sender, connection) = http.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            let request =
                Request::get(path).header("host", "x").body(Empty::<Bytes>::new()).expect("a request");
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
            Ok((body.to_bytes(), kind))
        };
        tokio::time::timeout(LONG, asked).await.expect("an end in time")
    }
}

fn shown(asked: Result<(Bytes, HandshakeKind), String>) -> Vec<u8> {
    asked.expect("an answer").0.to_vec()
}

#[tokio::test]
async fn a_certificate_that_the_authorities_vouch_for_is_passed_on() {
    let (ours, strangers) = (Authority::new(), Authority::new());
    let (robot, stranger) = (ours.issue("robot"), strangers.issue("robot"));
    let served = serve(&ours.pem, false).await;
    assert_eq!(shown(served.ask(&served.client(Some(&robot)), "/").await), robot.certificate.as_ref());
    assert!(shown(served.ask(&served.client(None), "/").await).is_empty());
    served.ask(&served.client(Some(&stranger)), "/").await.expect_err("nobody vouches for it");
}

#[tokio::test]
async fn where_one_is_required_nobody_comes_in_without() {
    let ours = Authority::new();
    let robot = ours.issue("robot");
    let served = serve(&ours.pem, true).await;
    assert_eq!(shown(served.ask(&served.client(Some(&robot)), "/").await), robot.certificate.as_ref());
    served.ask(&served.client(None), "/").await.expect_err("it is required");
}

#[tokio::test]
async fn other_authorities_end_what_is_open_and_nothing_is_resumed() {
    let (ours, others) = (Authority::new(), Authority::new());
    let robot = ours.issue("robot");
    let served = Arc::new(serve(&ours.pem, false).await);
    let client = served.client(Some(&robot));
    for _ in 0..2 {
        // The second handshake of the same client would be short if the first one's session were kept.
        let (_, kind) = served.ask(&client, "/").await.expect("an answer");
        assert_eq!(kind, HandshakeKind::Full);
    }
    let (asking, again) = (Arc::clone(&served), Arc::clone(&client));
    let open = tokio::spawn(async move { asking.ask(&again, "/wait").await });
    served.waiting.notified().await;

    served.trust("nonsense");
    assert!(!shown(served.ask(&client, "/").await).is_empty(), "what cannot be read changes nothing");
    assert!(!open.is_finished());

    served.trust(&format!("{}{}", ours.pem, others.pem));
    assert!(!shown(served.ask(&client, "/").await).is_empty());
    assert!(!open.is_finished(), "still vouched for");

    served.trust(&others.pem);
    open.await.expect("no panic").expect_err("cut");
    served.ask(&client, "/").await.expect_err("nobody vouches for it any more");
    assert!(shown(served.ask(&served.client(None), "/").await).is_empty());
}
