//! What a checkpoint says about itself, from its headers alone.

use std::collections::BTreeMap;

use saem_formats::Source;
use saem_kernels::DataType;

use crate::ModelError;
use crate::config::Config;

/// A summary of a checkpoint, without its weights being read.
#[derive(Clone, Debug)]
pub struct Description {
    /// `gguf` or `safetensors`.
    pub format: &'static str,
    /// The architecture's name in the file.
    pub architecture: String,
    /// The model's own name, where it has one.
    pub name: Option<String>,
    /// The licence that the file states.
    pub licence: Option<String>,
    /// Languages that the file states.
    pub languages: Vec<String>,
    /// Weights, those of experts that a token is not sent to included.
    pub parameters: u64,
    /// Weights that a token passes: fewer than all in a mixture of experts.
    pub active_parameters: u64,
    /// Bytes of all tensors.
    pub weight_bytes: u64,
    /// Bytes and tensors of each stored type, the largest share first.
    pub types: Vec<TypeShare>,
    /// Tensors in the file.
    pub tensors: usize,
    /// The architecture's switches.
    pub config: Config,
    /// `tokenizer.ggml.model`, or `tokenizer.json`; absent where there is no tokenizer.
    pub tokenizer: Option<String>,
    /// Tokens of the tokenizer, where the header tells.
    pub tokens: Option<usize>,
    /// Whether there is a chat template.
    pub chat_template: bool,
}

/// How much of a checkpoint is stored in one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeShare {
    /// The type.
    pub data_type: DataType,
    /// Tensors of it.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Summarises a checkpoint.
///
/// # Errors
/// As [`Config::from_source`].
pub fn describe(source: &Source) -> Result<Description, ModelError> {
    let config = Config::from_source(source)?;
    let mut description = Description {
        format: "gguf",
        architecture: config.family.gguf_name().to_owned(),
        name: None,
        licence: None,
        languages: Vec::new(),
        parameters: 0,
        active_parameters: 0,
        weight_bytes: source.weight_bytes(),
        types: Vec::new(),
        tensors: 0,
        config,
        tokenizer: None,
        tokens: None,
        chat_template: crate::chat_template(source).is_some(),
    };
    let mut types: BTreeMap<DataType, (usize, u64)> = BTreeMap::new();
    let mut count = |data_type: DataType, elements: usize, bytes: usize| {
        let share = types.entry(data_type).or_default();
        *share = (share.0 + 1, share.1 + bytes as u64);
        description.parameters += elements as u64;
        description.tensors += 1;
    };
    match source {
        Source::Gguf(file) => {
            for tensor in file.tensors() {
                count(tensor.data_type, tensor.elements(), tensor.byte_len());
            }
            let text = |key: &str| file.metadata().str(key).filter(|text| !text.is_empty()).map(str::to_owned);
            description.name = text("general.name").or_else(|| text("general.basename"));
            description.licence = text("general.license").or_else(|| text("general.license.name"));
            description.tokenizer = text("tokenizer.ggml.model").filter(|name| name != "none");
            let tokens = file.metadata().array("tokenizer.ggml.tokens");
            description.tokens = tokens.map(saem_formats::gguf::Array::len);
            if let Some(languages) = file.metadata().array("general.languages").and_then(|list| list.strings()) {
                description.languages =
                    languages.map(|language| String::from_utf8_lossy(language).into_owned()).collect();
            }
        }
        Source::HuggingFace(checkpoint) => {
            for tensor in checkpoint.weights.tensors() {
                count(tensor.data_type, tensor.elements(), tensor.byte_len());
            }
            let files = &checkpoint.config;
            description.format = "safetensors";
            let model_type = files.config.get("model_type").and_then(serde_json::Value::as_str);
            description.architecture = model_type.unwrap_or_default().to_owned();
            description.name = files.config.get("_name_or_path").and_then(serde_json::Value::as_str).map(str::to_owned);
            description.tokenizer = files.tokenizer.is_some().then(|| "tokenizer.json".to_owned());
            let readme = std::fs::read_to_string(files.directory.join("README.md")).unwrap_or_default();
            description.licence = front_matter(&readme, "license");
        }
    }
    description.active_parameters = description.parameters - idle_parameters(&description.config);
    description.types =
        types.into_iter().map(|(data_type, (tensors, bytes))| TypeShare { data_type, tensors, bytes }).collect();
    description.types.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    Ok(description)
}

/// Weights of experts that a token is not sent to.
fn idle_parameters(config: &Config) -> u64 {
    let Some(moe) = &config.moe else { return 0 };
    let sparse = config.layers.iter().filter(|layer| layer.sparse).count();
    3 * (sparse * (moe.experts - moe.used)) as u64 * (moe.intermediate * config.hidden) as u64
}

/// A value of the YAML between `---` lines that model cards start with.
fn front_matter(readme: &str, key: &str) -> Option<String> {
    let body = readme.strip_prefix("---")?;
    let value = body.lines().skip(1).take_while(|line| *line != "---").find_map(|line| {
        line.strip_prefix(key)?.strip_prefix(':').map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
    })?;
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_cards_state_a_licence() {
        let readme = "---\nlanguage:\n- ko\nlicense: apache-2.0\n---\nlicense: no";
        assert_eq!(front_matter(readme, "license").as_deref(), Some("apache-2.0"));
        assert_eq!(front_matter("license: mit", "license"), None);
        assert_eq!(front_matter("---\na: b\n---\nlicense: mit", "license"), None);
    }
}
