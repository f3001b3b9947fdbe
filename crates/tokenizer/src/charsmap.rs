//! SentencePiece's precompiled table of replacements.
//!
//! The blob is a little-endian length, a double-array trie of that many bytes, and then zero-terminated strings. Each
//! unit of the trie is 32 bits: bits 0-7 and 31 the label, bit 8 whether a value follows, bits 10-30 an offset that is
//! shifted by another 8 if bit 9 is set. A value is the place of the replacement among the strings.

use unicode_segmentation::UnicodeSegmentation;

use crate::TokenizerError;

/// A table of replacements.
#[derive(Debug, Clone)]
pub(crate) struct Charsmap {
    units: Vec<u32>,
    strings: Vec<u8>,
}

/// Graphemes of this many bytes or more are only looked up character by character.
const LONG_GRAPHEME: usize = 6;

impl Charsmap {
    /// Reads the blob of a model file.
    pub(crate) fn new(blob: &[u8]) -> Result<Self, TokenizerError> {
        let invalid = |reason: String| TokenizerError::Invalid { what: "precompiled charsmap", reason };
        let Some((length, rest)) = blob.split_first_chunk::<4>() else {
            return Err(invalid(format!("{} bytes, at least 4 needed", blob.len())));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((trie, strings)) = rest.split_at_checked(length) else {
            return Err(invalid(format!("a trie of {length} bytes, but {} are left", rest.len())));
        };
        let (units, _) = trie.as_chunks::<4>();
        let units = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        Ok(Self { units, strings: strings.to_vec() })
    }

    /// Calls `found(length, value)` for every prefix of `text` in the trie, shortest first, while it returns `true`.
    fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, usize) -> bool) {
        let offset = |unit: u32| ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize;
        let Some(&root) = self.units.first() else { return };
        let mut at = offset(root);
        for (length, &byte) in (1..).zip(text) {
            at ^= usize::from(byte);
            let Some(&unit) = self.units.get(at).filter(|_| byte != 0) else { return };
            if unit & (1 << 31 | 0xFF) != u32::from(byte) {
                return;
            }
            at ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let Some(&leaf) = self.units.get(at) else { return };
                if !found(length, (leaf & 0x7FFF_FFFF) as usize) {
                    return;
                }
            }
        }
    }

    /// The replacement at a place among the strings.
    fn string(&self, at: usize) -> &str {
        let rest = self.strings.get(at..).unwrap_or_default();
        let string = rest.split(|&byte| byte == 0).next().unwrap_or_default();
        std::str::from_utf8(string).unwrap_or_default()
    }

    /// Replaces the longest prefix in the table at each place, as SentencePiece does.
    pub(crate) fn normalize_prefixes(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let mut best = None;
            self.prefixes(rest.as_bytes(), |length, value| {
                best = Some((length, value));
                true
            });
            match best.filter(|(length, _)| rest.is_char_boundary(*length)) {
                Some((length, value)) => {
                    out.push_str(self.string(value));
                    at += length;
                }
                None => {
                    let Some(character) = rest.chars().next() else { break };
                    out.push(character);
                    at += character.len_utf8();
                }
            }
        }
        out
    }

    /// Replaces whole graphemes, or else their characters, by what the table has for their *shortest* prefix, as
    /// `tokenizers` does.
    pub(crate) fn normalize_graphemes(&self, text: &str) -> String {
        let replacement = |part: &str| {
            let mut value = None;
            self.prefixes(part.as_bytes(), |_, first| {
                value = Some(first);
                false
            });
            value.map(|value| self.string(value))
        };
        let mut out = String::with_capacity(text.len());
        for grapheme in text.graphemes(true) {
            if grapheme.len() < LONG_GRAPHEME
                && let Some(replaced) = replacement(grapheme)
            {
                out.push_str(replaced);
                continue;
            }
            for character in grapheme.chars() {
                match replacement(character.encode_utf8(&mut [0; 4])) {
                    Some(replaced) => out.push_str(replaced),
                    None => out.push(character),
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_blob_is_an_error() {
        assert!(Charsmap::new(&[]).is_err());
        assert!(Charsmap::new(&[9, 0, 0, 0, 1]).is_err());
        let empty = Charsmap::new(&[0, 0, 0, 0]).unwrap();
        assert_eq!(empty.normalize_prefixes("abc"), "abc");
        assert_eq!(empty.normalize_graphemes("e\u{301}"), "e\u{301}");
    }

    /// A trie with one key, `A`, whose replacement is `b`.
    #[test]
    fn a_tiny_trie_replaces() {
        let mut units = vec![0u32; 256];
        units[0] = 1 << 10;
        units[1 ^ 0x41] = 0x41 | 1 << 8 | 2 << 10;
        units[1 ^ 0x41 ^ 2] = 1 << 31;
        let mut blob = 1024u32.to_le_bytes().to_vec();
        blob.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        blob.extend(b"b\0");
        let charsmap = Charsmap::new(&blob).unwrap();
        assert_eq!(charsmap.normalize_prefixes("xAAy"), "xbby");
        assert_eq!(charsmap.normalize_graphemes("xAy"), "xby");
    }
}
