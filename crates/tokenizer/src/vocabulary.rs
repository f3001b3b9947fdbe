//! The tokens: their spelling in the file, the bytes they stand for, and what they are.

use std::sync::Arc;

use crate::hash::{StringIndex, Strings};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An id that no token has.
    Absent,
    /// Part of text.
    Text,
    /// A control token: not part of text, left out when special tokens are.
    Special,
}

/// All tokens of a tokenizer by id.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    /// Spelling in the file, such as `Ġthe`; empty for an absent id.
    pub(crate) text: Arc<Strings>,
    /// Finds a spelling.
    pub(crate) index: StringIndex,
    /// What the token adds to decoded text.
    pub(crate) bytes: Arc<Strings>,
    pub(crate) kinds: Vec<Kind>,
}

impl Vocabulary {
    pub(crate) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Absent)
    }

    /// The bytes of a token that exists.
    pub(crate) fn bytes(&self, id: u32) -> Option<&[u8]> {
        if self.kind(id) == Kind::Absent { None } else { self.bytes.get(id) }
    }

    /// The spelling of a token that exists.
    pub(crate) fn text(&self, id: u32) -> Option<&[u8]> {
        if self.kind(id) == Kind::Absent { None } else { self.text.get(id) }
    }

    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.index.get(&self.text, text.as_bytes())
    }

    /// The first of `names` that is a token.
    pub(crate) fn find_any(&self, names: &[&str]) -> Option<u32> {
        names.iter().find_map(|name| self.find(name))
    }
}

/// The byte that a token spelled `<0x0A>` stands for.
pub(crate) fn byte_of(spelling: &[u8]) -> Option<u8> {
    let digits = spelling.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    match digits {
        [high, low] => {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            Some((digit(*high)? * 16 + digit(*low)?) as u8)
        }
        _ => None,
    }
}

/// The spelling of the token for a byte: `<0x0A>`.
pub(crate) fn byte_spelling(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// Spellings of the token that ends a turn, likeliest first; files do not always name it.
pub(crate) const END_OF_TURN: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "[|endofturn|]",
    "<|endofturn|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "[EOT]",
    "<end_of_utterance>",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_tokens_are_recognised() {
        assert!((0..=255).all(|byte| byte_of(byte_spelling(byte).as_bytes()) == Some(byte)));
        for other in ["<0x0>", "<0x000>", "<0xZZ>", "0x00", "<0x+1>"] {
            assert_eq!(byte_of(other.as_bytes()), None, "{other}");
        }
    }
}
