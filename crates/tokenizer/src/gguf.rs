//! Loading a tokenizer from the keys of a GGUF file.
//!
//! GGUF says little about a tokenizer, so what the keys mean is what llama.cpp makes of them: no normalisation, and
//! pre-tokenisers by name. Where that differs from `tokenizer.json` of the same model (Qwen's normalises to NFC), files
//! of this format follow llama.cpp.

use std::borrow::Cow;
use std::sync::Arc;

use crate::added::{Added, AddedTokens};
use crate::byte_level;
use crate::charsmap::Charsmap;
use crate::decode::{Joining, Opening};
use crate::families::family;
use crate::hash::{Merge, NONE, PairMap, StringIndex, Strings};
use crate::model::{Algorithm, Alphabet, Bpe, Model, Scored, Seams, Unigram, Whole};
use crate::normalize::Normalizer;
use crate::pretokenize::{Pattern, PreTokenizer};
use crate::tokenizer::Named;
use crate::vocabulary::{END_OF_TURN, Kind, Vocabulary, byte_of, byte_spelling};
use crate::{ModelKind, Parts, Tokenizer, TokenizerError};

/// `tokenizer.ggml.token_type`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
    Undefined,
}

impl Type {
    fn new(number: i32) -> Self {
        match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Undefined,
        }
    }
}

/// Tokens that control a model though some files call them ordinary.
const CONTROL_NAMES: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
];

/// Stands for a space in SentencePiece vocabularies.
const SPACE: char = '▁';

pub(crate) fn load(parts: Parts<'_>) -> Result<Tokenizer, TokenizerError> {
    let count = parts.tokens.len();
    if count == 0 {
        return Err(TokenizerError::EmptyVocabulary);
    }
    check_length("scores", parts.scores.len(), count)?;
    check_length("token types", parts.token_types.len(), count)?;

    let types = token_types(&parts);
    let vocabulary = vocabulary(&parts, &types)?;
    let existing = |id: Option<u32>| id.filter(|&id| vocabulary.kind(id) != Kind::Absent);
    let sentence_piece = parts.model == ModelKind::SentencePieceBpe;
    let named = Named {
        bos: existing(parts.bos.or(sentence_piece.then_some(1))),
        eos: existing(parts.eos.or(sentence_piece.then_some(2))),
        eot: existing(parts.eot).or_else(|| vocabulary.find_any(END_OF_TURN)),
        pad: existing(parts.pad),
        unk: existing(parts.unk.or((parts.model != ModelKind::Bpe).then_some(if sentence_piece { 0 } else { 2 }))),
    };

    let mut pre_tokenizer = PreTokenizer::default();
    let mut normalizers = Vec::new();
    let mut add_bos = sentence_piece;
    let mut add_space_prefix = false;
    let model = match parts.model {
        ModelKind::Bpe => {
            let family = family(&parts.pre)?;
            pre_tokenizer = family.pre_tokenizer;
            add_bos = family.add_bos;
            Model::new(Algorithm::Bpe(bpe(&parts, &vocabulary, family.ignore_merges)?), Seams::none())
        }
        ModelKind::SentencePieceBpe => {
            add_space_prefix = parts.add_space_prefix.unwrap_or(true);
            if add_space_prefix {
                normalizers.push(Normalizer::Prepend(" ".to_owned()));
            }
            normalizers.push(Normalizer::Replace { pattern: Pattern::literal(" ")?, by: SPACE.to_string() });
            Model::new(Algorithm::Scored(scored(&parts, &vocabulary, named.unk)?), Seams::new(SPACE, &vocabulary.text))
        }
        ModelKind::Unigram => {
            add_space_prefix = parts.add_space_prefix.unwrap_or(false);
            let blob = &parts.precompiled_charsmap;
            normalizers.push(Normalizer::SentencePiece {
                charsmap: if blob.is_empty() { None } else { Some(Charsmap::new(blob)?) },
                prepend_space: add_space_prefix,
                merge_spaces: parts.remove_extra_whitespaces.unwrap_or(false),
            });
            // The best path cannot pass a place that no token reaches across, so words can be taken one by one.
            let seams = Seams::new(SPACE, &vocabulary.text);
            Model::new(Algorithm::Unigram(unigram(&parts, &types, &vocabulary, named.unk)?), seams)
        }
    };

    let add_bos = parts.add_bos.unwrap_or(add_bos);
    let add_eos = parts.add_eos.unwrap_or(parts.model == ModelKind::Unigram);
    let around = (around("bos", add_bos, named.bos, parts.bos)?, around("eos", add_eos, named.eos, parts.eos)?);
    let opening = if add_space_prefix { Opening::Strip { text: " ".to_owned(), count: 1 } } else { Opening::Plain };
    Ok(Tokenizer {
        added: AddedTokens::new(added(&parts, &types))?,
        added_normalized: AddedTokens::default(),
        vocabulary,
        normalizers,
        pre_tokenizer,
        model,
        joining: Joining { opening, spaced: false },
        around,
        named,
    })
}

fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), TokenizerError> {
    if found == 0 || found >= expected { Ok(()) } else { Err(TokenizerError::Length { what, found, expected }) }
}

/// The token to put at an end of the text, if there shall be one.
fn around(
    what: &'static str,
    wanted: bool,
    token: Option<u32>,
    named: Option<u32>,
) -> Result<Vec<u32>, TokenizerError> {
    match token {
        _ if !wanted => Ok(Vec::new()),
        Some(token) => Ok(vec![token]),
        None => {
            let token = named.map_or_else(|| "none".to_owned(), |id| format!("id {id}"));
            Err(TokenizerError::MissingToken { what, token })
        }
    }
}

fn token_types(parts: &Parts<'_>) -> Vec<Type> {
    let listed = parts.token_types.iter().map(|&number| Type::new(number)).chain(std::iter::repeat(Type::Normal));
    let correct = |(token, listed): (&Cow<'_, [u8]>, Type)| {
        // Looks at the first byte before it searches the list.
        let bracket = token.first().is_some_and(|first| b"<[_".contains(first));
        if bracket && CONTROL_NAMES.iter().any(|name| name.as_bytes() == token.as_ref()) {
            Type::Control
        } else {
            listed
        }
    };
    parts.tokens.iter().zip(listed).map(correct).collect()
}

fn vocabulary(parts: &Parts<'_>, types: &[Type]) -> Result<Vocabulary, TokenizerError> {
    let count = parts.tokens.len();
    let total = parts.tokens.iter().map(|token| token.len()).sum();
    let mut text = Strings::with_capacity(count, total);
    let mut index = StringIndex::with_capacity(count);
    let mut bytes = Strings::with_capacity(count, total);
    let mut kinds = Vec::with_capacity(count);
    let mut decoded = Vec::new();
    for (token, kind) in parts.tokens.iter().zip(types) {
        decoded.clear();
        decode(parts.model, *kind, token, &mut decoded);
        let id = text.len() as u32;
        if id == NONE || !text.push(token) || !bytes.push(&decoded) {
            return Err(TokenizerError::Invalid { what: "tokens", reason: "more than 4 GiB".to_owned() });
        }
        if !token.is_empty() {
            index.insert(&text, id);
        }
        kinds.push(match kind {
            Type::Control | Type::Unknown => Kind::Special,
            _ => Kind::Text,
        });
    }
    Ok(Vocabulary { text: Arc::new(text), index, bytes: Arc::new(bytes), kinds })
}

/// What a token adds to decoded text. Unused tokens add nothing.
fn decode(model: ModelKind, kind: Type, token: &[u8], out: &mut Vec<u8>) {
    match kind {
        Type::Control | Type::Unknown | Type::UserDefined => out.extend_from_slice(token),
        Type::Byte => out.extend(byte_of(token)),
        Type::Unused | Type::Undefined => {}
        Type::Normal => match std::str::from_utf8(token) {
            Ok(text) if model == ModelKind::Bpe => {
                if !byte_level::unspell(text, out) {
                    out.extend_from_slice(token);
                }
            }
            Ok(text) => out.extend_from_slice(text.replace(SPACE, " ").as_bytes()),
            Err(_) => out.extend_from_slice(token),
        },
    }
}

