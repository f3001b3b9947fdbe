//! Regular expressions of tokenizer files: the known ones by hand-written code, the others by `fancy-regex`.

use fancy_regex::Regex;

use super::class::{Classes, NUMBER, PUNCTUATION, SPACE, WORD};
use super::scan::Scanner;
use crate::TokenizerError;

/// Something that can be searched for in a text.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    /// Matches one after the other, no gaps.
    Scanner(Scanner),
    /// Runs of at most `max` characters with one of the classes in `mask`.
    Run { mask: u8, max: usize },
    /// `[\p{P}\$\+<=>\^~\|]+`
    Symbols,
    /// `[0-9][0-9][0-9]`
    ThreeDigits,
    /// One character that Unicode gives a numeric value.
    Numeric,
    /// One character of punctuation, ASCII's or Unicode's.
    Punctuation,
    /// `\w+|[^\w\s]+`
    Words,
    /// The string itself.
    Literal(String),
    /// Anything else.
    Regex(Box<Regex>),
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Families by the exact spelling of their expression. The possessive quantifiers and the single `[\r\n]` of the
/// cl100k spelling change nothing: what they forbid to give back could not be used elsewhere, and `\s*` takes all but
/// the last line break anyway.
const SCANNERS: &[(&str, Scanner)] = &[
    (GPT2, Scanner::Gpt2),
    (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)", Scanner::Gpt2),
    (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Scanner::Gpt2),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Llama3 { folded: true },
    ),
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        Scanner::Llama3 { folded: true },
    ),
    (
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Llama3 { folded: false },
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Qwen2 { folded: true },
    ),
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        Scanner::Qwen2 { folded: true },
    ),
    (
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Qwen2 { folded: false },
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Gpt4o,
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        Scanner::ExaoneMoe { folded: true },
    ),
    (
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        Scanner::ExaoneMoe { folded: false },
    ),
];

impl Pattern {
    /// The fastest matcher for a regular expression.
    pub(crate) fn regex(expression: &str) -> Result<Self, TokenizerError> {
        if let Some((_, scanner)) = SCANNERS.iter().find(|(known, _)| *known == expression) {
            return Ok(Self::Scanner(*scanner));
        }
        Ok(match expression {
            r"\p{N}" => Self::Run { mask: NUMBER, max: 1 },
            r"\p{N}{1,3}" => Self::Run { mask: NUMBER, max: 3 },
            r"\p{N}+" => Self::Run { mask: NUMBER, max: usize::MAX },
            r"\s" => Self::Run { mask: SPACE, max: 1 },
            r"\s+" => Self::Run { mask: SPACE, max: usize::MAX },
            r"[\p{P}\$\+<=>\^~\|]+" => Self::Symbols,
            "[0-9][0-9][0-9]" => Self::ThreeDigits,
            r"\w+|[^\w\s]+" => Self::Words,
            _ => Self::any_regex(expression)?,
        })
    }

    /// The general matcher, also for expressions that have a hand-written twin.
    pub(crate) fn any_regex(expression: &str) -> Result<Self, TokenizerError> {
        match Regex::new(expression) {
            Ok(regex) => Ok(Self::Regex(Box::new(regex))),
            Err(error) => Err(TokenizerError::Pattern { pattern: expression.to_owned(), reason: error.to_string() }),
        }
    }

    pub(crate) fn literal(text: &str) -> Result<Self, TokenizerError> {
        if text.is_empty() {
            return Err(TokenizerError::Invalid { what: "pattern", reason: "the string is empty".to_owned() });
        }
        Ok(Self::Literal(text.to_owned()))
    }

    /// Calls `found(start, end)` for every match in `text`, from left to right, none overlapping.
    pub(crate) fn matches(&self, text: &str, mut found: impl FnMut(usize, usize)) {
        let bytes = text.as_bytes();
        match self {
            Self::Scanner(scanner) => scanner.pieces(bytes, &mut found),
            Self::Run { mask, max } => runs(bytes, *max, |class, _| class & mask != 0, &mut found),
            Self::Symbols => runs(
                bytes,
                usize::MAX,
                |class, byte| class & PUNCTUATION != 0 || b"$+<=>^~|".contains(&byte),
                &mut found,
            ),
            Self::ThreeDigits => {
                let mut at = 0;
                while let Some(window) = bytes.get(at..at + 3) {
                    if window.iter().all(u8::is_ascii_digit) {
                        found(at, at + 3);
                        at += 3;
                    } else {
                        at += 1;
                    }
                }
            }
            Self::Numeric => characters(text, char::is_numeric, &mut found),
            Self::Punctuation => {
                runs(bytes, 1, |class, byte| class & PUNCTUATION != 0 || byte.is_ascii_punctuation(), &mut found)
            }
            Self::Words => words(bytes, &mut found),
            Self::Literal(literal) => {
                for (start, _) in text.match_indices(literal.as_str()) {
                    found(start, start + literal.len());
                }
            }
            Self::Regex(regex) => {
                // An expression that runs out of its budget on this text ends the search: the rest is one piece.
                for hit in regex.find_iter(text).map_while(Result::ok) {
                    found(hit.start(), hit.end());
                }
            }
        }
    }

