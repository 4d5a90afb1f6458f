//! The answers of the admin listener: one router, in front of which it is asked by what name the listener is called.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::IntoResponse as _;
use axum::routing::any;
use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode, Uri};
use serde_json::json;
use tollgate_model::{Secret, Timestamp};
use tollgate_telemetry::counters::{self, Metrics};
use tower_service::Service as _;

use crate::front::{Shared, secure};
use crate::link::Link;
use crate::plane::{Plane, Reached};
use crate::problem::Problem;
use crate::world::World;
use crate::{AdminSettings, api, pages, sign_in};

/// The body of every answer.
pub type Body = axum::body::Body;

const JSON: &str = "application/json";
/// The Prometheus text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The largest body of a request. Nobody has more to say here.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;
/// How long the head of an answer may take, the body of its request included.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// Answers the admin listener's requests. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    router: Router,
    plane: Shared,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("plane", &self.plane).finish_non_exhaustive()
    }
}

impl Admin {
    /// Answers for this gateway. With it comes, where nobody could sign in otherwise and only this machine is listened to, the
    /// secret of the link by which one may sign in once: show it to whoever started the process, and nobody else.
    pub fn new(world: impl World, reached: Reached, settings: AdminSettings) -> (Self, Option<Secret>) {
        let is_alone = reached.is_loopback && settings.sign_in.is_none();
        let (link, secret) = match is_alone.then(|| Link::make(Timestamp::now())).flatten() {
            Some((link, secret)) => (link, Some(secret)),
            None => (Link::default(), None),
        };
        let plane = Arc::new(Plane::new(Box::new(world), reached, settings, link));
        let router = Router::new()
            .route("/healthz", any(alive))
            .route("/readyz", any(readiness))
            .route("/metrics", any(metrics))
            .merge(sign_in::routes())
            .merge(pages::routes())
            .merge(api::routes())
            .fallback(nowhere)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(Arc::clone(&plane));
        (Self { router, plane }, secret)
    }

    /// From now on people get in like this.
    pub fn configure(&self, settings: AdminSettings) {
        self.plane.configure(settings);
    }

    /// Answers one request.
    ///
    /// `/healthz`: 200 while the process lives. `/readyz`: 200 while clients are served, else 503; the body says how
    /// each server does (one that is down does not make the gateway unready: the others are served). `/metrics`:
    /// Prometheus text; another method than GET and HEAD: 405. Everything else only where people can sign in without being
    /// listened to, and where there is nothing: 404. An unknown `Host`: 403.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let is_head = *request.method() == Method::HEAD;
        let request = request.map(Body::new);
        let is_health = matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics");
        let host = host_of(request.headers(), request.uri());
        let mut response = if !host.is_some_and(|host| self.plane.is_called(host)) {
            let text = "this host name is not known here";
            refused(request.uri().path(), StatusCode::FORBIDDEN, "unknown_host", text)
        } else if !is_health && !self.plane.is_open() {
            closed(request.uri().path())
        } else {
            self.routed(request).await
        };
        if !is_health {
            secure(response.headers_mut());
        }
        if is_head {
            *response.body_mut() = Body::default();
        }
        response
    }

    /// Answers a request of whoever owns the process, as the operating system says, and nobody else: the API only. They may do
    /// everything, since they can do so without asking; `user` is who the record says that it was.
    pub async fn answer_owner<B>(&self, request: Request<B>, user: Arc<str>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        if !request.uri().path().starts_with("/api/v1/") {
            return nothing(request.uri().path());
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Owner(user));
        self.routed(request).await
    }

    async fn routed(&self, request: Request<Body>) -> Response<Body> {
        let uri = request.uri().clone();
        // Nothing is called so, and not every database can be asked for it.
        if uri.path().contains("%00") || uri.query().is_some_and(|query| query.contains("%00")) {
            let text = "there is a NUL in the address";
            return refused(uri.path(), StatusCode::BAD_REQUEST, "malformed", text);
        }
        match tokio::time::timeout(ANSWER_MAX, self.router.clone().call(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => {
                let text = "the request, or its answer, took too long";
                refused(uri.path(), StatusCode::REQUEST_TIMEOUT, "too_slow", text)
            }
        }
    }
}

