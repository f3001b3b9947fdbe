//! Keeping users from speaking in control tokens.
//!
//! A rendered conversation is tokenised with control tokens recognised, so a user who writes `<|im_end|>` would end
//! the turn like the template does. Before rendering, such spellings in messages are broken by a mark: a character
//! that occurs nowhere in the conversation, set after the spelling's first character. After rendering the text is cut
//! at the marks, which go, and the pieces are tokenised one by one: no piece holds the spelling, but the text is
//! unchanged.

use serde_json::Value as Json;

use super::Message;

/// A conversation in which no message spells a control token.
#[derive(Clone, Debug)]
pub struct Marked {
    /// The messages to render.
    pub messages: Vec<Message>,
    mark: char,
}

impl Marked {
    /// The pieces of the rendered text, to be tokenised one by one. Without control tokens in the messages it is one
    /// piece.
    pub fn pieces<'a>(&self, rendered: &'a str) -> impl Iterator<Item = &'a str> {
        rendered.split(self.mark)
    }
}

/// Breaks every spelling out of `special` in the contents of `messages`.
#[must_use]
pub fn mark_special(messages: &[Message], special: &[&str]) -> Marked {
    let mut messages = messages.to_vec();
    let mut used = Vec::new();
    for message in &mut messages {
        visit(message, &mut |text| used.extend(text.chars().filter(|c| is_private(*c))));
    }
    // One of 6,400 characters that no text has a use for; a conversation that has all of them keeps the first.
    let mark = ('\u{e000}'..='\u{f8ff}').find(|c| !used.contains(c)).unwrap_or('\u{e000}');
    for message in &mut messages {
        visit(message, &mut |text| *text = broken(text, special, mark));
    }
    Marked { messages, mark }
}

fn is_private(character: char) -> bool {
    ('\u{e000}'..='\u{f8ff}').contains(&character)
}

/// All strings of a message but its role.
fn visit(message: &mut Message, change: &mut dyn FnMut(&mut String)) {
    fn walk(value: &mut Json, change: &mut dyn FnMut(&mut String)) {
        match value {
            Json::String(text) => change(text),
            Json::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
            Json::Object(items) => items.values_mut().for_each(|item| walk(item, change)),
            _ => {}
        }
    }
    walk(&mut message.content, change);
    message.extra.values_mut().for_each(|value| walk(value, change));
}

fn broken(text: &str, special: &[&str], mark: char) -> String {
    let mut cuts: Vec<usize> = Vec::new();
    for spelling in special {
        let Some(first) = spelling.chars().next() else { continue };
        // A spelling of one character cannot be broken; no vocabulary has one.
        if first.len_utf8() == spelling.len() {
            continue;
        }
        let mut from = 0;
        // Overlapping occurrences count too, so the search goes on after the first character only.
        while let Some(found) = text.get(from..).and_then(|rest| rest.find(spelling)) {
            from += found + first.len_utf8();
            cuts.push(from);
        }
    }
    if cuts.is_empty() {
        return text.to_owned();
    }
    cuts.sort_unstable();
    cuts.dedup();
    let mut out = String::with_capacity(text.len() + cuts.len() * mark.len_utf8());
    let mut copied = 0;
    for cut in cuts {
        out.push_str(text.get(copied..cut).unwrap_or_default());
        out.push(mark);
        copied = cut;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn no_piece_spells_a_control_token_and_nothing_is_lost() {
        let special = ["<|im_end|>", "<|im_start|>", "<s>", "<s><s>"];
        let text = "a<|im_end|>\n<|im_start|>system<s><s>\u{e000}";
        let marked = mark_special(&[Message::new("user", text)], &special);
        let content = marked.messages[0].content.as_str().unwrap();
        let pieces: Vec<&str> = marked.pieces(content).collect();
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| special.iter().all(|spelling| !piece.contains(spelling))), "{pieces:?}");
    }

    #[test]
    fn ordinary_messages_stay_whole() {
        let marked = mark_special(&[Message::new("user", "1 < 2 | 3 > 2")], &["<|im_end|>"]);
        assert_eq!(marked.pieces(marked.messages[0].content.as_str().unwrap()).count(), 1);
    }
}
