//! What GGUF files mean by the names in `tokenizer.ggml.pre`.

use crate::TokenizerError;
use crate::pretokenize::{Behaviour, Pattern, PreTokenizer, Stage};

/// A family of byte-level BPE tokenizers.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) pre_tokenizer: PreTokenizer,
    /// Whether a piece that is in the vocabulary is its token even if merging would not lead there.
    pub(crate) ignore_merges: bool,
    /// Whether a text begins with a token of its own unless the file says otherwise.
    pub(crate) add_bos: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The expression of the original `tokenizer.json`. llama.cpp's own form takes every letter beyond ASCII for both a
/// capital and a small one and leaves marks out; the model was trained with this one.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const EXAONE_MOE: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The family of a name.
pub(crate) fn family(name: &str) -> Result<Family, TokenizerError> {
    let (patterns, ignore_merges, add_bos): (&[&str], bool, bool) = match name {
        "" | "default" => (&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], false, false),
        "gpt-2" | "phi-2" | "exaone4" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" | "gigachat"
        | "mellum" | "modern-bert" | "a.x-4.0" => (&[GPT2], false, false),
        "smollm" | "exaone" | "starcoder" | "refact" | "command-r" | "codeshell" | "minerva-7b" | "mellum2" => {
            (&[r"\p{N}", GPT2], false, false)
        }
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2" => {
            (&[LLAMA3], true, true)
        }
        "dbrx" | "smaug-bpe" | "chatglm-bpe" | "glm4" | "hyperclovax" => (&[LLAMA3], false, false),
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "megrez" | "stablelm2" | "hunyuan" | "solar-open" | "grok-2" => {
            (&[QWEN2], false, false)
        }
        "qwen35" => (&[QWEN35], false, false),
        "gpt-4o" | "llama4" | "kanana2" => (&[GPT4O], false, false),
        "exaone-moe" => (&[EXAONE_MOE], false, false),
        _ => return Err(TokenizerError::Unsupported { component: "pre-tokenizer", name: name.to_owned() }),
    };
    let stages = patterns
        .iter()
        .map(|expression| {
            let pattern = Pattern::regex(expression)?;
            Ok(Stage::Split { pattern, behaviour: Behaviour::Isolated, invert: false })
        })
        .collect::<Result<_, TokenizerError>>()?;
    Ok(Family { pre_tokenizer: PreTokenizer { stages }, ignore_merges, add_bos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_families_never_use_the_general_expression_engine() {
        for name in ["", "gpt-2", "smollm", "exaone", "exaone4", "exaone-moe", "llama-bpe", "qwen2", "gpt-4o"] {
            for stage in family(name).unwrap().pre_tokenizer.stages {
                let regex = matches!(stage, Stage::Split { pattern: Pattern::Regex(_), .. });
                assert!(!regex, "{name}");
            }
        }
        assert!(matches!(family("qwen99"), Err(TokenizerError::Unsupported { .. })));
        assert!(family("qwen35").is_ok());
    }
}