/// The owner of the process asks. No request brings it along: only [`Admin::answer_owner`] puts it there.
#[derive(Debug, Clone)]
pub(crate) struct Owner(pub(crate) Arc<str>);

async fn alive(method: Method) -> Response<Body> {
    reading(&method, || reply(StatusCode::OK, JSON, json!({"alive": true}).to_string()))
}

async fn readiness(method: Method, State(plane): State<Shared>) -> Response<Body> {
    reading(&method, || {
        let snapshot = plane.snapshot();
        let status = if snapshot.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        reply(status, JSON, snapshot.to_json().to_string())
    })
}

async fn metrics(method: Method, State(plane): State<Shared>) -> Response<Body> {
    reading(&method, || {
        let mut metrics = Metrics::default();
        counters::write(&mut metrics);
        plane.snapshot().write(&mut metrics);
        reply(StatusCode::OK, METRICS, metrics.into_text())
    })
}

fn nothing(path: &str) -> Response<Body> {
    refused(path, StatusCode::NOT_FOUND, "not_found", "there are /healthz, /readyz and /metrics")
}

/// A refusal before any handler: to whoever asks the API a problem, as all of its refusals are.
fn refused(path: &str, status: StatusCode, code: &'static str, text: &str) -> Response<Body> {
    if path == "/api" || path.starts_with("/api/") {
        return Problem::new(status, code, text).into_response();
    }
    error(status, text)
}

/// Whoever looks for the console from elsewhere is told what it takes.
fn closed(path: &str) -> Response<Body> {
    refused(
        path,
        StatusCode::NOT_FOUND,
        "not_found",
        "there are /healthz, /readyz and /metrics; beyond its own machine the gateway serves the console and the API only where \
         people sign in by a provider (`admin.sign_in`) and come over TLS",
    )
}

/// Where there is no page people are told so on one.
#[allow(clippy::unused_async, reason = "handlers are")]
async fn nowhere(uri: Uri, headers: HeaderMap) -> Response<Body> {
    let accepted = headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        return pages::error(&Problem::not_found("There is no page at this address."));
    }
    nothing(uri.path())
}

/// What only answers those who read.
fn reading(method: &Method, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return answer();
    }
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// `Host` of HTTP/1.1 or the authority of HTTP/2.
pub(crate) fn host_of<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, _) => uri.authority().map(http::uri::Authority::as_str),
        (Some(_), Some(_)) => None,
    }
}

fn error(status: StatusCode, text: &str) -> Response<Body> {
    reply(status, JSON, json!({"error": text}).to_string())
}

