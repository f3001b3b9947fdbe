//! Hand-written twins of the regular expressions that the supported families split text with.
//!
//! All of them descend from GPT-2's: contractions, then words, then numbers, then punctuation, then white space, each
//! alternative tried in this order at the place where the last match ended. They cover every text without gaps, so a
//! scanner is one function from the start of a piece to its end. The families differ in a handful of switches
//! ([`Rules`]), which are constants, so that each family compiles to its own straight code.

use super::class::{Classes, LETTER, LOWER, MARK, NUMBER, SPACE, UPPER};

/// What counts as a word.
#[derive(PartialEq, Eq)]
enum Word {
    /// `\p{L}+`
    Letters,
    /// `(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`: words joined by single spaces
    Phrase,
    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` or the same with `+` and `*` exchanged, then a
    /// contraction
    Cased,
}

/// How `'s`, `'ll` and their kind are found.
#[derive(PartialEq, Eq)]
enum Contractions {
    /// `'s|'t|'re|'ve|'m|'ll|'d`
    Lower,
    /// `'[sS]|'[tT]|…`
    AnyCase,
    /// `(?i:'s|'t|…)`, where Unicode case folding also takes `ſ` (U+017F) for an `s`
    Folded,
}

/// What may follow punctuation within its piece.
#[derive(PartialEq, Eq)]
enum Tail {
    Nothing,
    /// `[\r\n]*`
    Newlines,
    /// `[\r\n/]*`
    NewlinesAndSlashes,
    /// `[\r\n/]?`
    OneNewlineOrSlash,
}

/// The switches of a family.
trait Rules {
    const CONTRACTIONS: Contractions = Contractions::Folded;
    const WORD: Word = Word::Letters;
    /// Whether any character but a letter, a number or a line break may lead a word, or only a space.
    const ANY_PREFIX: bool = true;
    /// Longest number; 0 for `' '?\p{N}+`.
    const DIGITS: usize;
    const TAIL: Tail = Tail::Newlines;
    /// Whether white space up to its last line break is a piece: `\s*[\r\n]+`.
    const LINES: bool = true;
}

struct Gpt2;
impl Rules for Gpt2 {
    const CONTRACTIONS: Contractions = Contractions::Lower;
    const ANY_PREFIX: bool = false;
    const DIGITS: usize = 0;
    const TAIL: Tail = Tail::Nothing;
    const LINES: bool = false;
}

struct Folded<const DIGITS: usize>;
impl<const N: usize> Rules for Folded<N> {
    const DIGITS: usize = N;
}

struct AnyCase<const DIGITS: usize>;
impl<const N: usize> Rules for AnyCase<N> {
    const CONTRACTIONS: Contractions = Contractions::AnyCase;
    const DIGITS: usize = N;
}

struct Cased<const DIGITS: usize, const SLASHES: bool>;
impl<const N: usize, const SLASHES: bool> Rules for Cased<N, SLASHES> {
    const WORD: Word = Word::Cased;
    const DIGITS: usize = N;
    const TAIL: Tail = if SLASHES { Tail::NewlinesAndSlashes } else { Tail::Newlines };
}

struct Phrases<const FOLDED: bool>;
impl<const FOLDED: bool> Rules for Phrases<FOLDED> {
    const CONTRACTIONS: Contractions = if FOLDED { Contractions::Folded } else { Contractions::AnyCase };
    const WORD: Word = Word::Phrase;
    const DIGITS: usize = 1;
    const TAIL: Tail = Tail::OneNewlineOrSlash;
}

/// A family's scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scanner {
    /// GPT-2, SmolLM (after its digits), EXAONE 4
    Gpt2,
    /// Llama 3, Kanana, and the cl100k of GPT-4 and HyperCLOVA X
    Llama3 { folded: bool },
    /// Qwen 2, 2.5 and 3
    Qwen2 { folded: bool },
    /// o200k of GPT-4o, Kanana 2
    Gpt4o,
    /// K-EXAONE
    ExaoneMoe { folded: bool },
}

