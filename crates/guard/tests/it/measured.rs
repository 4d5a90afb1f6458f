//! Precision and recall of each detector over the labelled corpora, and the page that publishes them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_guard::{
    Action, Finding, Guard, Neighbours, Reading, Rule, RuleSet, Scanner, Subject, looks_like, skeleton,
};
use tollgate_mcp::Span;

use crate::corpus::negatives::{KINDS, Maker};
use crate::corpus::{Dice, Sample, definitions, injections, personal, secrets};

/// How many texts there are with something of each rule, and how many of each kind without anything.
const EACH: usize = 500;
/// What a rule has to reach to be on where nobody says otherwise.
const PRECISION_MIN: f64 = 0.95;

const MAKERS: &[(Rule, Maker)] = &[
    (Rule::Email, personal::email),
    (Rule::Phone, personal::phone),
    (Rule::Card, personal::card),
    (Rule::Iban, personal::iban),
    (Rule::UsSsn, personal::us_ssn),
    (Rule::UkNino, personal::uk_nino),
    (Rule::UkNhs, personal::uk_nhs),
    (Rule::DeTaxId, personal::de_tax_id),
    (Rule::FrNir, personal::fr_nir),
    (Rule::EsDni, personal::es_dni),
    (Rule::ItCodiceFiscale, personal::it_codice_fiscale),
    (Rule::InAadhaar, personal::in_aadhaar),
    (Rule::InPan, personal::in_pan),
    (Rule::BrCpf, personal::br_cpf),
    (Rule::BrCnpj, personal::br_cnpj),
    (Rule::Ip, personal::ip),
    (Rule::Mac, personal::mac),
    (Rule::CloudKey, secrets::cloud_key),
    (Rule::GitToken, secrets::git_token),
    (Rule::ChatToken, secrets::chat_token),
    (Rule::PaymentKey, secrets::payment_key),
    (Rule::ServiceToken, secrets::service_token),
    (Rule::Jwt, secrets::jwt),
    (Rule::PrivateKey, secrets::private_key),
    (Rule::ConnectionString, secrets::connection_string),
    (Rule::Authorization, secrets::authorization),
    (Rule::Assigned, secrets::assigned),
    (Rule::Tags, injections::tags),
    (Rule::ZeroWidth, injections::zero_width),
    (Rule::Bidi, injections::bidi),
    (Rule::Ansi, injections::ansi),
    (Rule::Comment, injections::comment),
    (Rule::OffScreen, injections::off_screen),
    (Rule::Encoded, injections::encoded),
    (Rule::Override, injections::overrides),
    (Rule::Role, injections::role),
    (Rule::Conceal, injections::conceal),
    (Rule::Exfiltrate, injections::exfiltrate),
    (Rule::Link, injections::link),
];

/// Makes a definition.
type Define = fn(&mut Dice) -> Value;

/// Rules about definitions, which are made beside those of other servers.
const DEFINITIONS: &[(Rule, Define)] =
    &[(Rule::CrossServer, definitions::cross_server), (Rule::LookAlike, definitions::look_alike)];

/// The tools of other servers, held against one that has none of them unless it says so.
struct Others<'a>(&'a str);

impl Neighbours for Others<'_> {
    fn have(&self, name: &str) -> bool {
        name != self.0 && definitions::OTHERS.contains(&name)
    }

    fn have_like(&self, name: &str) -> bool {
        definitions::OTHERS.iter().any(|other| skeleton(other) == skeleton(name) && looks_like(name, other))
    }
}

/// Which rules about definitions find something in one.
fn judged(guard: &Guard, item: &Value) -> Vec<Rule> {
    let (bytes, others) = (Bytes::from(item.to_string()), Others(item["name"].as_str().unwrap_or_default()));
    let subject = Subject { reading: Reading::Definition(Some(&others)), ..Subject::default() };
    let noted = guard.inspect_as(&bytes, Span::all(&bytes), &subject).noted;
    noted.iter().map(|noted| noted.rule).filter(|rule| rule.is_of_definitions()).collect()
}

