//! `tollgate.yaml` as it is written. These types are the one source of the JSON Schema, of the reference page and of the
//! check of every file; what the values mean is decided in `meaning`.

mod admin;
mod approvals;
mod cache;
mod export;
mod external;
mod guard;
mod identity;
mod index;
mod ledger;
mod limits;
mod pins;
mod policy;
mod registry;
mod retention;
mod schemas;
mod sizes;
mod store;
mod telemetry;
mod tenants;

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{AnyJson, FromText, Items, Keyed, Scalar, Short, keys};
use super::meaning::defaults;

pub(super) use self::admin::{AdminSection, RoleSection, SignInSection};
pub(super) use self::approvals::{
    ApprovalArgumentsSection, ApprovalBodySection, ApprovalGroupSection, ApprovalWebhookSection,
    ApprovalsSection, SmtpSection, SmtpSecuritySection,
};
pub(super) use self::cache::{CacheSection, ServerCacheSection};
pub(super) use self::export::{
    ConfirmSection, ExportFileSection, ExportFormatSection, ExportOtlpSection, ExportProtocolSection,
    ExportSection, SplunkSection, SyslogSection, WebhookSection,
};
pub(super) use self::external::{
    ClassifierSection, ExternalDirectionSection, ExternalGuardSection, ExternalKindSection, OnFailureSection,
    PresidioSection,
};
pub(super) use self::guard::{
    ArgumentsActionSection, ArgumentsGuardSection, BeyondSection, DefinitionsActionSection,
    DefinitionsGuardSection, FieldSection, GuardActionSection, GuardModeSection, GuardPlaceSection,
    GuardSection, OverrideSection, PatternSection, PseudonymsSection, ResultsGuardSection,
};
pub(super) use self::identity::{
    AlgorithmSection, CertificateSection, ClaimsSection, IdentitySection, IntrospectionSection,
    IssuerSection, KeySection,
};
pub(super) use self::index::{IndexSection, PriceSection, TokensSection, UsageSection};
pub(super) use self::ledger::{DurabilitySection, LedgerSection, RecordLevelSection, WhenUnwritableSection};
pub(super) use self::limits::{
    BudgetSection, DimensionSection, EverySection, MatchSection, PlansSection, QuotaSection, RateSection,
    RuleSection, RunawaySection, RunawayWebhookSection,
};
pub(super) use self::pins::{FirstUseSection, PinChangesSection, PinsSection, ServerPinsSection};
pub(super) use self::policy::{PolicySection, ShadowSection};
pub(super) use self::registry::RegistrySection;
pub(super) use self::retention::RetentionSection;
pub(super) use self::schemas::{SchemaModeSection, SchemasSection, UnknownMembersSection};
pub(super) use self::sizes::{BoundsSection, SizesSection, WhenLargerSection};
pub(super) use self::store::{StoreSection, WhenStaleSection};
pub(super) use self::telemetry::{OtlpSection, ProtocolSection, TelemetrySection};
pub(super) use self::tenants::{TenantSection, ToolFactsSection};

