//! Files of policy tests: read as configurations are, so that a misspelt key or tool is told with its line.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_catalog::Known;
use tollgate_model::{Era, Principal, RecordLevel, TenantId, Timestamp};

use super::forms::{AnyJson, FromText, Items, Keyed, Short, keys};
use super::node::{Node, Place};
use super::problem::{ConfigError, Problems, Severity, closest};
use super::{drop_duplicates, read_source, read_tree, section_of};
use crate::policy::ask::Circumstances;
use crate::policy::target::{self, Kind, Target};
use crate::policy::who::Who;

/// Tests of policies: who calls what, and what policy shall say of it. `tollgate policy test FILE` runs them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Policy tests")]
#[schemars(extend("x-order" = keys::<TestsSection>()))]
struct TestsSection {
    /// What holds for every case that does not say otherwise.
    defaults: Option<DefaultsSection>,
    /// The cases.
    cases: Option<Items<CaseSection>>,
}

/// What holds for every case that does not say otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<DefaultsSection>()))]
#[schemars(rename = "Defaults")]
struct DefaultsSection {
    /// Who calls.
    who: Option<WhoSection>,
    /// When, in RFC 3339: `2026-07-28T09:30:00Z`.
    time: Option<String>,
    /// The address that the call comes from. None is a client on standard input.
    source: Option<String>,
    /// The endpoint at which the client is: the name behind `/mcp/`. Default: the merged one, `/mcp`.
    endpoint: Option<String>,
    /// The era in which the client speaks.
    era: Option<EraWord>,
    /// Where the gateway runs. Default: `environment` of the configuration.
    environment: Option<String>,
}

/// A call and what policy shall say of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<CaseSection>()))]
#[schemars(rename = "Case")]
struct CaseSection {
    /// What the case shows, in a few words.
    name: Option<String>,
    /// Who calls. Default: that of `defaults`.
    who: Option<WhoSection>,
    /// The server that has the tool, prompt or resource. Needed for resources, and where a public name is too long to hold
    /// the server's own.
    server: Option<String>,
    /// The tool that is called: its public name (`server__tool`) or, beside `server`, the server's own name of it.
    tool: Option<String>,
    /// The prompt that is got, instead of a tool: its public name or, beside `server`, the server's own name of it.
    prompt: Option<String>,
    /// The resource of `server` that is read, instead of a tool: its URI.
    resource: Option<String>,
    /// The arguments, of a tool or prompt. Numbers keep all their digits.
    arguments: Option<Keyed<AnyJson>>,
    /// When, in RFC 3339: `2026-07-28T09:30:00Z`.
    time: Option<String>,
    /// The address that the call comes from. None is a client on standard input.
    source: Option<String>,
    /// The endpoint at which the client is: the name behind `/mcp/`. Default: the merged one, `/mcp`.
    endpoint: Option<String>,
    /// The era in which the client speaks.
    era: Option<EraWord>,
    /// Where the gateway runs. Default: `environment` of the configuration.
    environment: Option<String>,
    /// What policy shall say.
    expect: Option<Short<ExpectSection>>,
}

/// A caller, as identity would make it known.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<WhoSection>()))]
#[schemars(rename = "Who")]
struct WhoSection {
    /// The tenant.
    #[schemars(extend("default" = "default"))]
    tenant: Option<String>,
    /// The program that calls.
    agent: Option<String>,
    /// The user on whose behalf it calls.
    user: Option<String>,
    /// The user's groups.
    groups: Option<Items<String>>,
    /// The agent's groups.
    agent_groups: Option<Items<String>>,
    /// Roles.
    roles: Option<Items<String>>,
}

