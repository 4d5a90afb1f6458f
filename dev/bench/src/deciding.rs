//! What policy costs, within one process: decisions, lists, and reading policies.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tollgate_catalog::{Known, KnownServer, ServerFacts, ToolDefinition};
use tollgate_mcp::Span;
use tollgate_model::{Era, Principal, PrincipalId, Proof, ServerName, TenantId, Timestamp};
use tollgate_policy::{Ask, Mode, PolicySet, Scene, Source, Sources, What};

use crate::Result;

const SERVERS: usize = 20;
const TOOLS_EACH: usize = 50;
const POLICIES: usize = 1_000;

const SCHEMA: &str = r#"{"type":"object","required":["amount","to"],"properties":{"amount":{"type":"number"},
    "to":{"type":"string"},"count":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}}}}"#;
const ARGUMENTS: &str = r#"{"amount":12.5,"to":"somebody","count":3,"tags":["a","b"]}"#;

/// One line of the table: microseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) what: &'static str,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// What it may take, and of which of the two.
    pub(crate) aim_us: f64,
    pub(crate) is_p99: bool,
}

impl Line {
    /// A line whose aim is about the median.
    pub(crate) fn of(what: &'static str, times: &Histogram<u64>, aim_us: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 ns")]
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1_000.0;
        Self { what, p50_us: at(0.5), p99_us: at(0.99), aim_us, is_p99: false }
    }

    pub(crate) fn found_us(&self) -> f64 {
        if self.is_p99 { self.p99_us } else { self.p50_us }
    }
}

/// Measures everything; each answer is looked at.
pub(crate) fn measure(is_quick: bool) -> Result<Vec<Line>> {
    let (many, some, few) = if is_quick { (20_000, 500, 3) } else { (500_000, 5_000, 10) };
    let mut lines = Vec::new();
    let mut add = |what, times: &Histogram<u64>, aim_us, is_p99| {
        lines.push(Line { is_p99, ..Line::of(what, times, aim_us) });
    };

    let constant =
        set(&["permit(principal in Agent::\"bot\", action in Action::\"call\", resource);".to_owned()])?;
    add("a decision where no rule reads the context", &decide(&constant, many)?, 1.0, false);
    let ten: Vec<String> = (0..10).map(conditional).collect();
    add("ten rules on arguments and time apply", &decide(&set(&ten)?, some * 10)?, 40.0, false);
    let hundred: Vec<String> =
        (0..POLICIES).map(|at| if at < 100 { conditional(at) } else { typical(at) }).collect();
    add(
        "1,000 rules, of which 100 on arguments and time apply",
        &decide(&set(&hundred)?, some)?,
        300.0,
        true,
    );

    let sparse: Vec<String> = (0..POLICIES).map(typical).collect();
    let sparse_set = set(&sparse)?;
    add("1,000 tools for a new caller, 1,000 rules, typical", &new_lists(&sparse, few)?, 120_000.0, false);
    let dense: Vec<String> = (0..POLICIES).map(dense).collect();
    let dense_set = set(&dense)?;
    add("the same where all rules apply to all tools", &new_lists(&dense, few)?, 2_000_000.0, false);
    add("1,000 tools again, typical", &lists(&sparse_set, some)?, 200.0, false);
    add("1,000 tools again, all rules apply", &lists(&dense_set, some)?, 200.0, false);

    add(
        "reading 1,000 rules against 1,000 tools, typical",
        &timed(few, || set(&sparse).map(drop))?,
        5_000_000.0,
        false,
    );
    let wide: Vec<String> = (0..POLICIES).map(conditional).collect();
    add("the same where all are about all tools", &timed(few, || set(&wide).map(drop))?, 5_000_000.0, false);
    Ok(lines)
}

/// The lines as a table.
pub(crate) fn table(text: &mut String, lines: &[Line]) {
    let _ = write!(
        text,
        "\n## Policy\n\nWithin one process, one thread: {SERVERS} servers of {TOOLS_EACH} tools each. A rule that *applies* is about \
         the caller and the tool, and its conditions are evaluated.\n\n| what | p50 µs | p99 µs |\n|---|--:|--:|\n"
    );
    for line in lines {
        let _ = writeln!(text, "| {} | {:.1} | {:.1} |", line.what, line.p50_us, line.p99_us);
    }
}

fn timed(times: usize, mut one: impl FnMut() -> Result<()>) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    for _ in 0..times {
        let began = Instant::now();
        one()?;
        histogram.record(nanos(began.elapsed()))?;
    }
    Ok(histogram)
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

fn decide(set: &PolicySet, times: usize) -> Result<Histogram<u64>> {
    let (who, server) = (caller(), server(0)?);
    let arguments = Some((ARGUMENTS.as_bytes(), Span::all(ARGUMENTS.as_bytes())));
    let ask = Ask { server: &server, what: What::Call { native: "tool0", arguments }, scene: scene() };
    timed(times, || {
        let decision = std::hint::black_box(set.decide(&who, &ask));
        if decision.allowed { Ok(()) } else { Err(format!("denied: {decision:?}").into()) }
    })
}

/// All servers' lists, for a caller who is the first one that the policies see.
fn new_lists(policies: &[String], times: usize) -> Result<Histogram<u64>> {
    let mut all = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    for _ in 0..times {
        all.add(lists(&set(policies)?, 1)?)?;
    }
    Ok(all)
}