/// Tollgate's configuration: where it listens, the servers behind it, and the toolsets that it serves.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "tollgate.yaml")]
#[schemars(extend("x-order" = keys::<ConfigSection>()))]
pub(super) struct ConfigSection {
    /// The address of the data plane, where MCP clients connect: an IP address or `localhost`, and a port (0 for any
    /// free one). While no identity is configured it has to be a loopback address.
    #[schemars(extend("default" = defaults::LISTEN))]
    pub(super) listen: Option<String>,
    /// The address of the admin listener: health, metrics and administration.
    #[schemars(extend("default" = defaults::ADMIN_LISTEN))]
    pub(super) admin_listen: Option<String>,
    /// The URL by which clients know this gateway, with the path prefix if there is one. `https`, or `http` on a
    /// loopback address. Never taken from the `Host` header.
    pub(super) public_url: Option<String>,
    /// Further values of the `Host` header by which this gateway is known: `host` for any port, or `host:port`. Loopback
    /// names and the host of `public_url` always are.
    pub(super) allowed_hosts: Option<Items<String>>,
    /// Web origins whose pages may call from a browser, such as `https://app.example.com`. The origin of `public_url`
    /// always is one.
    pub(super) allowed_origins: Option<Items<String>>,
    /// Addresses or blocks (`10.0.0.0/8`) of reverse proxies whose forwarding headers name the client's address.
    pub(super) trusted_proxies: Option<Items<String>>,
    /// Serves the data plane over TLS.
    pub(super) tls: Option<TlsSection>,
    /// Serves the admin listener over TLS.
    pub(super) admin_tls: Option<TlsSection>,
    /// Where this gateway runs, in the operator's own word, such as `production`: policies see it as
    /// `context.env.environment`.
    #[schemars(length(min = 1, max = 64))]
    pub(super) environment: Option<String>,
    /// The folder of what this gateway keeps itself, relative to this file: the ledger, and its state where there is no
    /// database. It is made, for its owner alone. `--data-dir` takes its place.
    #[schemars(extend("default" = ".tollgate"))]
    pub(super) data_dir: Option<String>,
    /// Where state is kept that outlives the gateway.
    pub(super) store: Option<StoreSection>,
    /// The record of everything that passes.
    pub(super) ledger: Option<LedgerSection>,
    /// What is sent to operators' receivers: traces, metrics, logs.
    pub(super) telemetry: Option<TelemetrySection>,
    /// How much was used, and what it costs.
    pub(super) usage: Option<UsageSection>,
    /// Who may do what.
    pub(super) policy: Option<PolicySection>,
    /// How people are asked to approve calls that policies let be made only then.
    pub(super) approvals: Option<ApprovalsSection>,
    /// By what callers are known. Without it, whoever reaches loopback is let in, and nobody else.
    pub(super) identity: Option<IdentitySection>,
    /// How people administer: the console and the API.
    pub(super) admin: Option<AdminSection>,
    /// How much callers may do, and bounds of the gateway itself.
    pub(super) limits: Option<LimitsSection>,
    /// How long what servers have said is kept.
    pub(super) cache: Option<CacheSection>,
    /// Whether servers' definitions are pinned, and what becomes of those that changed.
    pub(super) pins: Option<PinsSection>,
    /// Whether calls are checked against the schemas that tools declare.
    pub(super) schemas: Option<SchemasSection>,
    /// How large and deep arguments and results may be.
    pub(super) sizes: Option<SizesSection>,
    /// What is looked for in arguments and results: personal data, secrets, injections. Without it nothing is; `{}` looks, and
    /// only reports.
    pub(super) guard: Option<GuardSection>,
    /// The MCP servers behind the gateway, each under its name: letters, digits, `-` and single `_`, at most 32
    /// characters. Clients see a tool as `server__tool`; `/mcp/NAME` serves one server alone.
    pub(super) servers: Option<Keyed<ServerSection>>,
    /// Named choices of tools, resources and prompts from several servers, each served at `/mcp/NAME`. Servers and
    /// toolsets share one set of names.
    pub(super) toolsets: Option<Keyed<ToolsetSection>>,
    /// Tenants, each under its name: letters, digits, `-` and single `_`, at most 32 characters. Callers of a tenant see
    /// its own servers and toolsets, and the servers at the top of the file that are `shared`; nothing of another tenant.
    /// What else stands in `servers` and `toolsets` belongs to the tenant `default`.
    pub(super) tenants: Option<Keyed<TenantSection>>,
    /// What servers may be that are registered while the gateway runs.
    pub(super) registry: Option<RegistrySection>,
}

/// A certificate and its key. Both files are read again when they change.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<TlsSection>()))]
#[schemars(rename = "Tls")]
pub(super) struct TlsSection {
    /// PEM file with the certificate chain, the server's own first. Relative to this file.
    pub(super) certificate: Option<String>,
    /// PEM file with the private key. Relative to this file.
    pub(super) key: Option<String>,
}

