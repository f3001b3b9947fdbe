//! One module for each command.

mod admin;
mod audit;
mod bench;
mod chat;
mod completions;
mod convert;
mod embed;
mod inspect;
mod key;
mod list;
mod perplexity;
mod plan;
mod pull;
mod remove;
mod run;
mod serve;
mod text_input;
mod tokenize;
mod training;
mod usage;

use crate::arguments::Command;
use crate::language::Language;

/// Exit code of a program that Ctrl-C ended, by the custom of shells.
const INTERRUPTED: i32 = 130;

/// Carries out a command.
pub(crate) fn run(command: Command, language: Language) -> anyhow::Result<()> {
    match command {
        Command::Pull(arguments) => pull::run(&arguments, language),
        Command::List(arguments) => list::run(&arguments, language),
        Command::Inspect(arguments) => inspect::run(&arguments, language),
        Command::Run(arguments) => run::run(&arguments, language),
        Command::Chat(arguments) => chat::run(&arguments, language),
        Command::Serve(arguments) => serve::run(&arguments, language),
        Command::Tokenize(arguments) => tokenize::run(&arguments, language),
        Command::Embed(arguments) => embed::run(&arguments, language),
        Command::Perplexity(arguments) => perplexity::run(&arguments, language),
        Command::Bench(arguments) => bench::run(&arguments, language),
        Command::Pretrain(arguments) => training::pretrain(&arguments, language),
        Command::Tune(arguments) => training::tune(&arguments, language),
        Command::Plan(arguments) => plan::run(&arguments, language),
        Command::Convert(arguments) => convert::convert(&arguments, language),
        Command::Merge(arguments) => convert::merge(&arguments, language),
        Command::Rm(arguments) => remove::run(&arguments, language),
        Command::Key(command) => key::run(command, language),
        Command::Admin(command) => admin::run(&command, language),
        Command::Audit(command) => audit::run(&command, language),
        Command::Usage(arguments) => usage::run(&arguments, language),
        Command::Completions(arguments) => completions::run(&arguments, language),
    }
}
