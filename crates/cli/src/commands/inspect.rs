//! `saem inspect`.

use std::path::Path;

use saem_formats::Source;
use saem_hub::{Entry, Hub, HubError, Installed, Licence};
use saem_model::Description;
use serde_json::{Value, json};

use crate::arguments::Inspect;
use crate::failure::bytes;
use crate::language::Language;
use crate::{models, output};

/// Shows what is known of a model; one that is not here is described by the catalogue.
pub(crate) fn run(arguments: &Inspect, language: Language) -> anyhow::Result<()> {
    let hub = models::hub()?;
    let entry = hub.catalogue().find(&arguments.model);
    let path = match hub.resolve(&arguments.model) {
        Ok(path) => path,
        Err(HubError::NotInstalled { .. }) if entry.is_some() => {
            return absent(&hub, entry, arguments.json, language);
        }
        Err(error) => return Err(error.into()),
    };
    let installed = hub.installed(&arguments.model).ok().flatten();
    let source = Source::open(&path)?;
    let description = saem_model::describe(&source)?;
    let model = Model { hub: &hub, path: &path, installed: installed.as_ref(), source: &source, description };
    if arguments.json {
        return output::json(&model.json(arguments.tensors));
    }
    let mut text = output::table(&model.rows(language), &[]);
    if arguments.tensors {
        text.push('\n');
        let rows = tensors(&source).into_iter().map(|tensor| {
            let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
            vec![tensor.name, shape.join(" x "), tensor.data_type, bytes(tensor.bytes)]
        });
        text.push_str(&output::table(&rows.collect::<Vec<_>>(), &[3]));
    }
    output::line(&text)
}

/// A model that the catalogue knows and this machine does not have.
fn absent(hub: &Hub, entry: Option<&Entry>, as_json: bool, language: Language) -> anyhow::Result<()> {
    let Some(entry) = entry else { return Ok(()) };
    let licence = hub.catalogue().licence(&entry.licence);
    if as_json {
        return output::json(&json!({
            "name": entry.name, "installed": false, "title": entry.title, "bytes": entry.bytes,
            "kind": entry.kind, "languages": entry.languages, "licence": licence_json(&entry.licence, licence),
        }));
    }
    let mut rows = vec![
        vec![language.label_name(), format!("{} ({})", entry.name, entry.title)],
        vec![language.label_state(), language.not_downloaded(&entry.name)],
    ];
    rows.extend(entry.bytes.map(|count| vec![language.label_size(), bytes(count)]));
    rows.extend(licence_rows(&entry.licence, licence, language));
    output::line(&output::table(&rows, &[]))
}

/// A model on this machine.
struct Model<'a> {
    hub: &'a Hub,
    path: &'a Path,
    installed: Option<&'a Installed>,
    source: &'a Source,
    description: Description,
}

