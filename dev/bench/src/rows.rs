//! The rows of the table: what is called, how it is written, and what must come back.

use std::net::TcpStream;
use std::rc::Rc;

use crate::Result;
use crate::client;
use crate::load::{Check, Envelope, ID_SLOT, Template};
use crate::payload::{ARGUMENT_TEXT, LEGACY, MODERN};
use crate::targets::{MANY, Setup, Site, Target};

/// One kind of call under load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// What `--row` takes.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) setup: Setup,
    call: Call,
    /// Calls per second of the open loop.
    pub(crate) rate_per_s: f64,
    /// Connections of the open loop.
    pub(crate) connections: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Small,
    Large,
    Swallow,
    Steps,
    List,
}

/// The row that no load belongs to: sessions that only wait.
pub(crate) const IDLE: &str = "idle-sessions";

/// The row of calls that wait for their clients.
pub(crate) const PARKED: &str = "parked-calls";
/// The row of a crowd that is told of changes.
pub(crate) const LISTENERS: &str = "listeners-1000";

/// The row of lists that are kept.
pub(crate) const KEEPING: &str = "cached-lists";

/// The row of policy, within one process.
pub(crate) const DECIDING: &str = "policy";
/// The row of verifying a ledger, within one process.
pub(crate) const VERIFYING: &str = "verify";
/// The row of the ledger, within one process.
pub(crate) const RECORDING: &str = "ledger";
/// The row of limits, within one process.
pub(crate) const LIMITING: &str = "limits";
/// The row of more than can be done.
pub(crate) const OVERLOAD: &str = "overload";
/// How long a start takes; not one of [`ROWS`].
pub(crate) const STARTING: &str = "start";
/// What a bad server does to the others; not one of [`ROWS`].
pub(crate) const CHAOS: &str = "chaos";
/// The row of guards, within one process.
pub(crate) const GUARDING: &str = "guard";
/// The row of identity, within one process.
pub(crate) const KNOWING: &str = "identity";

/// All rows under load, in the table's order.
pub(crate) const ROWS: [Row; 15] = [
    Row {
        id: "small-modern",
        title: "Small `tools/call`, modern client, modern server",
        setup: Setup::Modern,
        call: Call::Small,
        rate_per_s: 2_000.0,
        connections: 64,
    },
    Row {
        id: "small-legacy",
        title: "Small `tools/call`, legacy client, legacy server, one session per connection",
        setup: Setup::Legacy,
        call: Call::Small,
        rate_per_s: 2_000.0,
        connections: 64,
    },
    Row {
        id: "small-to-legacy",
        title: "Small `tools/call`, modern client, legacy server (direct and nginx: modern server)",
        setup: Setup::ToLegacy,
        call: Call::Small,
        rate_per_s: 2_000.0,
        connections: 64,
    },
    Row {
        id: "small-to-modern",
        title: "Small `tools/call`, legacy client, modern server (direct and nginx: legacy server)",
        setup: Setup::ToModern,
        call: Call::Small,
        rate_per_s: 2_000.0,
        connections: 64,
    },
    Row {
        id: "small-keyed",
        title: "Small `tools/call`, modern; behind Tollgate an API key, and 100 policies of which 10 read argument and time",
        setup: Setup::Keyed,
        call: Call::Small,
        rate_per_s: 2_000.0,
        connections: 64,
    },
    Row {
        id: "small-tokened",
        title: "The same with an access token (JWT)",
        setup: Setup::Tokened,
        call: Call::Small,
        rate_per_s: 2_000.0,
        connections: 64,
    },
    Row {
        id: "small-recorded",
        title: "Small `tools/call`, modern; Tollgate records every call (ledger and index)",
        setup: Setup::Recorded,
        call: Call::Small,
        rate_per_s: 2_000.0,
        connections: 64,
    },
    Row {
        id: "small-power",
        title: "The same, each entry on the disk first (`durability: power`)",
        setup: Setup::Durable,
        call: Call::Small,
        rate_per_s: 2_000.0,
        connections: 64,
    },
    Row {
        id: "small-traced",
        title: "Small `tools/call`, modern; Tollgate exports metrics, and traces of 1 % of the calls",
        setup: Setup::Traced,
        call: Call::Small,
        rate_per_s: 2_000.0,
        connections: 64,
    },
    Row {
        id: "small-everything",
        title: "Small `tools/call`, modern; behind Tollgate API keys, 100 policies, the record, metrics and traces",
        setup: Setup::Everything,
        call: Call::Small,
        rate_per_s: 2_000.0,
        connections: 64,
    },
    Row {
        id: "result-100k",
        title: "Result of 100 KiB",
        setup: Setup::Modern,
        call: Call::Large,
        rate_per_s: 500.0,
        connections: 16,
    },
    Row {
        id: "argument-1m",
        title: "Argument of 1 MiB",
        setup: Setup::Modern,
        call: Call::Swallow,
        rate_per_s: 50.0,
        connections: 16,
    },
    Row {
        id: "progress-20",
        title: "SSE stream of 20 progress events and the result",
        setup: Setup::ModernStream,
        call: Call::Steps,
        rate_per_s: 200.0,
        connections: 16,
    },
    Row {
        id: "list-1",
        title: "`tools/list`, 10 tools of one server",
        setup: Setup::Modern,
        call: Call::List,
        rate_per_s: 1_000.0,
        connections: 64,
    },
    Row {
        id: "list-20",
        title: "`tools/list`, 200 tools of 20 servers (direct and nginx: one server's list)",
        setup: Setup::Many,
        call: Call::List,
        rate_per_s: 50.0,
        connections: 16,
    },
];