impl Scanner {
    /// Calls `emit(start, end)` for the pieces of `bytes`, which must be UTF-8, in order and without gaps.
    #[inline]
    pub(crate) fn pieces(self, bytes: &[u8], emit: &mut impl FnMut(usize, usize)) {
        match self {
            Self::Gpt2 => pieces::<Gpt2>(bytes, emit),
            Self::Llama3 { folded: true } => pieces::<Folded<3>>(bytes, emit),
            Self::Llama3 { folded: false } => pieces::<AnyCase<3>>(bytes, emit),
            Self::Qwen2 { folded: true } => pieces::<Folded<1>>(bytes, emit),
            Self::Qwen2 { folded: false } => pieces::<AnyCase<1>>(bytes, emit),
            Self::Gpt4o => pieces::<Cased<3, true>>(bytes, emit),
            Self::ExaoneMoe { folded: true } => pieces::<Phrases<true>>(bytes, emit),
            Self::ExaoneMoe { folded: false } => pieces::<Phrases<false>>(bytes, emit),
        }
    }
}

#[inline]
fn pieces<R: Rules>(bytes: &[u8], emit: &mut impl FnMut(usize, usize)) {
    let classes = Classes::get();
    let mut start = 0;
    while start < bytes.len() {
        let end = piece::<R>(classes, bytes, start);
        emit(start, end);
        start = end;
    }
}

/// The end of the piece that starts at `at`, which must be inside `bytes`; beyond `at`.
#[inline]
fn piece<R: Rules>(classes: &Classes, bytes: &[u8], at: usize) -> usize {
    let byte = bytes.get(at).copied().unwrap_or_default();
    let (class, length) = classes.at(bytes, at);
    if byte == b'\'' && R::WORD != Word::Cased {
        let length = contraction::<R>(bytes, at);
        if length > 0 {
            return at + length;
        }
    }
    if class & LETTER != 0 || R::WORD == Word::Cased {
        if let Some(end) = word::<R>(classes, bytes, at, class, length) {
            return end;
        }
    } else if if R::ANY_PREFIX { class & NUMBER == 0 && byte != b'\n' && byte != b'\r' } else { byte == b' ' } {
        let (next, next_length) = classes.at(bytes, at + length);
        if next & LETTER != 0
            && let Some(end) = word::<R>(classes, bytes, at + length, next, next_length)
        {
            return end;
        }
    }
    if class & NUMBER != 0 {
        return number::<R>(classes, bytes, at + length);
    }
    let (body, body_class, body_length) = if byte == b' ' {
        let (class, length) = classes.at(bytes, at + 1);
        (at + 1, class, length)
    } else {
        (at, class, length)
    };
    if R::DIGITS == 0 && body_class & NUMBER != 0 {
        return number::<R>(classes, bytes, body + body_length);
    }
    if body_class & (SPACE | LETTER | NUMBER) == 0 && body_length > 0 {
        return punctuation::<R>(classes, bytes, body + body_length);
    }
    white_space::<R>(classes, bytes, at)
}

/// The length of a contraction at `at`, or 0.
#[inline]
fn contraction<R: Rules>(bytes: &[u8], at: usize) -> usize {
    let letter = |offset: usize| {
        let byte = bytes.get(at + offset).copied().unwrap_or_default();
        if R::CONTRACTIONS == Contractions::Lower { byte } else { byte | 0x20 }
    };
    match (bytes.get(at), letter(1)) {
        (Some(b'\''), b's' | b't' | b'm' | b'd') => 2,
        (Some(b'\''), b'r' | b'v') if letter(2) == b'e' => 3,
        (Some(b'\''), b'l') if letter(2) == b'l' => 3,
        (Some(b'\''), _) if R::CONTRACTIONS == Contractions::Folded && bytes[at + 1..].starts_with("ſ".as_bytes()) => {
            3
        }
        _ => 0,
    }
}

/// The end of the word at `at`, whose first character has the given class and length.
#[inline]
fn word<R: Rules>(classes: &Classes, bytes: &[u8], at: usize, class: u8, length: usize) -> Option<usize> {
    match R::WORD {
        Word::Letters => Some(classes.run(bytes, at + length, LETTER)),
        Word::Phrase => Some(phrase(classes, bytes, at + length)),
        Word::Cased => cased::<R>(classes, bytes, at, class, length),
    }
}

