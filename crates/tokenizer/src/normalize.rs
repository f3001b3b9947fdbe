//! Changing a text before it is cut into pieces.

use std::borrow::Cow;
use std::sync::OnceLock;

use regex_syntax::hir::{Class, ClassUnicodeRange, HirKind};
use unicode_normalization::UnicodeNormalization;

use crate::byte_level;
use crate::charsmap::Charsmap;
use crate::pretokenize::Pattern;

/// How many times longer a text may become by replacements; the longest in earnest is 18, for one Arabic character.
const GROWTH: usize = 32;

/// One step of normalisation.
#[derive(Debug, Clone)]
pub(crate) enum Normalizer {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    Strip {
        left: bool,
        right: bool,
    },
    StripAccents,
    /// Drops control characters, and makes spaces of others.
    Nmt,
    /// Puts a string in front of a text that is not empty.
    Prepend(String),
    Replace {
        pattern: Pattern,
        by: String,
    },
    /// Spells every byte in the byte-level alphabet.
    SpellBytes,
    /// SentencePiece's table, as `tokenizers` applies it.
    Precompiled(Charsmap),
    /// SentencePiece's normalisation for unigram models, as llama.cpp applies it.
    SentencePiece {
        charsmap: Option<Charsmap>,
        prepend_space: bool,
        merge_spaces: bool,
    },
}

impl Normalizer {
    /// Applies several steps in order.
    pub(crate) fn apply_all<'a>(steps: &[Self], text: &'a str) -> Cow<'a, str> {
        let limit = text.len().saturating_mul(GROWTH).saturating_add(4096);
        let mut out = Cow::Borrowed(text);
        for step in steps {
            if let Some(changed) = step.apply(&out, limit) {
                out = Cow::Owned(changed);
            }
        }
        out
    }

    /// The changed text; `None` where it is known to stay the same.
    fn apply(&self, text: &str, limit: usize) -> Option<String> {
        match self {
            Self::Nfc => unless_safe(text, safe_for_nfc, |part, out| out.extend(part.nfc())),
            Self::Nfd => unless_safe(text, |character| character.is_ascii(), |part, out| out.extend(part.nfd())),
            Self::Nfkc => unless_safe(text, safe_for_nfkc, |part, out| out.extend(part.nfkc())),
            Self::Nfkd => unless_safe(text, |character| character.is_ascii(), |part, out| out.extend(part.nfkd())),
            Self::Lowercase => Some(text.chars().flat_map(char::to_lowercase).collect()),
            Self::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { text };
                Some(if *right { text.trim_end() } else { text }.to_owned())
            }
            Self::StripAccents => {
                let is_mark = unicode_normalization::char::is_combining_mark;
                Some(text.chars().filter(|&character| !is_mark(character)).collect())
            }
            Self::Nmt => Some(text.chars().filter_map(nmt).collect()),
            Self::Prepend(prefix) => (!text.is_empty()).then(|| format!("{prefix}{text}")),
            Self::Replace { pattern, by } => Some(pattern.replace(text, by, limit)),
            Self::SpellBytes => Some(byte_level::spell_all(text.as_bytes())),
            Self::Precompiled(charsmap) => Some(charsmap.normalize_graphemes(text)),
            Self::SentencePiece { charsmap, prepend_space, merge_spaces } => {
                Some(sentence_piece(charsmap.as_ref(), *prepend_space, *merge_spaces, text))
            }
        }
    }
}

/// Normalises the parts of `text` that need it: runs of characters that are not `safe`, each with the one before it,
/// with which it may combine. A safe character neither changes nor combines with what precedes it. `None` if all are.
fn unless_safe(text: &str, safe: impl Fn(char) -> bool, form: impl Fn(&str, &mut String)) -> Option<String> {
    let mut out: Option<String> = None;
    let mut done = 0;
    let mut unsafe_from = None;
    let mut previous = 0;
    for (at, character) in text.char_indices() {
        if !safe(character) {
            unsafe_from = unsafe_from.or(Some(previous));
        } else if let Some(start) = unsafe_from.take() {
            let out = out.get_or_insert_with(|| String::with_capacity(text.len()));
            out.push_str(text.get(done..start).unwrap_or_default());
            by_unicode_9(text.get(start..at).unwrap_or_default(), out, &form);
            done = at;
        }
        previous = at;
    }
    let start = unsafe_from.unwrap_or(text.len());
    if start < text.len() || out.is_some() {
        let out = out.get_or_insert_with(|| String::with_capacity(text.len()));
        out.push_str(text.get(done..start).unwrap_or_default());
        by_unicode_9(text.get(start..).unwrap_or_default(), out, &form);
    }
    out
}

