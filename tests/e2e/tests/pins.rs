//! Real upgrades of servers that others wrote, behind a gateway that pins their definitions: what has truly changed waits,
//! and nothing else. And the lock file, from the command line of the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;
use tollgate_e2e::gateway::{Gateway, binary, config_file, servers, with};
use tollgate_e2e::places::{node, npm};
use tollgate_testkit::fake::{Call, HttpPeer, until};

/// Released versions of one server, the oldest first: the names under which they are installed.
const UPGRADES: [(&str, [&str; 3]); 3] = [
    ("filesystem", ["filesystem-2025-07", "filesystem-2025-12", "@modelcontextprotocol/server-filesystem"]),
    ("everything", ["everything-2025-12", "everything-2026-01", "@modelcontextprotocol/server-everything"]),
    ("memory", ["memory-2025-09", "memory-2026-01", "@modelcontextprotocol/server-memory"]),
];
const LISTS: [(&str, &str, &str, &str); 4] = [
    ("tool", "tools/list", "tools", "name"),
    ("prompt", "prompts/list", "prompts", "name"),
    ("resource", "resources/list", "resources", "uri"),
    ("template", "resources/templates/list", "resourceTemplates", "uriTemplate"),
];

/// A package as a server whose files are in a folder.
fn package(name: &str, folder: &Path) -> Value {
    let main = npm(&format!("{name}/dist/index.js"));
    let memory = folder.join("memory.jsonl");
    let mut args = vec![main];
    if name.contains("filesystem") {
        args.push(folder.to_str().unwrap().to_owned());
    }
    json!({"command": node(), "args": args, "env": {"MEMORY_FILE_PATH": memory.to_str().unwrap()}})
}

