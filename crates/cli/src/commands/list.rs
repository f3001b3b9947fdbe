//! `saem list`.

use std::fmt::Write as _;

use saem_hub::{Entry, Hub, Installed, Unfinished};
use serde_json::{Value, json};

use crate::arguments::List;
use crate::failure::bytes;
use crate::language::Language;
use crate::{models, output};

/// Lists what is here, what was begun, and what can be had.
pub(crate) fn run(arguments: &List, language: Language) -> anyhow::Result<()> {
    let hub = models::hub()?;
    let (installed, unfinished) = (hub.list()?, hub.unfinished()?);
    if arguments.json {
        return output::json(&as_json(&hub, &installed, &unfinished));
    }
    output::line(&as_text(&hub, &installed, &unfinished, language))
}

/// Entries of the catalogue that are not here.
fn available<'a>(hub: &'a Hub, installed: &[Installed]) -> Vec<&'a Entry> {
    let is_here = |entry: &&Entry| !installed.iter().any(|model| model.manifest.name == entry.name);
    hub.catalogue().models.iter().filter(is_here).collect()
}

fn as_text(hub: &Hub, installed: &[Installed], unfinished: &[Unfinished], language: Language) -> String {
    let default = |name: &str| {
        if name == hub.catalogue().default { language.default_mark() } else { String::new() }
    };
    let mut text = format!("{}\n", language.downloaded_heading());
    if installed.is_empty() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {}", language.none_downloaded());
    } else {
        let mut rows =
            vec![vec![language.column_name(), language.column_size(), language.column_licence(), String::new()]];
        rows.extend(installed.iter().map(|model| {
            let manifest = &model.manifest;
            let licence = manifest.licence.clone().unwrap_or_else(|| "-".to_owned());
            vec![manifest.name.clone(), bytes(manifest.bytes), licence, default(&manifest.name)]
        }));
        text.push_str(&output::table(&rows, &[1]));
    }
    if !unfinished.is_empty() {
        let _ = writeln!(text, "\n{}", language.unfinished_heading());
        let rows: Vec<Vec<String>> =
            unfinished.iter().map(|model| vec![model.name.clone(), bytes(model.bytes)]).collect();
        text.push_str(&output::table(&rows, &[1]));
    }
    let available = available(hub, installed);
    if !available.is_empty() {
        let _ = writeln!(text, "\n{}", language.available_heading());
        let mut rows = vec![vec![
            language.column_name(),
            language.column_size(),
            language.column_languages(),
            language.column_licence(),
            language.column_about(),
        ]];
        rows.extend(available.iter().map(|entry| {
            let about = match language {
                Language::English => entry.summary.en.clone(),
                Language::Korean => entry.summary.ko.clone(),
            };
            let size = entry.bytes.map_or_else(|| "-".to_owned(), bytes);
            vec![entry.name.clone(), size, entry.languages.join(" "), entry.licence.clone(), about]
        }));
        text.push_str(&output::table(&rows, &[1]));
    }
    text
}

fn as_json(hub: &Hub, installed: &[Installed], unfinished: &[Unfinished]) -> Value {
    let mut models: Vec<Value> = installed
        .iter()
        .map(|model| {
            let manifest = &model.manifest;
            let entry = hub.catalogue().find(&manifest.name);
            json!({
                "name": manifest.name, "installed": true, "path": model.path(), "bytes": manifest.bytes,
                "licence": manifest.licence, "source": manifest.source, "fetched_at": manifest.fetched_at,
                "title": entry.map(|entry| &entry.title), "kind": entry.map(|entry| entry.kind),
                "languages": entry.map(|entry| &entry.languages),
            })
        })
        .collect();
    models.extend(available(hub, installed).into_iter().map(|entry| {
        json!({
            "name": entry.name, "installed": false, "path": null, "bytes": entry.bytes,
            "licence": entry.licence, "source": null, "fetched_at": null,
            "title": entry.title, "kind": entry.kind, "languages": entry.languages,
        })
    }));
    let unfinished: Vec<Value> =
        unfinished.iter().map(|model| json!({ "name": model.name, "bytes": model.bytes })).collect();
    json!({ "default": hub.catalogue().default, "models": models, "unfinished": unfinished })
}
