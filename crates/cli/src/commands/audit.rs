//! `saem audit`.

use saem_store::{Fault, Verification};
use serde_json::{Value, json};

use crate::arguments::{AuditCommand, AuditList};
use crate::failure::Failure;
use crate::language::Language;
use crate::output;
use crate::records::{shown, with_store};

/// Looks at the audit log.
pub(crate) fn run(command: &AuditCommand, language: Language) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify(arguments) => verify(arguments.json, language),
        AuditCommand::List(arguments) => list(arguments, language),
    }
}

/// Fails where the log was tampered with, also with `--json`.
fn verify(as_json: bool, language: Language) -> anyhow::Result<()> {
    let found = with_store(async |store| store.verify_audit().await)?;
    if as_json {
        output::json(&match &found {
            Verification::Intact { rows, hash } => json!({ "intact": true, "rows": rows, "hash": hash }),
            Verification::Broken { sequence, fault } => {
                json!({ "intact": false, "first_broken_row": sequence, "fault": name(*fault) })
            }
        })?;
    }
    match found {
        Verification::Broken { sequence, fault } => {
            let what = match fault {
                Fault::Altered => language.audit_altered(sequence),
                Fault::Missing => language.audit_missing(sequence),
                Fault::WrongEnd => language.audit_wrong_end(sequence),
                Fault::AfterEnd => language.audit_after_end(sequence),
            };
            Err(Failure::new(what).into())
        }
        Verification::Intact { .. } if as_json => Ok(()),
        Verification::Intact { rows: 0, .. } => output::line(&format!("{}\n", language.audit_empty())),
        Verification::Intact { rows, hash } => output::line(&format!("{}\n", language.audit_intact(rows, &hash))),
    }
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Altered => "altered",
        Fault::Missing => "missing",
        Fault::WrongEnd => "wrong_end",
        Fault::AfterEnd => "after_end",
    }
}

/// The last rows, oldest first as in any log.
fn list(arguments: &AuditList, language: Language) -> anyhow::Result<()> {
    let mut logged = with_store(async |store| store.audit(arguments.rows).await)?;
    logged.reverse();
    if arguments.json {
        let rows: Vec<Value> = logged
            .iter()
            .map(|row| {
                let entry = &row.entry;
                json!({
                    "sequence": row.sequence, "at": entry.at.to_string(), "tenant": entry.tenant, "who": entry.who,
                    "action": entry.action, "subject": entry.subject, "source": entry.source,
                    "result": entry.result, "hash": row.hash,
                })
            })
            .collect();
        return output::json(&json!({ "rows": rows }));
    }
    if logged.is_empty() {
        output::note(&language.audit_empty());
        return Ok(());
    }
    let l = language;
    let mut rows = vec![vec![
        "#".to_owned(),
        l.column_when(),
        l.column_who(),
        l.column_action(),
        l.column_subject(),
        l.column_from(),
        l.column_result(),
    ]];
    rows.extend(logged.into_iter().map(|row| {
        let entry = row.entry;
        let when = shown(entry.at);
        vec![row.sequence.to_string(), when, entry.who, entry.action, entry.subject, entry.source, entry.result]
    }));
    output::line(&output::table(&rows, &[0]))
}