/// How much callers may do (`rules` and `plans`), and bounds of the gateway itself. Without rules callers may do as much as the
/// bounds leave room for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<LimitsSection>()))]
#[schemars(rename = "Limits")]
pub(super) struct LimitsSection {
    /// How often callers may do something, and how much of it at once. A changed file takes effect at once, and what was
    /// counted by a limit of the same name and `per` stays counted; only a rate that is changed begins anew.
    pub(super) rules: Option<Items<RuleSection>>,
    /// Sets of limits, each under its name, for tenants that name one as their `plan`.
    pub(super) plans: Option<PlansSection>,
    /// Watches for agents that have run away. Without it nobody is watched; `{}` watches as the defaults say.
    pub(super) runaway: Option<RunawaySection>,
    /// How long a request that its client has left, or whose time was up, keeps its place among those under way
    /// (`concurrency`), in milliseconds: its server may still be at it. It gives the place up before where its server is heard
    /// to be done with it, which is so where all requests share a stream (stdio, HTTP+SSE). 0 gives it up at once.
    #[schemars(range(max = 3_600_000), extend("default" = defaults::ms(defaults::limits().abandoned)))]
    pub(super) abandoned_ms: Option<u64>,
    /// The time zone in which days and months of quotas and budgets begin, such as `Europe/Berlin`.
    #[schemars(extend("default" = "UTC"))]
    pub(super) timezone: Option<String>,
    /// How many gateways count together: quotas and budgets in one database, and rates and concurrency in the Valkey or Redis
    /// that the environment names by `REDIS_URL`. While one of them cannot ask what the others have counted, it gives out no
    /// more than its share, and says so in its log, its metrics and `/readyz`.
    #[schemars(range(min = 1, max = 10_000), extend("default" = defaults::limits().replicas))]
    pub(super) replicas: Option<u32>,
    /// The plan of tenants that name none, and of the tenant `default`.
    pub(super) plan: Option<String>,
    /// How many things may be counted apart at once. What still counts is never forgotten to make room: while there are as
    /// many as allowed, those who are new share one counter for each limit and tenant.
    #[schemars(range(min = 100, max = 100_000_000), extend("default" = defaults::limits().counters_max))]
    pub(super) counters_max: Option<usize>,
    /// The largest request body, in bytes. Larger ones are refused with 413.
    #[schemars(range(min = 1024, max = 1_073_741_824), extend("default" = defaults::proxy().body_bytes_max))]
    pub(super) body_bytes_max: Option<usize>,
    /// How many requests over HTTP may be under way at once in this process. Further ones are refused at once, with 503 and
    /// `Retry-After`; what goes on with something that has begun has a quarter more.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = defaults::proxy().load.requests_max))]
    pub(super) requests_max: Option<usize>,
    /// How many bytes the bodies of all these may have together. More is refused with 503.
    #[schemars(range(min = 1_048_576, max = 1_099_511_627_776_u64), extend("default" = defaults::proxy().load.bytes_max))]
    pub(super) requests_bytes_max: Option<usize>,
    /// How late a serving thread may be, in milliseconds, before it begins nothing new, and refuses with 503 what it cannot
    /// do in time. 0: it never does.
    #[schemars(range(max = 60_000), extend("default" = defaults::ms(defaults::proxy().load.lag_max)))]
    pub(super) lag_ms_max: Option<u64>,
    /// How long a request body may take to arrive in whole, in milliseconds. Slower ones are refused with 408.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::proxy().body_timeout)))]
    pub(super) body_timeout_ms: Option<u64>,
    /// The largest message that a server may send, in bytes, for servers that do not say otherwise.
    #[schemars(range(min = 1024, max = 1_073_741_824), extend("default" = defaults::server_limits().message_bytes_max))]
    pub(super) message_bytes_max: Option<usize>,
    /// How many sessions of legacy clients may exist at once. When full, a new one is refused.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = defaults::proxy().sessions_max))]
    pub(super) sessions_max: Option<usize>,
    /// How long a session without any request or open stream lives, in milliseconds.
    #[schemars(range(min = 1000, max = 604_800_000), extend("default" = defaults::ms(defaults::proxy().session_idle)))]
    pub(super) session_idle_ms: Option<u64>,
    /// How many requests may be under way at once in one session, or over one stdio connection; and how many questions of
    /// servers one client may have open at once.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().in_flight_max))]
    pub(super) in_flight_max: Option<usize>,
    /// How many messages may wait for a client that reads its stream slowly. Progress and log messages beyond it are
    /// dropped; the reply to a request never is.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().stream_queue_max))]
    pub(super) stream_queue_max: Option<usize>,
    /// After how much silence a stream gets a comment that keeps it open, in milliseconds.
    #[schemars(range(min = 100, max = 3_600_000), extend("default" = defaults::ms(defaults::proxy().keep_alive)))]
    pub(super) keep_alive_ms: Option<u64>,
    /// How long a person may take to answer what a server asks (sampling, elicitation, roots), in milliseconds. A call
    /// whose client does not come back in this time is cancelled at the server.
    #[schemars(range(min = 1000, max = 86_400_000), extend("default" = defaults::ms(defaults::proxy().input_timeout)))]
    pub(super) input_timeout_ms: Option<u64>,
    /// How often a server may ask during one request.
    #[schemars(range(min = 1, max = 10_000), extend("default" = defaults::proxy().input_rounds_max))]
    pub(super) input_rounds_max: Option<u32>,
    /// How many calls of modern clients to legacy servers may wait for their clients' answers at once. When full, a call
    /// that asks is ended.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().parked_max))]
    pub(super) parked_max: Option<usize>,
    /// How many of them may be one principal's. Without identity there is one principal.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().parked_per_principal_max))]
    pub(super) parked_per_principal_max: Option<usize>,
    /// How many bytes the results may have together that were too large for their clients and are kept aside (`sizes.when_larger`). One
    /// has a quarter of it at most; those of the tenant that has most go first.
    #[schemars(range(min = 65_536, max = 1_073_741_824), extend("default" = defaults::proxy().aside.bytes_max))]
    pub(super) aside_bytes_max: Option<usize>,
    /// How many of them there may be.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().aside.results_max))]
    pub(super) aside_results_max: Option<usize>,
    /// How long one is kept.
    #[schemars(range(min = 1000, max = 86_400_000), extend("default" = defaults::ms(defaults::proxy().aside.kept)))]
    pub(super) aside_kept_ms: Option<u64>,
    /// How many bytes of it are read at once, as a page.
    #[schemars(range(min = 1024, max = 16_777_216), extend("default" = defaults::proxy().aside.page_bytes))]
    pub(super) aside_page_bytes: Option<usize>,
    /// How many events a stream of a session keeps after they were sent, for a client whose connection broke and who comes
    /// back for the rest.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().resume.events_max))]
    pub(super) resume_events_max: Option<usize>,
    /// How many bytes such a stream keeps. A reply that comes while the client is away may have as many again; with a
    /// larger one the stream cannot be resumed.
    #[schemars(range(min = 1024, max = 1_073_741_824), extend("default" = defaults::proxy().resume.bytes_max))]
    pub(super) resume_bytes_max: Option<usize>,
    /// How many bytes all such streams of one session keep together.
    #[schemars(range(min = 1024, max = 1_073_741_824), extend("default" = defaults::proxy().resume.session_bytes_max))]
    pub(super) resume_session_bytes_max: Option<usize>,
    /// How long a stream that has ended is kept for a client who has not seen its end, in milliseconds.
    #[schemars(range(min = 1000, max = 86_400_000), extend("default" = defaults::ms(defaults::proxy().resume.keep)))]
    pub(super) resume_keep_ms: Option<u64>,
    /// How long a client of 2025-11-25 is told to wait before it comes back to a stream, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::proxy().resume.retry)))]
    pub(super) resume_retry_ms: Option<u64>,
    /// After how long a request of a client of 2025-11-25 is answered by a stream, from which on it survives a broken
    /// connection, in milliseconds. A request that is done before gets plain JSON.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::proxy().resume.after)))]
    pub(super) resume_after_ms: Option<u64>,
    /// How many messages a batch of a 2025-03-26 client may have. Larger ones are refused whole.
    #[schemars(range(min = 1, max = 100_000), extend("default" = defaults::proxy().batch_max))]
    pub(super) batch_max: Option<usize>,
    /// How many modern clients may listen for changes at once. When full, a new one is refused.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().listeners_max))]
    pub(super) listeners_max: Option<usize>,
    /// How many of them may be one principal's. Without identity there is one principal.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().listeners_per_principal_max))]
    pub(super) listeners_per_principal_max: Option<usize>,
    /// How many resources and tasks one client may listen for, or be subscribed to in one session.
    #[schemars(range(min = 1, max = 100_000), extend("default" = defaults::proxy().subscriptions_max))]
    pub(super) subscriptions_max: Option<usize>,
    /// How long servers may take to acknowledge what a client listens for, in milliseconds. Later ones are left out.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::proxy().listen_wait)))]
    pub(super) listen_wait_ms: Option<u64>,
    /// How many pages of one server's list are read.
    #[schemars(range(min = 1, max = 100_000), extend("default" = defaults::proxy().list_pages_max))]
    pub(super) list_pages_max: Option<usize>,
    /// How many items one server's list may have; the rest is left out and named as missing.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().list_items_max))]
    pub(super) list_items_max: Option<usize>,
    /// How many tasks are followed at once on behalf of clients that cannot follow them, for all callers together. One
    /// more call that becomes a task is refused, and its task cancelled.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().tasks.followed_max))]
    pub(super) tasks_followed_max: Option<usize>,
    /// The same for one principal.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().tasks.followed_per_principal_max))]
    pub(super) tasks_followed_per_principal_max: Option<usize>,
    /// The shortest time between two looks at a task that is followed, whatever its server suggests, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::proxy().tasks.poll_min)))]
    pub(super) task_poll_ms_min: Option<u64>,
    /// The longest time between two looks at a task that is followed, whatever its server suggests, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::proxy().tasks.poll_max)))]
    pub(super) task_poll_ms_max: Option<u64>,
    /// How many requests about tasks one principal may make within a second. More are refused.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::proxy().tasks.requests_per_s_max))]
    pub(super) task_requests_per_s_max: Option<u32>,
    /// For how long a 2025-11-25 server is asked to keep a task that the call of a newer client becomes, in milliseconds.
    #[schemars(range(min = 1000, max = 604_800_000), extend("default" = defaults::ms(defaults::proxy().tasks.ttl)))]
    pub(super) task_ttl_ms: Option<u64>,
    /// How many tasks of 2025-11-25 servers are remembered as their callers', so that lists and notifications show them.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = defaults::proxy().tasks.known_max))]
    pub(super) tasks_known_max: Option<usize>,
    /// How much of `sessions_max`, `parked_max`, `listeners_max`, `tasks_followed_max` and `counters_max` one tenant may take up, in percent,
    /// so that it leaves room for the others. Means nothing without `tenants`.
    #[schemars(range(min = 1, max = 100), extend("default" = defaults::proxy().tenant_share_percent))]
    pub(super) tenant_share_percent: Option<usize>,
}

