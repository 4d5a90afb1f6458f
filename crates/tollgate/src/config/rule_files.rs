//! Files of rules for content guards: read as configurations are, so that a misspelt key is told with its line.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_guard::rules::{Examples, FileRule, PhraseSettings, Stronger, ThenSettings};
use tollgate_guard::{Family, Severity};

use super::forms::{Items, keys};
use super::meaning::action_of;
use super::node::Place;
use super::problem::{ConfigError, Problems, Severity as Level};
use super::section::GuardActionSection;
use super::{drop_duplicates, read_source, read_tree, section_of};

/// The longest name of a rule.
const ID_MAX: usize = 32;
/// The most rules of a file.
pub(crate) const RULES_MAX: usize = 256;

/// Rules for content guards: what is looked for in what passes. `guard.rule_files` names the file, and `tollgate guard test FILE`
/// holds the rules against their own examples.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Rules for content guards")]
#[schemars(extend("x-order" = keys::<RulesSection>()))]
struct RulesSection {
    /// The rules.
    rules: Option<Items<FileRuleSection>>,
}

/// A rule: it finds what one of its expressions or phrases finds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<FileRuleSection>()))]
#[schemars(rename = "Rule")]
struct FileRuleSection {
    /// Its name: letters, digits, `-` and `_`, at most 32 characters. The rule is `own.ID`.
    id: Option<String>,
    /// What it is about: whether it goes with `personal`, `secret` or `injection` where the configuration says what becomes of a family.
    family: Option<FamilyWord>,
    /// How bad it is if it is true.
    severity: Option<SeverityWord>,
    /// What becomes of what it finds where the configuration says nothing of the rule. Of arguments only `off` and `block` count, and
    /// everything else is `report`. Default: that of its family; without one `mask` in results and `report` in arguments.
    action: Option<GuardActionSection>,
    /// Regular expressions in the syntax of the Rust crate `regex`, without look-around and references back. What one finds is at most
    /// 512 bytes long.
    expressions: Option<Items<String>>,
    /// Whether expressions take letters of either case for the same. Words and phrases always do.
    #[schemars(extend("default" = false))]
    ignore_case: Option<bool>,
    /// Whether `^` and `$` stand for the ends of lines.
    #[schemars(extend("default" = false))]
    lines: Option<bool>,
    /// Words of which one has to begin a word of the 56 bytes before what an expression finds, or of the name of the member that it
    /// stands in. Without them it stands for itself.
    words: Option<Items<String>>,
    /// How sure the rule is of what an expression finds, in percent. Less than 50 is no finding.
    #[schemars(range(min = 50, max = 100), extend("default" = 90))]
    confidence: Option<u8>,
    /// Words that follow each other within a sentence.
    phrases: Option<Items<PhraseSection>>,
    /// What it has to find, and what not. A rule that does not keep to its examples is refused.
    examples: Option<ExamplesSection>,
}

/// Words that follow each other within a sentence, with others between them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<PhraseSection>()))]
#[schemars(rename = "Phrase")]
struct PhraseSection {
    /// How sure it is where it stands by itself, in percent. Less than 50 is no finding, unless something makes it surer.
    #[schemars(range(min = 1, max = 100))]
    confidence: Option<u8>,
    /// The first word is one of these.
    first: Option<Items<String>>,
    /// What follows, in this order.
    then: Option<Items<ThenSection>>,
    /// What makes it surer.
    stronger: Option<StrongerSection>,
    /// Whether an address (`https://…`, `ann@…`) has to follow within 120 bytes.
    #[schemars(extend("default" = false))]
    needs_address: Option<bool>,
}

/// One of some words has to follow.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ThenSection>()))]
#[schemars(rename = "Then")]
struct ThenSection {
    /// Within so many words: 1 is the next.
    #[schemars(range(min = 1, max = 32), extend("default" = 1))]
    within: Option<usize>,
    /// One of these. One that ends with a star may go on: `prompt*`.
    words: Option<Items<String>>,
}

/// Words within 96 bytes of a phrase that make it surer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<StrongerSection>()))]
#[schemars(rename = "Stronger")]
struct StrongerSection {
    /// These.
    words: Option<Items<String>>,
    /// By how much, in percent.
    #[schemars(range(min = 0, max = 100))]
    by: Option<u8>,
}

/// What a rule has to find, and what not.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ExamplesSection>()))]
#[schemars(rename = "Examples")]
struct ExamplesSection {
    /// In each of these texts it finds something.
    r#match: Option<Items<String>>,
    /// In none of these.
    pass: Option<Items<String>>,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "own"))]
#[schemars(rename = "Family")]
enum FamilyWord {
    Personal,
    Secret,
    Injection,
    Own,
}

/// How bad it is if it is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "medium"))]
#[schemars(rename = "Severity")]
enum SeverityWord {
    Low,
    Medium,
    High,
}

/// A rule that a file holds, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) rule: FileRule,
    pub(crate) file: PathBuf,
    /// The line, from 1.
    pub(crate) line: usize,
}

