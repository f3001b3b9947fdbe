//! Loading a tokenizer from `tokenizer.json`.
//!
//! The file is the serialised pipeline of the `tokenizers` library, and means what that library makes of it.

mod decoder;
mod file;
mod pipeline;

use std::sync::Arc;

use serde_json::Value;

use crate::added::{Added, AddedTokens};
use crate::byte_level;
use crate::hash::{Merge, NONE, PairMap, StringIndex, Strings};
use crate::model::{Algorithm, Alphabet, Bpe, Characters, Model, Seams, Unigram, Whole};
use crate::normalize::Normalizer;
use crate::pretokenize::{PreTokenizer, Stage};
use crate::tokenizer::Named;
use crate::vocabulary::{END_OF_TURN, Kind, Vocabulary, byte_spelling};
use crate::{Tokenizer, TokenizerError};
use decoder::Decoder;
use file::{File, RawMerge, RawModel, Text, Vocab};

pub(crate) fn load(tokenizer: &[u8], config: Option<&[u8]>) -> Result<Tokenizer, TokenizerError> {
    let file: File<'_> = serde_json::from_slice(tokenizer)?;
    let config: Option<Value> = config.map(serde_json::from_slice).transpose()?;

    let mut normalizers = Vec::new();
    file.normalizer.iter().try_for_each(|value| pipeline::normalizer(value, &mut normalizers))?;
    let mut stages = Vec::new();
    file.pre_tokenizer.iter().try_for_each(|value| pipeline::pre_tokenizer(value, &mut stages))?;
    pipeline::check_steps("normalizer", normalizers.len())?;
    pipeline::check_steps("pre-tokenizer", stages.len())?;
    let decoder = Decoder::new(file.decoder.as_ref())?;

    let tokens = Tokens::collect(&file, tokenizer.len() as u64)?;
    let (vocabulary, added, added_normalized) = tokens.build(&file, &decoder, &normalizers)?;
    let mut around = Default::default();
    file.post_processor.iter().try_for_each(|value| pipeline::post_processor(value, &mut around))?;
    for &id in around.0.iter().chain(&around.1) {
        if vocabulary.kind(id) == Kind::Absent {
            return Err(TokenizerError::MissingToken { what: "post-processor token", token: format!("id {id}") });
        }
    }

    let lexicon = Lexicon::new(&vocabulary, tokens.model_tokens)?;
    let model = match (file.model.kind.as_ref().map(|Text(kind)| kind.as_ref()), &file.model.vocab) {
        (Some("BPE") | None, Vocab::Ids(_)) => bpe(&file.model, &lexicon, &mut stages)?,
        (Some("Unigram") | None, Vocab::Scores(scores)) => unigram(&file.model, &lexicon, scores)?,
        (kind, _) => return Err(pipeline::unsupported("model", kind.unwrap_or("without type"))),
    };
    let named = named(&vocabulary, &around, config.as_ref(), &file.model);
    Ok(Tokenizer {
        vocabulary,
        added: AddedTokens::new(added)?,
        normalizers,
        added_normalized: AddedTokens::new(added_normalized)?,
        pre_tokenizer: PreTokenizer { stages },
        model,
        joining: decoder.joining,
        around,
        named,
    })
}

/// The spelling of every id.
struct Tokens<'a> {
    spellings: Vec<Option<&'a str>>,
    /// How many of them belong to the model; those come from its vocabulary, the rest are added.
    model_tokens: Vec<bool>,
    /// The id of each entry of `added_tokens`.
    added: Vec<u32>,
}

