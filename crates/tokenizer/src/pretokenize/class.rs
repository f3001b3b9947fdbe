//! Unicode classes of characters as bit sets, one table look-up each.

use std::sync::OnceLock;

use regex_syntax::hir::{Class, HirKind};

/// `\p{L}`
pub(crate) const LETTER: u8 = 1;
/// `\p{N}`
pub(crate) const NUMBER: u8 = 2;
/// `\s`, the property White_Space
pub(crate) const SPACE: u8 = 4;
/// `\p{M}`
pub(crate) const MARK: u8 = 8;
/// `\p{Lu}` and `\p{Lt}`
pub(crate) const UPPER: u8 = 16;
/// `\p{Ll}`
pub(crate) const LOWER: u8 = 32;
/// `\p{P}`
pub(crate) const PUNCTUATION: u8 = 64;
/// `\w`
pub(crate) const WORD: u8 = 128;

const BLOCK: usize = 128;

/// Two-stage table: blocks of 128 characters, equal blocks stored once.
#[derive(Debug)]
pub(crate) struct Classes {
    ascii: [u8; 128],
    block_of: Vec<u16>,
    blocks: Vec<u8>,
}

impl Classes {
    /// The table, built on first use from the Unicode data of `regex-syntax`.
    pub(crate) fn get() -> &'static Self {
        static CLASSES: OnceLock<Classes> = OnceLock::new();
        CLASSES.get_or_init(Self::build)
    }

    fn build() -> Self {
        let mut flat = vec![0u8; 0x11_0000];
        for (pattern, bit) in [
            (r"\p{L}", LETTER),
            (r"\p{N}", NUMBER),
            (r"\s", SPACE),
            (r"\p{M}", MARK),
            (r"[\p{Lu}\p{Lt}]", UPPER),
            (r"\p{Ll}", LOWER),
            (r"\p{P}", PUNCTUATION),
            (r"\w", WORD),
        ] {
            let Ok(hir) = regex_syntax::parse(pattern) else { continue };
            let HirKind::Class(Class::Unicode(class)) = hir.kind() else { continue };
            for range in class.ranges() {
                if let Some(span) = flat.get_mut(range.start() as usize..=range.end() as usize) {
                    span.iter_mut().for_each(|bits| *bits |= bit);
                }
            }
        }
        let mut table = Self { ascii: [0; 128], block_of: Vec::new(), blocks: Vec::new() };
        table.ascii.copy_from_slice(&flat[..128]);
        let mut known: std::collections::HashMap<&[u8], u16> = std::collections::HashMap::new();
        for block in flat.chunks_exact(BLOCK) {
            let number = *known.entry(block).or_insert_with(|| {
                table.blocks.extend_from_slice(block);
                (table.blocks.len() / BLOCK - 1) as u16
            });
            table.block_of.push(number);
        }
        table
    }

    /// The classes of one character.
    #[inline]
    pub(crate) fn of(&self, code: u32) -> u8 {
        let Some(&block) = self.block_of.get(code as usize / BLOCK) else { return 0 };
        self.blocks.get(block as usize * BLOCK + code as usize % BLOCK).copied().unwrap_or(0)
    }

    /// The classes and the length in bytes of the character at `at`; length 0 at the end of the text.
    #[inline]
    pub(crate) fn at(&self, bytes: &[u8], at: usize) -> (u8, usize) {
        match bytes.get(at) {
            None => (0, 0),
            Some(&byte) if byte < 128 => (self.ascii[byte as usize], 1),
            Some(&byte) => self.beyond_ascii(bytes, at, byte),
        }
    }

    /// As [`at`](Self::at) for a lead byte of two to four.
    #[inline]
    fn beyond_ascii(&self, bytes: &[u8], at: usize, lead: u8) -> (u8, usize) {
        let tail = |offset: usize| u32::from(bytes.get(at + offset).copied().unwrap_or(0) & 0x3F);
        let lead = u32::from(lead);
        if lead >= 0xF0 {
            return (self.of((lead & 7) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3)), 4);
        }
        if lead >= 0xE0 {
            let code = (lead & 15) << 12 | tail(1) << 6 | tail(2);
            // Hangul syllables, the bulk of Korean text: no need for the table.
            if code.wrapping_sub(0xAC00) < 11_172 {
                return (LETTER | WORD, 3);
            }
            return (self.of(code), 3);
        }
        (self.of((lead & 31) << 6 | tail(1)), 2)
    }

    /// The end of the run of characters from `at` that have one of the classes in `mask`.
    #[inline]
    pub(crate) fn run(&self, bytes: &[u8], mut at: usize, mask: u8) -> usize {
        loop {
            let (class, length) = self.at(bytes, at);
            if class & mask == 0 {
                return at;
            }
            at += length;
        }
    }

    /// The end of the run of characters from `at` that have none of the classes in `mask`.
    #[inline]
    pub(crate) fn run_without(&self, bytes: &[u8], mut at: usize, mask: u8) -> usize {
        loop {
            let (class, length) = self.at(bytes, at);
            if class & mask != 0 || length == 0 {
                return at;
            }
            at += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_known_characters() {
        let classes = Classes::get();
        for (character, expected) in [
            ('a', LETTER | LOWER | WORD),
            ('Z', LETTER | UPPER | WORD),
            ('ǅ', LETTER | UPPER | WORD),
            ('7', NUMBER | WORD),
            ('½', NUMBER),
            ('한', LETTER | WORD),
            ('ㅋ', LETTER | WORD),
            ('\u{1100}', LETTER | WORD),
            ('\u{0301}', MARK | WORD),
            ('\u{3000}', SPACE),
            ('\u{85}', SPACE),
            ('\u{200B}', 0),
            ('.', PUNCTUATION),
            ('$', 0),
            ('😀', 0),
            ('_', PUNCTUATION | WORD),
        ] {
            assert_eq!(classes.of(character as u32), expected, "{character:?}");
            let text = character.to_string();
            assert_eq!(classes.at(text.as_bytes(), 0), (expected, text.len()), "{character:?}");
        }
        assert_eq!(classes.at(b"", 0), (0, 0));
    }

    #[test]
    fn the_hangul_shortcut_agrees_with_the_table() {
        let classes = Classes::get();
        assert!((0xAC00..=0xD7A3).all(|code| classes.of(code) == LETTER | WORD));
        assert_ne!(classes.of(0xD7A4), LETTER | WORD);
    }
}