/// One MCP server: a `command` that the gateway starts, or a `url`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ServerSection>()))]
#[schemars(rename = "Server")]
pub(super) struct ServerSection {
    /// Leaves the server out, as if it were not here.
    #[schemars(extend("default" = false))]
    pub(super) disabled: Option<bool>,
    /// Whether every tenant has this server, under the same name and with the same credential. Only for the servers at the
    /// top of the file. Callers of different tenants never share a session with it or a process of it, unless `isolation`
    /// is `shared`, the server speaks the modern era, which keeps nothing of its callers, or `legacy_sessions` is
    /// `stateless`.
    #[schemars(extend("default" = false))]
    pub(super) shared: Option<bool>,
    /// The program to start: a name looked up in `PATH`, or a path (relative to this file).
    pub(super) command: Option<String>,
    /// The program's arguments.
    pub(super) args: Option<Items<Scalar>>,
    /// The program's environment. Beside it the program gets `PATH`, `HOME` and the locale, and nothing else.
    pub(super) env: Option<Keyed<Short<SecretSection>>>,
    /// A file of `NAME=value` lines that are added to the environment; `env` wins. Relative to this file.
    pub(super) env_file: Option<String>,
    /// The program's working directory, relative to this file. The gateway's own if absent.
    pub(super) cwd: Option<String>,
    /// The URL of the server's MCP endpoint, `http` or `https`.
    pub(super) url: Option<String>,
    /// The places of a server that runs at several, in the place of `url`. Requests are spread over them.
    pub(super) replicas: Option<Items<ReplicaSection>>,
    /// The one version of the replicas that is used, whatever their weights. Without it all are.
    pub(super) version: Option<Scalar>,
    /// While fewer than this share of the replicas of one priority are well, in percent, those of the next one are used
    /// too.
    #[schemars(range(min = 1, max = 100), extend("default" = 50))]
    pub(super) failover_percent: Option<u8>,
    /// When a replica, or a server with a `url`, is left alone for a while since it does not answer.
    pub(super) circuit: Option<CircuitSection>,
    /// How the server, or each replica, is looked at beside all requests. Without it it is not.
    pub(super) health: Option<HealthSection>,
    /// How the server is spoken with. `http` is Streamable HTTP and falls back to `sse` (HTTP+SSE of 2024-11-05) by the
    /// specification's rules; `stdio` goes without saying where there is a `command`.
    pub(super) transport: Option<TransportSection>,
    /// Headers put on every request to the server.
    pub(super) headers: Option<Keyed<Short<SecretSection>>>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(super) ca_file: Option<String>,
    /// Which HTTP version to speak with the server.
    pub(super) http_version: Option<HttpVersionSection>,
    /// Which era of the protocol the server speaks. `auto` finds out.
    pub(super) era: Option<EraSection>,
    /// Who may share one process of, or one session with, the server. Without it: everyone shares a server of the modern
    /// era, which is stateless; a server of the legacy era gets one per client session.
    pub(super) isolation: Option<IsolationSection>,
    /// How sessions with a server of the legacy era, or its processes, serve modern clients, which have no sessions of
    /// their own. `pooled`: they are kept, and one client's requests share one. `strict`: each request has one to itself,
    /// which is begun for it and ended after it. `stateless`: the server keeps nothing from one request to the next, so
    /// that all clients may share one. Clients that differ in their capabilities never share one.
    pub(super) legacy_sessions: Option<LegacySessionsSection>,
    /// Who answers for the server. Policies may ask for it, as for what follows.
    pub(super) owner: Option<String>,
    /// Where the server belongs, such as `production`, in a word of your own.
    #[schemars(length(min = 1, max = 64))]
    pub(super) environment: Option<String>,
    /// How dangerous the server is, in a word of your own.
    #[schemars(length(min = 1, max = 64))]
    pub(super) risk: Option<String>,
    /// Scopes that an access token needs for anything on the server.
    pub(super) scopes: Option<Items<String>>,
    /// What is to be said of single tools, each under the server's own name of it, or under a pattern in which `*` stands
    /// for anything. A name goes before patterns, and a pattern before later ones.
    pub(super) tools: Option<Keyed<ToolFactsSection>>,
    /// Whether the server's own hints of which tools are read-only or idempotent are believed: calls of those may be made
    /// again. Without it only what `tools` says counts.
    #[schemars(extend("default" = false))]
    pub(super) trust_annotations: Option<bool>,
    /// What is kept of what the server has said, where that is otherwise than for all.
    pub(super) cache: Option<ServerCacheSection>,
    /// How the server's definitions are pinned, where that is otherwise than for all.
    pub(super) pins: Option<ServerPinsSection>,
    /// How calls of the server's tools are checked, where that is otherwise than for all.
    pub(super) schemas: Option<SchemasSection>,
    /// How large arguments and results of the server may be, where that is otherwise than for all.
    pub(super) sizes: Option<SizesSection>,
    /// What becomes of calls of the server while the ledger cannot be written. Default: `ledger.when_unwritable`.
    pub(super) when_unwritable: Option<WhenUnwritableSection>,
    /// How many processes or sessions there may be at once. Default: 32 processes, 10000 sessions.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) instances_max: Option<usize>,
    /// How many calls, reads, prompts and completions may be under way at once on the server, over all its processes or sessions;
    /// lists have an eighth of this beside it. Default: 128 on processes, 512 on servers with a URL.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) concurrency_max: Option<usize>,
    /// How many requests may wait for a place among those. More are refused at once, with 503 and `Retry-After`.
    #[schemars(range(max = 1_000_000), extend("default" = defaults::server_limits().queue_max))]
    pub(super) queue_max: Option<usize>,
    /// How long a request waits for a place, in milliseconds. One that would have to wait for longer is refused at once.
    #[schemars(range(max = 3_600_000), extend("default" = defaults::ms(defaults::timeouts().queue)))]
    pub(super) queue_timeout_ms: Option<u64>,
    /// How many resources and tasks may be watched at once on one process or session.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::server_limits().watched_max))]
    pub(super) watched_max: Option<usize>,
    /// The largest message that the server may send, in bytes. Default: `limits.message_bytes_max`.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub(super) message_bytes_max: Option<usize>,
    /// How many messages beside its response one answer over HTTP may bring at once; a tenth of as many may be added each second.
    /// One that brings more is cut off, and counts as no answer.
    #[schemars(range(min = 1, max = 100_000_000), extend("default" = defaults::server_limits().answer_messages_max))]
    pub(super) answer_messages_max: Option<u32>,
    /// How long a connection and its TLS handshake may take, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::timeouts().connect)))]
    pub(super) connect_timeout_ms: Option<u64>,
    /// How long the server may take to answer the first question, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::timeouts().probe)))]
    pub(super) probe_timeout_ms: Option<u64>,
    /// How long a request may take from start to response, whatever progress arrives meanwhile, in milliseconds.
    #[schemars(range(min = 1, max = 86_400_000), extend("default" = defaults::ms(defaults::timeouts().request)))]
    pub(super) request_timeout_ms: Option<u64>,
    /// How long a request may take until the first of its answer is there, in milliseconds: the head of a response over HTTP,
    /// else the first message about it. Default: as long as the whole request, since an answer may come in one piece.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub(super) first_byte_timeout_ms: Option<u64>,
    /// How long the server may be silent in the midst of an answer, in milliseconds: no message, no comment in a stream, no
    /// part of a body. The clock stands still while a person is asked.
    #[schemars(range(min = 1, max = 86_400_000), extend("default" = defaults::ms(defaults::timeouts().silence)))]
    pub(super) idle_timeout_ms: Option<u64>,
    /// How often a request that failed is tried again at most: whatever certainly had no effect; and of what may have been
    /// carried out, lists, reads, prompts, completions, and calls of tools that are read-only or idempotent.
    #[schemars(range(max = 10), extend("default" = defaults::retries().max))]
    pub(super) retries: Option<u32>,
    /// How many of all requests may be tried again, in percent, beside one a second.
    #[schemars(range(max = 100), extend("default" = defaults::retries().percent))]
    pub(super) retry_percent: Option<u32>,
    /// The wait before the first retry, in milliseconds; each further one is twice as long, and each is shortened at random by
    /// up to a half. A server's `Retry-After` is kept where it is longer.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::retries().wait_min)))]
    pub(super) retry_ms_min: Option<u64>,
    /// The longest wait before a retry, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::retries().wait_max)))]
    pub(super) retry_ms_max: Option<u64>,
    /// How long one page of a list may take, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::timeouts().list)))]
    pub(super) list_timeout_ms: Option<u64>,
    /// How long a list waits for the server where something that it said before would do, in milliseconds; or four times as long
    /// as the server's lists have taken lately, where that is longer.
    #[schemars(range(max = 3_600_000), extend("default" = defaults::ms(defaults::timeouts().list_patience)))]
    pub(super) list_patience_ms: Option<u64>,
    /// How long a modern client's request that needs a process or session to itself waits for room when there are as many
    /// as allowed, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::timeouts().capacity)))]
    pub(super) capacity_timeout_ms: Option<u64>,
    /// How long a process or session may be unused before it is stopped, in milliseconds.
    #[schemars(range(min = 1000, max = 604_800_000), extend("default" = defaults::ms(defaults::timeouts().idle)))]
    pub(super) idle_ms: Option<u64>,
    /// How long a process may take to stop when its input is closed, and again after SIGTERM, in milliseconds.
    #[schemars(range(min = 1, max = 600_000), extend("default" = defaults::ms(defaults::timeouts().stop)))]
    pub(super) stop_timeout_ms: Option<u64>,
    /// The wait after the first failed start, in milliseconds; each further one is twice as long.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::timeouts().backoff_min)))]
    pub(super) backoff_ms_min: Option<u64>,
    /// The longest wait after a failed start, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::timeouts().backoff_max)))]
    pub(super) backoff_ms_max: Option<u64>,
}

