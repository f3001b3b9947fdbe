//! What a model's files say about text: how it is cut into tokens, how a conversation is written, how to sample.

use std::sync::Arc;

use saem_formats::Source;
use saem_model::Description;
use saem_tokenizer::Tokenizer;

use crate::chat::{Builtin, ChatTemplate, Message, RenderOptions, TemplateError, mark_special};
use crate::{EngineError, Sampling};

/// The side of a model that needs no weights. Any number of threads use it while one [`Worker`](crate::Worker)
/// computes.
#[derive(Debug)]
pub struct ModelText {
    tokenizer: Arc<Tokenizer>,
    end_tokens: Vec<u32>,
    /// Spellings of all control tokens.
    special: Vec<String>,
    template: Result<ChatTemplate, TemplateError>,
    default_sampling: Sampling,
    description: Description,
}

impl ModelText {
    /// Reads tokenizer, template and advice; a broken template is reported where it is used.
    ///
    /// # Errors
    /// Where the files have no tokenizer that can be used.
    pub fn new(source: &Source, description: Description) -> Result<Self, EngineError> {
        let tokenizer = Arc::new(saem_model::load_tokenizer(source)?);
        Ok(Self {
            end_tokens: saem_model::end_tokens(source, &tokenizer),
            special: special_spellings(&tokenizer),
            template: template(source, &description, &tokenizer),
            default_sampling: default_sampling(source),
            tokenizer,
            description,
        })
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokenizer, to keep.
    #[must_use]
    pub fn shared_tokenizer(&self) -> Arc<Tokenizer> {
        Arc::clone(&self.tokenizer)
    }

    /// What the model's files say about it.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Tokens that end an answer.
    #[must_use]
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// How the model's makers advise to sample, or [`Sampling::fallback`].
    #[must_use]
    pub fn default_sampling(&self) -> &Sampling {
        &self.default_sampling
    }

    /// The model's chat template, or one of Saem's own where the files have none (see [`Builtin::for_model`]).
    ///
    /// # Errors
    /// Where the model's template is broken; its texts can be completed all the same.
    pub fn chat_template(&self) -> Result<&ChatTemplate, TemplateError> {
        self.template.as_ref().map_err(Clone::clone)
    }

    /// Stop strings that a conversation needs beside the end tokens: those of [`Builtin::Transcript`], else none.
    #[must_use]
    pub fn chat_stop_strings(&self) -> Vec<String> {
        let own = self.template.as_ref().ok().and_then(ChatTemplate::origin);
        own.map_or(&[][..], Builtin::stop_strings).iter().map(|&stop| stop.to_owned()).collect()
    }

    /// The tokens of a plain text to continue, with the begin token where the model wants one. Control tokens in the
    /// text are recognised: whoever writes the whole prompt may write them.
    #[must_use]
    pub fn prompt_tokens(&self, text: &str) -> Vec<u32> {
        self.tokenizer.encode(text, true, true)
    }

    /// The tokens of a conversation. Control tokens that messages spell out stay ordinary text.
    ///
    /// # Errors
    /// Where the template is broken, refuses the messages or exceeds its limits.
    pub fn chat_tokens(&self, messages: &[Message], options: &RenderOptions) -> Result<Vec<u32>, EngineError> {
        let special: Vec<&str> = self.special.iter().map(String::as_str).collect();
        let marked = mark_special(messages, &special);
        let rendered = self.chat_template()?.render(&marked.messages, options)?;
        let mut tokens = Vec::new();
        for piece in marked.pieces(&rendered) {
            self.tokenizer.encode_into(piece, false, true, &mut tokens);
        }
        Ok(tokens)
    }
}

fn special_spellings(tokenizer: &Tokenizer) -> Vec<String> {
    let ids = 0..u32::try_from(tokenizer.vocabulary_len()).unwrap_or(u32::MAX);
    ids.filter(|id| tokenizer.is_special(*id)).filter_map(|id| tokenizer.token_text(id)).collect()
}

fn default_sampling(source: &Source) -> Sampling {
    match source {
        Source::Gguf(file) => {
            Sampling::from_gguf(&|key| file.metadata().get(key).and_then(saem_formats::gguf::Value::as_f64))
        }
        Source::HuggingFace(checkpoint) => {
            let config = checkpoint.config.generation_config.as_ref();
            config.map_or_else(Sampling::fallback, Sampling::from_generation_config)
        }
    }
}

fn template(source: &Source, description: &Description, tokenizer: &Tokenizer) -> Result<ChatTemplate, TemplateError> {
    let spelling = |token: Option<u32>| token.and_then(|token| tokenizer.token_text(token));
    let (mut bos, eos) = (spelling(tokenizer.bos()), spelling(tokenizer.eos()));
    let template = match saem_model::chat_template(source) {
        Some(source) => ChatTemplate::new(&source)?,
        None => {
            let name = description.name.clone().unwrap_or_default();
            let file = source.path().file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let names = format!("{name} {file}");
            let builtin =
                Builtin::for_model(&description.architecture, &names, &|token| tokenizer.token_id(token).is_some());
            if builtin == Builtin::Transcript && !tokenizer.adds_bos() {
                bos = None;
            }
            ChatTemplate::builtin(builtin)?
        }
    };
    Ok(template.with_tokens(bos, eos))
}
