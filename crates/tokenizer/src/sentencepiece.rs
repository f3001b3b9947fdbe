//! Reading the model file of SentencePiece, a protocol buffer (`sentencepiece_model.proto`).
//!
//! Only what a tokenizer needs is looked at: pieces, the trainer's choice of algorithm and special ids, and the
//! normaliser's table of replacements. Every length is checked against the bytes that remain; fields that nobody asked
//! for are stepped over.

use std::borrow::Cow;

use crate::{ModelKind, Parts, TokenizerError};

/// Fields of `ModelProto`.
const PIECE: u64 = 1;
const TRAINER: u64 = 2;
const NORMALIZER: u64 = 3;

/// `TrainerSpec.model_type` of unigram models, also where the field is absent.
const UNIGRAM: u64 = 1;

impl<'a> Parts<'a> {
    /// Takes the model file of a SentencePiece unigram model apart.
    ///
    /// # Errors
    /// [`TokenizerError::Invalid`] with the offset of the damage, [`TokenizerError::Unsupported`] for models that are
    /// not unigram, fall back to bytes, or put the space behind words.
    pub fn from_sentencepiece(model: &'a [u8]) -> Result<Self, TokenizerError> {
        let mut parts = Self {
            model: ModelKind::Unigram,
            unk: Some(0),
            bos: Some(1),
            eos: Some(2),
            add_space_prefix: Some(true),
            remove_extra_whitespaces: Some(true),
            ..Self::default()
        };
        let mut reader = Reader { bytes: model, at: 0, base: 0 };
        while let Some((field, value)) = reader.field()? {
            match (field, value) {
                (PIECE, Value::Bytes(piece)) => parts.piece(piece)?,
                (TRAINER, Value::Bytes(spec)) => parts.trainer(spec)?,
                (NORMALIZER, Value::Bytes(spec)) => parts.normalizer(spec)?,
                _ => {}
            }
        }
        parts.add_bos = Some(parts.bos.is_some());
        parts.add_eos = Some(parts.eos.is_some());
        Ok(parts)
    }

    fn piece(&mut self, mut reader: Reader<'a>) -> Result<(), TokenizerError> {
        let (mut text, mut score, mut kind) = (Cow::default(), 0.0, 1);
        while let Some((field, value)) = reader.field()? {
            match (field, value) {
                (1, Value::Bytes(piece)) => text = Cow::from(piece.bytes),
                (2, Value::Fixed32(bits)) => score = f32::from_bits(bits),
                // User-defined pieces take part in the best path like others; in GGUF they are cut out beforehand.
                (3, Value::Varint(4)) => kind = 1,
                // The numbers are those of GGUF's token types.
                (3, Value::Varint(number)) => kind = i32::try_from(number).unwrap_or(0),
                _ => {}
            }
        }
        self.tokens.push(text);
        self.scores.push(score);
        self.token_types.push(kind);
        Ok(())
    }

    fn trainer(&mut self, mut reader: Reader<'_>) -> Result<(), TokenizerError> {
        let unsupported =
            |name: &str| TokenizerError::Unsupported { component: "SentencePiece", name: name.to_owned() };
        // Ids are 32-bit; -1 stands for none, and is written as a 64-bit number.
        let id = |number: u64| u32::try_from(number).ok().filter(|&id| i32::try_from(id).is_ok());
        while let Some((field, value)) = reader.field()? {
            let Value::Varint(number) = value else { continue };
            match field {
                3 if number != UNIGRAM => return Err(unsupported(&format!("model type {number}"))),
                24 if number != 0 => return Err(unsupported("treat_whitespace_as_suffix")),
                35 if number != 0 => return Err(unsupported("byte_fallback")),
                40 => self.unk = id(number),
                41 => self.bos = id(number),
                42 => self.eos = id(number),
                43 => self.pad = id(number),
                _ => {}
            }
        }
        Ok(())
    }

