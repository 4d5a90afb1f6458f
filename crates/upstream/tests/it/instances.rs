use std::time::Duration;

use serde_json::json;
use tollgate_model::{Code, SessionId};
use tollgate_upstream::{Isolation, Link, Server, ServerSettings, Transport};

use crate::{anyone, caller, child, eventually, server, text_of, tool_call};

fn starts(file: &tempfile::NamedTempFile) -> usize {
    std::fs::read_to_string(file.path()).unwrap().lines().count()
}

/// Settings of a child that writes its pid to a file when it starts.
fn counted(era: &str) -> (ServerSettings, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut settings = child(era);
    let Transport::Stdio(stdio) = &mut settings.transport else { unreachable!() };
    stdio.args.push(file.path().to_str().unwrap().to_owned());
    (settings, file)
}

async fn pid(link: &Link) -> String {
    text_of(link, "pid", &json!({})).await
}

async fn pid_for(
    server: &Server,
    principal: &str,
    session: Option<&str>,
    capabilities: &serde_json::Value,
) -> String {
    pid(&server.open(&caller(principal, session, capabilities)).await.unwrap()).await
}

#[tokio::test]
async fn many_at_once_are_one_start() {
    let (settings, file) = counted("legacy");
    let (server, _events) = server(settings);
    let who = anyone();
    let opens = (0..50).map(|_| server.open(&who));
    let links: Vec<_> = futures_util::future::join_all(opens).await.into_iter().map(Result::unwrap).collect();
    assert!(links.iter().all(|link| link.is_same(&links[0])));
    assert_eq!(starts(&file), 1);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_start_goes_on_when_the_first_who_asked_leaves() {
    let (settings, file) = counted("legacy");
    let (server, _events) = server(settings);
    let who = anyone();
    {
        let mut opening = std::pin::pin!(server.open(&who));
        assert!(futures_util::poll!(&mut opening).is_pending());
    }
    server.open(&who).await.unwrap();
    assert_eq!(starts(&file), 1);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn isolation_decides_who_shares_a_process() {
    let none = json!({});
    for (isolation, same_principal, other_principal) in [
        (None, false, false),
        (Some(Isolation::Session), false, false),
        (Some(Isolation::Principal), true, false),
        (Some(Isolation::Tenant), true, true),
        (Some(Isolation::Shared), true, true),
    ] {
        let mut settings = child("legacy");
        settings.isolation = isolation;
        let (server, _events) = server(settings);
        let first = pid_for(&server, "a", Some("s1"), &none).await;
        assert_eq!(first, pid_for(&server, "a", Some("s1"), &none).await);
        assert_eq!(first == pid_for(&server, "a", Some("s2"), &none).await, same_principal, "{isolation:?}");
        assert_eq!(first == pid_for(&server, "b", Some("s3"), &none).await, other_principal, "{isolation:?}");
        // Differing capabilities are never shared; the same ones written differently are.
        let declares = json!({"sampling": {}, "roots": {"listChanged": true}});
        let declaring = pid_for(&server, "a", Some("s1"), &declares).await;
        assert_ne!(first, declaring, "{isolation:?}");
        let mut written_otherwise = caller("a", Some("s1"), &none);
        std::sync::Arc::make_mut(&mut written_otherwise.client).capabilities =
            bytes::Bytes::from_static(b"{ \"roots\" : {\"listChanged\":true}, \"sam\\u0070ling\":{ } }");
        assert_eq!(declaring, pid(&server.open(&written_otherwise).await.unwrap()).await, "{isolation:?}");
        server.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_client_without_a_session_shares_with_its_principal_only() {
    let (server, _events) = server(child("legacy"));
    let none = json!({});
    let first = pid_for(&server, "a", None, &none).await;
    assert_eq!(first, pid_for(&server, "a", None, &none).await);
    assert_ne!(first, pid_for(&server, "b", None, &none).await);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_modern_child_is_everyones_even_if_several_found_it_at_once() {
    let (server, _events) = server(child("modern"));
    let who: Vec<_> = (0..4).map(|n| caller(&format!("p{n}"), Some("s"), &json!({"x": {"n": n}}))).collect();
    let links: Vec<_> = futures_util::future::join_all(who.iter().map(|who| server.open(who)))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(links.iter().all(|link| link.is_same(&links[0])));
    eventually(|| (server.status().instances == 1).then_some(())).await;
    pid(&links[0]).await;
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn when_full_the_oldest_idle_one_makes_way_and_a_busy_one_never_does() {
    let mut settings = child("legacy");
    settings.limits.instances_max = 2;
    let (server, _events) = server(settings);
    let none = json!({});
    let a = server.open(&caller("a", Some("a"), &none)).await.unwrap();
    let busy = a.request(tool_call(&a, "hang", &json!({}))).await.unwrap();
    let b = pid_for(&server, "b", Some("b"), &none).await;
    let c = server.open(&caller("c", Some("c"), &none)).await.unwrap();
    crate::stdio::ends(b.parse().unwrap()).await;
    let also_busy = c.request(tool_call(&c, "hang", &json!({}))).await.unwrap();
    let error = server.open(&caller("d", Some("d"), &none)).await.unwrap_err();
    assert_eq!(error.code(), Code::Capacity);
    drop((busy, also_busy));
    server.open(&caller("d", Some("d"), &none)).await.unwrap();
    assert_eq!(server.status().counters.evictions, 2);
    assert_eq!(server.status().instances, 2);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_nobody_uses_is_stopped() {
    let mut settings = child("legacy");
    settings.timeouts.idle = Duration::from_millis(300);
    let (server, _events) = server(settings);
    let idle = pid_for(&server, "a", Some("a"), &json!({})).await;
    crate::stdio::ends(idle.parse().unwrap()).await;
    assert_eq!(server.status().instances, 0);
    let again = pid_for(&server, "a", Some("a"), &json!({})).await;
    assert_ne!(idle, again);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn the_end_of_a_session_ends_what_was_kept_for_it() {
    let (server, _events) = server(child("legacy"));
    let none = json!({});
    let ended = pid_for(&server, "a", Some("ended"), &none).await;
    let other = pid_for(&server, "a", Some("other"), &none).await;
    server.close_session(&SessionId::new("ended")).await;
    crate::stdio::ends(ended.parse().unwrap()).await;
    assert_eq!(other, pid_for(&server, "a", Some("other"), &none).await);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn one_slow_start_delays_nobody_else() {
    let (settings, _file) = counted("silent");
    let (server, _events) = server(ServerSettings { name: settings.name.clone(), ..child("legacy") });
    // The era is learnt by the first; then a start that never finishes holds only its own key.
    let none = json!({});
    pid_for(&server, "a", Some("a"), &none).await;
    let slow_caller = caller("slow", Some("slow"), &none);
    let slow = server.open(&slow_caller);
    let quick = pid_for(&server, "b", Some("b"), &none);
    let (_, quick) = tokio::join!(slow, quick);
    assert!(!quick.is_empty());
    server.stop(Duration::ZERO).await;
}