/// Tokens that are cut out of a text before it is encoded.
fn added(parts: &Parts<'_>, types: &[Type]) -> Vec<Added> {
    let matched = |(id, (token, kind)): (usize, (&Cow<'_, [u8]>, &Type))| {
        let special = matches!(kind, Type::Control | Type::Unknown);
        (special || *kind == Type::UserDefined).then(|| Added {
            id: id as u32,
            text: token.to_vec(),
            special,
            single_word: false,
            lstrip: false,
            rstrip: false,
        })
    };
    parts.tokens.iter().zip(types).enumerate().filter_map(matched).collect()
}

fn bpe(parts: &Parts<'_>, vocabulary: &Vocabulary, ignore_merges: bool) -> Result<Bpe, TokenizerError> {
    let mut pairs = PairMap::with_capacity(parts.merges.len());
    let mut joined = String::new();
    for (index, merge) in parts.merges.iter().enumerate() {
        // The left half is not empty, so a merge may begin with a space.
        let space = merge.char_indices().skip(1).find(|(_, character)| *character == ' ');
        let Some((left, right)) = space.and_then(|(at, _)| Some((merge.get(..at)?, merge.get(at + 1..)?))) else {
            return Err(TokenizerError::MalformedMerge { index, merge: merge.to_string() });
        };
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let find = |token: &str| {
            vocabulary.find(token).ok_or_else(|| TokenizerError::MergeOutOfVocabulary {
                index,
                merge: merge.to_string(),
                token: token.to_owned(),
            })
        };
        let result = Merge { rank: index as u32, id: find(&joined)? };
        pairs.insert(find(left)?, find(right)?, result, false);
    }
    let mut ids = Box::new([NONE; 256]);
    for (byte, id) in (0..=255).zip(ids.iter_mut()) {
        *id = vocabulary.find(byte_level::spell(byte).encode_utf8(&mut [0; 4])).unwrap_or(NONE);
    }
    let whole = Whole::byte_level(vocabulary, 0..vocabulary.text.len() as u32)?;
    Ok(Bpe::new(Alphabet::Bytes(ids), pairs, whole, ignore_merges))
}

/// Tokens for single bytes.
fn byte_tokens(vocabulary: &Vocabulary, otherwise: u32) -> Box<[u32; 256]> {
    let mut ids = Box::new([otherwise; 256]);
    for (byte, id) in (0..=255u8).zip(ids.iter_mut()) {
        let plain = || vocabulary.index.get(&vocabulary.text, &[byte]);
        *id = vocabulary.find(&byte_spelling(byte)).or_else(plain).unwrap_or(otherwise);
    }
    ids
}

fn check_scores(parts: &Parts<'_>) -> Result<(), TokenizerError> {
    if parts.scores.is_empty() {
        return Err(TokenizerError::Length { what: "scores", found: 0, expected: parts.tokens.len() });
    }
    match parts.scores.iter().position(|score| score.is_nan()) {
        Some(at) => Err(TokenizerError::Invalid { what: "scores", reason: format!("number {at} is not a number") }),
        None => Ok(()),
    }
}

fn scored(parts: &Parts<'_>, vocabulary: &Vocabulary, unknown: Option<u32>) -> Result<Scored, TokenizerError> {
    check_scores(parts)?;
    let fallback = byte_tokens(vocabulary, unknown.unwrap_or(NONE));
    Ok(Scored::new(Arc::clone(&vocabulary.text), vocabulary.index.clone(), &parts.scores, fallback))
}

fn unigram(
    parts: &Parts<'_>,
    types: &[Type],
    vocabulary: &Vocabulary,
    unknown: Option<u32>,
) -> Result<Unigram, TokenizerError> {
    check_scores(parts)?;
    let scores = types.iter().zip(&parts.scores).map(|(kind, &score)| match kind {
        Type::Normal | Type::Unused => Some(f64::from(score)),
        Type::UserDefined => Some(0.0),
        _ => None,
    });
    let normal = types.iter().zip(&parts.scores).filter(|(kind, _)| **kind == Type::Normal);
    let least = normal.map(|(_, &score)| score).fold(f32::MAX, f32::min);
    let unigram = Unigram::new(&vocabulary.text, scores.collect(), f64::from(least), unknown.unwrap_or(NONE), None);
    Ok(unigram.with_split_unknown(parts.split_unknown))
}
