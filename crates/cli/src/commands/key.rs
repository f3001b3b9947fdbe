//! `saem key`.

use jiff::Timestamp;
use saem_store::{DEFAULT_TENANT, Issued, Key, Limits, NewKey, Scope, State};
use serde_json::{Value, json};

use crate::arguments::{KeyCommand, KeyCreate, KeyList, KeyRevoke, KeyRotate};
use crate::language::Language;
use crate::output;
use crate::records::{origin, shown, with_store};

/// Manages keys.
pub(crate) fn run(command: KeyCommand, language: Language) -> anyhow::Result<()> {
    match command {
        KeyCommand::Create(arguments) => create(arguments, language),
        KeyCommand::List(arguments) => list(&arguments, language),
        KeyCommand::Revoke(arguments) => revoke(&arguments, language),
        KeyCommand::Rotate(arguments) => rotate(&arguments, language),
    }
}

fn create(arguments: KeyCreate, language: Language) -> anyhow::Result<()> {
    let scopes = if arguments.scope.is_empty() {
        vec![Scope::Infer, Scope::Embed]
    } else {
        arguments.scope.iter().map(|name| name.parse()).collect::<Result<_, _>>()?
    };
    let new = NewKey {
        tenant: arguments.tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
        models: arguments.model,
        limits: Limits { requests_per_minute: arguments.requests, tokens_per_minute: arguments.tokens },
        expires_at: arguments.expires.map(|span| Timestamp::now() + span),
        ..NewKey::named(arguments.name, &scopes)
    };
    let issued = with_store(async |store| store.create_key(new, &origin()).await)?;
    tell(&issued, arguments.json, &language.key_created(&issued.key.id))
}

fn rotate(arguments: &KeyRotate, language: Language) -> anyhow::Result<()> {
    let (issued, old) = with_store(async |store| {
        let issued = store.rotate_key(&arguments.id, arguments.overlap, &origin()).await?;
        Ok((issued, store.key(&arguments.id).await?))
    })?;
    let until = old.made.expires_at.map(shown).unwrap_or_default();
    tell(&issued, arguments.json, &language.key_rotated(&old.id, &issued.key.id, &until))
}

/// The key's text alone goes to standard output, so that it can be piped into a safe.
fn tell(issued: &Issued, as_json: bool, note: &str) -> anyhow::Result<()> {
    if as_json {
        let mut value = described(&issued.key, Timestamp::now());
        value["key"] = json!(issued.text);
        return output::json(&value);
    }
    output::note(note);
    output::line(&format!("{}\n", issued.text))
}

fn revoke(arguments: &KeyRevoke, language: Language) -> anyhow::Result<()> {
    let key = with_store(async |store| store.revoke_key(&arguments.id, &origin()).await)?;
    if arguments.json {
        return output::json(&described(&key, Timestamp::now()));
    }
    output::note(&language.key_revoked(&key.id));
    Ok(())
}

fn list(arguments: &KeyList, language: Language) -> anyhow::Result<()> {
    let keys = with_store(async |store| store.keys().await)?;
    let now = Timestamp::now();
    if arguments.json {
        let keys: Vec<Value> = keys.iter().map(|key| described(key, now)).collect();
        return output::json(&json!({ "keys": keys }));
    }
    if keys.is_empty() {
        output::note(&language.no_keys());
        return Ok(());
    }
    let l = language;
    let mut rows = vec![vec![
        l.column_id(),
        l.column_name(),
        l.column_state(),
        l.column_scopes(),
        l.column_per_minute(),
        l.column_expires(),
        l.column_last_used(),
    ]];
    rows.extend(keys.iter().map(|key| {
        let state = match key.state(now) {
            State::Active => l.key_active(),
            State::Replaced => l.key_replaced(),
            State::Expired => l.key_expired(),
            State::Revoked => l.key_was_revoked(),
        };
        let instant = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), shown);
        let scopes: Vec<&str> = key.made.scopes.iter().map(|scope| scope.name()).collect();
        vec![
            key.id.clone(),
            key.made.name.clone(),
            state,
            scopes.join(" "),
            limits(key.made.limits, l),
            instant(key.made.expires_at),
            instant(key.last_used_at),
        ]
    }));
    output::line(&output::table(&rows, &[]))
}

fn limits(limits: Limits, language: Language) -> String {
    let shown = |limit: Option<u32>| limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
    match limits {
        Limits { requests_per_minute: None, tokens_per_minute: None } => "-".to_owned(),
        _ => language.requests_and_tokens(&shown(limits.requests_per_minute), &shown(limits.tokens_per_minute)),
    }
}

/// Everything of a key but its text.
fn described(key: &Key, now: Timestamp) -> Value {
    let instant = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let scopes: Vec<&str> = key.made.scopes.iter().map(|scope| scope.name()).collect();
    let state = match key.state(now) {
        State::Active => "active",
        State::Replaced => "replaced",
        State::Expired => "expired",
        State::Revoked => "revoked",
    };
    json!({
        "id": key.id, "name": key.made.name, "tenant": key.made.tenant, "state": state, "scopes": scopes,
        "models": key.made.models, "apps": key.made.apps, "app": key.made.app,
        "requests_per_minute": key.made.limits.requests_per_minute,
        "tokens_per_minute": key.made.limits.tokens_per_minute,
        "created_at": key.created_at.to_string(), "expires_at": instant(key.made.expires_at),
        "revoked_at": instant(key.revoked_at), "last_used_at": instant(key.last_used_at),
        "replaced_by": key.replaced_by,
    })
}
