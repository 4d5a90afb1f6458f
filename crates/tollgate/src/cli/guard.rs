//! What may be typed behind `tollgate guard`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const GUARD_HELP: &str = "\
A file of rules says what content guards look for, beside what is built in; docs/guards.md describes it, and
docs/reference/guard-rules.schema.json is its JSON Schema. The key guard.rule_files of a configuration names it.

Examples:
  tollgate guard test rules.yaml                              hold the rules against their own examples
  tollgate guard test rules.yaml --text 'see PRJ-1234'        say what they find in a text
  tollgate guard test rules.yaml --text-file mail.txt --json";

/// Check and try rules of content guards
#[derive(Debug, Subcommand)]
#[command(after_help = GUARD_HELP)]
pub enum Guard {
    /// Hold the rules of files against their own examples, and say what they find in a text
    Test(GuardTest),
}

/// Hold the rules of files against their own examples, and say what they find in a text
#[derive(Debug, Args)]
pub struct GuardTest {
    /// Files of rules
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Say what they find in this text
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Say what they find in the text of this file
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub text_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
