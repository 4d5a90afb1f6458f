//! What stands around a gateway with everything on: callers who prove themselves, a hundred policies, and a receiver of traces.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::Result;
use crate::client;
use crate::targets::Site;

/// How many policies there are, and how many of them are about the call, each with a condition on its argument and one on
/// the time.
const POLICIES: usize = 100;
const ABOUT_THE_CALL: usize = 10;
/// How long the gateway may take to know the tools that the policies are about.
const READY_MAX: Duration = Duration::from_secs(20);

/// What callers prove themselves with.
#[derive(Clone, Debug)]
pub(crate) struct Proofs {
    pub(crate) key: String,
    pub(crate) token: String,
}

/// Writes the sections of the configuration, the policies beside it, and what proves callers.
pub(crate) fn write(home: &Path) -> Result<(String, Proofs)> {
    fs::create_dir_all(home.join("policies"))?;
    fs::write(home.join("policies/bench.cedar"), policies())?;
    let minted = tollgate_identity::key::mint()?;
    let digest = minted.hash.0.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let issuer = Issuer::start()?;
    let sections = format!(
        "identity:
  keys:
    - {{ id: bench, agent: bench, groups: [load], sha256: \"{digest}\" }}
  issuers:
    - issuer: http://{address}
      jwks_uri: http://{address}/jwks
      allow_private_addresses: true
      audiences: [bench]
      claims: {{ agent_groups: agent_groups }}
policy:
  files: [policies]
",
        address = issuer.address
    );
    let key = minted.text.expose().to_owned();
    Ok((sections, Proofs { key, token: issuer.token()? }))
}

fn policies() -> String {
    let mut text = String::new();
    for nth in 0..POLICIES {
        let group = if nth < ABOUT_THE_CALL { "load".to_owned() } else { format!("team-{nth}") };
        let _ = writeln!(
            text,
            "@id(\"{nth:03}\")\npermit(principal in AgentGroup::\"{group}\", action == Action::\"bench__small\", resource in Server::\"bench\")\n\
             when {{ context.input.word != \"word-{nth}\" && context.env.hour < 24 }};"
        );
    }
    text
}

/// Waits until a call is let through: the gateway reads its servers' lists in the background.
pub(crate) fn await_ready(site: &Site) -> Result<()> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        let mut stream = client::connect(site.address)?;
        let request = client::modern_call(site, 1, "small", r#""arguments":{"word":"gate"}"#);
        let answer = client::exchange(&mut stream, request.as_bytes())?;
        if answer.status == 200 && memchr::memmem::find(&answer.body, b"\"content\"").is_some() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(format!("no call is let through: status {}, {body}", answer.status).into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Takes whatever is sent to it, and says that it was received: an empty answer is a whole one for OTLP. It ends with the
/// process.
pub(crate) fn receive() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || swallow(stream));
        }
    });
    Ok(address)
}

/// Answers requests on a connection until it ends.
fn swallow(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let Some((name, value)) = line.split_once(':') else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).ok()?;
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

/// An authorization server of which only the keys are asked.
struct Issuer {
    address: SocketAddr,
    key: EcdsaKeyPair,
}

impl Issuer {
    fn start() -> Result<Issuer> {
        let random = SystemRandom::new();
        let failed = |what: &str| format!("the issuer's key: {what}");
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| failed("none could be made"))?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .map_err(|why| failed(&why.to_string()))?;
        // An uncompressed point: a byte, then both coordinates.
        let point = key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        let body = format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"bench","x":"{x}","y":"{y}"}}]}}"#
        );
        let response = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        // It ends with the process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                let _ = stream.write_all(response.as_bytes());
            }
        });
        Ok(Issuer { address, key })
    }

    /// An access token that outlives every run.
    fn token(&self) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"at+jwt","kid":"bench"}"#);
        let claims = URL_SAFE_NO_PAD.encode(format!(
            r#"{{"iss":"http://{}","sub":"user-1","client_id":"bench","aud":"bench","scope":"mcp","agent_groups":["load"],"groups":["finance","everybody"],"iat":{now},"exp":{},"jti":"bench-1"}}"#,
            self.address,
            now + 24 * 3600
        ));
        let signed = format!("{header}.{claims}");
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| "the token could not be signed")?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