impl Model<'_> {
    /// The licence: of the manifest, else of the file.
    fn licence(&self) -> Option<(String, Option<&Licence>)> {
        let named = self.installed.and_then(|model| model.manifest.licence.clone());
        let identifier = named.or_else(|| self.description.licence.clone())?;
        let licence = self.hub.catalogue().licence(&identifier);
        Some((identifier, licence))
    }

    fn rows(&self, language: Language) -> Vec<Vec<String>> {
        let l = language;
        let description = &self.description;
        let config = &description.config;
        let name = description.name.clone().unwrap_or_default();
        let name = match self.installed {
            Some(model) if name.is_empty() => model.manifest.name.clone(),
            Some(model) => format!("{} ({name})", model.manifest.name),
            None => name,
        };
        let mut rows = Vec::new();
        let mut row = |label: String, value: String| {
            if !value.is_empty() {
                rows.push(vec![label, value]);
            }
        };
        row(l.label_name(), name);
        row(l.label_path(), self.path.display().to_string());
        row(l.label_format(), description.format.to_owned());
        row(l.label_architecture(), description.architecture.clone());
        row(l.label_parameters(), parameters(description));
        let bits = description.weight_bytes as f64 * 8.0 / description.parameters.max(1) as f64;
        let bits = l.bits_per_weight(&format!("{bits:.2}"));
        row(l.label_size(), format!("{}, {bits}", bytes(description.weight_bytes)));
        let types = description.types.iter().map(|share| format!("{} x {}", share.tensors, share.data_type));
        row(l.label_types(), types.collect::<Vec<_>>().join(", "));
        let layers = l.layers(config.layers.len(), config.hidden, config.heads, config.kv_heads);
        row(l.label_layers(), layers);
        row(l.label_context(), l.tokens_count(&config.context.to_string()));
        let tokenizer = description.tokenizer.as_deref().map(|kind| format!(" ({kind})")).unwrap_or_default();
        row(l.label_vocabulary(), l.tokens_count(&config.vocabulary.to_string()) + &tokenizer);
        row(l.label_template(), if description.chat_template { l.yes() } else { l.no() });
        if let Some(model) = self.installed {
            row(l.label_source(), model.manifest.source.clone());
            row(l.label_fetched(), model.manifest.fetched_at.clone());
        }
        if let Some((identifier, licence)) = self.licence() {
            rows.extend(licence_rows(&identifier, licence, language));
        }
        rows
    }

    fn json(&self, with_tensors: bool) -> Value {
        let description = &self.description;
        let config = &description.config;
        let types = description
            .types
            .iter()
            .map(|share| json!({ "type": share.data_type.name(), "tensors": share.tensors, "bytes": share.bytes }));
        let mut value = json!({
            "name": self.installed.map(|model| &model.manifest.name).or(description.name.as_ref()),
            "installed": true,
            "title": description.name,
            "path": self.path,
            "format": description.format,
            "architecture": description.architecture,
            "parameters": description.parameters,
            "active_parameters": description.active_parameters,
            "bytes": description.weight_bytes,
            "types": types.collect::<Vec<_>>(),
            "tensor_count": description.tensors,
            "layers": config.layers.len(),
            "hidden": config.hidden,
            "heads": config.heads,
            "kv_heads": config.kv_heads,
            "head_dim": config.head_dim,
            "context": config.context,
            "vocabulary": config.vocabulary,
            "tokenizer": description.tokenizer,
            "languages": description.languages,
            "chat_template": saem_model::chat_template(self.source),
            "licence": self.licence().map(|(identifier, licence)| licence_json(&identifier, licence)),
            "source": self.installed.map(|model| &model.manifest.source),
            "sha256": self.installed.and_then(|model| model.manifest.files.first()).map(|file| &file.sha256),
            "fetched_at": self.installed.map(|model| &model.manifest.fetched_at),
        });
        if with_tensors {
            let list = tensors(self.source).into_iter().map(|tensor| {
                json!({ "name": tensor.name, "shape": tensor.shape, "type": tensor.data_type, "bytes": tensor.bytes })
            });
            value["tensors"] = list.collect();
        }
        value
    }
}

/// `1.54 B`, and for a mixture of experts those that a token passes.
fn parameters(description: &Description) -> String {
    let short = |count: u64| match count as f64 {
        count if count >= 1e9 => format!("{:.2} B", count / 1e9),
        count if count >= 1e6 => format!("{:.1} M", count / 1e6),
        count => format!("{:.1} K", count / 1e3),
    };
    if description.active_parameters < description.parameters {
        format!("{} ({} active)", short(description.parameters), short(description.active_parameters))
    } else {
        short(description.parameters)
    }
}

fn licence_rows(identifier: &str, licence: Option<&Licence>, language: Language) -> Vec<Vec<String>> {
    let Some(licence) = licence else { return vec![vec![language.label_licence(), identifier.to_owned()]] };
    let obligations = match language {
        Language::English => &licence.obligations.en,
        Language::Korean => &licence.obligations.ko,
    };
    vec![
        vec![language.label_licence(), format!("{} ({})", licence.name, licence.url)],
        vec![language.label_obligations(), obligations.clone()],
    ]
}

fn licence_json(identifier: &str, licence: Option<&Licence>) -> Value {
    json!({
        "id": identifier,
        "name": licence.map(|licence| &licence.name),
        "url": licence.map(|licence| &licence.url),
        "obligations": licence.map(|licence| &licence.obligations),
    })
}

/// One tensor of either format.
struct Tensor {
    name: String,
    shape: Vec<usize>,
    data_type: String,
    bytes: u64,
}

fn tensors(source: &Source) -> Vec<Tensor> {
    let tensor = |name: &str, shape: &[usize], data_type: saem_formats::DataType, bytes: usize| Tensor {
        name: name.to_owned(),
        shape: shape.to_vec(),
        data_type: data_type.name().to_owned(),
        bytes: bytes as u64,
    };
    match source {
        Source::Gguf(file) => {
            file.tensors().iter().map(|info| tensor(&info.name, &info.shape, info.data_type, info.byte_len())).collect()
        }
        Source::HuggingFace(checkpoint) => checkpoint
            .weights
            .tensors()
            .iter()
            .map(|info| tensor(&info.name, &info.shape, info.data_type, info.byte_len()))
            .collect(),
    }
}
