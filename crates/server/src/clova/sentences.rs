//! Where sentences end, in Korean and English.

/// Words whose full stop ends no sentence.
const ABBREVIATIONS: [&str; 20] = [
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "fig", "no", "vol", "inc", "ltd", "co", "dept",
    "approx", "e.g", "i.e",
];

/// The sentences of a text, in order and trimmed; none is empty.
///
/// A sentence ends at a line break, and after `.`, `!`, `?` or `…` (with the brackets and quotes that close it) where a
/// space follows. A number, an initial, a list number or an abbreviation before the stop keeps the sentence open.
#[must_use]
pub(crate) fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    for line in text.split(['\n', '\r', '\u{2028}', '\u{2029}']) {
        split_line(line, &mut sentences);
    }
    sentences
}

fn split_line<'a>(line: &'a str, sentences: &mut Vec<&'a str>) {
    let mut start = 0;
    let mut characters = line.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if !ends(character) {
            continue;
        }
        let mut end = at + character.len_utf8();
        while let Some(&(at, next)) = characters.peek() {
            if !ends(next) && !closes(next) {
                break;
            }
            end = at + next.len_utf8();
            characters.next();
        }
        let spaced = characters.peek().is_none_or(|(_, next)| next.is_whitespace()) || wide(character);
        let before = line.get(start..at).unwrap_or_default();
        if spaced && !(character == '.' && stays_open(before)) {
            push(line.get(start..end), sentences);
            start = end;
        }
    }
    push(line.get(start..), sentences);
}

fn push<'a>(sentence: Option<&'a str>, sentences: &mut Vec<&'a str>) {
    let sentence = sentence.unwrap_or_default().trim();
    if !sentence.is_empty() {
        sentences.push(sentence);
    }
}

fn ends(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '…') || wide(character)
}

/// Stops of Chinese and Japanese, which no space follows.
fn wide(character: char) -> bool {
    matches!(character, '。' | '！' | '？')
}

fn closes(character: char) -> bool {
    matches!(character, '"' | '\'' | ')' | ']' | '}' | '”' | '’' | '」' | '』' | '》' | '〉')
}

/// Whether the text before a full stop shows that the sentence goes on.
fn stays_open(before: &str) -> bool {
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let word = word.trim_start_matches(['(', '[', '"', '\'', '“', '‘']);
    let alone = word.chars().count() == before.trim().chars().count();
    let initial = word.chars().count() == 1 && word.chars().all(|letter| letter.is_ascii_uppercase());
    let list_number = alone && !word.is_empty() && word.chars().all(|digit| digit.is_ascii_digit());
    initial || list_number || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// As [`sentences`], with every sentence of more than `most` characters cut where it has a space, or anywhere.
#[must_use]
pub(crate) fn sentences_up_to(text: &str, most: usize) -> Vec<&str> {
    let most = most.max(1);
    let mut short = Vec::new();
    for mut rest in sentences(text) {
        while let Some((limit, _)) = rest.char_indices().nth(most) {
            let head = rest.get(..limit).unwrap_or_default();
            let cut = head.rfind(char::is_whitespace).filter(|cut| *cut > 0).unwrap_or(limit);
            push(rest.get(..cut), &mut short);
            rest = rest.get(cut..).unwrap_or_default().trim_start();
        }
        push(Some(rest), &mut short);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn korean_and_english() {
        let text = "두 가지 방법이 있습니다. 어떻게 쓰나요? \"네!\" 라고 했다.\n끝";
        assert_eq!(sentences(text), ["두 가지 방법이 있습니다.", "어떻게 쓰나요?", "\"네!\"", "라고 했다.", "끝"]);
        let text = "It costs 3.5 dollars. Dr. Kim, J. Park et al. agree (really?). Yes!";
        let expected = ["It costs 3.5 dollars.", "Dr. Kim, J. Park et al.", "agree (really?).", "Yes!"];
        assert_eq!(sentences(text), expected);
        assert_eq!(sentences("1. 첫째\n2. 둘째"), ["1. 첫째", "2. 둘째"]);
        assert_eq!(sentences("그래서... 갔다. 3.14는 파이다."), ["그래서...", "갔다.", "3.14는 파이다."]);
        assert_eq!(sentences("天気がいい。行こう！"), ["天気がいい。", "行こう！"]);
        assert_eq!(sentences(" \n\r\n "), Vec::<&str>::new());
    }

    #[test]
    fn long_sentences_are_cut_at_spaces() {
        assert_eq!(sentences_up_to("가나 다라 마바. 사", 5), ["가나", "다라", "마바.", "사"]);
        assert_eq!(sentences_up_to("가나다라마바", 4), ["가나다라", "마바"]);
    }

    proptest! {
        #[test]
        fn nothing_but_space_is_lost(text in "[가-힣a-z .!?\n…\"0-9]{0,80}", most in 1_usize..20) {
            let solid = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(solid(&sentences(&text).concat()), solid(&text));
            let short = sentences_up_to(&text, most);
            prop_assert_eq!(solid(&short.concat()), solid(&text));
            for sentence in short {
                prop_assert!(sentence.chars().count() <= most && !sentence.trim().is_empty());
            }
        }
    }
}
