//! How much callers may do.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tollgate_limits::{
    About, Bound, Dimension, Encoding, Every, Glob, LimitSettings, Plan, Rule, RunawaySettings,
    RunawayWebhook, Unit, Zone,
};
use tollgate_model::{Secret, TenantId};

use super::bites::Named;
use super::{Meaning, shown};
use crate::config::forms::{Items, Keyed, Several, Short};
use crate::config::node::Place;
use crate::config::problem::closest;
use crate::config::section::{
    BudgetSection, ConfigSection, DimensionSection, EverySection, LimitsSection, MatchSection, QuotaSection,
    RateSection, RuleSection, RunawaySection, RunawayWebhookSection, SecretSection, TokensSection,
};

/// The longest name.
const NAME_MAX: usize = 64;
/// The most limits there may be, those of plans included: each request is held against all that may be about it.
const RULES_MAX: usize = 1000;
/// The shortest key of signatures, in bytes.
pub(super) const SECRET_BYTES_MIN: usize = 16;
/// The longest time of a rate.
const PER_MAX: Duration = Duration::from_hours(24);

/// How long the key is that a secret stands for: what begins with `whsec_` says it in base64.
pub(super) fn key_bytes(secret: &Secret) -> usize {
    let text = secret.expose();
    text.strip_prefix("whsec_").map_or(text.len(), |encoded| encoded.trim_end_matches('=').len() * 3 / 4)
}