impl<'a> Tokens<'a> {
    /// Assigns ids. No id may reach `limit`, the length of the file, which bounds what they can make us allocate.
    fn collect(file: &'a File<'_>, limit: u64) -> Result<Self, TokenizerError> {
        let mut tokens = Self { spellings: Vec::new(), model_tokens: Vec::new(), added: Vec::new() };
        match &file.model.vocab {
            Vocab::Ids(entries) => {
                for (Text(token), id) in entries {
                    let id = within(*id, limit, token)?;
                    tokens.claim(id, token)?;
                }
            }
            Vocab::Scores(entries) => {
                for (id, (Text(token), _)) in (0..).zip(entries) {
                    tokens.claim(id, token)?;
                }
            }
        }
        if tokens.spellings.is_empty() {
            return Err(TokenizerError::EmptyVocabulary);
        }
        tokens.model_tokens = tokens.spellings.iter().map(Option::is_some).collect();
        let mut by_text: std::collections::HashMap<&str, u32> = std::collections::HashMap::new();
        let wanted: std::collections::HashSet<&str> =
            file.added_tokens.iter().map(|token| token.content.0.as_ref()).collect();
        for (id, spelling) in (0..).zip(&tokens.spellings) {
            if let Some(spelling) = spelling.filter(|spelling| wanted.contains(spelling)) {
                by_text.insert(spelling, id);
            }
        }
        for token in &file.added_tokens {
            let text = token.content.0.as_ref();
            let id = match by_text.get(text) {
                Some(&id) => id,
                None => {
                    let written = within(token.id, limit, text)?;
                    // An id that is taken goes to the next one free.
                    let taken = tokens.spellings.get(written as usize).is_some_and(Option::is_some);
                    let id = if taken { tokens.spellings.len() as u32 } else { written };
                    tokens.claim(id, text)?;
                    by_text.insert(text, id);
                    id
                }
            };
            tokens.added.push(id);
        }
        tokens.model_tokens.resize(tokens.spellings.len(), false);
        Ok(tokens)
    }

