//! One fake server behind the gateway, whatever its transport.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tollgate_testkit::fake::stdio::{Stage, alive};
use tollgate_testkit::fake::{Dialect, FakeServer, Received, Script, soon};

use crate::gateway;
use crate::places::built;

/// How a server is reached, and what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Modern, over HTTP, each answer one JSON body.
    ModernJson,
    /// Modern, over HTTP, each answer a stream.
    ModernStream,
    /// Modern, a child.
    ModernStdio,
    /// Legacy, over HTTP, each answer one JSON body.
    LegacyJson,
    /// Legacy, over HTTP, each answer a stream.
    LegacyStream,
    /// Legacy, HTTP+SSE.
    LegacySse,
    /// Legacy, a child.
    LegacyStdio,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ModernJson,
        Self::ModernStream,
        Self::ModernStdio,
        Self::LegacyJson,
        Self::LegacyStream,
        Self::LegacySse,
        Self::LegacyStdio,
    ];

    /// What it speaks.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::ModernJson | Self::ModernStream | Self::ModernStdio => Dialect::Modern,
            _ => Dialect::Legacy,
        }
    }

    /// Whether it is a child.
    pub fn is_stdio(self) -> bool {
        matches!(self, Self::ModernStdio | Self::LegacyStdio)
    }

    /// Whether all answers share one channel.
    pub fn is_shared_channel(self) -> bool {
        self.is_stdio() || self == Self::LegacySse
    }

    /// The script with what the kind demands.
    pub fn script(self, script: Script) -> Script {
        let eras = match self.dialect() {
            Dialect::Modern => Script::modern().eras,
            Dialect::Legacy => Script::legacy().eras,
        };
        let sse_replies = matches!(self, Self::ModernStream | Self::LegacyStream);
        let revision =
            if self == Self::LegacySse { "2024-11-05".to_owned() } else { script.revision.clone() };
        Script { eras, sse_replies, revision, ..script }
    }
}

/// The fake child's program, which is built with the tests.
///
/// # Panics
/// If the tests do not run from the build folder.
pub fn fake_child() -> String {
    built("fake-stdio-server")
}

/// Kills every child that runs on this stage, and waits until it is gone.
///
/// # Panics
/// If one stays.
pub async fn kill(stage: &Stage) {
    for pid in stage.pids("start").into_iter().filter(|pid| alive(*pid)) {
        let raw = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let _ = kill_process(raw, Signal::KILL);
        let gone = async {
            while alive(pid) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("the end of a child", gone).await;
    }
}

/// One fake server.
pub struct Upstream {
    /// How it is reached.
    pub kind: Kind,
    peer: Fake,
}

enum Fake {
    Server(FakeServer),
    Child(Stage),
}

impl Upstream {
    /// Starts one (a child only when the gateway needs it).
    pub async fn start(kind: Kind, script: Script) -> Self {
        let script = kind.script(script);
        let peer = if kind.is_stdio() {
            Fake::Child(Stage::new(&script))
        } else {
            Fake::Server(FakeServer::start(script).await)
        };
        Self { kind, peer }
    }

    /// Its entry in the configuration.
    pub fn entry(&self) -> Value {
        match &self.peer {
            Fake::Server(server) if self.kind == Kind::LegacySse => gateway::sse(&server.sse_url()),
            Fake::Server(server) => gateway::http(&server.url()),
            Fake::Child(stage) => gateway::stdio(&fake_child(), stage),
        }
    }

    /// Changes what it does.
    pub fn play(&self, script: Script) {
        let script = self.kind.script(script);
        match &self.peer {
            Fake::Server(server) => server.change(|s| *s = script),
            Fake::Child(stage) => stage.play(&script),
        }
    }

    /// The server in this process.
    ///
    /// # Panics
    /// If it is a child.
    pub fn server(&self) -> &FakeServer {
        match &self.peer {
            Fake::Server(server) => server,
            Fake::Child(_) => panic!("a child"),
        }
    }

    /// The children's folder.
    ///
    /// # Panics
    /// If it is not a child.
    pub fn stage(&self) -> &Stage {
        match &self.peer {
            Fake::Server(_) => panic!("not a child"),
            Fake::Child(stage) => stage,
        }
    }

    /// Crashes: the connections break, the children are killed.
    ///
    /// # Panics
    /// If a child cannot be killed.
    pub async fn die(self) {
        match self.peer {
            Fake::Server(server) => server.stop().await,
            Fake::Child(stage) => kill(&stage).await,
        }
    }

    /// Crashes, and is there again at the same place. It has forgotten everything.
    pub async fn crash_and_return(&mut self, script: Script) {
        match &mut self.peer {
            Fake::Server(server) => {
                let addr = server.addr();
                server.stop().await;
                *server = FakeServer::start_at(addr, self.kind.script(script)).await;
            }
            Fake::Child(stage) => kill(stage).await,
        }
    }

    /// Everything that it has received.
    pub fn received(&self) -> Vec<Received> {
        match &self.peer {
            Fake::Server(server) => server.log().requests(),
            Fake::Child(stage) => stage.received(),
        }
    }

    /// Waits for the `nth` (from 1) request with this JSON-RPC method.
    pub async fn wait_method(&self, method: &str, nth: usize) -> Received {
        match &self.peer {
            Fake::Server(server) => server.log().wait_method(method, nth).await,
            Fake::Child(stage) => stage.wait_method(method, nth).await,
        }
    }

    /// All requests so far with this JSON-RPC method.
    pub fn of_method(&self, method: &str) -> Vec<Received> {
        match &self.peer {
            Fake::Server(server) => server.log().of_method(method),
            Fake::Child(stage) => stage.received().into_iter().filter(|r| r.rpc_method() == method).collect(),
        }
    }

    /// Lets a gated answer out.
    pub fn release(&self) {
        match &self.peer {
            Fake::Server(server) => server.release(),
            Fake::Child(stage) => stage.release(),
        }
    }

    /// What identifies it and must not show in an error: its address or folder.
    pub fn address(&self) -> String {
        match &self.peer {
            Fake::Server(server) => server.addr().to_string(),
            Fake::Child(stage) => stage.path().to_string_lossy().into_owned(),
        }
    }
}