/// Characters of common scripts that are known to be composed already, without a look into tables.
fn safe_for_nfc(character: char) -> bool {
    matches!(character,
        '\0'..'\u{300}' | '가'..='힣' | '一'..='\u{9fff}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}'
        | '\u{200b}'..='\u{200d}' | '\u{2190}'..='\u{21cd}' | '\u{2500}'..='\u{2adb}' | '、'..='〩' | 'ぁ'..='ゖ'
        | 'ァ'..='ヺ' | 'ㄱ'..='ㆎ' | '\u{fe0f}' | '！'..='￮' | '\u{1f000}'..='\u{1faff}')
}

/// As [`safe_for_nfc`], without characters that stand for others.
fn safe_for_nfkc(character: char) -> bool {
    matches!(character,
        '\0'..'\u{a0}' | '가'..='힣' | '一'..='\u{9fff}' | '\u{2018}'..='\u{2023}' | '\u{200b}'..='\u{200d}'
        | '、'..='〩' | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '\u{fe0f}' | '\u{1f300}'..='\u{1faff}')
}

/// Normalises as Unicode 9 did, which is what `tokenizers` knows, and what models were therefore trained with:
/// characters that came later neither change nor combine.
fn by_unicode_9(text: &str, out: &mut String, form: &impl Fn(&str, &mut String)) {
    let mut done = 0;
    for (at, later) in text.match_indices(is_later) {
        form(text.get(done..at).unwrap_or_default(), out);
        out.push_str(later);
        done = at + later.len();
    }
    form(text.get(done..).unwrap_or_default(), out);
}

/// Whether a character was not yet assigned in Unicode 9.
fn is_later(character: char) -> bool {
    static ASSIGNED: OnceLock<Vec<ClassUnicodeRange>> = OnceLock::new();
    if character < '\u{370}' || matches!(character, '\u{1100}'..='\u{11ff}' | '가'..='힣') {
        return false;
    }
    let assigned = ASSIGNED.get_or_init(|| match regex_syntax::parse(r"\p{Age=9.0}").map(|hir| hir.into_kind()) {
        Ok(HirKind::Class(Class::Unicode(class))) => class.ranges().to_vec(),
        _ => Vec::new(),
    });
    let after = assigned.partition_point(|range| range.start() <= character);
    after.checked_sub(1).and_then(|at| assigned.get(at)).is_none_or(|range| range.end() < character)
}

fn nmt(character: char) -> Option<char> {
    match character {
        '\u{1}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{8f}' | '\u{9f}' => None,
        '\t' | '\n' | '\u{c}' | '\r' | '\u{1680}' | '\u{200b}'..='\u{200f}' => Some(' '),
        '\u{2028}' | '\u{2029}' | '\u{2581}' | '\u{feff}' | '\u{fffd}' => Some(' '),
        _ => Some(character),
    }
}