/// What policy shall say. A text alone is its `decision`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ExpectSection>()))]
#[schemars(rename = "Expect")]
struct ExpectSection {
    /// `allow` or `deny`.
    decision: Option<String>,
    /// Groups of which somebody has to agree first, in any order. Default: none.
    approvals: Option<Items<String>>,
    /// What has to be taken out of what passes, in any order. Default: nothing.
    redactions: Option<Items<String>>,
    /// What people have to agree to if it is found in what leaves, in any order. Default: nothing.
    holds: Option<Items<String>>,
    /// How much of the call is to be recorded. Not compared if absent.
    record: Option<RecordWord>,
    /// The ids of the rules that decide, in any order. Not compared if absent.
    policies: Option<Items<String>>,
    /// The reasons that the forbids which decide give, in any order. Not compared if absent.
    reasons: Option<Items<String>>,
    /// Whether the same caller could be allowed the same with other arguments, at another time or from elsewhere. Not
    /// compared if absent.
    could_differ: Option<bool>,
    /// Whether lists show it to this caller. Not compared if absent.
    listed: Option<bool>,
}

/// An era of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "modern"))]
#[schemars(rename = "Era")]
enum EraWord {
    Legacy,
    Modern,
}

/// How much of a call is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Record")]
enum RecordWord {
    Nothing,
    Digest,
    Redacted,
    Full,
}

impl FromText for ExpectSection {
    fn from_text(text: String) -> Self {
        Self { decision: Some(text), ..Self::default() }
    }
}

/// One case, ready to be put to policy.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// What it shows.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) file: PathBuf,
    /// The line, from 1.
    pub(crate) line: usize,
    pub(crate) principal: Arc<Principal>,
    pub(crate) target: Target,
    /// The arguments, a JSON object.
    pub(crate) arguments: Option<Bytes>,
    pub(crate) circumstances: Circumstances,
    /// Where the gateway runs, if the case says so.
    pub(crate) environment: Option<String>,
    pub(crate) expected: Expected,
}

/// What a case expects. What is `None` is not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) allowed: bool,
    pub(crate) approvals: Vec<String>,
    pub(crate) redactions: Vec<String>,
    pub(crate) holds: Vec<String>,
    pub(crate) record: Option<RecordLevel>,
    pub(crate) policies: Option<Vec<String>>,
    pub(crate) reasons: Option<Vec<String>>,
    pub(crate) could_differ: Option<bool>,
    pub(crate) listed: Option<bool>,
}

/// Reads a file of cases about what is known of the tenants. `time` is that of cases which name none.
///
/// # Errors
/// All that is wrong with the file.
pub(crate) fn load<'k>(
    path: &Path,
    time: Timestamp,
    known: &dyn Fn(&TenantId) -> Option<&'k Known>,
) -> Result<Vec<Case>, ConfigError> {
    parse(path, &read_source(path)?, time, known)
}

/// The same of a text.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn parse<'k>(
    path: &Path,
    source: &str,
    time: Timestamp,
    known: &dyn Fn(&TenantId) -> Option<&'k Known>,
) -> Result<Vec<Case>, ConfigError> {
    let mut problems = Problems::default();
    let cases = read(path, source, time, known, &mut problems);
    let fatal = problems.is_fatal();
    let (problems, left_out) = problems.placed(path, source);
    match cases {
        Some(cases) if !fatal => Ok(cases),
        _ => Err(ConfigError { problems, left_out, files: Vec::new() }),
    }
}

fn read<'k>(
    path: &Path,
    source: &str,
    time: Timestamp,
    known: &dyn Fn(&TenantId) -> Option<&'k Known>,
    problems: &mut Problems,
) -> Option<Vec<Case>> {
    let mut root = match read_tree(path, source) {
        Ok((root, _)) => root,
        Err(syntax) => {
            problems.add(Severity::Error, syntax.span, "", syntax.message, syntax.suggestion);
            return None;
        }
    };
    drop_duplicates(&mut root, "", source, problems);
    let section: TestsSection = section_of(&mut root, schema(), problems)?;
    let root = Place::root(&root);
    let list = root.key("cases");
    let cases: Vec<&CaseSection> = Items::iter(section.cases.as_ref()).map(|(_, case)| case).collect();
    if cases.is_empty() && !problems.is_fatal() {
        problems.error(&list, "there are no cases");
    }
    let defaults = section.defaults.unwrap_or_default();
    let mut reader =
        Reader { path, source, time, known, problems, defaults: (&defaults, root.key("defaults")) };
    let read =
        Items::iter(section.cases.as_ref()).filter_map(|(at, case)| reader.case(at, case, &list.item(at)));
    Some(read.collect())
}