/// One of several places of a server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ReplicaSection>()))]
#[schemars(rename = "Replica")]
pub(super) struct ReplicaSection {
    /// The URL of the MCP endpoint there, `http` or `https`.
    pub(super) url: Option<String>,
    /// Which share of the requests it gets, against the weights of the others. One of weight 0 gets none as long as another
    /// one can be used, unless its version is the one that is used.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 1))]
    pub(super) weight: Option<u32>,
    /// Which version of the server it is, in a word of your own.
    pub(super) version: Option<Scalar>,
    /// Replicas of the lowest number are used first, the others when too few of those are well.
    #[schemars(range(min = 0, max = 1000), extend("default" = 0))]
    pub(super) priority: Option<u32>,
    /// Headers beside those of the server, which they replace where the names are the same.
    pub(super) headers: Option<Keyed<Short<SecretSection>>>,
    /// As the server's `ca_file`, in its place.
    pub(super) ca_file: Option<String>,
}

/// When a replica is left alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<CircuitSection>()))]
#[schemars(rename = "Circuit")]
pub(super) struct CircuitSection {
    /// After how many requests in a row that had no answer, or a 5xx status alone. Where no session can even be begun it is
    /// left alone at once. The waits are `backoff_ms_min` and `backoff_ms_max`.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::circuit().failures_max))]
    pub(super) failures_max: Option<u32>,
    /// How many requests are let through at once to one that was left alone, until one of them is answered.
    #[schemars(range(min = 1, max = 1000), extend("default" = defaults::circuit().trials_max))]
    pub(super) trials_max: Option<u32>,
    /// Which share of the replicas may be left alone at once since requests or checks failed, in percent: at least one, and
    /// never all of several.
    #[schemars(range(min = 0, max = 100), extend("default" = defaults::circuit().ejected_percent_max))]
    pub(super) ejected_percent_max: Option<u8>,
    /// When one of several replicas that answers some requests is left alone, since the others answer more.
    pub(super) outliers: Option<OutliersSection>,
}

