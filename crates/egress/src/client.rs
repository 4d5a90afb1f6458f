//! The client.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use tollgate_model::Secret;
use url::{Host, Url};

use crate::address::{Resolver, may_connect};
use crate::{EgressError, roots};

/// How many idle connections to one host are kept.
const IDLE_MAX: usize = 2;
const IDLE: Duration = Duration::from_secs(30);

/// How calls go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressSettings {
    /// Lets calls go to private and loopback addresses, and to loopback without TLS. Link-local addresses stay out.
    pub allow_private: bool,
    /// Lets calls go without TLS beyond this machine too: only for addresses that the operator wrote with `http`.
    pub allow_plain: bool,
    /// The certificate authorities (PEM) to trust instead of the platform's.
    pub ca_pem: Option<Arc<str>>,
    /// How long a connection and its TLS handshake may take.
    pub connect_timeout: Duration,
    /// How long a whole call may take.
    pub timeout: Duration,
    /// The largest answer.
    pub body_bytes_max: usize,
}

/// Calls out. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub struct Egress {
    client: reqwest::Client,
    allow_private: bool,
    allow_plain: bool,
    body_bytes_max: usize,
}

/// An answer with status 200, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What was answered to a body that was posted.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, or the begin of it.
    pub body: Bytes,
}

impl Egress {
    /// A client for calls of one purpose. Nothing is called yet.
    ///
    /// # Errors
    /// [`EgressError::Roots`] if nobody could be trusted.
    pub fn new(settings: &EgressSettings) -> Result<Self, EgressError> {
        let tls = roots::tls_config(settings.ca_pem.as_deref())?;
        let EgressSettings { allow_private, allow_plain, .. } = *settings;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(Resolver { allow_private }))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE)
            .http2_max_header_list_size(64 * 1024)
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| EgressError::Roots(error.to_string()))?;
        Ok(Self { client, allow_private, allow_plain, body_bytes_max: settings.body_bytes_max })
    }

    /// Fetches a document.
    pub async fn get(&self, url: &Url) -> Result<Answer, EgressError> {
        self.check(url)?;
        self.send(url, self.client.request(Method::GET, url.clone())).await
    }

    /// Fetches a document that only whoever shows this token may see (RFC 6750, section 2.1).
    pub async fn get_bearing(&self, url: &Url, token: &Secret) -> Result<Answer, EgressError> {
        self.check(url)?;
        let value = Secret::new(format!("Bearer {}", token.expose()));
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| EgressError::Unreadable { url: shown(url), reason: "the token".to_owned() })?;
        value.set_sensitive(true);
        self.send(url, self.client.request(Method::GET, url.clone()).header(AUTHORIZATION, value)).await
    }

    /// Posts a form. `basic` is the user name and password of HTTP Basic, already in the form that the receiver reads.
    pub async fn post_form(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        basic: Option<(&str, &Secret)>,
    ) -> Result<Answer, EgressError> {
        self.check(url)?;
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let mut request =
            self.client.request(Method::POST, url.clone()).header(CONTENT_TYPE, form).body(body);
        if let Some((name, password)) = basic {
            request = request.header(AUTHORIZATION, basic_value(name, password, &shown(url))?);
        }
        self.send(url, request).await
    }

    /// Posts a body as it is, with these headers, and gives back what was answered, whatever its status. Of a long answer only
    /// the first [`EgressSettings::body_bytes_max`] bytes are kept: by then the receiver has done what it was asked for.
    pub async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Posted, EgressError> {
        self.check(url)?;
        let shown = shown(url);
        let failed = |error: reqwest::Error| EgressError::of(&shown, &error);
        let request = self.client.request(Method::POST, url.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(failed)?;
        let mut body = BytesMut::new();
        while body.len() < self.body_bytes_max {
            // The status is what counts: an answer that breaks off after it has said enough.
            let Ok(Some(chunk)) = response.chunk().await else { break };
            body.extend_from_slice(&chunk[..chunk.len().min(self.body_bytes_max - body.len())]);
        }
        let status = response.status();
        Ok(Posted { status, headers: std::mem::take(response.headers_mut()), body: body.freeze() })
    }

    async fn send(&self, url: &Url, request: reqwest::RequestBuilder) -> Result<Answer, EgressError> {
        let shown = shown(url);
        let failed = |error: reqwest::Error| EgressError::of(&shown, &error);
        let request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(EgressError::Status { url: shown, status: response.status().as_u16() });
        }
        // Nobody has asked for it, and what is small here could be large when it is unpacked.
        if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(EgressError::Unreadable { url: shown, reason: "it is compressed".to_owned() });
        }
        let bytes_max = self.body_bytes_max;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > bytes_max {
                return Err(EgressError::TooLarge { url: shown, bytes_max });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { headers: std::mem::take(response.headers_mut()), body: body.freeze() })
    }

    /// What can be said of an address before it is connected to. A host that is an address itself is never resolved.
    fn check(&self, url: &Url) -> Result<(), EgressError> {
        let refused = |reason| Err(EgressError::NotAllowed { url: shown(url), reason });
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) => None,
            None => return refused("it has no host"),
        };
        if literal.is_some_and(|address| !may_connect(address, self.allow_private)) {
            return refused("it is at no public address");
        }
        let is_loopback = match literal {
            Some(address) => address.to_canonical().is_loopback(),
            None => url.domain().is_some_and(|name| name == "localhost"),
        };
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.allow_plain || (self.allow_private && is_loopback) => Ok(()),
            _ => refused("only https is"),
        }
    }
}