fn count_definitions(counts: &mut BTreeMap<Rule, Count>) {
    let scanner = Scanner::new(RuleSet::NONE.with(Rule::CrossServer).with(Rule::LookAlike), Vec::new());
    let guard = Guard::new(scanner, 0, |_| Action::Report, b"", false);
    let shown = std::env::var("TOLLGATE_SHOW").unwrap_or_default();
    for (rule, make) in DEFINITIONS {
        let mut dice = Dice::new(rule.id().bytes().map(u64::from).sum());
        for _ in 0..EACH {
            let item = make(&mut dice);
            let found = judged(&guard, &item);
            let is_right = found.contains(rule);
            if !is_right && (rule.id() == shown || shown == "all") {
                println!("missed {}: {item}", rule.id());
            }
            let count = counts.entry(*rule).or_default();
            count.texts += 1;
            count.found += usize::from(is_right);
            for other in found.iter().filter(|found| *found != rule) {
                counts.entry(*other).or_default().elsewhere += 1;
            }
        }
    }
    let plain = KINDS.iter().map(|(kind, make)| (*kind, Some(*make))).chain([("definitions", None)]);
    for (kind, make) in plain {
        let mut dice = Dice::new(kind.bytes().map(u64::from).sum());
        for _ in 0..EACH {
            let item = match make {
                Some(make) => json!({"name": "plain_tool", "description": make(&mut dice).text}),
                None => definitions::harmless(&mut dice),
            };
            for rule in judged(&guard, &item) {
                if rule.id() == shown || shown == "all" {
                    println!("wrong {} in {kind}: {item}", rule.id());
                }
                counts.entry(rule).or_default().wrong += 1;
            }
        }
    }
}

#[derive(Default)]
struct Count {
    texts: usize,
    found: usize,
    /// Found in texts in which there is nothing.
    wrong: usize,
    /// Found in texts with something else.
    elsewhere: usize,
}