/// How replicas are compared with each other.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<OutliersSection>()))]
#[schemars(rename = "Outliers")]
pub(super) struct OutliersSection {
    /// Whether they are not compared at all.
    #[schemars(extend("default" = false))]
    pub(super) disabled: Option<bool>,
    /// How often they are compared, in milliseconds.
    #[schemars(range(min = 100, max = 3_600_000), extend("default" = defaults::ms(defaults::outliers().interval)))]
    pub(super) interval_ms: Option<u64>,
    /// How many requests a replica must have had since the last time to be compared.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::outliers().requests_min))]
    pub(super) requests_min: Option<u64>,
    /// By how much the share of requests that it answered is below that of all others together, in percent of all.
    #[schemars(range(min = 1, max = 99), extend("default" = defaults::outliers().margin_percent))]
    pub(super) margin_percent: Option<u8>,
}

/// How a server is looked at beside all requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<HealthSection>()))]
#[schemars(rename = "Health")]
pub(super) struct HealthSection {
    /// The time between two checks, in milliseconds; shortened at random by up to a quarter.
    #[schemars(range(min = 100, max = 3_600_000), extend("default" = defaults::ms(defaults::health().interval)))]
    pub(super) interval_ms: Option<u64>,
    /// How long an answer may take, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000), extend("default" = defaults::ms(defaults::health().timeout)))]
    pub(super) timeout_ms: Option<u64>,
    /// After how many checks in a row without a good answer it is left alone.
    #[schemars(range(min = 1, max = 1000), extend("default" = defaults::health().unhealthy_after))]
    pub(super) unhealthy_after: Option<u32>,
    /// After how many good answers in a row it is used again.
    #[schemars(range(min = 1, max = 1000), extend("default" = defaults::health().healthy_after))]
    pub(super) healthy_after: Option<u32>,
    /// The path that is asked for by GET, such as `/healthz`: any status below 400 is a good answer. Without it the server is
    /// asked for `server/discover`, and any answer is a good one but a 5xx status alone.
    pub(super) path: Option<String>,
}

