//! What an answer depends on: whatever has another key may get another answer.
//!
//! A server's answer depends on the server as it is configured (its address and the credential that the gateway shows it), on
//! what is asked, and on what the request says of the client. Where it may be the caller's alone, it also depends on who
//! calls: on everything that was proved, not only on the name. It does not depend on the endpoint, of which no server hears;
//! what an endpoint, policy and blocks leave of an answer is looked at each time.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tollgate_catalog::ListKind;
use tollgate_mcp::{Message, Span, canonical};
use tollgate_model::{Caller, Era, Principal, SessionId, TenantId};
use tollgate_upstream::{Isolation, LegacySessions, Server};

/// The longest cursor or URI whose answer is kept, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// A page of a list, by its cursor.
    List(ListKind, Option<Arc<str>>),
    /// A resource, by the server's own URI.
    Read(Arc<str>),
    /// A tool, by the digest of its name and arguments.
    Call([u8; 32]),
}

impl What {
    /// A page of a list. None if its cursor is too long.
    pub(crate) fn list(kind: ListKind, cursor: Option<&str>) -> Option<Self> {
        let fits = cursor.is_none_or(|cursor| cursor.len() <= TEXT_BYTES_MAX);
        fits.then(|| Self::List(kind, cursor.map(Arc::from)))
    }

    /// A resource. None if its URI is too long.
    pub(crate) fn read(uri: &str) -> Option<Self> {
        (uri.len() <= TEXT_BYTES_MAX).then(|| Self::Read(Arc::from(uri)))
    }

    /// A tool with its arguments, as raw JSON: however they are written, the same are the same. `headers` go along.
    pub(crate) fn call(
        native: &str,
        arguments: Option<&Bytes>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Self {
        let mut text = Vec::with_capacity(native.len() + 1 + arguments.map_or(0, Bytes::len));
        text.extend_from_slice(native.as_bytes());
        // No name has a byte that UTF-8 has not.
        text.push(0xff);
        if let Some(arguments) = arguments {
            canonical(arguments, Span::all(arguments), &mut text);
        }
        for (name, value) in headers {
            text.push(0xff);
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(0xff);
            text.extend_from_slice(format!("{}:", value.len()).as_bytes());
            text.extend_from_slice(value.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &text).as_ref());
        Self::Call(digest)
    }

    /// Which news of the server end it.
    pub(super) fn part(&self) -> Part {
        match self {
            Self::List(ListKind::Tools, _) | Self::Call(_) => Part::Tools,
            Self::List(ListKind::Prompts, _) => Part::Prompts,
            Self::List(ListKind::Resources | ListKind::Templates, _) | Self::Read(_) => Part::Resources,
        }
    }
}

/// What a server tells the changes of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Tools,
    Prompts,
    Resources,
}

impl Part {
    /// The capability that declares whether changes are told of.
    pub(super) fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
        }
    }
}

/// Whose an answer is, the widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Everyone's of the tenant.
    Tenant,
    /// Of whoever proves the same.
    Principal,
    /// One session's.
    Session,
}

impl Reach {
    pub(super) const ALL: [Self; 3] = [Self::Tenant, Self::Principal, Self::Session];
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    Tenant(TenantId),
    /// What the client says of itself counts here too: a server may look at it where it looks at who asks.
    Principal(Arc<Principal>, Option<Bytes>),
    Session(Arc<Principal>, SessionId),
}

/// Everything that an answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    server: u64,
    what: What,
    /// The client's, which the server is told.
    capabilities: Bytes,
    whose: Whose,
}

impl Key {
    pub(super) fn server(&self) -> u64 {
        self.server
    }

    pub(super) fn what(&self) -> &What {
        &self.what
    }

    /// Whose share of the memory it takes.
    pub(super) fn tenant(&self) -> &TenantId {
        match &self.whose {
            Whose::Tenant(tenant) => tenant,
            Whose::Principal(who, _) | Whose::Session(who, _) => &who.tenant,
        }
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let what = match &self.what {
            What::List(_, cursor) => cursor.as_deref().map_or(0, str::len),
            What::Read(uri) => 2 * uri.len(),
            What::Call(_) => 0,
        };
        size_of::<Self>() + what + self.capabilities.len()
    }
}