fn basic_value(name: &str, password: &Secret, url: &str) -> Result<HeaderValue, EgressError> {
    use base64::Engine as _;
    let pair = Secret::new(format!("{name}:{}", password.expose()));
    let value =
        Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.expose())));
    let mut value = HeaderValue::from_str(value.expose())
        .map_err(|_| EgressError::Unreadable { url: url.to_owned(), reason: "the credential".to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

/// An address as messages show it: without what may be secret.
fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn client() -> Egress {
        Egress::new(&EgressSettings {
            allow_private: true,
            allow_plain: false,
            ca_pem: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            body_bytes_max: 8,
        })
        .expect("a client")
    }

    /// A receiver that reads one request to its end, says this, and hangs up; the request that it read.
    async fn receiver(answer: &'static str) -> (Url, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let url = format!("http://{}/in", listener.local_addr().expect("an address"));
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut read = Vec::new();
            while !read.ends_with(b"END") {
                assert!(stream.read_buf(&mut read).await.expect("bytes") > 0);
            }
            stream.write_all(answer.as_bytes()).await.expect("written");
            String::from_utf8(read).expect("text")
        });
        (url.parse().expect("a URL"), task)
    }

    #[tokio::test]
    async fn a_post_gives_back_whatever_was_answered_and_little_of_a_long_body() {
        let (url, seen) =
            receiver("HTTP/1.1 503 No\r\nretry-after: 7\r\ncontent-length: 20\r\n\r\n0123456789").await;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        let posted = client().post(&url, headers, Bytes::from_static(b"END")).await.expect("an answer");
        assert_eq!((posted.status.as_u16(), &posted.body[..]), (503, &b"01234567"[..]));
        assert_eq!(posted.headers["retry-after"], "7");
        let seen = seen.await.expect("the receiver");
        assert!(seen.starts_with("POST /in ") && seen.contains("content-type: text/plain"), "{seen}");
    }

    #[tokio::test]
    async fn what_broke_off_may_have_arrived_and_what_never_began_has_not() {
        let (url, _seen) = receiver("").await;
        let broken = client().post(&url, HeaderMap::new(), Bytes::from_static(b"END")).await;
        assert!(
            matches!(&broken, Err(error @ EgressError::Broken { .. }) if !error.is_before_sending()),
            "{broken:?}"
        );
        let closed =
            TcpListener::bind("127.0.0.1:0").await.expect("a listener").local_addr().expect("an address");
        let url = format!("http://{closed}/").parse().expect("a URL");
        let refused = client().post(&url, HeaderMap::new(), Bytes::from_static(b"END")).await;
        assert!(matches!(&refused, Err(error) if error.is_before_sending()), "{refused:?}");
    }
}
