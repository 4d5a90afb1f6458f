//! What content guards find in labelled texts that others made: packages of PyPI, read and filled in by `servers/foreign.py`.
//! Its figures stand first in `docs/reference/guards.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails loudly")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;
use tollgate_e2e::places::{installed, root, script};
use tollgate_guard::{Finding, RuleSet, Scanner};

const BEGIN: &str = "<!-- texts of others: begin -->\n";
const END: &str = "<!-- texts of others: end -->\n";

/// A text and what it is labelled with: ids of rules, or a family.
struct Sample {
    corpus: String,
    text: String,
    of: Vec<String>,
}

fn samples() -> (Vec<(String, String)>, Vec<Sample>) {
    let output = Command::new(installed("python-corpora/bin/python"))
        .arg(script("servers/foreign.py"))
        // Faker draws from sets.
        .env("PYTHONHASHSEED", "0")
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut packages, mut samples) = (Vec::new(), Vec::new());
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let said: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        if said["package"].is_string() {
            packages.push((text("package"), text("version")));
            continue;
        }
        let of = said["of"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned());
        samples.push(Sample { corpus: text("corpus"), text: text("text"), of: of.collect() });
    }
    (packages, samples)
}

/// What was counted of one label in one corpus.
#[derive(Default)]
struct Count {
    texts: usize,
    found: usize,
    /// Texts without it, and in how many of them it was told.
    others: usize,
    wrong: usize,
}

/// Whether a finding is what a label says.
fn is_of(finding: &Finding, label: &str) -> bool {
    finding.rule.id() == label || finding.rule.family().as_str() == label
}

fn count(samples: &[Sample], scanner: &Scanner) -> BTreeMap<(String, String), Count> {
    let labels = |corpus: &str| -> Vec<String> {
        let of = samples.iter().filter(|one| one.corpus == corpus).flat_map(|one| one.of.iter().cloned());
        let mut all: Vec<String> = of.chain(["secret".to_owned(), "injection".to_owned()]).collect();
        all.sort();
        all.dedup();
        all
    };
    let shown = std::env::var("TOLLGATE_SHOW").unwrap_or_default();
    let mut known: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut counts: BTreeMap<(String, String), Count> = BTreeMap::new();
    for sample in samples {
        let labels = known.entry(&sample.corpus).or_insert_with(|| labels(&sample.corpus));
        let mut found = Vec::new();
        scanner.scan(&sample.text, "text", &mut found);
        for label in labels.iter() {
            let count = counts.entry((sample.corpus.clone(), label.clone())).or_default();
            let is_there = sample.of.contains(label);
            let is_told = found.iter().any(|finding| is_of(finding, label));
            if is_there != is_told && (*label == shown || shown == "all") {
                println!(
                    "{} {label} in {}: {:?}",
                    if is_there { "missed" } else { "wrong" },
                    sample.corpus,
                    sample.text
                );
            }
            if is_there {
                count.texts += 1;
                count.found += usize::from(is_told);
            } else {
                count.others += 1;
                count.wrong += usize::from(is_told);
            }
        }
    }
    counts
}

/// A share with three digits.
#[expect(clippy::cast_precision_loss, reason = "some thousands at most")]
fn share(part: usize, whole: usize) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.3}", part as f64 / whole as f64) }
}

/// How many of bastioncorpus's injections are found, and how many there are: of every second, and of the others.
fn halves(samples: &[Sample], scanner: &Scanner) -> [(usize, usize); 2] {
    let mut halves = [(0, 0); 2];
    let all = samples
        .iter()
        .filter(|one| one.corpus == "bastioncorpus" && one.of.contains(&"injection".to_owned()));
    for (nth, sample) in all.enumerate() {
        let mut found = Vec::new();
        scanner.scan(&sample.text, "text", &mut found);
        let half = &mut halves[(nth + 1) % 2];
        half.0 += usize::from(found.iter().any(|finding| is_of(finding, "injection")));
        half.1 += 1;
    }
    halves
}

fn section(
    packages: &[(String, String)],
    counts: &BTreeMap<(String, String), Count>,
    [seen, unseen]: [(usize, usize); 2],
) -> String {
    let packages: Vec<String> =
        packages.iter().map(|(name, version)| format!("`{name}` {version}")).collect();
    let mut text = format!(
        "{BEGIN}## Texts of others\n\n\
         Measured over labelled texts that others made, of packages of PyPI which the tests install: {}. The templates of \
         presidio-evaluator are filled by Faker in the manner of seven countries; AgentDojo has the attack of its paper for each of \
         its goals, and the harmless mails, files and pages of its environments; the examples of every region and kind are those of the \
         phone library, as are the numbers that it takes for impossible. All 27 texts of AgentDojo put their goals into one and the same wording, which was known when the \
         rules were written: they are found all or none, and say nothing of other wordings. A rule or family is *found* if it was told of a text \
         that is labelled with it, wherever in it, and *false* if of one that is not. Every second injection of bastioncorpus was looked at \
         when phrases were written: of those {} of {} are found, and of the others {} of {}. No package with labelled secrets was found: what \
         was told of `secret` is wrong.\n\n\
         | corpus | what | texts with it | found | recall | texts without it | false | precision |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
        packages.join(", "),
        seen.0,
        seen.1,
        unseen.0,
        unseen.1,
    );
    for ((corpus, label), count) in counts {
        let _ = writeln!(
            text,
            "| {corpus} | `{label}` | {} | {} | {} | {} | {} | {} |",
            count.texts,
            count.found,
            share(count.found, count.texts),
            count.others,
            count.wrong,
            share(count.found, count.found + count.wrong),
        );
    }
    text.push_str(END);
    text
}

/// Set `TOLLGATE_REGENERATE=1` to write the section anew.
#[test]
fn the_published_figures_are_what_is_measured_now() {
    let (packages, samples) = samples();
    let scanner = Scanner::new(RuleSet::default(), Vec::new());
    let counts = count(&samples, &scanner);
    let section = section(&packages, &counts, halves(&samples, &scanner));
    println!("{section}");
    let of = |corpus: &str, label: &str| &counts[&(corpus.to_owned(), label.to_owned())];
    for (corpus, label) in counts.keys() {
        let count = of(corpus, label);
        assert!(
            count.wrong * 20 <= count.others,
            "{label} is told of more than every twentieth text of {corpus} without it"
        );
    }
    // Of cards, numbers of 12 digits (Maestro) and of 15 (JCB) are told where a word says so: too much else has as many.
    for (rule, percent_min) in [("personal.card", 90), ("personal.iban", 95), ("personal.email", 95)] {
        let count = of("presidio-evaluator", rule);
        assert!(
            count.texts >= 100 && count.found * 100 >= count.texts * percent_min,
            "{rule}: {} of {}",
            count.found,
            count.texts
        );
    }
    let path = root().join("docs/reference/guards.md");
    let page = fs::read_to_string(&path).unwrap();
    let begin = page.find(BEGIN).expect("the section begins");
    let end = page.find(END).expect("and ends") + END.len();
    if std::env::var_os("TOLLGATE_REGENERATE").is_some() {
        fs::write(&path, format!("{}{section}{}", &page[..begin], &page[end..])).unwrap();
    } else {
        assert_eq!(
            &page[begin..end],
            section,
            "docs/reference/guards.md: run this with TOLLGATE_REGENERATE=1"
        );
    }
}
