//! Takes personal data out of texts that go to a log.
//!
//! | what | how it is told | becomes |
//! |---|---|---|
//! | resident and foreigner registration numbers | 6 + 7 digits of a possible date and a digit from 1 to 8; written without a separator also the checksum, except where the holder may have a number of the kind that has none (issued since October 2020) | `[resident-number]` |
//! | cards | 13 to 19 digits in the usual groups whose Luhn sum is right | `[card]` |
//! | telephone numbers | Korean mobile, area and service prefixes, or `+82` | `[phone]` |
//! | accounts | 10 to 16 digits in three to five groups with hyphens, or 10 to 14 digits after a word such as 계좌 | `[account]` |
//! | e-mail | `name@host.tld` | `[email]` |
//! | keys of this server | `saem_<id>_<secret>` | `saem_<id>_[key]` |
//!
//! Full-width digits, several kinds of hyphens, spaces and dots are read like plain ones. Where a number could be
//! personal it is taken out: a log that lacks an order number is better than one that holds a resident number. Names
//! and addresses of streets are not recognised, and neither is what is spelled out in words or cut by line breaks.

mod number;

use std::borrow::Cow;
use std::ops::Range;

/// The text without personal data; the very text where there is none. Takes time in proportion to its length.
///
/// ```
/// use saem_store::mask_personal_data;
///
/// let text = "홍길동 900101-1234567, 010-1234-5678로 연락 주세요";
/// assert_eq!(mask_personal_data(text), "홍길동 [resident-number], [phone]로 연락 주세요");
/// ```
#[must_use]
pub fn mask_personal_data(text: &str) -> Cow<'_, str> {
    let mut found = number::find(text);
    found.extend(emails(text));
    found.extend(keys(text));
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut masked = String::with_capacity(text.len());
    let mut end = 0;
    for (range, label) in found {
        // What begins inside another finding, such as digits in an address, went with it.
        if range.start >= end {
            masked.push_str(text.get(end..range.start).unwrap_or_default());
            masked.push_str(label);
            end = range.end;
        }
    }
    masked.push_str(text.get(end..).unwrap_or_default());
    Cow::Owned(masked)
}

fn emails(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let is_name = |letter: &char| letter.is_ascii_alphanumeric() || "._%+-".contains(*letter);
    let is_host = |letter: &char| letter.is_alphanumeric() || "-.".contains(*letter);
    let mut found = Vec::new();
    for (at, _) in text.match_indices('@') {
        let (Some(before), Some(after)) = (text.get(..at), text.get(at + 1..)) else { continue };
        let name: usize = before.chars().rev().take_while(is_name).map(char::len_utf8).sum();
        // A host ends where Korean particles begin: `a@b.kr로`. Labels before the last dot may be Hangul.
        let host: &str = &after[..after.chars().take_while(is_host).map(char::len_utf8).sum::<usize>()];
        let Some((labels, last)) = host.rsplit_once('.').map(|(labels, _)| last_label(host, labels)) else { continue };
        if name > 0 && labels > 0 && last >= 2 {
            found.push((at - name..at + 1 + labels + 1 + last, "[email]"));
        }
    }
    found
}

/// Length of the labels before the last dot that an ASCII label of two letters or more follows, and of that label.
fn last_label(host: &str, mut labels: &str) -> (usize, usize) {
    loop {
        let rest = host.get(labels.len() + 1..).unwrap_or_default();
        let last = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if last >= 2 {
            return (labels.len(), last);
        }
        match labels.rsplit_once('.') {
            Some((shorter, _)) => labels = shorter,
            None => return (0, 0),
        }
    }
}

fn keys(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let mut found = Vec::new();
    for (at, prefix) in text.match_indices("saem_") {
        let start = at + prefix.len();
        let id = alphanumeric(text, start);
        let secret = start + id + 1;
        if id > 0 && text.get(start + id..secret) == Some("_") {
            let length = alphanumeric(text, secret);
            // Shorter ones are names that happen to begin like a key.
            if length >= 16 {
                found.push((secret..secret + length, "[key]"));
            }
        }
    }
    found
}

fn alphanumeric(text: &str, start: usize) -> usize {
    text.get(start..).unwrap_or_default().bytes().take_while(u8::is_ascii_alphanumeric).count()
}

#[cfg(test)]
mod tests;
