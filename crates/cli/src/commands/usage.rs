//! `saem usage`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::arguments::Usage;
use crate::language::Language;
use crate::output;
use crate::records::with_store;

/// Shows sums per day, key, app and model.
pub(crate) fn run(arguments: &Usage, language: Language) -> anyhow::Result<()> {
    let since = Timestamp::now() - SignedDuration::from_hours(24 * i64::from(arguments.days - 1));
    let since = since.strftime("%Y-%m-%d").to_string();
    let sums = with_store(async |store| store.usage(&since).await)?;
    if arguments.json {
        let sums: Vec<Value> = sums
            .iter()
            .map(|sum| {
                let (by, used) = (&sum.by, sum.used);
                json!({
                    "day": sum.day, "tenant": by.tenant, "key": by.key, "app": by.app, "model": by.model,
                    "requests": used.requests, "prompt_tokens": used.prompt_tokens,
                    "cached_tokens": used.cached_tokens, "completion_tokens": used.completion_tokens,
                })
            })
            .collect();
        return output::json(&json!({ "since": since, "usage": sums }));
    }
    if sums.is_empty() {
        output::note(&language.no_usage());
        return Ok(());
    }
    let l = language;
    let mut rows = vec![vec![
        l.column_day(),
        l.column_key(),
        l.column_model(),
        l.column_requests(),
        l.column_prompt_tokens(),
        l.column_cached_tokens(),
        l.column_completion_tokens(),
    ]];
    rows.extend(sums.into_iter().map(|sum| {
        let (by, used) = (sum.by, sum.used);
        let key = if by.key.is_empty() { "-".to_owned() } else { by.key };
        let counts = [used.requests, used.prompt_tokens, used.cached_tokens, used.completion_tokens];
        [sum.day, key, by.model].into_iter().chain(counts.map(|count| count.to_string())).collect()
    }));
    output::line(&output::table(&rows, &[3, 4, 5, 6]))
}