/// How a server is spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Transport")]
pub(super) enum TransportSection {
    Http,
    Sse,
    Stdio,
}

/// Which HTTP version to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "auto"))]
#[schemars(rename = "HttpVersion")]
pub(super) enum HttpVersionSection {
    Auto,
    Http1,
    Http2,
}

/// Which era a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "auto"))]
#[schemars(rename = "Era")]
pub(super) enum EraSection {
    Auto,
    Legacy,
    Modern,
}

/// Who shares a process or session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Isolation")]
pub(super) enum IsolationSection {
    Shared,
    Tenant,
    Principal,
    Session,
}

/// How sessions with a legacy server serve modern clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "pooled"))]
#[schemars(rename = "LegacySessions")]
pub(super) enum LegacySessionsSection {
    Pooled,
    Strict,
    Stateless,
}

/// A named choice of what several servers offer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ToolsetSection>()))]
#[schemars(rename = "Toolset")]
pub(super) struct ToolsetSection {
    /// What the toolset is for. Clients see it as the endpoint's instructions.
    pub(super) description: Option<String>,
    /// Servers that are registered at run time, and that it chooses from as if they stood in this file. While one is not served,
    /// nothing of it is in the toolset.
    pub(super) registered: Option<Items<String>>,
    /// The chosen tools, in the order in which they are listed.
    pub(super) tools: Option<Items<Short<ToolSection>>>,
    /// The chosen resources and resource templates.
    pub(super) resources: Option<Items<ResourceSection>>,
    /// The chosen prompts, in the order in which they are listed.
    pub(super) prompts: Option<Items<Short<PromptSection>>>,
    /// What becomes of calls at this endpoint while the ledger cannot be written. Default: as for the server that is called.
    pub(super) when_unwritable: Option<WhenUnwritableSection>,
}