fn reply(status: StatusCode, media_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ExportLine, IndexLine, LedgerLine, LimitsLine, ReplicaLine, ServerLine, ServerReach, Standing,
        StoreLine, StoreReach,
    };
    use http_body_util::BodyExt;
    use tollgate_model::{Holder, ServerId, ServerName, TenantId, Timestamp};

    fn admin(standing: Standing) -> Admin {
        admin_with(standing, None)
    }

    fn admin_with(standing: Standing, store: Option<StoreLine>) -> Admin {
        admin_of(standing, store, None)
    }

    fn replica(name: &str, health: &'static str, until_ms: Option<u64>) -> ReplicaLine {
        ReplicaLine {
            name: name.into(),
            version: Some("1.2".into()),
            health,
            ejected_until: until_ms.map(Timestamp::from_ms),
            in_flight: 2,
            answered: 3,
            failed: 4,
            ejections: 5,
        }
    }

    fn admin_of(standing: Standing, store: Option<StoreLine>, ledger: Option<LedgerLine>) -> Admin {
        let line = |holder| ServerLine {
            server: ServerId::new(holder, ServerName::new("files").expect("a name")),
            transport: "stdio",
            reach: ServerReach::Down {
                code: "upstream_unavailable",
                reason: "it did not start".into(),
                since: Timestamp::from_ms(951_782_400_000),
            },
            instances: 0,
            leased: 0,
            starts: 3,
            restarts: 2,
            start_failures: 1,
            replicas: vec![
                replica("a.example:443", "well", None),
                replica("b.example:443", "ejected", Some(951_782_405_000)),
            ],
        };
        let servers = vec![line(Holder::Tenant(TenantId::new("acme"))), line(Holder::Shared)];
        let reached = Reached {
            hosts: vec!["gate.example".to_owned()],
            is_loopback: true,
            base: "http://127.0.0.1:1".into(),
        };
        let world = Told(Box::new(move || {
            let (servers, ledger) = (servers.clone(), ledger.clone());
            let index = Some(index());
            let blocks = vec![("agent", 2), ("tool", 0)];
            let limits = LimitsLine {
                are_shared: true,
                shared_away: Some(("it does not answer".into(), Timestamp::from_ms(951_782_400_000))),
                allowances_away: None,
            };
            let exports = vec![export()];
            let left_out = vec![("crm@2".to_owned(), "its name is taken".to_owned())];
            let not_taken = Some("store:secret@1:2:3: a word".to_owned());
            crate::Snapshot {
                standing,
                servers,
                store,
                exports,
                ledger,
                index,
                blocks,
                limits,
                left_out,
                not_taken,
            }
        }));
        Admin::new(world, reached, AdminSettings::default()).0
    }

    struct Told(Box<dyn Fn() -> crate::Snapshot + Send + Sync>);

    #[async_trait::async_trait]
    impl crate::Registry for Told {
        fn read_server(
            &self,
            _: &tollgate_store::RegistrationId,
            _: &str,
            _: tollgate_store::About,
        ) -> Result<crate::ReadServer, Vec<String>> {
            Err(Vec::new())
        }

        async fn find_servers(&self, _: crate::ImportSource) -> Result<Vec<crate::FoundServer>, String> {
            Ok(Vec::new())
        }

        async fn review(&self, _: &tollgate_store::Registration) -> Result<crate::Review, String> {
            Err("nobody is asked".to_owned())
        }

        fn judge(&self, _: &ServerId, _: tollgate_store::List, _: &[Bytes]) -> Vec<crate::Judged> {
            Vec::new()
        }

        async fn callers(
            &self,
            _: &TenantId,
            _: &ServerName,
            _: &[Arc<str>],
        ) -> Option<Vec<crate::ToolCallers>> {
            None
        }
    }

    #[async_trait::async_trait]
    impl World for Told {
        fn snapshot(&self) -> crate::Snapshot {
            (self.0)()
        }

        fn parts(&self) -> Option<crate::Parts> {
            None
        }

        fn make_store(&self) -> Result<Arc<dyn tollgate_store::Store>, String> {
            Err("there is none".to_owned())
        }

        async fn try_rules(&self, _: &crate::RuleCandidate) -> Result<Vec<crate::PolicyRemark>, String> {
            Err("nothing is tried".to_owned())
        }

        async fn test_rules(&self, _: &crate::RuleCandidate, _: &str) -> Result<crate::Tested, String> {
            Err("nothing is tried".to_owned())
        }

        async fn simulate_rules(&self, _: &crate::RuleCandidate, _: u32) -> Result<crate::Simulated, String> {
            Err("nothing is tried".to_owned())
        }

        async fn try_policies(
            &self,
            _: &TenantId,
            _: Vec<crate::PolicyText>,
        ) -> Result<Vec<crate::PolicyRemark>, String> {
            Ok(Vec::new())
        }
    }

    fn index() -> IndexLine {
        IndexLine { behind: 7, entries: 30, failure: Some("the store is away".into()) }
    }

    fn export() -> ExportLine {
        ExportLine {
            export: "siem".to_owned(),
            target: "syslog",
            writer: "w1".to_owned(),
            away: Some(("nobody answers".to_owned(), 1200)),
            seq: 7,
            behind_bytes: 30,
            behind_bytes_max: 20,
            sent: 6,
            redelivered: 2,
            failures: 3,
            lost: 0,
        }
    }

    #[test]
    fn a_ledger_that_cannot_be_written_makes_it_unready_where_calls_are_refused() {
        let down = || Some(("No space left on device".into(), Duration::from_millis(1500)));
        for (down, refuses, status, state, metric) in [
            (None, true, 200, "up", "tollgate_ledger_up 1\n"),
            (down(), true, 503, "down", "tollgate_ledger_up 0\n"),
            (down(), false, 200, "down", "tollgate_ledger_lost_total 3\n"),
        ] {
            let ledger = LedgerLine { down, refuses, lost: 3, ..LedgerLine::default() };
            let admin = admin_of(Standing::Serving, None, Some(ledger));
            let (answered, body) = ask_of(&admin, "GET", "localhost", "/readyz");
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!((answered, &body["ledger"]["state"]), (status, &state.into()));
            if state == "down" {
                assert_eq!(body["ledger"]["reason"], "No space left on device");
            }
            assert!(ask_of(&admin, "GET", "localhost", "/metrics").1.contains(metric));
        }
        let (_, body) = ask(Standing::Serving, "GET", "localhost", "/readyz");
        assert!(body.contains("\"off\""), "{body}");
    }

    #[test]
    fn a_ledger_that_can_begin_no_new_segment_says_so_and_serves() {
        let stuck = Some(("Too many open files".into(), Duration::from_millis(1500)));
        let retention_waits = Some(("siem".into(), Duration::from_millis(20)));
        let ledger = LedgerLine {
            stuck,
            retention_waits,
            refuses: true,
            segment_failures: 4,
            ..LedgerLine::default()
        };
        let admin = admin_of(Standing::Serving, None, Some(ledger));
        let (status, body) = ask_of(&admin, "GET", "localhost", "/readyz");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let said = serde_json::json!({
            "state": "up",
            "newSegment": { "state": "down", "reason": "Too many open files", "downMs": 1500 },
            "retention": { "state": "waiting", "waitsFor": "siem", "waitsMs": 20 },
        });
        assert_eq!((status, &body["ledger"]), (200, &said));
        let metrics = ask_of(&admin, "GET", "localhost", "/metrics").1;
        assert!(metrics.contains("tollgate_ledger_segment_failures_total 4\n"), "{metrics}");
        assert!(metrics.contains("tollgate_ledger_retention_waits 1\n"), "{metrics}");
    }

    #[test]
    fn an_export_that_lies_behind_is_said_and_calls_go_on() {
        let (status, body) = ask(Standing::Serving, "GET", "localhost", "/readyz");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, &body["exports"][0]["state"]), (200, &"behind".into()));
        assert_eq!(body["exports"][0]["reason"], "nobody answers");
        let index = serde_json::json!({ "state": "away", "behindEntries": 7, "reason": "the store is away" });
        assert_eq!(body["index"], index);
        let (_, metrics) = ask(Standing::Serving, "GET", "localhost", "/metrics");
        let labels = "{export=\"siem\",target=\"syslog\",writer=\"w1\"}";
        for line in ["behind_bytes", "entries_total", "up"].iter().zip([30, 6, 0]) {
            let line = format!("tollgate_export_{}{labels} {}\n", line.0, line.1);
            assert!(metrics.contains(&line), "{metrics}");
        }
    }

    fn ask(standing: Standing, method: &str, host: &str, path: &str) -> (u16, String) {
        ask_of(&admin(standing), method, host, path)
    }

    fn ask_of(admin: &Admin, method: &str, host: &str, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).header(HOST, host).body(Body::empty());
        let request = request.expect("a request");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let response = admin.answer(request).await;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            (status, String::from_utf8(body.to_vec()).expect("text"))
        })
    }

    #[test]
    fn readiness_follows_the_standing_and_not_one_server() {
        let (status, body) = ask(Standing::Serving, "GET", "127.0.0.1:1", "/readyz");
        assert_eq!(status, 200);
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["servers"][0]["state"], "down");
        assert_eq!(body["servers"][0]["code"], "upstream_unavailable");
        let down = body["degraded"].as_array().expect("a list").iter().find(|part| part["part"] == "server");
        let down = down.expect("the server");
        assert_eq!((&down["name"], &down["reason"]), (&"files".into(), &"it did not start".into()));
        assert_eq!(down["since"], "2000-02-29T00:00:00Z");
        assert_eq!(body["limits"], serde_json::json!({ "counters": "away", "allowances": "up" }));
        let counters =
            body["degraded"].as_array().and_then(|all| all.iter().find(|part| part["part"] == "counters"));
        let reason = counters.and_then(|part| part["reason"].as_str()).expect("that it is away");
        assert!(reason.contains("it does not answer") && reason.contains("up to its share"), "{reason}");
        assert_eq!(body["servers"][0]["tenant"], "acme");
        assert_eq!(body["servers"][1]["tenant"], serde_json::Value::Null, "every tenant has it");
        assert_eq!(ask(Standing::Draining, "GET", "127.0.0.1:1", "/readyz").0, 503);
        assert_eq!(ask(Standing::Starting, "GET", "127.0.0.1:1", "/readyz").0, 503);
        assert_eq!(ask(Standing::Starting, "GET", "127.0.0.1:1", "/healthz").0, 200);
    }

    #[test]
    fn a_store_that_is_away_too_long_makes_it_unready() {
        let age = Some(Duration::from_millis(1500));
        for (reach, age, status, state, metric) in [
            (StoreReach::Up, age, 200, "up", "tollgate_store_up 1\n"),
            (StoreReach::Away, age, 200, "away", "tollgate_store_confirmed_age_seconds 1.5\n"),
            (StoreReach::TooOld, age, 503, "too_old", "tollgate_store_up 0\n"),
            (StoreReach::TooOld, None, 503, "too_old", "tollgate_ready 0\n"),
        ] {
            let admin = admin_with(Standing::Serving, Some(StoreLine { reach, revision: 7, age }));
            let (answered, body) = ask_of(&admin, "GET", "localhost", "/readyz");
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!((answered, &body["store"]["state"]), (status, &state.into()));
            assert_eq!((&body["ready"], &body["store"]["revision"]), (&(status == 200).into(), &7.into()));
            assert_eq!(body["store"]["confirmedMsAgo"].as_u64(), age.map(|_| 1500));
            let (_, metrics) = ask_of(&admin, "GET", "localhost", "/metrics");
            assert!(metrics.contains(metric) && metrics.contains("tollgate_store_revision 7\n"), "{metrics}");
        }
    }

    #[test]
    fn only_reading_from_known_hosts() {
        assert_eq!(ask(Standing::Serving, "POST", "localhost", "/healthz").0, 405);
        assert_eq!(ask(Standing::Serving, "GET", "evil.example", "/healthz").0, 403);
        assert_eq!(ask(Standing::Serving, "GET", "gate.example:99", "/healthz").0, 200);
        assert_eq!(ask(Standing::Serving, "HEAD", "localhost", "/metrics"), (200, String::new()));
        let (status, body) = ask(Standing::Serving, "GET", "localhost", "/nothing");
        assert_eq!((status, body.contains("error")), (404, true));
        // Of the API every refusal is a problem.
        for (host, path, expected) in [
            ("evil.example", "/api/v1/whoami", (403, "unknown_host")),
            ("localhost", "/api/v1", (404, "not_found")),
            ("localhost", "/api/v1/", (404, "not_found")),
            ("localhost", "/api/v2/keys", (404, "not_found")),
        ] {
            let (status, body) = ask(Standing::Serving, "GET", host, path);
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            let code = body["code"].as_str().expect("a code");
            assert_eq!((status, code), expected, "{path}");
            assert_eq!(body["status"], status, "{path}");
        }
    }

    #[test]
    fn metrics_name_every_server() {
        let (_, body) = ask(Standing::Serving, "GET", "localhost", "/metrics");
        for labels in ["", ",tenant=\"acme\""] {
            let line =
                format!("tollgate_server_restarts_total{{server=\"files\",transport=\"stdio\"{labels}}} 2\n");
            assert!(body.contains(&line), "{body}");
        }
        assert!(body.contains("tollgate_ready 1\n"), "{body}");
    }

    #[test]
    fn every_replica_of_several_is_told() {
        let (_, body) = ask(Standing::Serving, "GET", "localhost", "/metrics");
        for (name, up) in [("a.example:443", 1), ("b.example:443", 0)] {
            let labels = format!("server=\"files\",replica=\"{name}\",version=\"1.2\"");
            for (family, value) in [("up", up), ("requests_in_flight", 2), ("ejections_total", 5)] {
                let line = format!("tollgate_replica_{family}{{{labels}}} {value}\n");
                assert!(body.contains(&line), "{line} in {body}");
            }
        }
        let (_, body) = ask(Standing::Serving, "GET", "localhost", "/readyz");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let replicas = &body["servers"][0]["replicas"];
        assert_eq!(
            (&replicas[0]["state"], &replicas[0]["until"]),
            (&"well".into(), &serde_json::Value::Null)
        );
        assert_eq!(replicas[1]["state"], "ejected");
        assert_eq!(replicas[1]["until"], "2000-02-29T00:00:05Z");
    }
}
