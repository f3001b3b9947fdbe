//! How a model is asked for a summary, and what becomes of its answer.

use saem_engine::chat::Message;

use super::sentences::sentences_up_to;
use super::status::too_long;
use crate::ApiError;

/// Tokens of the summary of one part.
pub(crate) const SUMMARY_TOKENS: usize = 200;
/// The most parts of a text: each one is a request to the model.
pub(crate) const MAX_PARTS: usize = 128;

/// A prompt for each part, in tokens. A part that does not fit into `budget` tokens is halved where `divisible`, as
/// often as it takes. `tokens` renders a conversation.
pub(crate) fn prompts(
    parts: &[Vec<&str>],
    divisible: bool,
    budget: usize,
    tokens: &mut dyn FnMut(&[Message]) -> Result<Vec<u32>, ApiError>,
) -> Result<Vec<Vec<u32>>, ApiError> {
    let mut waiting: Vec<Vec<&str>> = parts.iter().rev().cloned().collect();
    let mut prompts = Vec::with_capacity(parts.len());
    while let Some(part) = waiting.pop() {
        let prompt = tokens(&[question(&part.join(" "))])?;
        if prompt.len() <= budget {
            prompts.push(prompt);
            continue;
        }
        let halves = if divisible { halves(&part) } else { None };
        let Some((first, second)) = halves else {
            let reason = format!("a part of the text has {} tokens and {budget} fit", prompt.len());
            return Err(too_long("texts", reason));
        };
        waiting.extend([second, first]);
    }
    Ok(prompts)
}

/// The two halves of a part, by sentences, or of its only sentence; `None` where there is nothing to halve.
fn halves<'a>(part: &[&'a str]) -> Option<(Vec<&'a str>, Vec<&'a str>)> {
    if let [sentence] = part {
        let pieces = sentences_up_to(sentence, sentence.chars().count().div_ceil(2));
        return (pieces.len() > 1).then(|| halves(&pieces)).flatten();
    }
    let (first, second) = part.split_at_checked(part.len() / 2)?;
    (!first.is_empty()).then(|| (first.to_vec(), second.to_vec()))
}

/// The request for a summary, in the language of the text. It is one message of the user, since some templates know
/// no other beginning.
fn question(text: &str) -> Message {
    let hangul = text.chars().filter(|letter| ('가'..='힣').contains(letter)).count();
    let latin = text.chars().filter(char::is_ascii_alphabetic).count();
    // A syllable says about as much as two and a half letters.
    let instruction = if hangul * 5 >= latin * 2 {
        "다음 글을 한 문장으로 요약해 줘. 글에 있는 내용만 쓰고, 요약만 답해 줘."
    } else {
        "Summarise the following text in one sentence. Use only what the text says, and answer with the summary alone."
    };
    Message::new("user", format!("{instruction}\n\n{text}"))
}

/// The summary of a part as a line of a list.
pub(crate) fn line(answer: &str) -> String {
    let words = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("- {}", words.trim_start_matches("- ").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tokenizer of one token per character, so that sizes can be counted.
    fn tokens(messages: &[Message]) -> Result<Vec<u32>, ApiError> {
        let text: String = messages.iter().filter_map(|message| message.content.as_str()).collect();
        Ok(text.chars().map(u32::from).collect())
    }

    fn texts(prompts: &[Vec<u32>]) -> Vec<String> {
        let text = |prompt: &Vec<u32>| prompt.iter().filter_map(|c| char::from_u32(*c)).collect::<String>();
        prompts.iter().map(|prompt| text(prompt).split("\n\n").nth(1).unwrap().to_owned()).collect()
    }

    #[test]
    fn parts_that_do_not_fit_are_halved_in_order() {
        let parts = vec![vec!["가.", "나.", "다.", "라."], vec!["마."]];
        let overhead = tokens(&[question("가")]).unwrap().len() - 1;
        let all = |budget| prompts(&parts, true, overhead + budget, &mut tokens).map(|prompts| texts(&prompts));
        assert_eq!(all(11).unwrap(), ["가. 나. 다. 라.", "마."]);
        assert_eq!(all(5).unwrap(), ["가. 나.", "다. 라.", "마."]);
        assert_eq!(all(2).unwrap(), ["가.", "나.", "다.", "라.", "마."]);
        assert_eq!(all(0).unwrap_err().code, "context_length_exceeded");
        let whole = prompts(&parts, false, overhead + 5, &mut tokens);
        assert_eq!(whole.unwrap_err().code, "context_length_exceeded");
    }

    #[test]
    fn the_question_speaks_the_texts_language() {
        let asked = |text: &str| question(text).content.as_str().unwrap().to_owned();
        assert!(asked("오늘 AI 회의가 있었다").starts_with("다음 글을"));
        assert!(asked("The word 샘 means spring").starts_with("Summarise"));
    }

    #[test]
    fn an_answer_becomes_one_line() {
        assert_eq!(line(" - 첫째\n둘째 \n"), "- 첫째 둘째");
        assert_eq!(line("요약."), "- 요약.");
    }
}