    fn claim(&mut self, id: u32, token: &'a str) -> Result<(), TokenizerError> {
        if self.spellings.len() <= id as usize {
            self.spellings.resize(id as usize + 1, None);
        }
        match self.spellings.get_mut(id as usize) {
            Some(Some(first)) if *first != token => {
                Err(TokenizerError::DuplicateId { id, first: (*first).to_owned(), second: token.to_owned() })
            }
            Some(slot) => {
                *slot = Some(token);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The vocabulary and the tokens to be matched in the raw and in the normalised text.
    fn build(
        &self,
        file: &File<'_>,
        decoder: &Decoder,
        normalizers: &[Normalizer],
    ) -> Result<(Vocabulary, Vec<Added>, Vec<Added>), TokenizerError> {
        let mut kinds: Vec<Kind> =
            self.spellings.iter().map(|spelling| if spelling.is_some() { Kind::Text } else { Kind::Absent }).collect();
        let (mut raw, mut normalized) = (Vec::new(), Vec::new());
        // What an added token decodes to where that is not its spelling.
        let mut decoded_as = std::collections::HashMap::new();
        for (token, &id) in file.added_tokens.iter().zip(&self.added) {
            if token.special
                && let Some(kind) = kinds.get_mut(id as usize)
            {
                *kind = Kind::Special;
            }
            let mut text = token.content.0.as_ref().to_owned();
            if token.normalized {
                text = Normalizer::apply_all(normalizers, &text).into_owned();
                decoded_as.insert(id, text.clone());
            }
            let side = if token.normalized { &mut normalized } else { &mut raw };
            side.push(Added {
                id,
                text: text.into_bytes(),
                special: token.special,
                single_word: token.single_word,
                lstrip: token.lstrip,
                rstrip: token.rstrip,
            });
        }
        let total = self.spellings.iter().flatten().map(|spelling| spelling.len()).sum();
        let mut text = Strings::with_capacity(self.spellings.len(), total);
        let mut bytes = Strings::with_capacity(self.spellings.len(), total);
        let mut index = StringIndex::with_capacity(self.spellings.len());
        let mut decoded = Vec::new();
        for (id, spelling) in (0..).zip(&self.spellings) {
            let spelling = spelling.unwrap_or_default();
            decoded.clear();
            decoder.decode(decoded_as.get(&id).map_or(spelling, String::as_str), &mut decoded);
            if !text.push(spelling.as_bytes()) || !bytes.push(&decoded) {
                return Err(TokenizerError::Invalid { what: "vocab", reason: "more than 4 GiB".to_owned() });
            }
            if kinds.get(id as usize) != Some(&Kind::Absent) {
                index.insert(&text, id);
            }
        }
        Ok((Vocabulary { text: Arc::new(text), index, bytes: Arc::new(bytes), kinds }, raw, normalized))
    }
}

fn within(id: u64, limit: u64, token: &str) -> Result<u32, TokenizerError> {
    u32::try_from(id).ok().filter(|_| id < limit.min(u64::from(NONE))).ok_or_else(|| TokenizerError::IdOutOfRange {
        token: token.to_owned(),
        id,
        limit,
    })
}

/// The tokens that the model itself knows. Added ones are not among them: the model must never produce those.
struct Lexicon<'a> {
    vocabulary: &'a Vocabulary,
    is_model_token: Vec<bool>,
    index: StringIndex,
}

impl<'a> Lexicon<'a> {
    fn new(vocabulary: &'a Vocabulary, is_model_token: Vec<bool>) -> Result<Self, TokenizerError> {
        let mut index = StringIndex::with_capacity(is_model_token.len());
        for (id, _) in (0..).zip(&is_model_token).filter(|(_, is_model_token)| **is_model_token) {
            index.insert(&vocabulary.text, id);
        }
        Ok(Self { vocabulary, is_model_token, index })
    }

    fn find(&self, token: &str) -> Option<u32> {
        self.index.get(&self.vocabulary.text, token.as_bytes())
    }

    fn ids(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.is_model_token).filter(|(_, is_model_token)| **is_model_token).map(|(id, _)| id)
    }

    /// Tokens `<0x00>` to `<0xFF>`.
    fn byte_tokens(&self) -> Box<[u32; 256]> {
        let mut ids = Box::new([NONE; 256]);
        for (byte, id) in (0..=255).zip(ids.iter_mut()) {
            *id = self.find(&byte_spelling(byte)).unwrap_or(NONE);
        }
        ids
    }
}

/// Builds the model; if it is byte-level, the stage that spells bytes is not needed any more and goes.
fn bpe(model: &RawModel<'_>, lexicon: &Lexicon<'_>, stages: &mut Vec<Stage>) -> Result<Model, TokenizerError> {
    for (option, value) in [
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if value.as_ref().is_some_and(|Text(value)| !value.is_empty()) {
            return Err(pipeline::unsupported("BPE option", option));
        }
    }
    let pairs = pairs(&model.merges, lexicon)?;
    let ignore_merges = model.ignore_merges.unwrap_or(false);
    let bytes = stages.iter().filter(|stage| matches!(stage, Stage::SpellBytes)).count();
    if bytes == 1 && matches!(stages.last(), Some(Stage::SpellBytes)) {
        let mut ids = Box::new([NONE; 256]);
        for (byte, id) in (0..=255).zip(ids.iter_mut()) {
            *id = lexicon.find(byte_level::spell(byte).encode_utf8(&mut [0; 4])).unwrap_or(NONE);
        }
        if ids.iter().all(|&id| id != NONE) {
            stages.pop();
            let whole = Whole::byte_level(lexicon.vocabulary, lexicon.ids())?;
            let bpe = Bpe::new(Alphabet::Bytes(ids), pairs, whole, ignore_merges);
            return Ok(Model::new(Algorithm::Bpe(bpe), Seams::none()));
        }
    }
    let fallback = model.byte_fallback.unwrap_or(false).then(|| lexicon.byte_tokens());
    let unknown = model.unk_token.as_ref().and_then(|Text(token)| lexicon.find(token));
    let fuse = model.fuse_unk.unwrap_or(false);
    let text = &lexicon.vocabulary.text;
    let characters = Characters::new(text, lexicon.ids(), fallback, unknown, fuse);
    let whole = Whole::new(Arc::clone(text), lexicon.index.clone());
    let bpe = Bpe::new(Alphabet::Characters(characters), pairs, whole, ignore_merges);
    let seams = if lexicon.find("▁").is_some() { Seams::new('▁', text) } else { Seams::none() };
    Ok(Model::new(Algorithm::Bpe(bpe), seams))
}

fn pairs(merges: &[RawMerge<'_>], lexicon: &Lexicon<'_>) -> Result<PairMap, TokenizerError> {
    let mut pairs = PairMap::with_capacity(merges.len());
    let mut joined = String::new();
    let lines =
        merges.iter().filter(|merge| !matches!(merge, RawMerge::Line(Text(line)) if line.starts_with("#version")));
    for (index, merge) in lines.enumerate() {
        let (left, right) = match merge {
            RawMerge::Pair(Text(left), Text(right)) => (left.as_ref(), right.as_ref()),
            RawMerge::Line(Text(line)) => match line.split_once(' ') {
                Some((left, right)) if !right.contains(' ') => (left, right),
                _ => return Err(TokenizerError::MalformedMerge { index, merge: line.to_string() }),
            },
        };
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let find = |token: &str| {
            lexicon.find(token).ok_or_else(|| TokenizerError::MergeOutOfVocabulary {
                index,
                merge: format!("{left} {right}"),
                token: token.to_owned(),
            })
        };
        let merge = Merge { rank: index as u32, id: find(&joined)? };
        pairs.insert(find(left)?, find(right)?, merge, true);
    }
    Ok(pairs)
}

fn unigram(model: &RawModel<'_>, lexicon: &Lexicon<'_>, entries: &[(Text<'_>, f64)]) -> Result<Model, TokenizerError> {
    let unknown = match model.unk_id {
        None => NONE,
        Some(id) if id < entries.len() as u64 => id as u32,
        Some(id) => return Err(TokenizerError::MissingToken { what: "unknown token", token: format!("id {id}") }),
    };
    // Numbers that JSON cannot write, such as infinity, do not occur; so the least score is one of them.
    let least = entries.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
    let mut scores: Vec<Option<f64>> = entries.iter().map(|(_, score)| Some(*score)).collect();
    scores.resize(lexicon.vocabulary.text.len(), None);
    let fallback = model.byte_fallback.unwrap_or(false).then(|| lexicon.byte_tokens());
    let unigram = Unigram::new(&lexicon.vocabulary.text, scores, least, unknown, fallback);
    Ok(Model::new(Algorithm::Unigram(unigram), Seams::none()))
}

/// Tokens with a role, from `tokenizer_config.json`, or else from where they stand or how they are spelled.
fn named(
    vocabulary: &Vocabulary,
    around: &(Vec<u32>, Vec<u32>),
    config: Option<&Value>,
    model: &RawModel<'_>,
) -> Named {
    let configured = |field: &str| {
        let value = config?.get(field)?;
        vocabulary.find(value.as_str().or_else(|| pipeline::text(value, "content"))?)
    };
    let unk = model.unk_token.as_ref().and_then(|Text(token)| vocabulary.find(token));
    let unk_id = model.unk_id.and_then(|id| u32::try_from(id).ok());
    Named {
        bos: configured("bos_token").or_else(|| around.0.first().copied()),
        eos: configured("eos_token").or_else(|| around.1.last().copied()).or_else(|| {
            vocabulary.find_any(&["</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "[|endofturn|]", "<|im_end|>"])
        }),
        eot: vocabulary.find_any(END_OF_TURN),
        pad: configured("pad_token"),
        unk: configured("unk_token").or(unk).or(unk_id),
    }
}