    fn normalizer(&mut self, mut reader: Reader<'_>) -> Result<(), TokenizerError> {
        while let Some((field, value)) = reader.field()? {
            match (field, value) {
                (2, Value::Bytes(charsmap)) => self.precompiled_charsmap = charsmap.bytes.to_vec(),
                (3, Value::Varint(flag)) => self.add_space_prefix = Some(flag != 0),
                (4, Value::Varint(flag)) => self.remove_extra_whitespaces = Some(flag != 0),
                (5, Value::Varint(0)) => {
                    let name = "spaces that are not escaped".to_owned();
                    return Err(TokenizerError::Unsupported { component: "SentencePiece", name });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The value of a field.
#[derive(Debug)]
enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    /// Eight bytes; no field that is read here has them.
    Fixed64,
    /// A string, or a message of its own.
    Bytes(Reader<'a>),
}

/// Walks through the fields of one message.
#[derive(Debug)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset of `bytes` in the file, for errors.
    base: usize,
}

impl<'a> Reader<'a> {
    /// The next field's number and value; `None` at the end.
    fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, TokenizerError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                let base = self.base + self.at;
                let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
                Value::Bytes(Reader { bytes, at: 0, base })
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32(bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
            }
            wire => return Err(self.invalid(format!("wire type {wire}"))),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, TokenizerError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.invalid("a number of more than ten bytes".to_owned()))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], TokenizerError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match rest.get(..length) {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => Err(self.invalid(format!("{length} bytes wanted, {} are left", rest.len()))),
        }
    }

    fn invalid(&self, reason: String) -> TokenizerError {
        let reason = format!("offset {}: {reason}", self.base + self.at);
        TokenizerError::Invalid { what: "SentencePiece model", reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;

    fn varint(mut number: u64, out: &mut Vec<u8>) {
        while number > 0x7F {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }

    fn message(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
        varint(field << 3 | 2, out);
        varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }

    fn flag(field: u64, number: u64, out: &mut Vec<u8>) {
        varint(field << 3, out);
        varint(number, out);
    }

    /// A model file with these pieces and these numbers for the trainer.
    fn file(pieces: &[(&str, f32, u64)], trainer: &[(u64, u64)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (text, score, kind) in pieces {
            let mut piece = Vec::new();
            message(1, text.as_bytes(), &mut piece);
            piece.push(2 << 3 | 5);
            piece.extend_from_slice(&score.to_le_bytes());
            if *kind != 1 {
                flag(3, *kind, &mut piece);
            }
            message(PIECE, &piece, &mut out);
        }
        let mut spec = Vec::new();
        for (field, number) in trainer {
            flag(*field, *number, &mut spec);
        }
        message(TRAINER, &spec, &mut out);
        message(NORMALIZER, &[], &mut out);
        out
    }

    const PIECES: &[(&str, f32, u64)] = &[
        ("<unk>", 0.0, 2),
        ("<s>", 0.0, 3),
        ("</s>", 0.0, 3),
        ("▁", -3.0, 1),
        ("▁a", -1.5, 1),
        ("a", -1.0, 1),
        ("ab", -1.5, 1),
        ("b", -2.0, 1),
        ("▁안녕", -2.0, 1),
    ];

    #[test]
    fn a_model_is_read_and_used() {
        let tokenizer = Tokenizer::from_sentencepiece(&file(PIECES, &[(3, 1), (43, u64::MAX)])).unwrap();
        assert_eq!(tokenizer.encode("  ab  안녕", true, false), [1, 4, 7, 8, 2]);
        assert_eq!(tokenizer.encode("aab", false, false), [4, 6]);
        assert_eq!(tokenizer.encode("a☃☃", false, false), [4, 0]);
        assert_eq!(tokenizer.pad(), None);
        // A user's text holds no control tokens.
        assert!(!tokenizer.encode("<s>", false, false).contains(&1));
        let bytes = file(PIECES, &[]);
        let mut parts = Parts::from_sentencepiece(&bytes).unwrap();
        parts.split_unknown = true;
        assert_eq!(Tokenizer::from_parts(parts).unwrap().encode("a☃☃", false, false), [4, 0, 0]);
    }

    #[test]
    fn other_kinds_are_refused() {
        for setting in [(3, 2), (24, 1), (35, 1)] {
            let error = Tokenizer::from_sentencepiece(&file(PIECES, &[setting])).unwrap_err();
            assert!(matches!(error, TokenizerError::Unsupported { .. }), "{error}");
        }
        assert!(matches!(Tokenizer::from_sentencepiece(&[]), Err(TokenizerError::EmptyVocabulary)));
    }

    #[test]
    fn broken_files_are_errors_or_work() {
        let whole = file(PIECES, &[(3, 1)]);
        for end in 0..whole.len() {
            if let Ok(tokenizer) = Tokenizer::from_sentencepiece(&whole[..end]) {
                tokenizer.encode("ab 안녕 ☃", true, true);
            }
        }
        let mut state = 7_u64;
        let mut refused = 0;
        for _ in 0..20_000 {
            let mut broken = whole.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % broken.len();
                broken[at] = (state >> 20) as u8;
            }
            match Tokenizer::from_sentencepiece(&broken) {
                Ok(tokenizer) => {
                    tokenizer.encode("ab 안녕 ☃", true, true);
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 1000, "{refused}");
        let error = Tokenizer::from_sentencepiece(&whole[..whole.len() - 1]).unwrap_err();
        assert!(error.to_string().contains("offset"), "{error}");
    }
}
