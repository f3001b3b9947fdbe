//! `saem admin`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use console::Term;
use serde_json::json;

use crate::arguments::{AdminCommand, AdminPassword};
use crate::failure::Failure;
use crate::language::Language;
use crate::output;
use crate::records::{origin, with_store};

/// Sets up the administrator.
pub(crate) fn run(command: &AdminCommand, language: Language) -> anyhow::Result<()> {
    match command {
        AdminCommand::Password(arguments) => password(arguments, language),
    }
}

fn password(arguments: &AdminPassword, language: Language) -> anyhow::Result<()> {
    let password = read(language)?;
    with_store(async |store| store.set_admin_password(&password, &origin()).await)?;
    if arguments.json {
        return output::json(&json!({ "admin_password": true }));
    }
    output::note(&language.password_set());
    Ok(())
}

/// A password typed twice and not shown, or the first line of what is piped in. Never an argument: other users of the
/// machine can read those.
fn read(language: Language) -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        let ask = |question: String| {
            write!(io::stderr().lock(), "{question}")?;
            Term::stderr().read_secure_line()
        };
        let password = ask(language.ask_password())?;
        if ask(language.ask_password_again())? != password {
            return Err(Failure::new(language.passwords_differ()).into());
        }
        return Ok(password);
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