impl Count {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    fn precision(&self) -> f64 {
        let told = self.found + self.wrong;
        if told == 0 { 0.0 } else { self.found as f64 / told as f64 }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    fn recall(&self) -> f64 {
        self.found as f64 / self.texts as f64
    }
}

/// Whether a finding is about something that the text is labelled with.
fn is_about(finding: &Finding, sample: &Sample) -> bool {
    sample.labels.iter().any(|(_, value)| {
        sample
            .text
            .find(value.as_str())
            .is_some_and(|start| finding.start < start + value.len() && start < finding.end)
    })
}

fn scan(scanner: &Scanner, sample: &Sample) -> Vec<Finding> {
    let mut found = Vec::new();
    scanner.scan(&sample.text, sample.key, &mut found);
    for finding in &found {
        assert!(
            sample.text.get(finding.start..finding.end).is_some_and(|text| !text.is_empty()),
            "{finding:?} of {sample:?}"
        );
    }
    found
}

/// Counts everything, and tells of misses and false alarms on the way.
fn count(scanner: &Scanner) -> BTreeMap<Rule, Count> {
    let shown = std::env::var("TOLLGATE_SHOW").unwrap_or_default();
    let mut counts: BTreeMap<Rule, Count> = BTreeMap::new();
    for (rule, make) in MAKERS {
        let mut dice = Dice::new(rule.id().bytes().map(u64::from).sum());
        for _ in 0..EACH {
            let sample = make(&mut dice);
            let found = scan(scanner, &sample);
            let is_right = sample.labels.iter().all(|(id, value)| {
                let start = sample.text.find(value.as_str()).expect("a label is in its text");
                let end = start + value.len();
                // Of an injection, that it is there is what counts; of anything else, all of it.
                found.iter().any(|finding| {
                    finding.rule.id() == *id
                        && if id.starts_with("injection") {
                            finding.start < end && start < finding.end
                        } else {
                            finding.start <= start && end <= finding.end
                        }
                })
            });
            let count = counts.entry(*rule).or_default();
            count.texts += 1;
            count.found += usize::from(is_right);
            if !is_right && (rule.id() == shown || shown == "all") {
                println!("missed {}: {:?} in {:?} found {found:?}", rule.id(), sample.labels, sample.text);
            }
            for finding in found.iter().filter(|finding| !is_about(finding, &sample)) {
                if finding.rule.id() == shown || shown == "all" {
                    println!("elsewhere {} of {}: {:?}", finding.rule.id(), rule.id(), sample.text);
                }
                counts.entry(finding.rule).or_default().elsewhere += 1;
            }
        }
    }
    for (kind, make) in KINDS {
        let mut dice = Dice::new(kind.bytes().map(u64::from).sum());
        for _ in 0..EACH {
            let sample = make(&mut dice);
            for finding in scan(scanner, &sample) {
                if finding.rule.id() == shown || shown == "all" {
                    println!(
                        "wrong {} in {kind}: {:?} of {:?}",
                        finding.rule.id(),
                        &sample.text[finding.start..finding.end],
                        sample.text
                    );
                }
                counts.entry(finding.rule).or_default().wrong += 1;
            }
        }
    }
    count_definitions(&mut counts);
    counts
}

/// Where the figures over other people's texts stand, which an end-to-end test measures: it needs packages that are installed.
const OTHERS: (&str, &str) = ("<!-- texts of others: begin -->\n", "<!-- texts of others: end -->\n");

/// That part of the page as it is published.
fn others(page: &str) -> &str {
    let begin = page.find(OTHERS.0).expect("the part of other people's texts");
    let end = page.find(OTHERS.1).expect("its end") + OTHERS.1.len();
    &page[begin..end]
}

fn page(counts: &BTreeMap<Rule, Count>, others: &str) -> String {
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let mut page = format!(
        "# What guards find\n\n\
         Generated by a test of the crate `guard` (`crates/guard/tests/it/measured.rs`); do not edit.\n\n\
         {others}\n\
         ## Texts of our own\n\n\
         Each rule is measured over texts that generators make which share no code with the detectors: {EACH} texts in which there \
         is something of it, and {EACH} of each of these kinds in which there is nothing, though much looks alike: {}.\n\n\
         *Recall* is how many of the first were found: personal data and secrets as a whole, of injections that there is one. \
         *Precision* is how many of all that was told were right, where what was told of the {} texts without anything is wrong. \
         *Elsewhere* counts what was told beside what a text is labelled with. The texts are made up, and \
         made by the project: figures on texts of other people's are lower.\n\n\
         `injection.cross_server` and `injection.look_alike` are about definitions alone: they are measured over {EACH} definitions \
         of tools each, and over definitions of which the texts of each kind above, and {EACH} more made for it, are the \
         descriptions.\n\n\
         A rule is on where nobody says otherwise only if its precision is at least {PRECISION_MIN}.\n",
        kinds.join(", "),
        EACH * KINDS.len(),
    );
    let mut family = None;
    for rule in Rule::ALL {
        if family != Some(rule.family()) {
            family = Some(rule.family());
            let _ = write!(
                page,
                "\n## {}\n\n| rule | on | severity | precision | recall | false alarms | elsewhere |\n|---|---|---|--:|--:|--:|--:|\n",
                rule.family().as_str()
            );
        }
        let count = &counts[rule];
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {:.3} | {:.3} | {} | {} |",
            rule.id(),
            if rule.is_default() { "yes" } else { "no" },
            rule.severity().as_str(),
            count.precision(),
            count.recall(),
            count.wrong,
            count.elsewhere,
        );
    }
    page
}

#[test]
fn the_published_figures_are_what_is_measured_now() {
    let counts = count(&Scanner::new(RuleSet::ALL, Vec::new()));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/guards.md");
    let published = std::fs::read_to_string(&path).expect("docs/reference/guards.md");
    let page = page(&counts, others(&published));
    println!("{page}");
    for rule in Rule::ALL {
        let count = counts.get(rule).unwrap_or_else(|| panic!("{} is not measured", rule.id()));
        assert_eq!(count.texts, EACH, "{}", rule.id());
        let is_good = count.precision() >= PRECISION_MIN;
        assert!(
            is_good || !rule.is_default(),
            "{} is on with a precision of {:.3}",
            rule.id(),
            count.precision()
        );
    }
    if std::env::var_os("TOLLGATE_REGENERATE").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let published = std::fs::read_to_string(&path).expect("docs/reference/guards.md");
    assert_eq!(
        published, page,
        "docs/reference/guards.md is not what is measured: run with TOLLGATE_REGENERATE=1"
    );
}
