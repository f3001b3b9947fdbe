//! Templates of the families whose files sometimes come without one.
//!
//! Written after the documented formats of each family. A model's own template always wins over these.

/// A chat format that Saem knows by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Builtin {
    /// EXAONE 3.0, 3.5 and Deep: an empty system turn opens the dialogue, user turns are not closed.
    Exaone3,
    /// EXAONE 4.0 and later dense models, with or without thinking.
    Exaone4,
    /// K-EXAONE, with or without thinking.
    KExaone,
    /// HyperCLOVA X SEED, with or without thinking.
    HyperClovaX,
    /// `ChatML`: Qwen, SmolLM and many others.
    ChatMl,
    /// Llama 3.
    Llama3,
    /// Gemma 2 and 3: the system message opens the first user turn.
    Gemma,
    /// A transcript with names, for base models which were trained on no chat format at all.
    Transcript,
}

impl Builtin {
    /// The template's source.
    #[must_use]
    pub fn source(self) -> &'static str {
        match self {
            Self::Exaone3 => include_str!("templates/exaone-3.jinja"),
            Self::Exaone4 => include_str!("templates/exaone-4.jinja"),
            Self::KExaone => include_str!("templates/k-exaone.jinja"),
            Self::HyperClovaX => include_str!("templates/hyperclova-x.jinja"),
            Self::ChatMl => include_str!("templates/chatml.jinja"),
            Self::Llama3 => include_str!("templates/llama-3.jinja"),
            Self::Gemma => include_str!("templates/gemma.jinja"),
            Self::Transcript => include_str!("templates/transcript.jinja"),
        }
    }

    /// Stop strings without which a text in this format runs on. Only the transcript needs any: the others end with a
    /// token.
    #[must_use]
    pub fn stop_strings(self) -> &'static [&'static str] {
        match self {
            Self::Transcript => &["\nUser:"],
            _ => &[],
        }
    }

    /// The format of a model whose files name none.
    ///
    /// `architecture` and `name` are the file's own words, `has_token` looks a spelling up in the vocabulary. The
    /// marks of a format in the vocabulary decide, for a model that was not trained with them cannot use them; but
    /// families put them into the vocabulary of their base models too, so where `name` says nothing of instructions
    /// or chat, the transcript is chosen.
    #[must_use]
    pub fn for_model(architecture: &str, name: &str, has_token: &dyn Fn(&str) -> bool) -> Self {
        let name = name.to_lowercase();
        let is_tuned = name.split(|c: char| !c.is_alphanumeric()).any(|word| {
            matches!(word, "it" | "sft" | "dpo" | "think" | "thinking" | "deep" | "reasoning" | "assistant")
                || ["instruct", "chat"].iter().any(|start| word.starts_with(start))
        });
        if !is_tuned {
            return Self::Transcript;
        }
        if has_token("[|assistant|]") {
            return if architecture == "exaone" { Self::Exaone3 } else { Self::Exaone4 };
        }
        if architecture.starts_with("exaone") && has_token("<|endofturn|>") {
            return Self::KExaone;
        }
        if has_token("<|im_start|>") {
            let is_clova = architecture == "hyperclovax" || (has_token("<|endofturn|>") && has_token("<|stop|>"));
            return if is_clova { Self::HyperClovaX } else { Self::ChatMl };
        }
        if has_token("<|start_header_id|>") {
            return Self::Llama3;
        }
        if has_token("<start_of_turn>") {
            return Self::Gemma;
        }
        Self::Transcript
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_vocabulary_and_the_name_decide() {
        let choose = |architecture, name, tokens: &[&str]| {
            Builtin::for_model(architecture, name, &|token| tokens.contains(&token))
        };
        assert_eq!(choose("gemma3", "Gemma 3 270m", &["<start_of_turn>"]), Builtin::Transcript);
        assert_eq!(choose("gemma3", "gemma-3-270m-it", &["<start_of_turn>"]), Builtin::Gemma);
        assert_eq!(choose("llama", "Llama-3.1-8B-Instruct", &["<|start_header_id|>"]), Builtin::Llama3);
        assert_eq!(choose("exaone", "EXAONE-3.5-2.4B-Instruct", &["[|assistant|]"]), Builtin::Exaone3);
        assert_eq!(choose("qwen2", "Qwen2 Chat", &["<|im_start|>"]), Builtin::ChatMl);
        let clova = ["<|im_start|>", "<|endofturn|>", "<|stop|>"];
        assert_eq!(choose("llama", "HyperCLOVAX-SEED-Text-Instruct-0.5B", &clova), Builtin::HyperClovaX);
        assert_eq!(choose("llama", "some instruct model", &[]), Builtin::Transcript);
    }
}
