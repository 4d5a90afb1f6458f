//! What it costs to know a caller, within one process: API keys, and access tokens, seen before and new.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hdrhistogram::Histogram;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use tollgate_identity::{Identity, IdentitySettings, IssuerSettings, Presented, key};
use tollgate_model::{KeyRecord, TenantId, Timestamp};
use tollgate_store::Follower;
use tollgate_testkit::issuer::Issuer;

use crate::Result;
use crate::deciding::{Line, nanos};

const RESOURCE: &str = "https://gate.example/mcp";
/// How many keys the configuration declares.
const KEYS: usize = 1_000;

/// Measures everything; each answer is looked at.
pub(crate) fn measure(is_quick: bool) -> Result<Vec<Line>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure_all(is_quick))
}

async fn measure_all(is_quick: bool) -> Result<Vec<Line>> {
    let (many, some) = if is_quick { (20_000, 500) } else { (500_000, 5_000) };
    let issuer = Issuer::start().await;
    let of_issuer = IssuerSettings { allow_private_addresses: true, ..IssuerSettings::new(&issuer.url()) };
    let (mut keys, mut text) = (Vec::with_capacity(KEYS), String::new());
    for _ in 0..KEYS {
        let key = key::mint()?;
        key.text.expose().clone_into(&mut text);
        keys.push(KeyRecord {
            id: key.id,
            tenant: TenantId::default(),
            agent: Arc::from("bot"),
            groups: vec![Arc::from("support")],
            hash: key.hash,
            created: Timestamp::now(),
            expires: None,
            revoked: None,
            replaced_by: None,
        });
    }
    let settings =
        IdentitySettings { configured: true, keys, issuers: vec![of_issuer], ..IdentitySettings::default() };
    let identity = Identity::new(settings, Follower::of_nothing());
    // The first token fetches the issuer's keys, and is the one that was seen before.
    let seen = [bearer(&issuer.token(RESOURCE))?];
    timed(&identity, &seen, 1).await?;
    let new = (0..some).map(|_| bearer(&issuer.token(RESOURCE))).collect::<Result<Vec<_>>>()?;
    Ok(vec![
        Line::of("an API key", &timed(&identity, &[bearer(&text)?], many).await?, 1.0),
        Line::of("an access token seen before", &timed(&identity, &seen, many).await?, 12.0),
        Line::of("a new access token (ES256)", &timed(&identity, &new, some).await?, 150.0),
    ])
}

/// The lines as a table.
pub(crate) fn table(text: &mut String, lines: &[Line]) {
    let _ = write!(
        text,
        "\n## Identity\n\nWithin one process, one thread: from a request's headers to the caller, with {KEYS} keys declared and the \
         issuer's own keys at hand.\n\n| what is presented | p50 µs | p99 µs |\n|---|--:|--:|\n"
    );
    for line in lines {
        let _ = writeln!(text, "| {} | {:.2} | {:.2} |", line.what, line.p50_us, line.p99_us);
    }
}

/// Presents each in turn, so many times in all.
async fn timed(identity: &Identity, presented: &[HeaderMap], times: usize) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    let source = IpAddr::from([10, 0, 0, 7]);
    for headers in presented.iter().cycle().take(times) {
        let began = Instant::now();
        let known =
            identity.authenticate(Presented { headers, certificate: None, resource: RESOURCE, source }).await;
        histogram.record(nanos(began.elapsed()))?;
        if let Err(refused) = std::hint::black_box(known) {
            return Err(format!("not let in: {}", refused.refusal).into());
        }
    }
    Ok(histogram)
}

fn bearer(text: &str) -> Result<HeaderMap> {
    Ok(HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {text}"))?)]))
}