/// Who asks a server for something.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    server: u64,
    what: What,
    who: Arc<Principal>,
    session: Option<SessionId>,
    info: Option<Bytes>,
    capabilities: Bytes,
    /// With whom the caller shares what the server keeps, if it is modern, and if it is legacy.
    modern: Reach,
    legacy: Reach,
    /// Whether the answer may be anybody else's at all.
    may_share: bool,
    /// Whether a legacy server answers each request of the caller's in a session of its own.
    is_alone: bool,
}

impl Ask {
    pub(crate) fn new(server: &Server, caller: &Caller, what: What) -> Self {
        let client = &caller.client;
        let mut capabilities = Vec::with_capacity(client.capabilities.len());
        canonical(&client.capabilities, Span::all(&client.capabilities), &mut capabilities);
        let reach = |era| match server.isolation_for(caller, era) {
            Isolation::Shared | Isolation::Tenant => Reach::Tenant,
            Isolation::Session if caller.session.is_some() => Reach::Session,
            Isolation::Principal | Isolation::Session => Reach::Principal,
        };
        Self {
            server: server.number(),
            // Nothing says of a tool's result for whom it is.
            may_share: !matches!(what, What::Call(_)),
            what,
            who: Arc::clone(&caller.who),
            session: caller.session.clone(),
            // Copied, since the original shares the buffer of a whole request.
            info: client.info.as_ref().map(|info| Bytes::copy_from_slice(info)),
            capabilities: Bytes::from(capabilities),
            modern: reach(Era::Modern),
            legacy: reach(Era::Legacy),
            is_alone: server.settings().legacy_sessions == LegacySessions::Strict && caller.session.is_none(),
        }
    }

    /// Whether the answer of a server of this era may be kept at all.
    pub(super) fn may_keep(&self, era: Era) -> bool {
        era == Era::Modern || !self.is_alone
    }

    pub(super) fn server(&self) -> u64 {
        self.server
    }

    pub(super) fn what(&self) -> &What {
        &self.what
    }

    /// Whose the answer of a server of this era is. `shared`: whether it says that it is everyone's, which only a modern one
    /// can.
    pub(super) fn reach(&self, era: Era, shared: bool) -> Reach {
        let (reach, is_private) = match era {
            Era::Modern => (self.modern, !shared),
            Era::Legacy => (self.legacy, false),
        };
        if is_private || !self.may_share { reach.max(Reach::Principal) } else { reach }
    }

    /// Whose the answer is at the least, if nothing is known of the server.
    pub(super) fn narrowest(&self) -> Reach {
        if self.session.is_some() { Reach::Session } else { Reach::Principal }
    }

    pub(super) fn key(&self, reach: Reach) -> Key {
        let who = || Arc::clone(&self.who);
        let whose = match (reach, &self.session) {
            (Reach::Tenant, _) => Whose::Tenant(self.who.tenant.clone()),
            (Reach::Session, Some(session)) => Whose::Session(who(), session.clone()),
            (Reach::Principal | Reach::Session, _) => Whose::Principal(who(), self.info.clone()),
        };
        let (server, what) = (self.server, self.what.clone());
        Key { server, what, capabilities: self.capabilities.clone(), whose }
    }
}

/// Whether a request has nothing in it that the server sees and no key has, beside these members of its params.
pub(crate) fn says_only(message: &Message, members: &[&str]) -> bool {
    use tollgate_mcp::meta;
    const META: [&str; 8] = [
        meta::PROTOCOL_VERSION,
        meta::CLIENT_CAPABILITIES,
        meta::CLIENT_INFO,
        meta::LOG_LEVEL,
        meta::PROGRESS_TOKEN,
        meta::TRACEPARENT,
        meta::TRACESTATE,
        meta::BAGGAGE,
    ];
    let bytes = message.bytes();
    let is_known = |name: &str| name == "_meta" || members.contains(&name);
    message.members().iter().all(|member| is_known(&member.key(bytes)))
        && message.meta_members().iter().all(|member| META.contains(&&*member.key(bytes)))
}