/// Spaces become `▁`, one at the start is added and runs become one, as the flags say.
fn sentence_piece(charsmap: Option<&Charsmap>, prepend_space: bool, merge_spaces: bool, text: &str) -> String {
    let mapped = charsmap.map_or(Cow::Borrowed(text), |charsmap| Cow::Owned(charsmap.normalize_prefixes(text)));
    let mut out = String::with_capacity(mapped.len() + 3);
    let mut in_word = false;
    let mut prepended = false;
    for character in mapped.chars() {
        if character == ' ' {
            in_word = false;
            if !merge_spaces {
                out.push('▁');
            }
            continue;
        }
        if !in_word {
            in_word = true;
            if prepend_space && !prepended || merge_spaces {
                out.push('▁');
                prepended = true;
            }
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use unicode_normalization::{IsNormalized, is_nfc_quick, is_nfkc_quick};

    use super::*;

    #[test]
    fn composition_is_complete_and_lazy() {
        let nfc = |text: &str| Normalizer::apply_all(&[Normalizer::Nfc], text).into_owned();
        for text in
            ["한국어", "\u{1112}\u{1161}\u{11ab}글", "가\u{11a8}", "e\u{301}x", "か\u{3099}", "Ω\u{2126}", "", "plain"]
        {
            assert_eq!(nfc(text), text.nfc().collect::<String>());
        }
        assert!(matches!(Normalizer::apply_all(&[Normalizer::Nfc], "한국어 text ㅋㅋ 😀"), Cow::Borrowed(_)));
    }

    /// U+08D3, a mark of Unicode 11, would go before the U+0345 of Unicode 1; Dives Akuru came with Unicode 13.
    #[test]
    fn characters_of_later_versions_stay_where_they_are() {
        let text = "a\u{345}\u{8d3} \u{11935}\u{11930} e\u{301}";
        assert_eq!(Normalizer::apply_all(&[Normalizer::Nfc], text), "a\u{345}\u{8d3} \u{11935}\u{11930} é");
        assert!(!is_later('\u{3131}') && !is_later('\u{1f600}') && is_later('\u{8d3}'));
    }

    #[test]
    fn safe_characters_are_safe() {
        let mut count = 0;
        for character in '\0'..=char::MAX {
            let decomposed_alone = unicode_normalization::char::canonical_combining_class(character) == 0;
            if safe_for_nfc(character) {
                count += 1;
                assert_eq!(is_nfc_quick([character].into_iter()), IsNormalized::Yes, "{character:?}");
                assert!(decomposed_alone, "{character:?}");
            }
            if safe_for_nfkc(character) {
                assert_eq!(is_nfkc_quick([character].into_iter()), IsNormalized::Yes, "{character:?}");
                assert!(safe_for_nfc(character), "{character:?}");
            }
        }
        assert!(count > 30_000);
    }

    #[test]
    fn parts_are_normalised_as_the_whole_would_be() {
        let parts = [
            "a",
            " ",
            "e\u{301}",
            "\u{301}",
            "가",
            "\u{11a8}",
            "\u{1112}\u{1161}",
            "ㅋㅋ",
            "か",
            "\u{3099}",
            "Ａ",
            "①",
            "\u{a0}",
            "ﬁ",
            "😀",
            "\u{345}\u{300}",
            "Å",
            "\u{212b}",
        ];
        let mut state = 5u64;
        for _ in 0..3000 {
            let mut text = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(parts[(state >> 33) as usize % parts.len()]);
            }
            let apply = |step: Normalizer| Normalizer::apply_all(&[step], &text).into_owned();
            assert_eq!(apply(Normalizer::Nfc), text.nfc().collect::<String>(), "{text:?}");
            assert_eq!(apply(Normalizer::Nfd), text.nfd().collect::<String>(), "{text:?}");
            assert_eq!(apply(Normalizer::Nfkc), text.nfkc().collect::<String>(), "{text:?}");
            assert_eq!(apply(Normalizer::Nfkd), text.nfkd().collect::<String>(), "{text:?}");
        }
    }

    #[test]
    fn sentence_piece_spaces() {
        assert_eq!(sentence_piece(None, true, true, "  a  b "), "▁a▁b");
        assert_eq!(sentence_piece(None, true, false, "a  b"), "▁a▁▁b");
        assert_eq!(sentence_piece(None, false, false, " a"), "▁a");
        assert_eq!(sentence_piece(None, true, false, ""), "");
    }

    #[test]
    fn replacements_do_not_explode() {
        let double = || Normalizer::Replace { pattern: Pattern::literal("a").unwrap(), by: "aaaa".to_owned() };
        let steps: Vec<Normalizer> = (0..64).map(|_| double()).collect();
        assert!(Normalizer::apply_all(&steps, "aaaa").len() < 10_000);
    }

    #[test]
    fn simple_steps() {
        let steps = [
            Normalizer::Strip { left: true, right: true },
            Normalizer::Lowercase,
            Normalizer::Nfd,
            Normalizer::StripAccents,
            Normalizer::Prepend("▁".to_owned()),
        ];
        assert_eq!(Normalizer::apply_all(&steps, "  ÉCOLE "), "▁ecole");
        assert_eq!(Normalizer::apply_all(&steps, " "), "");
        assert_eq!(Normalizer::apply_all(&[Normalizer::Nmt], "a\u{1}\tb\u{feff}"), "a b ");
        assert_eq!(Normalizer::apply_all(&[Normalizer::SpellBytes], " é"), "ĠÃ©");
    }
}
