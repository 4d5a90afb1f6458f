//! `tollgate completions`.

use clap::CommandFactory;

use crate::cli::{Cli, Completions};
use crate::out::{Printer, To};

/// Prints the completion script of a shell.
pub(crate) fn print(command: &Completions) {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "tollgate", &mut script);
    Printer::new(To::Out).raw(&script);
}
