//! What limits cost, within one process: a call that four of them are about, admitted and settled.

use std::fmt::Write;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tollgate_limits::{About, Bound, Dimension, LimitSettings, Limits, Rule, Subject};
use tollgate_model::{Holder, ServerId, ServerName, TenantId};

use crate::Result;
use crate::deciding::{Line, nanos};

const AGENTS: usize = 1_000;
/// What one call may take at four levels.
const AIM_US: f64 = 2.0;

/// Measures everything; each answer is looked at.
pub(crate) fn measure(is_quick: bool) -> Result<Vec<Line>> {
    let many = if is_quick { 50_000 } else { 1_000_000 };
    let rate = || {
        let requests = NonZeroU32::new(1_000_000_000).unwrap_or(NonZeroU32::MIN);
        Bound::Rate { requests, per: Duration::from_secs(1), burst: requests }
    };
    let places = || Bound::Concurrency(NonZeroU32::MAX);
    let levels = [
        ("tenant", vec![Dimension::Tenant]),
        ("agent", vec![Dimension::Tenant, Dimension::Agent]),
        ("server", vec![Dimension::Tenant, Dimension::Server]),
        ("tool", vec![Dimension::Tenant, Dimension::Agent, Dimension::Tool]),
    ];
    let rules = |bound: &dyn Fn() -> Bound| -> Vec<Rule> {
        let rule = |(name, per): &(&str, Vec<Dimension>)| Rule {
            name: Arc::from(*name),
            plan: None,
            per: per.clone(),
            about: About::default(),
            bound: bound(),
        };
        levels.iter().map(rule).collect()
    };
    Ok(vec![
        Line::of("no limits", &timed(Vec::new(), many)?, 0.2),
        Line::of("rates at four levels", &timed(rules(&rate), many)?, AIM_US),
        Line::of("concurrency at four levels", &timed(rules(&places), many)?, AIM_US),
    ])
}

/// The lines as a table.
pub(crate) fn table(text: &mut String, lines: &[Line]) {
    let _ = write!(
        text,
        "\n## Limits\n\nWithin one process, one thread: a call of one of {AGENTS} agents is admitted, settled and over. The levels are \
         tenant, agent, server and tool.\n\n| what is about it | p50 µs | p99 µs |\n|---|--:|--:|\n"
    );
    for line in lines {
        let _ = writeln!(text, "| {} | {:.2} | {:.2} |", line.what, line.p50_us, line.p99_us);
    }
}

fn timed(rules: Vec<Rule>, times: usize) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    let tenant = TenantId::new("acme");
    let settings = LimitSettings { rules, tenants: vec![tenant.clone()], ..LimitSettings::default() };
    let limits = Limits::new(&settings);
    let agents: Vec<String> = (0..AGENTS).map(|number| format!("agent-{number}")).collect();
    let server = ServerId::new(Holder::Tenant(tenant.clone()), ServerName::new("bank")?);
    for agent in agents.iter().cycle().take(times) {
        let subject = Subject {
            tenant: tenant.as_str(),
            agent: Some(agent),
            user: Some("ann@example.com"),
            key: None,
            server: Some(&server),
            tool: Some("transfer"),
            toolset: None,
            endpoint: "",
            method: "tools/call",
        };
        let began = Instant::now();
        let admitted = limits.try_admit(std::hint::black_box(&subject));
        if let Some(Ok(admission)) = &admitted {
            admission.charge.settle();
        }
        let is_admitted = matches!(admitted, Some(Ok(_)));
        drop(admitted);
        histogram.record(nanos(began.elapsed()))?;
        if !is_admitted {
            return Err("a limit that leaves room for all left none".into());
        }
    }
    Ok(histogram)
}