impl Meaning<'_> {
    /// The limits of all tenants.
    pub(super) fn limits(
        &mut self,
        section: &ConfigSection,
        tenants: &[TenantId],
        root: &Place<'_>,
    ) -> LimitSettings {
        let currency = section.usage.as_ref().and_then(|usage| usage.currency.as_deref()).unwrap_or_default();
        let mut settings = LimitSettings {
            tenants: tenants.to_vec(),
            currency: Arc::from(currency),
            ..LimitSettings::default()
        };
        let place = root.key("limits");
        let plans = self.plans(section, tenants, root);
        if let Some(limits) = &section.limits {
            if let Some(name) = &limits.timezone {
                match Zone::named(name) {
                    Some(zone) => settings.zone = zone,
                    None => {
                        let place = place.key("timezone");
                        let message = format!("{} is no time zone", shown(&place, name));
                        self.problems.error_with(&place, message, "write its name, such as `Europe/Berlin`");
                    }
                }
            }
            settings.runaway =
                limits.runaway.as_ref().map(|runaway| self.runaway(runaway, &place.key("runaway")));
            settings.abandoned = limits.abandoned_ms.map_or(settings.abandoned, Duration::from_millis);
            settings.replicas = limits.replicas.and_then(NonZeroU32::new).unwrap_or(settings.replicas);
            settings.counters_max = limits.counters_max.unwrap_or(settings.counters_max);
            settings.tenant_share_percent =
                limits.tenant_share_percent.unwrap_or(settings.tenant_share_percent);
            let named = Named::of(section);
            settings.rules = self.rules(limits.rules.as_ref(), None, (tenants, &named), &place.key("rules"));
            for (name, plan) in Keyed::iter(limits.plans.as_ref()) {
                settings.abandoned = limits.abandoned_ms.map_or(settings.abandoned, Duration::from_millis);
                let place = place.key("plans").key(name);
                let own = plans.iter().filter(|(_, of)| *of == Some(name)).map(|(tenant, _)| tenant.clone());
                let whose = Plan { name: Arc::from(name), tenants: own.collect() };
                let rules =
                    self.rules(plan.rules.as_ref(), Some(&whose), (tenants, &named), &place.key("rules"));
                settings.rules.extend(rules);
            }
        }
        if let Some(tokens) = section.usage.as_ref().and_then(|usage| usage.tokens) {
            settings.tokens = match tokens {
                TokensSection::Bytes => Encoding::Bytes,
                TokensSection::Cl100kBase => Encoding::Cl100k,
                TokensSection::O200kBase => Encoding::O200k,
            };
        }
        let is_of_money = |rule: &Rule| matches!(rule.bound, Bound::Budget { of: Unit::Cost, .. });
        let has_prices = section.usage.as_ref().is_some_and(|usage| usage.prices.is_some());
        if settings.rules.iter().any(is_of_money) && !has_prices {
            let message = "there is a budget of money, and nothing has a price";
            self.problems.error_with(&place, message, "add `usage.prices`");
        }
        if settings.rules.len() > RULES_MAX {
            self.problems.error(&place, format!("there are more than {RULES_MAX} limits"));
        }
        settings
    }

    /// The plan of each tenant.
    fn plans<'a>(
        &mut self,
        section: &'a ConfigSection,
        tenants: &[TenantId],
        root: &Place<'_>,
    ) -> Vec<(TenantId, Option<&'a str>)> {
        let limits = section.limits.as_ref();
        let usual = limits.and_then(|limits| limits.plan.as_deref());
        let usual = usual.and_then(|plan| self.plan(plan, limits, &root.key("limits").key("plan")));
        let plan_of = |tenant: &TenantId| {
            let own = Keyed::iter(section.tenants.as_ref()).find(|(label, _)| *label == tenant.as_str())?;
            own.1.plan.as_deref()
        };
        let plans = tenants.iter().map(|tenant| {
            let place = root.key("tenants").key(tenant.as_str()).key("plan");
            let own = plan_of(tenant).and_then(|plan| self.plan(plan, limits, &place));
            (tenant.clone(), own.or(usual))
        });
        plans.collect()
    }

    /// A plan that something refers to.
    fn plan<'a>(
        &mut self,
        plan: &'a str,
        limits: Option<&LimitsSection>,
        place: &Place<'_>,
    ) -> Option<&'a str> {
        let known = || Keyed::iter(limits.and_then(|limits| limits.plans.as_ref())).map(|(name, _)| name);
        if known().any(|name| name == plan) {
            return Some(plan);
        }
        let message = format!("there is no plan {} in `limits.plans`", shown(place, plan));
        match closest(plan, known()) {
            Some(meant) => self.problems.error_with(place, message, format!("did you mean `{meant}`?")),
            None => self.problems.error(place, message),
        }
        None
    }

    fn runaway(&mut self, section: &RunawaySection, place: &Place<'_>) -> RunawaySettings {
        let webhook = section.webhook.as_ref();
        let webhook = webhook.and_then(|webhook| self.runaway_webhook(webhook, &place.key("webhook")));
        RunawaySettings { webhook, ..runaway(section) }
    }

    fn runaway_webhook(
        &mut self,
        section: &RunawayWebhookSection,
        place: &Place<'_>,
    ) -> Option<RunawayWebhook> {
        let allow_private = section.allow_private_addresses == Some(true);
        let (url, secret, ca_file) =
            (section.url.as_deref(), section.secret.as_ref(), section.ca_file.as_deref());
        self.signed_webhook((url, secret, ca_file), allow_private, place)
    }

    /// A web server that is told by signed posts.
    pub(super) fn signed_webhook(
        &mut self,
        (url, secret, ca_file): (Option<&str>, Option<&Short<SecretSection>>, Option<&str>),
        allow_private: bool,
        place: &Place<'_>,
    ) -> Option<RunawayWebhook> {
        let ca_pem = self.authorities(ca_file, place);
        let url = self.required(url, "url", place);
        let url = url.and_then(|url| self.receiver_url(&url, allow_private, &place.key("url")));
        let Some(Short(secret)) = secret else {
            self.required(None, "secret", place);
            return None;
        };
        let secret = self.secret(secret, &place.key("secret"))?;
        if key_bytes(&secret) < SECRET_BYTES_MIN {
            let message = format!("it has less than {SECRET_BYTES_MIN} bytes, and could be guessed");
            self.problems.error(&place.key("secret"), message);
            return None;
        }
        Some(RunawayWebhook { url: url?.as_str().into(), secret, allow_private, ca_pem })
    }

    fn rules(
        &mut self,
        section: Option<&Items<RuleSection>>,
        plan: Option<&Plan>,
        there: (&[TenantId], &Named<'_>),
        place: &Place<'_>,
    ) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for (index, section) in Items::iter(section) {
            let place = place.item(index);
            let Some(rule) = self.rule(section, plan, there, &place) else { continue };
            if rules.iter().any(|other| other.name == rule.name) {
                let message = format!("there is a limit `{}` already", rule.name);
                self.problems.error(&place.key("name"), message);
                continue;
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(
        &mut self,
        section: &RuleSection,
        plan: Option<&Plan>,
        (tenants, named): (&[TenantId], &Named<'_>),
        place: &Place<'_>,
    ) -> Option<Rule> {
        let name = self.limit_name(section.name.as_deref(), place);
        let mut per = Vec::new();
        for (index, dimension) in Items::iter(section.per.as_ref()) {
            let dimension = dimension_of(*dimension);
            if per.contains(&dimension) {
                let message = format!("`{}` stands there already", dimension.as_str());
                self.problems.error(&place.key("per").item(index), message);
            } else {
                per.push(dimension);
            }
        }
        // In an order of its own, so that another order of the same words counts the same.
        per.sort_unstable();
        let about = section.about.as_ref();
        if let Some(about) = about {
            self.names_fit(about, named, &place.key("match"));
        }
        let about = about.map(|about| self.about(about, tenants, &place.key("match"))).unwrap_or_default();
        let bound = self.bound_of(section, place);
        let rule = Rule { name: name?, plan: plan.cloned(), per, about, bound: bound? };
        self.can_bite(&rule, named, place);
        Some(rule)
    }

    fn limit_name(&mut self, name: Option<&str>, place: &Place<'_>) -> Option<Arc<str>> {
        let Some(name) = name else {
            self.problems.error_with(place, "a limit needs a name", "add `name`");
            return None;
        };
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_fit) {
            let place = place.key("name");
            let message = format!("{} cannot be the name of a limit", shown(&place, name));
            let suggestion = format!("write letters, digits, `-`, `_` and `.`, at most {NAME_MAX}");
            self.problems.error_with(&place, message, suggestion);
            return None;
        }
        Some(Arc::from(name))
    }

    fn about(&mut self, section: &MatchSection, tenants: &[TenantId], place: &Place<'_>) -> About {
        let globs = |several: &Option<Several>| -> Vec<Glob> {
            several.iter().flat_map(Several::iter).map(|(_, text)| Glob::new(text)).collect()
        };
        for (index, text) in section.tenant.iter().flat_map(Several::iter) {
            let is_known = tenants.iter().any(|tenant| tenant.as_str() == text);
            if Glob::new(text).is_exact() && !is_known {
                let place = place.key("tenant").item(index);
                self.problems.error(&place, format!("there is no tenant {}", shown(&place, text)));
            }
        }
        About {
            tenant: globs(&section.tenant),
            agent: globs(&section.agent),
            user: globs(&section.user),
            key: globs(&section.key),
            server: globs(&section.server),
            tool: globs(&section.tool),
            toolset: globs(&section.toolset),
            endpoint: globs(&section.endpoint),
            method: globs(&section.method),
        }
    }

    fn bound_of(&mut self, section: &RuleSection, place: &Place<'_>) -> Option<Bound> {
        let rate = section.rate.as_ref().map(|rate| self.rate(rate, &place.key("rate")));
        let concurrency = section.concurrency.map(|most| {
            let most = NonZeroU32::new(most);
            if most.is_none() {
                self.problems.error(&place.key("concurrency"), "nothing could ever be under way");
            }
            most.map(Bound::Concurrency)
        });
        let quota = section.quota.as_ref().map(|quota| self.quota(quota, &place.key("quota")));
        let budget = section.budget.as_ref().map(|budget| self.budget(budget, &place.key("budget")));
        let mut bounds = [rate, concurrency, quota, budget].into_iter().flatten();
        let (first, second) = (bounds.next(), bounds.next());
        if first.is_none() || second.is_some() {
            let message = "a limit has exactly one of `rate`, `concurrency`, `quota` and `budget`";
            self.problems.error_with(place, message, "make a limit of each");
        }
        first.flatten()
    }

    fn quota(&mut self, section: &QuotaSection, place: &Place<'_>) -> Option<Bound> {
        let every = every_of(section.every.unwrap_or_default());
        match section.calls.filter(|calls| *calls > 0) {
            Some(calls) => Some(Bound::Quota { calls, every }),
            None => {
                self.problems.error_with(place, "how many?", "add `calls`, at least 1");
                None
            }
        }
    }

    fn budget(&mut self, section: &BudgetSection, place: &Place<'_>) -> Option<Bound> {
        let every = every_of(section.every.unwrap_or_default());
        let (allowed, of) = match (section.tokens, section.cost) {
            (Some(tokens), None) if tokens > 0 => (tokens, Unit::Tokens),
            (None, Some(cost)) if (1e-6..=1e9).contains(&cost) => (scaled(cost, 1e9), Unit::Cost),
            _ => {
                let message = "a budget has exactly one of `tokens` and `cost`, more than nothing";
                self.problems.error(place, message);
                return None;
            }
        };
        let warn_at = section.warn_at.map(|share| {
            if !(0.001..=1.0).contains(&share) {
                self.problems.error(&place.key("warn_at"), "a share is a number from 0.001 to 1");
            }
            u16::try_from(scaled(share, 1000.0)).unwrap_or(1000)
        });
        Some(Bound::Budget { allowed, of, every, warn_at, is_soft: section.soft.unwrap_or(false) })
    }

    fn rate(&mut self, section: &RateSection, place: &Place<'_>) -> Option<Bound> {
        let Some(requests) = section.requests.and_then(NonZeroU32::new) else {
            self.problems.error_with(place, "how many?", "add `requests`, at least 1");
            return None;
        };
        let per = section.per.as_deref().unwrap_or("1s");
        let Some(per) = duration(per).filter(|per| !per.is_zero() && *per <= PER_MAX) else {
            let place = place.key("per");
            let message = format!("{} is no time of at most 24 hours", shown(&place, per));
            self.problems.error_with(
                &place,
                message,
                "write a number and `ms`, `s`, `m` or `h`, such as `10s`",
            );
            return None;
        };
        let burst = section.burst.and_then(NonZeroU32::new).unwrap_or(requests);
        Some(Bound::Rate { requests, per, burst })
    }
}

/// A number and its unit.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

fn runaway(section: &RunawaySection) -> RunawaySettings {
    let usual = RunawaySettings::default();
    let some = |written: Option<u32>, usual| written.and_then(NonZeroU32::new).unwrap_or(usual);
    RunawaySettings {
        repeats_max: some(section.repeats_max, usual.repeats_max),
        repeats_per_s: some(section.repeats_per_s, usual.repeats_per_s),
        surge: some(section.surge, usual.surge),
        surge_min: some(section.surge_min, usual.surge_min),
        slow: section.slow_ms.map_or(usual.slow, Duration::from_millis),
        pause: section.pause_ms.map_or(usual.pause, Duration::from_millis),
        webhook: None,
    }
}

fn every_of(section: EverySection) -> Every {
    match section {
        EverySection::Hour => Every::Hour,
        EverySection::Day => Every::Day,
        EverySection::Month => Every::Month,
    }
}

/// In smaller units, rounded.
fn scaled(amount: f64, units: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "its bounds were looked at")]
    let scaled = (amount * units).round() as u64;
    scaled
}

fn dimension_of(section: DimensionSection) -> Dimension {
    match section {
        DimensionSection::Tenant => Dimension::Tenant,
        DimensionSection::Agent => Dimension::Agent,
        DimensionSection::User => Dimension::User,
        DimensionSection::Key => Dimension::Key,
        DimensionSection::Server => Dimension::Server,
        DimensionSection::Tool => Dimension::Tool,
        DimensionSection::Toolset => Dimension::Toolset,
        DimensionSection::Endpoint => Dimension::Endpoint,
        DimensionSection::Method => Dimension::Method,
    }
}
