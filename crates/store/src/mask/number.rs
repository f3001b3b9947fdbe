//! Numbers that stand for people: found as chains of digit groups, told apart by their shape.

use std::ops::Range;

/// What stands between two groups of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    Hyphen,
    Space,
    Dot,
}

/// A run of digits.
#[derive(Clone, Debug)]
struct Group {
    digits: Vec<u8>,
    range: Range<usize>,
    /// What comes before it within its chain; nothing before the first.
    separator: Option<Separator>,
    /// Whether it is all digits: no letter touches it.
    is_free: bool,
    has_plus: bool,
}

/// Most groups that a pattern spans.
const MOST_GROUPS: usize = 5;
/// Words after which ten digits are an account.
const ACCOUNT_WORDS: [&str; 6] = ["계좌", "통장", "은행", "account", "acct", "bank"];
/// Letters between such a word and the number.
const NEAR: usize = 16;

/// Where there are numbers of people, and what to write instead.
pub(super) fn find(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let groups = groups(text);
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(rest) = groups.get(index..).filter(|rest| !rest.is_empty()) {
        let linked =
            1 + rest.iter().skip(1).take(MOST_GROUPS - 1).take_while(|group| group.separator.is_some()).count();
        // The longest pattern first, so that a number is not taken for a part of itself.
        let hit = (1..=linked).rev().find_map(|count| {
            let chain = rest.get(..count)?;
            label(chain, text).map(|label| (count, label))
        });
        match (hit, rest.first()) {
            (Some((count, label)), Some(first)) => {
                let end = rest.get(count - 1).map_or(first.range.end, |last| last.range.end);
                let start = if first.has_plus { first.range.start - 1 } else { first.range.start };
                found.push((start..end, label));
                index += count;
            }
            _ => index += 1,
        }
    }
    found
}

/// Every run of digits of a text, with what links it to the run before.
fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut letters = text.char_indices().peekable();
    let mut previous: Option<char> = None;
    while let Some((start, letter)) = letters.next() {
        let Some(first) = digit(letter) else {
            previous = Some(letter);
            continue;
        };
        let (mut digits, mut end) = (vec![first], start + letter.len_utf8());
        while let Some((at, letter)) = letters.peek().copied()
            && let Some(value) = digit(letter)
        {
            digits.push(value);
            end = at + letter.len_utf8();
            letters.next();
        }
        let touches = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_');
        let next = letters.peek().map(|(_, letter)| *letter);
        let separator = groups.last().and_then(|last| separator(text.get(last.range.end..start).unwrap_or_default()));
        let is_free = !touches(previous) && !touches(next);
        groups.push(Group { digits, range: start..end, separator, is_free, has_plus: previous == Some('+') });
        previous = None;
    }
    groups
}

fn digit(letter: char) -> Option<u8> {
    match letter {
        '0'..='9' => Some(letter as u8 - b'0'),
        '０'..='９' => u8::try_from(u32::from(letter) - u32::from('０')).ok(),
        _ => None,
    }
}

/// What a text between two groups is: one mark with a space on either side, or one space.
fn separator(between: &str) -> Option<Separator> {
    if between.chars().count() > 3 {
        return None;
    }
    match between.trim_matches([' ', '\u{a0}', '\u{3000}']) {
        "" if between.chars().count() == 1 => Some(Separator::Space),
        "-" | "‐" | "‑" | "‒" | "–" | "—" | "−" | "－" | "ㅡ" | ")" => Some(Separator::Hyphen),
        "." | "·" => Some(Separator::Dot),
        _ => None,
    }
}

/// What these groups together are.
fn label(chain: &[Group], text: &str) -> Option<&'static str> {
    if !chain.iter().all(|group| group.is_free) {
        return None;
    }
    let separators: Vec<Separator> = chain.iter().skip(1).filter_map(|group| group.separator).collect();
    let lengths: Vec<usize> = chain.iter().map(|group| group.digits.len()).collect();
    let total: usize = lengths.iter().sum();
    if !(8..=19).contains(&total) {
        return None;
    }
    let digits: Vec<u8> = chain.iter().flat_map(|group| group.digits.iter().copied()).collect();
    let is_even = separators.windows(2).all(|pair| pair.first() == pair.last());
    if is_resident(&lengths, &digits) {
        return Some("[resident-number]");
    }
    if is_even && is_card(&lengths, &digits) {
        return Some("[card]");
    }
    if is_phone(&lengths, &digits, chain.first().is_some_and(|group| group.has_plus)) {
        return Some("[phone]");
    }
    let is_account = match lengths.as_slice() {
        [10..=14] => follows_account_word(chain, text),
        [first, _, _, ..] if *first >= 3 => {
            let is_hyphens = separators.iter().all(|separator| *separator == Separator::Hyphen);
            is_hyphens && (10..=16).contains(&total) && !is_date(&lengths, &digits)
        }
        _ => false,
    };
    is_account.then_some("[account]")
}

