//! Ways into the gateway and out of it.

use std::fmt;

use tollgate_testkit::fake::Dialect;

/// What messages travel over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE, of 2024-11-05.
    Sse,
    /// The standard streams of a process. Into the gateway that is `tollgate connect`.
    Stdio,
}

/// An era and a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// What is spoken.
    pub era: Dialect,
    /// Over what.
    pub transport: Transport,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self { era: Dialect::Modern, transport: Transport::Http },
        Self { era: Dialect::Modern, transport: Transport::Stdio },
        Self { era: Dialect::Legacy, transport: Transport::Http },
        Self { era: Dialect::Legacy, transport: Transport::Sse },
        Self { era: Dialect::Legacy, transport: Transport::Stdio },
    ];

    /// Whether it is of the modern era.
    pub fn is_modern(self) -> bool {
        self.era == Dialect::Modern
    }

    /// The name of the server that is reached by it.
    pub fn server(self, language: Language) -> String {
        let era = if self.is_modern() { "modern" } else { "legacy" };
        let transport = match self.transport {
            Transport::Http => "http",
            Transport::Sse => "sse",
            Transport::Stdio => "stdio",
        };
        let language = match language {
            Language::TypeScript => "typescript",
            Language::Python => "python",
        };
        format!("{era}-{transport}-{language}")
    }

    /// What a reader calls the transport.
    pub fn title(self) -> &'static str {
        match self.transport {
            Transport::Http => "HTTP",
            Transport::Sse => "HTTP+SSE",
            Transport::Stdio => "stdio",
        }
    }
}

/// What a server is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// On npm `@modelcontextprotocol/sdk` or `server`.
    TypeScript,
    /// On PyPI `mcp`.
    Python,
}

/// A way in and a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// How the client reaches the gateway.
    pub client: Way,
    /// How the gateway reaches the server.
    pub server: Way,
    /// What the server is written in.
    pub language: Language,
}

impl Pair {
    /// A pair whose server is written in TypeScript.
    pub fn new(client: Way, server: Way) -> Self {
        Self { client, server, language: Language::TypeScript }
    }

    /// All of them, way out by way in.
    pub fn all() -> impl Iterator<Item = Self> {
        Way::ALL.into_iter().flat_map(|client| Way::ALL.map(|server| Self::new(client, server)))
    }

    /// The name of its server.
    pub fn name(self) -> String {
        self.server.server(self.language)
    }

    /// Its place among all.
    pub fn place(self) -> usize {
        let of = |way| Way::ALL.iter().position(|one| *one == way).unwrap_or_default();
        of(self.client) * Way::ALL.len() + of(self.server)
    }

    /// Something that no other pair has.
    pub fn key(self) -> String {
        format!("pair-{}", self.place())
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let era = |way: Way| if way.is_modern() { "modern" } else { "legacy" };
        write!(
            f,
            "{} client over {} to {} server over {} ({:?})",
            era(self.client),
            self.client.title(),
            era(self.server),
            self.server.title(),
            self.language
        )
    }
}
