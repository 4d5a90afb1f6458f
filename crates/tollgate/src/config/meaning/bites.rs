//! Limits that could never bite: they would be taken for protection that is not there.

use std::collections::BTreeSet;

use tollgate_limits::{About, Bound, Dimension, Glob, Rule, Unit};
use tollgate_mcp::methods;
use tollgate_model::folded;

use super::{Meaning, shown};
use crate::config::forms::{Items, Keyed, Several};
use crate::config::node::Place;
use crate::config::problem::closest;
use crate::config::section::{ConfigSection, MatchSection, PriceSection};

/// What is counted without a word of methods, and what is paid for from budgets.
const PAID: [&str; 4] =
    [methods::TOOLS_CALL, methods::RESOURCES_READ, methods::PROMPTS_GET, methods::COMPLETION_COMPLETE];
/// What is over as soon as it was counted.
const MOMENTARY: [&str; 3] =
    [methods::INITIALIZE, methods::NOTIFICATIONS_PROGRESS, methods::NOTIFICATIONS_MESSAGE];
/// The rest of what limits are asked about.
const OTHERS: [&str; 15] = [
    methods::PING,
    methods::SERVER_DISCOVER,
    methods::TOOLS_LIST,
    methods::PROMPTS_LIST,
    methods::RESOURCES_LIST,
    methods::RESOURCES_TEMPLATES_LIST,
    methods::RESOURCES_SUBSCRIBE,
    methods::RESOURCES_UNSUBSCRIBE,
    methods::SUBSCRIPTIONS_LISTEN,
    methods::LOGGING_SET_LEVEL,
    methods::TASKS_GET,
    methods::TASKS_UPDATE,
    methods::TASKS_CANCEL,
    methods::TASKS_RESULT,
    methods::TASKS_LIST,
];
/// What stands between a server's name and a tool's in the names of a merged list.
const BETWEEN: &str = "__";

/// What a limit can name.
#[derive(Debug, Default)]
pub(super) struct Named<'a> {
    servers: BTreeSet<&'a str>,
    toolsets: BTreeSet<&'a str>,
    /// What has a price, if anything is said of prices.
    prices: Option<Vec<&'a PriceSection>>,
}

impl<'a> Named<'a> {
    pub(super) fn of(section: &'a ConfigSection) -> Self {
        let mut named = Self::default();
        let tenants = || Keyed::iter(section.tenants.as_ref()).map(|(_, tenant)| tenant);
        let servers = tenants().map(|tenant| tenant.servers.as_ref()).chain([section.servers.as_ref()]);
        named.servers.extend(servers.flat_map(|servers| Keyed::iter(servers).map(|(name, _)| name)));
        let toolsets = tenants().map(|tenant| tenant.toolsets.as_ref()).chain([section.toolsets.as_ref()]);
        named.toolsets.extend(toolsets.flat_map(|toolsets| Keyed::iter(toolsets).map(|(name, _)| name)));
        let prices = section.usage.as_ref().and_then(|usage| usage.prices.as_ref());
        named.prices = prices.map(|prices| Items::iter(Some(prices)).map(|(_, price)| price).collect());
        named
    }

    pub(super) fn has_server(&self, name: &str) -> bool {
        self.servers.contains(name)
    }

    /// Whether anything of this may cost something.
    fn has_price(&self, about: &About) -> bool {
        let is = |patterns: &[Glob], name: Option<&str>| {
            patterns.is_empty() || name.is_none_or(|name| fits(patterns, name))
        };
        self.prices.as_ref().is_none_or(|prices| {
            prices.iter().any(|price| {
                let amounts = [
                    price.per_call,
                    price.per_million_result_tokens,
                    price.per_million_argument_tokens,
                    price.per_mib,
                ];
                amounts.into_iter().flatten().any(|amount| amount > 0.0)
                    && is(&about.tenant, price.tenant.as_deref())
                    && is(&about.server, price.server.as_deref())
                    && (about.tool.is_empty()
                        || price.tool.as_deref().is_none_or(|tool| names(&about.tool, tool)))
            })
        })
    }

    /// The names behind `/mcp/`, and the empty one of the merged endpoint.
    fn endpoints(&self) -> impl Iterator<Item = &'a str> {
        self.servers.iter().chain(&self.toolsets).copied().chain([""])
    }

    /// Whether anything comes there for one of these servers, and, if toolsets are said, by one of them.
    fn leads(&self, endpoint: &str, about: &About) -> bool {
        let is_native = self.servers.contains(endpoint);
        (about.server.is_empty() || !is_native || fits(&about.server, endpoint))
            && (about.toolset.is_empty() || fits(&about.toolset, endpoint))
    }
}