/// All servers' lists, for the same caller each time.
fn lists(set: &PolicySet, times: usize) -> Result<Histogram<u64>> {
    let servers: Vec<ServerName> = (0..SERVERS).map(server).collect::<Result<_>>()?;
    let natives: Vec<String> = (0..TOOLS_EACH).map(|at| format!("tool{at}")).collect();
    let who = caller();
    timed(times, || {
        let mut shown = 0;
        for server in &servers {
            let visible = set.visible(&who, server, &scene());
            shown += natives.iter().filter(|native| visible.tool(native)).count();
        }
        if std::hint::black_box(shown) == 0 { Err("nothing is shown".into()) } else { Ok(()) }
    })
}

fn caller() -> Principal {
    let mut who = Principal::new(TenantId::default(), PrincipalId::new("bot for ann"), Proof::Anonymous);
    who.agent = Some(Arc::from("bot"));
    who.user = Some(Arc::from("ann"));
    who.groups = (0..40).step_by(5).map(|group| Arc::from(format!("group{group}"))).collect();
    who
}

fn scene() -> Scene<'static> {
    let source = Some(IpAddr::from([10, 0, 0, 7]));
    Scene { now: Timestamp::from_ms(1_795_610_040_000), source, endpoint: "", era: Era::Modern }
}

fn server(at: usize) -> Result<ServerName> {
    ServerName::new(&format!("server{at}")).map_err(|error| error.to_string().into())
}

/// A rule that is about all tools, and depends on arguments and time.
fn conditional(at: usize) -> String {
    format!(
        "permit(principal in Agent::\"bot\", action in Action::\"call\", resource) when {{ context.env.hour >= 6 && \
         context.env.hour < 18 && context.input.amount.lessThan(decimal(\"{}.0\")) && context.input.to != \"x{at}\" }};",
        at + 100
    )
}

/// A rule about one tool, mostly, and one group of a hundred.
fn typical(at: usize) -> String {
    let (server, tool) = (at % SERVERS, at / SERVERS % TOOLS_EACH);
    let group = at % 100;
    match at % 10 {
        0 => format!(
            "permit(principal in Group::\"group{group}\", action in Action::\"server:server{server}\", resource) when {{ resource.read_only }};"
        ),
        1 => format!(
            "forbid(principal in Group::\"group{group}\", action in Action::\"destructive\", resource in Server::\"server{server}\");"
        ),
        _ => format!(
            "permit(principal in Group::\"group{group}\", action == Action::\"server{server}__tool{tool}\", resource) when {{ \
             context.input.amount.lessThan(decimal(\"{at}.0\")) && context.env.hour >= 6 }};"
        ),
    }
}

/// A rule about everything whose conditions are all looked at, and do not hold until the last.
fn dense(at: usize) -> String {
    let id = if at + 1 == POLICIES { "bot".to_owned() } else { format!("bot{at}") };
    format!(
        "permit(principal, action in Action::\"call\", resource) when {{ !resource.destructive && principal in Agent::\"{id}\" && \
         context.input.amount.lessThan(decimal(\"{}.0\")) }};",
        at + 100
    )
}

fn set(policies: &[String]) -> Result<PolicySet> {
    let source = Source { path: Arc::from("bench.cedar"), text: Arc::from(policies.join("\n")) };
    let sources = Sources { tenant: vec![source], ..Sources::default() };
    match PolicySet::compile(&sources, &known()?, None, Mode::New) {
        Ok((set, _)) => Ok(set),
        Err(findings) => Err(findings.first().map(ToString::to_string).unwrap_or_default().into()),
    }
}

fn known() -> Result<Known> {
    let tools: Arc<[ToolDefinition]> = (0..TOOLS_EACH)
        .map(|at| ToolDefinition {
            native: Arc::from(format!("tool{at}")),
            input_schema: Some(SCHEMA.into()),
            read_only: at % 2 == 0,
            destructive: false,
        })
        .collect();
    let servers = (0..SERVERS)
        .map(|at| {
            let facts = Arc::new(ServerFacts { risk: Some(Arc::from("low")), ..ServerFacts::default() });
            Ok(KnownServer { name: server(at)?, facts, tools: Some(tools.clone()) })
        })
        .collect::<Result<_>>()?;
    Ok(Known { tenant: TenantId::default(), servers, toolsets: Vec::new(), redactions: Vec::new() })
}

/// Rules about the first server: some for every tool, and ten for all of them.
pub(crate) fn rules_of_one_server() -> String {
    let single = (0..TOOLS_EACH).map(|tool| {
        format!(
            "permit(principal in Group::\"group{}\", action == Action::\"server0__tool{tool}\", resource) when {{ \
             context.input.amount.lessThan(decimal(\"{tool}.0\")) && context.env.hour >= 6 }};",
            tool % 40
        )
    });
    single.chain((0..10).map(conditional)).collect::<Vec<_>>().join("\n")
}

/// A saved catalogue of the first server's tools.
pub(crate) fn catalog() -> String {
    let tools = (0..TOOLS_EACH).map(|at| format!("{{\"name\":\"tool{at}\",\"inputSchema\":{SCHEMA}}}"));
    let tools = tools.collect::<Vec<_>>().join(",");
    format!(
        "{{\"format\":\"tollgate-catalog\",\"version\":1,\"saved\":\"2026-11-25T00:00:00Z\",\
         \"tenants\":{{\"default\":{{\"server0\":{{\"tools\":[{tools}]}}}}}}}}"
    )
}