impl Row {
    /// The right answer. Only the gateway merges servers.
    pub(crate) fn check(&self, target: Target) -> Check {
        match self.call {
            Call::Small => Check::Small,
            Call::Large => Check::Large,
            Call::Swallow => Check::Swallowed,
            Call::Steps => Check::Steps,
            Call::List if target == Target::Tollgate && self.setup == Setup::Many => Check::Tools(MANY),
            Call::List => Check::Tools(1),
        }
    }

    /// Whether the client is one.
    fn is_legacy(&self) -> bool {
        matches!(self.setup, Setup::Legacy | Setup::ToModern)
    }

    /// Opens a connection and writes its request; a legacy connection gets a session of its own first.
    pub(crate) fn open(
        &self,
        site: &Site,
        large: &LargeArgument,
    ) -> Result<(TcpStream, Template, Option<String>)> {
        let mut stream = client::connect(site.address)?;
        let session =
            if self.is_legacy() { client::initialize(&mut stream, site.address, site.path)? } else { None };
        let template = self.template(site, session.as_deref(), large);
        Ok((stream, template, session))
    }

    fn template(&self, site: &Site, session: Option<&str>, large: &LargeArgument) -> Template {
        let legacy = self.is_legacy();
        let mut headers = match session {
            Some(session) => vec![("Mcp-Session-Id", session.to_owned())],
            None => Vec::new(),
        };
        if let Some(bearer) = &site.bearer {
            headers.push(("Authorization", format!("Bearer {bearer}")));
        }
        headers.push(("MCP-Protocol-Version", if legacy { LEGACY } else { MODERN }.to_owned()));
        let method = if self.call == Call::List { "tools/list" } else { "tools/call" };
        let native_name = match self.call {
            Call::Small => "small",
            Call::Large => "large",
            Call::Swallow => "swallow",
            Call::Steps => "steps",
            Call::List => "",
        };
        let public_name = format!("{}{native_name}", site.prefix);
        if !legacy {
            headers.push(("Mcp-Method", method.to_owned()));
            if self.call != Call::List {
                headers.push(("Mcp-Name", public_name.clone()));
            }
        }
        let token =
            if self.call == Call::Steps { format!(r#""progressToken":{ID_SLOT}"#) } else { String::new() };
        let modern = format!(
            r#""io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientInfo":{{"name":"tollgate-bench","version":"1.0.0"}},"io.modelcontextprotocol/clientCapabilities":{{}}"#
        );
        let mut params = Vec::new();
        if !legacy {
            let comma = if token.is_empty() { "" } else { "," };
            params.push(format!(r#""_meta":{{{token}{comma}{modern}}}"#));
        }
        let arguments = match self.call {
            Call::Small => r#"{"word":"gate"}"#,
            Call::Swallow => r#"{"text":""#,
            Call::Large | Call::Steps => r#"{"topic":"gates"}"#,
            Call::List => "",
        };
        if self.call != Call::List {
            params.push(format!(r#""name":"{public_name}","arguments":{arguments}"#));
        }
        let mut body = format!(
            r#"{{"jsonrpc":"2.0","id":{ID_SLOT},"method":"{method}","params":{{{}"#,
            params.join(",")
        );
        let tail = (self.call == Call::Swallow).then_some(&large.0);
        if tail.is_none() {
            body.push_str("}}");
        }
        Template::post(&Envelope { address: site.address, path: site.path, headers }, &body, tail)
    }
}

/// The end of the request with the large argument, shared by all connections.
pub(crate) struct LargeArgument(Rc<[u8]>);

impl LargeArgument {
    pub(crate) fn new() -> LargeArgument {
        LargeArgument(Rc::from(format!("{}\"}}}}}}", *ARGUMENT_TEXT).into_bytes()))
    }
}