impl Meaning<'_> {
    /// Refuses names that nothing has.
    pub(super) fn names_fit(&mut self, section: &MatchSection, named: &Named<'_>, place: &Place<'_>) {
        let said = [
            ("tenant", &section.tenant),
            ("agent", &section.agent),
            ("user", &section.user),
            ("key", &section.key),
            ("server", &section.server),
            ("tool", &section.tool),
            ("toolset", &section.toolset),
            ("endpoint", &section.endpoint),
            ("method", &section.method),
        ];
        for (key, said) in said {
            if said.as_ref().is_some_and(|said| said.iter().next().is_none()) {
                self.problems.error_with(&place.key(key), "an empty list fits nothing", "leave it out");
            }
        }
        let all = || PAID.into_iter().chain(MOMENTARY).chain(OTHERS);
        self.all_known(
            section.server.as_ref(),
            "server",
            named.servers.iter().copied(),
            &place.key("server"),
        );
        self.all_known(
            section.toolset.as_ref(),
            "toolset",
            named.toolsets.iter().copied(),
            &place.key("toolset"),
        );
        self.all_known(section.endpoint.as_ref(), "endpoint", named.endpoints(), &place.key("endpoint"));
        self.all_known(section.method.as_ref(), "method that is limited", all(), &place.key("method"));
        let globs: Vec<Glob> =
            section.server.iter().flat_map(Several::iter).map(|(_, text)| Glob::new(text)).collect();
        for (index, text) in section.tool.iter().flat_map(Several::iter) {
            let public = named.servers.iter().find_map(|server| {
                let tool = text.strip_prefix(server)?.strip_prefix(BETWEEN)?;
                (globs.is_empty() || fits(&globs, server)).then_some((*server, tool))
            });
            if let Some((server, tool)) = public.filter(|(_, tool)| !tool.is_empty()) {
                let place = place.key("tool").item(index);
                let message = format!("{} is how a merged list calls a tool", shown(&place, text));
                let meant = format!("write its server's own name: `server: {server}, tool: {tool}`");
                self.problems.error_with(&place, message, meant);
            }
        }
    }

    /// Refuses what cannot come together.
    pub(super) fn can_bite(&mut self, rule: &Rule, named: &Named<'_>, place: &Place<'_>) {
        let Rule { about, per, bound, .. } = rule;
        let is_about = |wanted: &[&str]| {
            about.method.is_empty() || wanted.iter().any(|method| fits(&about.method, method))
        };
        let method = place.key("match").key("method");
        let names_tools = !about.tool.is_empty() || per.contains(&Dimension::Tool);
        if names_tools && !is_about(&[methods::TOOLS_CALL]) {
            let message = "a limit that names or counts tools is about `tools/call` only";
            self.problems.error_with(&method, message, "leave `method` out, or `tool`");
        }
        if matches!(bound, Bound::Budget { .. }) && !is_about(&PAID) {
            let message =
                "nothing of this is paid for from a budget: calls, reads, prompts and completions are";
            self.problems.error_with(&method, message, "make it a `rate` or a `quota`");
        }
        if matches!(bound, Bound::Budget { of: Unit::Cost, .. }) && !named.has_price(about) {
            let message = "nothing that this budget is about has a price";
            self.problems.error_with(&place.key("budget"), message, "add one to `usage.prices`");
        }
        let lasting: Vec<&str> = PAID.into_iter().chain(OTHERS).collect();
        if matches!(bound, Bound::Concurrency(_)) && !is_about(&lasting) {
            let message = "nothing of this is ever under way: it is over as soon as it is counted";
            self.problems.error_with(&method, message, "make it a `rate`");
        }
        if about.toolset.is_empty() && about.endpoint.is_empty() {
            return;
        }
        let mut endpoints = named.endpoints().filter(|name| {
            (about.endpoint.is_empty() || fits(&about.endpoint, name))
                && (about.toolset.is_empty() || named.toolsets.contains(name))
        });
        if !endpoints.any(|endpoint| named.leads(endpoint, about))
            && !self.problems.below(&place.key("match").path)
        {
            let message = "no request can be for all of these: `server`, `toolset` and `endpoint`";
            self.problems.error(&place.key("match"), message);
        }
    }

    /// Refuses a name, or a pattern, that none of these fits.
    fn all_known<'n>(
        &mut self,
        said: Option<&Several>,
        what: &str,
        names: impl Iterator<Item = &'n str>,
        place: &Place<'_>,
    ) {
        let names: Vec<&str> = names.collect();
        for (index, text) in said.into_iter().flat_map(Several::iter) {
            let glob = Glob::new(text);
            if names.iter().any(|name| glob.matches(name)) {
                continue;
            }
            let place = place.item(index);
            let message = format!("there is no {what} {}", shown(&place, text));
            match closest(text, names.iter().copied().filter(|name| !name.is_empty())) {
                Some(meant) => self.problems.error_with(&place, message, format!("did you mean `{meant}`?")),
                None => self.problems.error(&place, message),
            }
        }
    }
}

/// Whether one of these patterns names a tool, without regard to case.
fn names(patterns: &[Glob], tool: &str) -> bool {
    let tool = folded(tool);
    patterns.iter().any(|pattern| Glob::new(&folded(pattern.as_str())).matches(&tool))
}

fn fits(patterns: &[Glob], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}
