//! `saem completions`.

use clap::CommandFactory as _;

use crate::arguments::{Arguments, Completions};
use crate::help;
use crate::language::Language;
use crate::output;

/// Prints the script; its descriptions are in the user's language.
pub(crate) fn run(arguments: &Completions, language: Language) -> anyhow::Result<()> {
    let mut command = help::localised(Arguments::command(), language);
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "saem", &mut script);
    output::line(&String::from_utf8_lossy(&script))
}