struct Reader<'r, 'k> {
    path: &'r Path,
    source: &'r str,
    time: Timestamp,
    known: &'r dyn Fn(&TenantId) -> Option<&'k Known>,
    problems: &'r mut Problems,
    defaults: (&'r DefaultsSection, Place<'r>),
}

impl Reader<'_, '_> {
    fn case(&mut self, at: usize, section: &CaseSection, place: &Place<'_>) -> Option<Case> {
        let (defaults, common) = self.defaults.clone();
        let either = |case: bool, key: &str| if case { place.key(key) } else { common.key(key) };

        let who_place = either(section.who.is_some(), "who");
        let who = section.who.as_ref().or(defaults.who.as_ref());
        let principal = self.who(who, place, &who_place);
        let expected = self.expected(section.expect.as_ref(), place);
        let time = match section.time.as_ref().or(defaults.time.as_ref()) {
            Some(text) => self.read(text, &either(section.time.is_some(), "time"), "2026-07-28T09:30:00Z"),
            None => Some(self.time),
        };
        let source = match section.source.as_ref().or(defaults.source.as_ref()) {
            Some(text) => self.read(text, &either(section.source.is_some(), "source"), "10.1.2.3").map(Some),
            None => Some(None),
        };
        let principal = principal?;
        let Some(known) = (self.known)(&principal.tenant) else {
            let message = format!("there is no tenant `{}`", principal.tenant.as_str());
            self.problems.error_with(&who_place, message, "the configuration names the tenants");
            return None;
        };
        let target = self.target(section, place, known)?;
        Some(Case {
            name: section.name.clone().unwrap_or_else(|| format!("case {}", at + 1)),
            file: self.path.to_owned(),
            line: self.source[..place.span.start.min(self.source.len())].matches('\n').count() + 1,
            principal,
            arguments: self.arguments(&target, place),
            target,
            circumstances: Circumstances {
                time: time?,
                source: source?,
                endpoint: section
                    .endpoint
                    .as_ref()
                    .or(defaults.endpoint.as_ref())
                    .cloned()
                    .unwrap_or_default(),
                era: match section.era.or(defaults.era) {
                    Some(EraWord::Legacy) => Era::Legacy,
                    Some(EraWord::Modern) | None => Era::Modern,
                },
            },
            environment: section.environment.as_ref().or(defaults.environment.as_ref()).cloned(),
            expected: expected?,
        })
    }

    fn who(
        &mut self,
        section: Option<&WhoSection>,
        case: &Place<'_>,
        place: &Place<'_>,
    ) -> Option<Arc<Principal>> {
        let Some(section) = section else {
            if !self.problems.below(&case.path) && !self.problems.below("defaults") {
                let suggestion =
                    "write `who: { agent: NAME }`; a caller on loopback without identity is `local`";
                self.problems.error_with(case, "`who` is missing", suggestion);
            }
            return None;
        };
        let who = Who {
            tenant: section.tenant.clone(),
            agent: section.agent.clone(),
            user: section.user.clone(),
            groups: texts(section.groups.as_ref()),
            agent_groups: texts(section.agent_groups.as_ref()),
            roles: texts(section.roles.as_ref()),
        };
        match who.principal() {
            Ok(principal) => Some(principal),
            Err(unknown) => {
                self.problems.add(
                    Severity::Error,
                    place.span,
                    &place.path,
                    unknown.message,
                    unknown.suggestion,
                );
                None
            }
        }
    }

    fn target(&mut self, section: &CaseSection, place: &Place<'_>, known: &Known) -> Option<Target> {
        let named = [
            (Kind::Tool, section.tool.as_deref()),
            (Kind::Prompt, section.prompt.as_deref()),
            (Kind::Resource, section.resource.as_deref()),
        ];
        let mut named = named.into_iter().filter_map(|(kind, text)| Some((kind, text?)));
        let (Some((kind, text)), None) = (named.next(), named.next()) else {
            if !self.problems.below(&place.path) {
                self.problems.error(place, "a case is about one `tool`, one `prompt` or one `resource`");
            }
            return None;
        };
        let text_place = place.key(kind.word());
        if kind == Kind::Resource && section.server.is_none() {
            self.problems.error(&text_place, "`server` is missing: it says whose resource it is");
            return None;
        }
        match target::find(known, kind, section.server.as_deref(), text) {
            Ok(target) => Some(target),
            Err(unknown) => {
                let span = text_place.span;
                self.problems.add(
                    Severity::Error,
                    span,
                    &text_place.path,
                    unknown.message,
                    unknown.suggestion,
                );
                None
            }
        }
    }