    /// `text` with every match replaced, as long as that takes at most some `limit` bytes: a file may ask for a
    /// replacement that is longer than what it replaces, over and over.
    pub(crate) fn replace(&self, text: &str, by: &str, limit: usize) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        self.matches(text, |start, end| {
            if out.len() + (text.len() - done) < limit {
                out.push_str(text.get(done..start).unwrap_or_default());
                out.push_str(by);
                done = end;
            }
        });
        out.push_str(text.get(done..).unwrap_or_default());
        out
    }
}

/// Runs of at most `max` characters for whose class and first byte `wanted` holds.
fn runs(bytes: &[u8], max: usize, wanted: impl Fn(u8, u8) -> bool, found: &mut impl FnMut(usize, usize)) {
    let classes = Classes::get();
    let (mut at, mut start, mut count) = (0, 0, 0);
    while let Some(&byte) = bytes.get(at) {
        let (class, length) = classes.at(bytes, at);
        let hit = wanted(class, byte);
        if count > 0 && (!hit || count == max) {
            found(start, at);
            count = 0;
        }
        if hit {
            if count == 0 {
                start = at;
            }
            count += 1;
        }
        at += length;
    }
    if count > 0 {
        found(start, at);
    }
}

fn characters(text: &str, wanted: fn(char) -> bool, found: &mut impl FnMut(usize, usize)) {
    for (start, character) in text.char_indices() {
        if wanted(character) {
            found(start, start + character.len_utf8());
        }
    }
}

fn words(bytes: &[u8], found: &mut impl FnMut(usize, usize)) {
    let classes = Classes::get();
    let mut at = 0;
    while at < bytes.len() {
        let (class, length) = classes.at(bytes, at);
        let end = if class & WORD != 0 {
            classes.run(bytes, at, WORD)
        } else if class & SPACE == 0 {
            classes.run_without(bytes, at, WORD | SPACE)
        } else {
            at += length;
            continue;
        };
        found(at, end);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &Pattern, text: &str) -> Vec<(usize, usize)> {
        let mut spans = Vec::new();
        pattern.matches(text, |start, end| spans.push((start, end)));
        spans
    }

    /// Texts made of the characters at which the expressions branch.
    fn texts() -> Vec<String> {
        const PARTS: &[&str] = &[
            " ",
            "  ",
            "\n",
            "\r\n",
            "\t",
            "\u{a0}",
            "\u{3000}",
            "'",
            "'s",
            "'LL",
            "'re",
            "'ſ",
            "'Ve",
            "a",
            "word",
            "A",
            "WORD",
            "É",
            "ǅ",
            "ʰ",
            "한국어",
            "ㅋㅋ",
            "\u{1112}\u{1161}\u{11ab}",
            "\u{301}",
            "\u{fe0f}",
            "\u{200d}",
            "1",
            "23",
            "4567",
            "½",
            "Ⅷ",
            "٣",
            ".",
            "...",
            "/",
            "!?",
            "$",
            "<|",
            "😀",
            "\u{0}",
            "\u{85}",
            "_",
            "가A",
            "Aª",
        ];
        let mut state = 12345u64;
        let mut next = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        (0..4000).map(|_| (0..next(12)).map(|_| PARTS[next(PARTS.len())]).collect()).collect()
    }

    #[test]
    fn scanners_split_as_their_expressions_do() {
        for (expression, _) in SCANNERS {
            // The spelling without the last alternative leaves gaps, which become pieces just the same.
            if expression.ends_with(r"(?!\S)") {
                continue;
            }
            let (fast, slow) = (Pattern::regex(expression).unwrap(), Pattern::any_regex(expression).unwrap());
            assert!(matches!(fast, Pattern::Scanner(_)));
            for text in texts() {
                assert_eq!(found(&fast, &text), found(&slow, &text), "{expression} on {text:?}");
            }
        }
    }

    #[test]
    fn small_patterns_match_as_their_expressions_do() {
        for expression in [
            r"\p{N}",
            r"\p{N}{1,3}",
            r"\p{N}+",
            r"\s",
            r"\s+",
            r"[\p{P}\$\+<=>\^~\|]+",
            "[0-9][0-9][0-9]",
            r"\w+|[^\w\s]+",
        ] {
            let (fast, slow) = (Pattern::regex(expression).unwrap(), Pattern::any_regex(expression).unwrap());
            assert!(!matches!(fast, Pattern::Regex(_)));
            for text in texts() {
                assert_eq!(found(&fast, &text), found(&slow, &text), "{expression} on {text:?}");
            }
        }
    }

    #[test]
    fn replacement_keeps_the_rest() {
        assert_eq!(Pattern::literal(" ").unwrap().replace(" a b ", "▁", 100), "▁a▁b▁");
        assert_eq!(Pattern::regex(" {2,}").unwrap().replace("a   b c", " ", 100), "a b c");
        assert_eq!(Pattern::literal("a").unwrap().replace("aaaa", "bbb", 7), "bbbbbbaa");
        assert!(Pattern::literal("").is_err());
        assert!(Pattern::regex("(").is_err());
    }
}