/// Reads a file of rules. Each is held against its examples.
///
/// # Errors
/// All that is wrong with the file.
pub(crate) fn load(path: &Path) -> Result<Vec<Written>, ConfigError> {
    let source = read_source(path)?;
    let mut problems = Problems::default();
    let rules = read(path, &source, &mut problems);
    let fatal = problems.is_fatal();
    let (problems, left_out) = problems.placed(path, &source);
    match rules {
        Some(rules) if !fatal => Ok(rules),
        _ => Err(ConfigError { problems, left_out, files: Vec::new() }),
    }
}

fn read(path: &Path, source: &str, problems: &mut Problems) -> Option<Vec<Written>> {
    let mut root = match read_tree(path, source) {
        Ok((root, _)) => root,
        Err(syntax) => {
            problems.add(Level::Error, syntax.span, "", syntax.message, syntax.suggestion);
            return None;
        }
    };
    drop_duplicates(&mut root, "", source, problems);
    let section: RulesSection = section_of(&mut root, schema(), problems)?;
    let root = Place::root(&root);
    let list = root.key("rules");
    let mut rules: Vec<Written> = Vec::new();
    for (at, section) in Items::iter(section.rules.as_ref()) {
        let place = list.item(at);
        let Some(rule) = rule_of(section, &place, problems) else { continue };
        if rules.iter().any(|other| other.rule.id == rule.id) {
            problems.error(&place.key("id"), format!("there is a rule `{}` already", rule.id));
        }
        let line = source.get(..place.span.start).unwrap_or_default().matches('\n').count() + 1;
        rules.push(Written { rule, file: path.to_owned(), line });
    }
    if rules.is_empty() && !problems.is_fatal() {
        problems.error(&list, "there are no rules");
    }
    if rules.len() > RULES_MAX {
        problems.error(&list, format!("there are more than {RULES_MAX} rules"));
    }
    Some(rules)
}

fn rule_of(section: &FileRuleSection, place: &Place<'_>, problems: &mut Problems) -> Option<FileRule> {
    let id = section.id.clone().unwrap_or_default();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.is_empty() || id.len() > ID_MAX || !id.bytes().all(is_name) {
        let how = format!("write `id:` with letters, digits, `-` and `_`, {ID_MAX} characters at most");
        problems.error_with(&place.key("id"), "a rule needs a name", how);
        return None;
    }
    let rule = FileRule {
        id,
        family: match section.family {
            Some(FamilyWord::Personal) => Family::Personal,
            Some(FamilyWord::Secret) => Family::Secret,
            Some(FamilyWord::Injection) => Family::Injection,
            Some(FamilyWord::Own) | None => Family::Own,
        },
        severity: match section.severity {
            Some(SeverityWord::Low) => Severity::Low,
            Some(SeverityWord::Medium) | None => Severity::Medium,
            Some(SeverityWord::High) => Severity::High,
        },
        is_off: section.action == Some(GuardActionSection::Off),
        action: section.action.and_then(action_of),
        expressions: texts(section.expressions.as_ref()),
        ignore_case: section.ignore_case == Some(true),
        lines: section.lines == Some(true),
        words: texts(section.words.as_ref()),
        phrases: Items::iter(section.phrases.as_ref()).map(|(_, phrase)| phrase_of(phrase)).collect(),
        confidence: section.confidence,
        examples: section.examples.as_ref().map_or_else(Examples::default, |examples| Examples {
            matches: texts(examples.r#match.as_ref()),
            passes: texts(examples.pass.as_ref()),
        }),
    };
    let pattern = match rule.pattern() {
        Ok(pattern) => pattern,
        Err(why) => {
            problems.error(place, format!("the rule `{}` cannot be used: {why}", rule.id));
            return None;
        }
    };
    for (example, was_found) in rule.examine(&pattern) {
        let (does, key) = if was_found { ("finds something", "pass") } else { ("finds nothing", "match") };
        let shown: String = example.chars().take(80).collect();
        let message = format!("the rule `{}` {does} in its example {shown:?}", rule.id);
        problems.error(&place.key("examples").key(key), message);
    }
    Some(rule)
}

fn phrase_of(section: &PhraseSection) -> PhraseSettings {
    let then = Items::iter(section.then.as_ref()).map(|(_, then)| ThenSettings {
        within: then.within.unwrap_or(1),
        words: texts(then.words.as_ref()),
    });
    let stronger = section.stronger.as_ref();
    PhraseSettings {
        first: texts(section.first.as_ref()),
        then: then.collect(),
        confidence: section.confidence.unwrap_or(0),
        stronger: Stronger {
            words: texts(stronger.and_then(|stronger| stronger.words.as_ref())),
            by: stronger.and_then(|stronger| stronger.by).unwrap_or(0),
        },
        needs_address: section.needs_address == Some(true),
    }
}

fn texts(list: Option<&Items<String>>) -> Vec<String> {
    Items::iter(list).map(|(_, one)| one.clone()).collect()
}

/// The JSON Schema of files of rules, in the form that they are checked with.
pub(super) fn schema() -> &'static serde_json::Value {
    static SCHEMA: OnceLock<serde_json::Value> = OnceLock::new();
    SCHEMA.get_or_init(|| schemars::schema_for!(RulesSection).to_value())
}
