use std::io::{BufRead as _, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tollgate_upstream::{Server, Transport};

use crate::stdio::{ends, exists};
use crate::{anyone, call, child, server, text_of};

const GUARD: &str = env!("CARGO_BIN_EXE_child-guard");

fn guarded() -> Server {
    let mut settings = child("legacy");
    let Transport::Stdio(stdio) = &mut settings.transport else { unreachable!() };
    stdio.guard = Some(GUARD.into());
    server(settings).0
}

fn pid(number: i64) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// The process and two of its own: one in its group, one that left it.
async fn family(server: &Server) -> Vec<i64> {
    let link = server.open(&anyone()).await.unwrap();
    serde_json::from_str(&text_of(&link, "family", &json!({})).await).unwrap()
}

fn parent(number: i64) -> i64 {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap();
    stat[stat.rfind(')').unwrap() + 1..].split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn stopping_ends_everything_below_the_guard_and_the_guard() {
    let server = guarded();
    let family = family(&server).await;
    let guard = parent(family[0]);
    assert_ne!(guard, i64::from(std::process::id()));
    server.stop(Duration::ZERO).await;
    for number in family.into_iter().chain([guard]) {
        assert!(!exists(number), "{number} is left");
    }
}

#[tokio::test]
async fn a_stubborn_child_is_killed_through_the_guard() {
    let server = guarded();
    let family = family(&server).await;
    let link = server.open(&anyone()).await.unwrap();
    call(&link, "stubborn", &json!({})).await.unwrap();
    server.stop(Duration::ZERO).await;
    assert!(!family.into_iter().any(exists));
}

#[tokio::test]
async fn the_death_of_a_guarded_child_is_noticed_at_once() {
    let server = guarded();
    let family = family(&server).await;
    let link = server.open(&anyone()).await.unwrap();
    assert!(call(&link, "die", &json!({})).await.is_err());
    for number in family {
        ends(number).await;
    }
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(text_of(&link, "echo", &json!({})).await, "{}");
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_killed_guard_takes_its_charge_with_it() {
    let server = guarded();
    let link = server.open(&anyone()).await.unwrap();
    let charge: i64 = text_of(&link, "pid", &json!({})).await.parse().unwrap();
    kill_process(pid(parent(charge)), Signal::KILL).unwrap();
    ends(charge).await;
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn when_the_parent_is_killed_nothing_is_left() {
    // A shell stands in for the gateway: it starts the guard and waits.
    let script = format!(
        "exec 3<&0; {GUARD} child-guard -- sh -c 'sleep 1000 & setsid sleep 1000 & echo $$ $!; wait' <&3 & wait"
    );
    let mut gateway = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(gateway.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let numbers: Vec<i64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let guard = parent(numbers[0]);
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    for number in numbers.into_iter().chain([guard]) {
        ends(number).await;
    }
}

#[test]
fn the_guard_passes_on_bytes_and_the_exit_status() {
    let mut echo = Command::new(GUARD)
        .args(["child-guard", "--", "sh", "-c", "cat; exit 7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    echo.stdin.take().unwrap().write_all(b"hello").unwrap();
    let mut said = String::new();
    echo.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello");
    assert_eq!(echo.wait().unwrap().code(), Some(7));

    let missing = Command::new(GUARD).args(["child-guard", "--", "/nowhere/at-all"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot run"));
    let killed =
        Command::new(GUARD).args(["child-guard", "--", "sh", "-c", "kill -TERM $$"]).output().unwrap();
    assert_eq!(killed.status.code(), Some(128 + 15));
}
