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
    pub fn server(self) -> &'static str {
        match (self.era, self.transport) {
            (Dialect::Modern, Transport::Stdio) => "modern-stdio",
            (Dialect::Modern, _) => "modern-http",
            (Dialect::Legacy, Transport::Http) => "legacy-http",
            (Dialect::Legacy, Transport::Sse) => "legacy-sse",
            (Dialect::Legacy, Transport::Stdio) => "legacy-stdio",
        }
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

/// A way in and a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// How the client reaches the gateway.
    pub client: Way,
    /// How the gateway reaches the server.
    pub server: Way,
}

impl Pair {
    /// All of them, way out by way in.
    pub fn all() -> impl Iterator<Item = Self> {
        Way::ALL.into_iter().flat_map(|client| Way::ALL.map(|server| Self { client, server }))
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
            "{} client over {} to {} server over {}",
            era(self.client),
            self.client.title(),
            era(self.server),
            self.server.title()
        )
    }
}