    /// The arguments as JSON, from the tree itself: there numbers have all their digits.
    fn arguments(&mut self, target: &Target, place: &Place<'_>) -> Option<Bytes> {
        let place = place.key("arguments");
        let node: &Node = place.node?;
        if target.kind == Kind::Resource {
            self.problems.error(&place, "a resource is read without arguments");
        }
        let mut json = String::new();
        node.write_json(&mut json);
        Some(Bytes::from(json))
    }

    fn expected(&mut self, section: Option<&Short<ExpectSection>>, place: &Place<'_>) -> Option<Expected> {
        let Some(Short(section)) = section else {
            if !self.problems.below(&place.path) {
                self.problems.error_with(
                    place,
                    "`expect` is missing",
                    "write `expect: allow` or `expect: deny`",
                );
            }
            return None;
        };
        let place = place.key("expect");
        let is_short = place.node.is_some_and(|node| node.entries().is_none());
        let decision_place = if is_short { place.clone() } else { place.key("decision") };
        let allowed = match section.decision.as_deref() {
            Some("allow") => true,
            Some("deny") => false,
            Some(other) => {
                let suggestion =
                    closest(other, ["allow", "deny"]).map(|meant| format!("did you mean `{meant}`?"));
                self.problems.add(
                    Severity::Error,
                    decision_place.span,
                    &decision_place.path,
                    format!("`{other}` is neither `allow` nor `deny`"),
                    suggestion,
                );
                return None;
            }
            None => {
                if !self.problems.below(&place.path) {
                    self.problems.error(&place, "`decision` is missing: `allow` or `deny`");
                }
                return None;
            }
        };
        for (key, list) in [
            ("approvals", &section.approvals),
            ("redactions", &section.redactions),
            ("holds", &section.holds),
        ] {
            if list.is_some() && !allowed {
                self.problems.error(&place.key(key), "only what is allowed has obligations");
            }
        }
        if allowed && section.could_differ.is_some() {
            self.problems.error(&place.key("could_differ"), "only of what is denied");
        }
        Some(Expected {
            allowed,
            approvals: texts(section.approvals.as_ref()),
            redactions: texts(section.redactions.as_ref()),
            holds: texts(section.holds.as_ref()),
            record: section.record.map(|word| match word {
                RecordWord::Nothing => RecordLevel::Nothing,
                RecordWord::Digest => RecordLevel::Digest,
                RecordWord::Redacted => RecordLevel::Redacted,
                RecordWord::Full => RecordLevel::Full,
            }),
            policies: section.policies.as_ref().map(|list| texts(Some(list))),
            reasons: section.reasons.as_ref().map(|list| texts(Some(list))),
            could_differ: section.could_differ,
            listed: section.listed,
        })
    }

    /// A value that is written as a text.
    fn read<T: std::str::FromStr>(&mut self, text: &str, place: &Place<'_>, example: &str) -> Option<T> {
        text.parse()
            .map_err(|_| {
                let message = format!("`{text}` cannot be read");
                self.problems.error_with(place, message, format!("it is written as `{example}`"));
            })
            .ok()
    }
}

fn texts(list: Option<&Items<String>>) -> Vec<String> {
    let mut texts: Vec<String> = Items::iter(list).map(|(_, text)| text.clone()).collect();
    texts.sort();
    texts
}

/// The schema that every file of tests is compared with.
pub(super) fn schema() -> &'static serde_json::Value {
    static SCHEMA: OnceLock<serde_json::Value> = OnceLock::new();
    SCHEMA.get_or_init(|| schemars::schema_for!(TestsSection).to_value())
}