/// A resident or foreigner registration number.
fn is_resident(lengths: &[usize], digits: &[u8]) -> bool {
    let is_together = match lengths {
        [13] => true,
        [6, 7] => false,
        _ => return false,
    };
    let Some(kind) = digits.get(6).copied() else { return false };
    let (month, day) = (pair(digits, 2), pair(digits, 4));
    let longest = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_plausible = (1..=12).contains(&month) && (1..=longest).contains(&day) && (1..=8).contains(&kind);
    // Those born since 2000 may have a number that was issued without a checksum.
    is_plausible && (!is_together || matches!(kind, 3 | 4 | 7 | 8) || has_checksum(digits, kind))
}

/// The rule for numbers issued until October 2020; those of foreigners end two higher.
fn has_checksum(digits: &[u8], kind: u8) -> bool {
    let sum: u32 =
        digits.iter().zip([2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    let base = if (5..=8).contains(&kind) { 13 } else { 11 };
    digits.last().copied().map(u32::from) == Some((base - sum % 11) % 10)
}

fn pair(digits: &[u8], at: usize) -> u32 {
    let digit = |at: usize| digits.get(at).copied().map_or(0, u32::from);
    digit(at) * 10 + digit(at + 1)
}

fn is_card(lengths: &[usize], digits: &[u8]) -> bool {
    let is_shape = matches!(lengths, [13..=19] | [4, 4, 4, 4] | [4, 6, 5] | [4, 6, 4] | [4, 4, 4, 4, 1..=3]);
    // No card begins with 0, 1, 7 or 8; counts of microseconds begin with 1.
    let is_issuer = digits.first().is_some_and(|first| matches!(first, 2..=6 | 9));
    is_shape && is_issuer && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(*digit) << (place % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// A Korean telephone number, also from abroad.
fn is_phone(lengths: &[usize], digits: &[u8], has_plus: bool) -> bool {
    // As dialled within Korea: `+82 10` is `010`, and so is `+82 (0)10` written as `+82 010`.
    let (lengths, national): (Vec<usize>, Vec<u8>) = match (lengths, digits) {
        ([2, ..], [8, 2, rest @ ..]) if lengths.len() > 2 => {
            let groups = lengths.iter().skip(1).copied();
            if rest.first() == Some(&0) {
                (groups.collect(), rest.to_vec())
            } else {
                let first = groups.enumerate().map(|(index, length)| if index == 0 { length + 1 } else { length });
                (first.collect(), [&[0], rest].concat())
            }
        }
        ([length], [8, 2, rest @ ..]) if has_plus => (vec![length - 1], [&[0], rest].concat()),
        _ => (lengths.to_vec(), digits.to_vec()),
    };
    let prefix = match national.as_slice() {
        [0, 1, 0 | 1 | 6 | 7 | 8 | 9, ..] => 3,
        [0, 2, ..] => 2,
        [0, 3..=6, 1..=5, ..] => 3,
        [0, 5, 0, ..] => 4,
        [0, 7 | 8, 0, ..] => 3,
        _ => return false,
    };
    match lengths.as_slice() {
        [all] => matches!(all.checked_sub(prefix), Some(7 | 8)),
        [first, rest] => *first == prefix && matches!(rest, 7 | 8),
        [first, 3 | 4, 4] => *first == prefix,
        _ => false,
    }
}

/// `2026-11-22-...`: a day with something behind it.
fn is_date(lengths: &[usize], digits: &[u8]) -> bool {
    let century = pair(digits, 0);
    matches!(lengths, [4, 2, 2, ..])
        && (19..=20).contains(&century)
        && (1..=12).contains(&pair(digits, 4))
        && (1..=31).contains(&pair(digits, 6))
}

fn follows_account_word(chain: &[Group], text: &str) -> bool {
    let start = chain.first().map_or(0, |group| group.range.start);
    let before = text.get(..start).unwrap_or_default();
    let near = before.char_indices().rev().nth(NEAR).map_or(0, |(at, _)| at);
    let near = before.get(near..).unwrap_or_default().to_lowercase();
    ACCOUNT_WORDS.iter().any(|word| near.contains(word))
}
