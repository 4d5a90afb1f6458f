//! A real browser before the console, driven by the scripts of `clients/console`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails loudly")]

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::places::{node, script};

/// How long a script may take.
const MOST: Duration = Duration::from_mins(5);

/// Has a script of `clients/console` do this job in a browser, and gives what came of it.
///
/// # Panics
/// If a step of it fails: with the step, and why.
pub async fn browse(name: &str, job: &Value) -> Value {
    let mut child = Command::new(node())
        .arg(script(&format!("clients/console/{name}.mjs")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Node.js starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(job.to_string().as_bytes()).await.expect("it reads its job");
    drop(input);
    let output = tokio::time::timeout(MOST, child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("{name} takes longer than {MOST:?}")).expect("a child");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{complained}", output.status);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{name}: {error}: {said}{complained}"))
}