/// The end of a phrase whose first letter ends at `at`.
fn phrase(classes: &Classes, bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = classes.run(bytes, at, LETTER | MARK);
        if bytes.get(at) != Some(&b' ') {
            return at;
        }
        let (next, length) = classes.at(bytes, at + 1);
        if next & LETTER == 0 {
            return at;
        }
        at += 1 + length;
    }
}

/// A word whose capitals stand in front, with its prefix and contraction. Tries, as the expression does, both
/// alternatives with and without the prefix.
fn cased<R: Rules>(classes: &Classes, bytes: &[u8], at: usize, class: u8, length: usize) -> Option<usize> {
    let prefix = class & (LETTER | NUMBER) == 0 && !matches!(bytes.get(at), Some(b'\n' | b'\r') | None);
    let starts = [(prefix, at + length), (true, at)];
    let starts = || starts.iter().filter(|(possible, _)| *possible).map(|&(_, start)| start);
    starts()
        .find_map(|start| small_letters(classes, bytes, start))
        .or_else(|| starts().find_map(|start| capitals(classes, bytes, start)))
        .map(|end| end + contraction::<R>(bytes, end))
}

fn is_upper(class: u8) -> bool {
    class & (LETTER | MARK) != 0 && class & LOWER == 0
}

fn is_lower(class: u8) -> bool {
    class & (LETTER | MARK) != 0 && class & UPPER == 0
}

fn run_of(classes: &Classes, bytes: &[u8], mut at: usize, wanted: fn(u8) -> bool) -> usize {
    loop {
        let (class, length) = classes.at(bytes, at);
        if length == 0 || !wanted(class) {
            return at;
        }
        at += length;
    }
}

/// `upper* lower+`. Characters without case are both, so when nothing lower follows, the run of upper characters
/// gives back all that comes after its last one without case.
fn small_letters(classes: &Classes, bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut after_caseless = None;
    loop {
        let (class, length) = classes.at(bytes, at);
        if length == 0 || !is_upper(class) {
            break;
        }
        at += length;
        if is_lower(class) {
            after_caseless = Some(at);
        }
    }
    let end = run_of(classes, bytes, at, is_lower);
    if end > at { Some(end) } else { after_caseless }
}

/// `upper+ lower*`
fn capitals(classes: &Classes, bytes: &[u8], start: usize) -> Option<usize> {
    let middle = run_of(classes, bytes, start, is_upper);
    (middle > start).then(|| run_of(classes, bytes, middle, is_lower))
}

/// The end of a number whose first digit ends at `at`.
#[inline]
fn number<R: Rules>(classes: &Classes, bytes: &[u8], mut at: usize) -> usize {
    if R::DIGITS == 0 {
        return classes.run(bytes, at, NUMBER);
    }
    for _ in 1..R::DIGITS {
        let (class, length) = classes.at(bytes, at);
        if class & NUMBER == 0 {
            break;
        }
        at += length;
    }
    at
}

/// The end of punctuation whose first character ends at `at`.
#[inline]
fn punctuation<R: Rules>(classes: &Classes, bytes: &[u8], at: usize) -> usize {
    let mut at = classes.run_without(bytes, at, SPACE | LETTER | NUMBER);
    let mut more = match R::TAIL {
        Tail::Nothing => 0,
        Tail::OneNewlineOrSlash => 1,
        Tail::Newlines | Tail::NewlinesAndSlashes => usize::MAX,
    };
    let slashes = R::TAIL != Tail::Newlines;
    while more > 0 && matches!(bytes.get(at), Some(b'\r' | b'\n'))
        || slashes && more > 0 && bytes.get(at) == Some(&b'/')
    {
        at += 1;
        more -= 1;
    }
    at
}

/// The end of white space: up to its last line break if the family asks for that, else all but the last character,
/// which belongs to the next word, unless it is the only one or the text ends here.
#[inline]
fn white_space<R: Rules>(classes: &Classes, bytes: &[u8], start: usize) -> usize {
    let (mut at, mut last, mut line) = (start, start, 0);
    loop {
        let (class, length) = classes.at(bytes, at);
        if class & SPACE == 0 {
            if R::LINES && line > 0 {
                return line;
            }
            return if length == 0 || last == start { at } else { last };
        }
        last = at;
        at += length;
        if R::LINES && matches!(bytes.get(last), Some(b'\r' | b'\n')) {
            line = at;
        }
    }
}