/// Everything that a server shows a client, by kind and name.
type Shown = BTreeMap<(&'static str, String), Value>;

async fn shown(peer: &mut HttpPeer) -> Shown {
    let mut all = Shown::new();
    for (kind, method, member, key) in LISTS {
        let mut cursor = String::new();
        loop {
            let answer = peer.request(&Call::new(method, cursor)).await;
            if answer.error().is_some() {
                break;
            }
            let page = answer.value();
            for item in page[member].as_array().unwrap() {
                let mut item = item.clone();
                if matches!(kind, "resource" | "template") {
                    let members = item.as_object_mut().unwrap();
                    members.remove("size");
                    if let Some(Value::Object(annotations)) = members.get_mut("annotations") {
                        annotations.remove("lastModified");
                    }
                }
                all.insert((kind, item[key].as_str().unwrap().to_owned()), item);
            }
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("\"cursor\":{}", json!(next));
        }
    }
    all
}

/// What a version shows without any pins.
async fn plain(package: &Value) -> Shown {
    let gateway = Gateway::start(&servers([("s", package.clone())])).await;
    shown(&mut gateway.modern("/mcp/s")).await
}

fn names(shown: &Shown) -> BTreeSet<(&'static str, String)> {
    shown.keys().cloned().collect()
}

#[tokio::test]
async fn of_a_real_upgrade_only_what_has_changed_waits() {
    let mut changed_in_all = 0;
    for (server, versions) in UPGRADES {
        let folder = tempfile::tempdir().unwrap();
        let packages = versions.map(|version| package(version, folder.path()));
        let config = |package: &Value| with(&servers([("s", package.clone())]), json!({"pins": {}}));
        let gateway = Gateway::start(&config(&packages[0])).await;
        let mut before = plain(&packages[0]).await;
        assert!(!before.is_empty());
        let mut peer = gateway.modern("/mcp/s");
        until("what the first version shows", async || (shown(&mut peer).await == before).then_some(()))
            .await;
        let pins = async |flags: &[&str]| {
            let pins = gateway.command(&[&["pins", "list", "--json"], flags].concat()).await;
            pins.as_array().unwrap().clone()
        };
        until("its pins", async || {
            (pins(&[]).await.iter().filter(|pin| pin["kind"] != "instructions").count() == before.len())
                .then_some(())
        })
        .await;
        for package in &packages[1..] {
            let now = plain(package).await;
            let changed: BTreeSet<_> = now
                .iter()
                .filter(|(name, item)| before.get(*name).is_some_and(|before| before != *item))
                .map(|(name, _)| name.clone())
                .collect();
            changed_in_all += changed.len();
            gateway.configure(&config(package));
            let expected: Shown =
                now.clone().into_iter().filter(|(name, _)| !changed.contains(name)).collect();
            let mut seen = Shown::new();
            until(&format!("what is left of {server}: {:?}", names(&expected)), async || {
                seen = shown(&mut peer).await;
                (seen == expected).then_some(())
            })
            .await;
            let waiting = until("what waits", async || {
                let pins = pins(&["--waiting"]).await;
                let waiting: BTreeSet<_> = pins
                    .iter()
                    .filter(|pin| pin["kind"] != "instructions")
                    .map(|pin| {
                        (pin["kind"].as_str().unwrap().to_owned(), pin["name"].as_str().unwrap().to_owned())
                    })
                    .collect();
                (waiting.len() >= changed.len()).then_some(waiting)
            })
            .await;
            let wanted: BTreeSet<_> =
                changed.iter().map(|(kind, name)| ((*kind).to_owned(), name.clone())).collect();
            assert_eq!(waiting, wanted, "{server}");
            if let Some((_, tool)) = changed.iter().find(|(kind, _)| *kind == "tool") {
                let answer = peer.request(&Call::tool(tool, "{}")).await;
                assert_eq!(answer.refusal(), "quarantined", "{answer:?}");
            }
            let diff = gateway.command(&["pins", "diff", "--json"]).await;
            for pin in diff.as_array().unwrap() {
                assert!(
                    !pin["risks"].as_array().unwrap().is_empty()
                        && pin["diff"].as_str().unwrap().contains("\n+"),
                    "{pin}"
                );
            }
            gateway.command(&["pins", "approve", "--all", "--reason", "read it", "--json"]).await;
            until("all of the new version", async || (shown(&mut peer).await == now).then_some(())).await;
            before = now;
        }
    }
    assert!(changed_in_all > 10, "the versions differ: {changed_in_all}");
}

async fn tollgate(words: &[&str], config: &Path) -> Output {
    let command = Command::new(binary()).args(words).arg("--config").arg(config).output();
    command.await.expect("the binary starts")
}

#[tokio::test]
async fn a_lock_file_says_whether_servers_show_what_was_approved() {
    let folder = tempfile::tempdir().unwrap();
    let [old, _, new] = UPGRADES[0].1.map(|version| package(version, folder.path()));
    let locked = |package: &Value| {
        with(&servers([("files", package.clone())]), json!({"pins": {"lock": "tollgate.lock"}}))
    };
    let (home, file) = config_file(&locked(&old));
    let done = tollgate(&["pins", "lock"], &file).await;
    assert!(done.status.success(), "{done:?}");
    let lock = home.path().join("tollgate.lock");
    let text = std::fs::read_to_string(&lock).unwrap();
    assert!(tollgate(&["pins", "check"], &file).await.status.success());
    assert!(tollgate(&["pins", "lock"], &file).await.status.success());
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), text, "the same to the letter");

    let (other, upgraded) = config_file(&locked(&new));
    std::fs::write(other.path().join("tollgate.lock"), &text).unwrap();
    let done = tollgate(&["pins", "check", "--json"], &upgraded).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let differing: BTreeSet<&str> =
        said["differing"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let (before, now) = (plain(&old).await, plain(&new).await);
    let all: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let expected: BTreeSet<&str> =
        all.iter().filter(|name| before.get(**name) != now.get(**name)).map(|(_, name)| &**name).collect();
    assert_eq!(differing, expected);

    // A gateway under that lock shows what is in it as it is in it, and nothing else.
    let gateway = Gateway::start(&servers([("files", new.clone())])).await;
    std::fs::write(gateway.folder().join("tollgate.lock"), &text).unwrap();
    gateway.configure(&locked(&new));
    let mut peer = gateway.modern("/mcp/files");
    let same: Shown = now.into_iter().filter(|(name, item)| before.get(name) == Some(item)).collect();
    until("what is locked", async || (shown(&mut peer).await == same).then_some(())).await;
    let refused = Command::new(binary())
        .args(["pins", "approve", "--all", "--config"])
        .arg(gateway.folder().join("tollgate.yaml"))
        .output()
        .await
        .unwrap();
    assert_eq!(refused.status.code(), Some(2), "the file alone decides: {refused:?}");
}
