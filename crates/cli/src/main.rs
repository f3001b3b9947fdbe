//! The command `saem`: open-weight language models on one's own machine, in the user's language.
//!
//! Three rules hold for every command. What was asked for goes to standard output and nothing else does. What is told
//! on the way goes to standard error, moves only on a terminal, and is never needed by a program. The exit code is 0
//! when the work is done, 1 when it failed, 2 when the command line was wrong.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod curve;
mod failure;
mod help;
mod language;
mod loading;
mod messages;
mod models;
mod output;
mod progress;
mod records;
mod resolve;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::arguments::Arguments;
use crate::language::Language;

fn main() -> ExitCode {
    let language = Language::from_env();
    let command = help::localised(Arguments::command(), language);
    let arguments = command.try_get_matches_from(words()).and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error, language),
    };
    match commands::run(arguments.command, language) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let (text, is_usage) = failure::explain(&error, language);
            output::note(&text);
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

/// The command line. Without a word it is that of somebody who wants to begin: the server, with Studio at its address.
fn words() -> Vec<OsString> {
    let words: Vec<_> = std::env::args_os().collect();
    if words.len() > 1 { words } else { vec!["saem".into(), "serve".into()] }
}

/// Prints help and version where they were asked for, and otherwise why the command line makes no sense.
fn refuse(error: &clap::Error, language: Language) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Help that nobody reads is no failure.
            let _ = output::line(&error.render().to_string());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::note(error.render().to_string().trim_end());
            ExitCode::from(2)
        }
        _ => {
            output::note(usage::explain(error, language).trim_end());
            ExitCode::from(2)
        }
    }
}
