//! `saem key`, `saem admin`, `saem audit`, `saem usage`: what concerns a server's records.

use std::time::Duration;

use clap::{Args, Subcommand};

/// `saem key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a key and shows it once
    Create(KeyCreate),
    /// Lists all keys and how they stand
    List(KeyList),
    /// Ends a key at once and for good
    Revoke(KeyRevoke),
    /// Makes a new key like an old one, which ends after a time of overlap
    Rotate(KeyRotate),
}

/// `saem key create`.
#[derive(Debug, Args)]
#[command(after_help = "Scopes:
  infer   completions, chats, tokens
  embed   embeddings
  tune    tuning
  admin   running the server, such as its metrics
  app     the apps of its organisation
No scope includes another.")]
pub(crate) struct KeyCreate {
    /// A name to know the key by
    pub(crate) name: String,
    /// What it may do: infer, embed, tune, admin, app; several times for several [default: infer and embed]
    #[arg(long, value_name = "SCOPE", value_parser = ["infer", "embed", "tune", "admin", "app"], hide_possible_values = true)]
    pub(crate) scope: Vec<String>,
    /// A model that it may use; several times for several [default: every model]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Vec<String>,
    /// Most requests per minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests: Option<u32>,
    /// Most tokens per minute, prompt and answer together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tokens: Option<u32>,
    /// How long it works: 90d, 12h, 30m
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) expires: Option<Duration>,
    /// The organisation that it belongs to [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem key list`.
#[derive(Debug, Args)]
pub(crate) struct KeyList {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem key revoke`.
#[derive(Debug, Args)]
pub(crate) struct KeyRevoke {
    /// The key's id (see `saem key list`)
    pub(crate) id: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem key rotate`.
#[derive(Debug, Args)]
pub(crate) struct KeyRotate {
    /// The key's id (see `saem key list`)
    pub(crate) id: String,
    /// How long the old key goes on working: 7d, 12h, 30m, 0m [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "7d", hide_default_value = true)]
    pub(crate) overlap: Duration,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem admin`.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Sets the administrator's password, asked for on a terminal or read from standard input
    Password(AdminPassword),
}

/// `saem admin password`.
#[derive(Debug, Args)]
pub(crate) struct AdminPassword {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Checks that nobody has tampered with the audit log
    Verify(AuditVerify),
    /// Shows the last rows of the audit log
    List(AuditList),
}

/// `saem audit verify`.
#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem audit list`.
#[derive(Debug, Args)]
pub(crate) struct AuditList {
    /// Rows to show [default: 20]
    #[arg(long, value_name = "N", default_value_t = 20, hide_default_value = true)]
    pub(crate) rows: u32,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem usage`.
#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// Days up to today, in UTC [default: 7]
    #[arg(long, value_name = "N", default_value_t = 7, hide_default_value = true,
        value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub(crate) days: u32,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `90d`, `12h`, `30m` or `45s`.
fn span(text: &str) -> Result<Duration, String> {
    let expected = || "a number and d, h, m or s, such as 90d".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
    let seconds = match unit {
        "d" => 24 * 60 * 60,
        "h" => 60 * 60,
        "m" => 60,
        "s" => 1,
        _ => return Err(expected()),
    };
    let number: u32 = number.parse().map_err(|_| expected())?;
    // A hundred years, so that no sum of instants overflows.
    let seconds = u64::from(number).saturating_mul(seconds);
    if seconds <= 36_500 * 24 * 60 * 60 { Ok(Duration::from_secs(seconds)) } else { Err("at most 36500d".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn times_have_a_number_and_a_unit() {
        for (text, seconds) in [("90d", 7_776_000), ("12h", 43_200), ("30m", 1800), ("0m", 0), ("5s", 5)] {
            assert_eq!(span(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "d", "90", "-1d", "1.5h", "1w", "일", "9일", "36501d", "99999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