/// A tool of a toolset. A text alone is its `tool`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ToolSection>()))]
#[schemars(rename = "Tool")]
pub(super) struct ToolSection {
    /// The public name (`server__tool`) or, beside `server`, the server's own name of the tool; `*` for all tools of
    /// `server`.
    pub(super) tool: Option<String>,
    /// The server that has the tool. Needed where a public name is too long to hold the server's own.
    pub(super) server: Option<String>,
    /// The name in this toolset: 1 to 64 of `A-Z a-z 0-9 _ . -`. Default: the public name.
    #[schemars(length(min = 1, max = 64))]
    pub(super) rename: Option<String>,
    /// The description in this toolset. Default: the server's own.
    pub(super) description: Option<String>,
    /// Arguments that every call gets, whatever the client says. They are removed from the tool's input schema.
    pub(super) arguments: Option<Keyed<AnyJson>>,
}

/// Resources of a toolset.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ResourceSection>()))]
#[schemars(rename = "Resource")]
pub(super) struct ResourceSection {
    /// The server that has the resources.
    pub(super) server: Option<String>,
    /// The URI of a resource or resource template; with `*` at its end, all that begin so. Default: all of them.
    pub(super) uri: Option<String>,
}

/// A prompt of a toolset. A text alone is its `prompt`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<PromptSection>()))]
#[schemars(rename = "Prompt")]
pub(super) struct PromptSection {
    /// The public name (`server__prompt`) or, beside `server`, the server's own name of the prompt; `*` for all prompts
    /// of `server`.
    pub(super) prompt: Option<String>,
    /// The server that has the prompt.
    pub(super) server: Option<String>,
    /// The name in this toolset: 1 to 64 of `A-Z a-z 0-9 _ . -`. Default: the public name.
    #[schemars(length(min = 1, max = 64))]
    pub(super) rename: Option<String>,
    /// The description in this toolset. Default: the server's own.
    pub(super) description: Option<String>,
}

/// The file that holds a secret. A text alone is the value itself.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Secret")]
pub(super) struct SecretSection {
    /// The value itself.
    #[serde(skip)]
    pub(super) text: Option<String>,
    /// The file whose content is the value, without one line break at its end. Relative to this file; at most 64 KiB.
    #[schemars(required)]
    pub(super) file: Option<String>,
}

impl fmt::Debug for SecretSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSection").field("file", &self.file).finish_non_exhaustive()
    }
}

impl FromText for ToolSection {
    fn from_text(text: String) -> Self {
        Self { tool: Some(text), ..Self::default() }
    }
}

impl FromText for PromptSection {
    fn from_text(text: String) -> Self {
        Self { prompt: Some(text), ..Self::default() }
    }
}

impl FromText for SecretSection {
    const TYPES: &'static [&'static str] = &["string", "number", "boolean"];

    fn from_text(text: String) -> Self {
        Self { text: Some(text), file: None }
    }
}
