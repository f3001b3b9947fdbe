//! From the text of an answer, as it streams, to what is said and what is called.

use super::ToolSyntax;
use super::scanner::Scanner;

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolEvent {
    /// Text beside the calls.
    Text(String),
    /// A call begins.
    Begin {
        /// Which call of the answer, from 0.
        index: usize,
        /// The function.
        name: String,
    },
    /// The next piece of a call's arguments, which together are the text of a JSON object.
    Arguments {
        /// Which call.
        index: usize,
        /// Whole characters.
        text: String,
    },
    /// A call is complete.
    End {
        /// Which call.
        index: usize,
    },
}

/// Where the parser stands.
#[derive(Clone, Debug)]
enum State {
    /// Before everything: some syntaxes need no mark at the beginning.
    Start,
    Text,
    /// Between the mark and a call, or between two calls.
    Before,
    Call(Box<Scanner>),
    /// Behind a call: its closing mark.
    After,
}

/// Reads an answer piece by piece. Whatever turns out to be no call is text, to the letter; blanks between calls, and
/// before and after them, are dropped with the marks.
#[derive(Clone, Debug)]
pub struct ToolCallParser {
    syntax: ToolSyntax,
    state: State,
    /// Text that may yet turn out to belong to a mark, or to be blanks before a call.
    held: String,
    /// The mark of the call that is being read, given back as text where the call is none.
    opening: String,
    /// Text that waits to be told.
    text: String,
    /// The number of the next call, and whether the current one was told.
    index: usize,
    begun: bool,
    /// Inside an array of calls.
    in_array: bool,
}

impl ToolCallParser {
    /// A parser for an answer in this syntax.
    #[must_use]
    pub fn new(syntax: ToolSyntax) -> Self {
        Self {
            syntax,
            state: State::Start,
            held: String::new(),
            opening: String::new(),
            text: String::new(),
            index: 0,
            begun: false,
            in_array: false,
        }
    }

    /// Calls that were told so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.index + usize::from(self.begun)
    }

    /// Takes the next piece of the answer and tells what is certain by now.
    pub fn push(&mut self, piece: &str, tell: &mut dyn FnMut(ToolEvent)) {
        for character in piece.chars() {
            self.take(character, tell);
        }
        self.tell_progress(tell);
    }

    /// Ends the answer. A call that was cut off before its arguments is text; one that was cut off later just ends
    /// without [`ToolEvent::End`].
    pub fn finish(&mut self, tell: &mut dyn FnMut(ToolEvent)) {
        if let State::Call(scanner) = &self.state
            && !self.begun
        {
            self.text.push_str(&self.opening);
            self.text.push_str(&scanner.raw);
        } else if matches!(self.state, State::Before) && !self.opening.trim().is_empty() {
            self.text.push_str(&self.opening);
        } else if self.index == 0 || !self.held.trim().is_empty() {
            self.text.push_str(&self.held);
        }
        self.held.clear();
        self.state = State::Text;
        self.tell_text(tell);
    }

    fn take(&mut self, character: char, tell: &mut dyn FnMut(ToolEvent)) {
        match &mut self.state {
            State::Start if character.is_whitespace() => self.held.push(character),
            State::Start => {
                self.state = State::Text;
                let opens = match self.syntax {
                    ToolSyntax::Hermes => false,
                    ToolSyntax::HyperClovaX => character == '[',
                    ToolSyntax::Json => character == '{',
                };
                if opens {
                    self.opening = std::mem::take(&mut self.held);
                    self.state = State::Before;
                }
                self.take(character, tell);
            }
            State::Text => self.take_text(character),
            State::Before => match character {
                '[' if self.syntax == ToolSyntax::HyperClovaX && !self.in_array => {
                    self.in_array = true;
                    self.opening.push('[');
                }
                ',' if self.in_array && self.index > 0 => {}
                ']' if self.in_array => {
                    self.in_array = false;
                    self.state = State::Text;
                }
                other if other.is_whitespace() => self.opening.push(other),
                other => {
                    self.state = State::Call(Box::new(Scanner::new()));
                    self.take(other, tell);
                }
            },
            State::Call(scanner) => {
                scanner.push(character);
                if scanner.is_done() {
                    self.end_call(tell);
                } else if scanner.is_broken() {
                    self.give_up();
                }
            }
            State::After => {
                // The closing mark, or what stands in its place.
                self.held.push(character);
                let held = self.held.trim_start();
                if held == CLOSING {
                    self.held.clear();
                    self.state = State::Text;
                } else if !CLOSING.starts_with(held) {
                    self.state = State::Text;
                    for character in std::mem::take(&mut self.held).chars() {
                        self.take_text(character);
                    }
                }
            }
        }
    }

    fn take_text(&mut self, character: char) {
        self.held.push(character);
        let Some(mark) = mark(self.syntax) else {
            return self.text.push_str(&std::mem::take(&mut self.held));
        };
        if let Some(before) = self.held.strip_suffix(mark) {
            // The blank before HyperCLOVA X's arrow and line breaks before a mark belong to it.
            let said = before.trim_end().len();
            self.opening = self.held.split_off(said);
            self.text.push_str(&std::mem::take(&mut self.held));
            self.state = State::Before;
            return;
        }
        // Held back: what could become the mark, and blanks before that.
        let could_grow = (1..mark.len())
            .rev()
            .find(|&length| mark.get(..length).is_some_and(|beginning| self.held.ends_with(beginning)));
        let certain = self.held.len() - could_grow.unwrap_or(0);
        let certain = self.held.get(..certain).map_or(0, |text| text.trim_end().len());
        self.text.extend(self.held.drain(..certain));
    }

    /// Tells what has been read since the last time.
    fn tell_progress(&mut self, tell: &mut dyn FnMut(ToolEvent)) {
        self.tell_text(tell);
        let State::Call(scanner) = &mut self.state else { return };
        let Some(name) = scanner.name.clone() else { return };
        // A call is told once it certainly is one; a plain object might be an answer.
        if !self.begun && scanner.has_arguments {
            self.begun = true;
            tell(ToolEvent::Begin { index: self.index, name });
        }
        if self.begun && !scanner.arguments.is_empty() {
            tell(ToolEvent::Arguments { index: self.index, text: std::mem::take(&mut scanner.arguments) });
        }
    }

    fn tell_text(&mut self, tell: &mut dyn FnMut(ToolEvent)) {
        if !self.text.is_empty() {
            tell(ToolEvent::Text(std::mem::take(&mut self.text)));
        }
    }

    /// A call has its closing brace.
    fn end_call(&mut self, tell: &mut dyn FnMut(ToolEvent)) {
        self.tell_progress(tell);
        let State::Call(scanner) = &self.state else { return };
        if !self.begun {
            let Some(name) = scanner.name.clone().filter(|_| self.syntax != ToolSyntax::Json) else {
                return self.give_up();
            };
            tell(ToolEvent::Begin { index: self.index, name });
            tell(ToolEvent::Arguments { index: self.index, text: "{}".to_owned() });
        }
        tell(ToolEvent::End { index: self.index });
        self.index += 1;
        self.begun = false;
        self.opening.clear();
        self.state = match self.syntax {
            ToolSyntax::Hermes => State::After,
            ToolSyntax::HyperClovaX if self.in_array => State::Before,
            ToolSyntax::HyperClovaX | ToolSyntax::Json => State::Text,
        };
    }

    /// What is being read is no call.
    fn give_up(&mut self) {
        let State::Call(scanner) = std::mem::replace(&mut self.state, State::Text) else { return };
        self.in_array = false;
        if self.begun {
            // Its beginning is told already; what follows is nothing that anyone could use.
            self.index += 1;
            self.begun = false;
        } else {
            self.text.push_str(&self.opening);
            self.text.push_str(&scanner.raw);
        }
        self.opening.clear();
    }
}

const CLOSING: &str = "</tool_call>";

/// What announces a call.
fn mark(syntax: ToolSyntax) -> Option<&'static str> {
    match syntax {
        ToolSyntax::Hermes => Some("<tool_call>"),
        ToolSyntax::HyperClovaX => Some("-> tool/function_call\n"),
        ToolSyntax::Json => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What an answer comes to, however it is cut: its text and its calls with whole arguments.
    fn read(syntax: ToolSyntax, pieces: &[String]) -> (String, Vec<(String, String, bool)>) {
        let mut parser = ToolCallParser::new(syntax);
        let (mut text, mut calls) = (String::new(), Vec::new());
        let mut tell = |event| match event {
            ToolEvent::Text(piece) => text.push_str(&piece),
            ToolEvent::Begin { index, name } => {
                assert_eq!(index, calls.len());
                calls.push((name, String::new(), false));
            }
            ToolEvent::Arguments { index, text } => {
                assert!(!text.is_empty());
                calls[index].1.push_str(&text);
            }
            ToolEvent::End { index } => calls[index].2 = true,
        };
        for piece in pieces {
            parser.push(piece, &mut tell);
        }
        parser.finish(&mut tell);
        (text, calls)
    }

    fn whole(syntax: ToolSyntax, text: &str) -> (String, Vec<(String, String, bool)>) {
        read(syntax, &[text.to_owned()])
    }

    fn call(name: &str, arguments: &str) -> (String, String, bool) {
        (name.to_owned(), arguments.to_owned(), true)
    }

    const HERMES: &str = "찾아볼게요.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"도시\": \"서울 } \\\" 샘\", \
                          \"n\": [1, {\"a\": 2}]}}\n</tool_call>\n<tool_call>{\"arguments\": {}, \"name\": \"g\"}</tool_call>";

    #[test]
    fn hermes_calls_and_the_text_before_them() {
        let expected = vec![call("f", "{\"도시\": \"서울 } \\\" 샘\", \"n\": [1, {\"a\": 2}]}"), call("g", "{}")];
        assert_eq!(whole(ToolSyntax::Hermes, HERMES), ("찾아볼게요.".to_owned(), expected));
    }

    #[test]
    fn clova_calls_with_and_without_their_header() {
        let array = "[{\"name\": \"f\", \"arguments\": {\"x\": 1}}, {\"name\": \"g\", \"parameters\": {}}]";
        let expected = vec![call("f", "{\"x\": 1}"), call("g", "{}")];
        assert_eq!(whole(ToolSyntax::HyperClovaX, array), (String::new(), expected.clone()));
        let header = format!(" -> tool/function_call\n{array}");
        assert_eq!(whole(ToolSyntax::HyperClovaX, &header), (String::new(), expected.clone()));
        let after_text = format!("잠시만요. -> tool/function_call\n{array}");
        assert_eq!(whole(ToolSyntax::HyperClovaX, &after_text), ("잠시만요.".to_owned(), expected));
        let list = "[1, 2] 중에서 고르세요.";
        assert_eq!(whole(ToolSyntax::HyperClovaX, list), (list.to_owned(), vec![]));
    }

    #[test]
    fn a_plain_object_is_a_call_only_with_name_and_arguments() {
        let text = "{\"name\": \"f\", \"arguments\": {\"x\": 1}}";
        assert_eq!(whole(ToolSyntax::Json, text), (String::new(), vec![call("f", "{\"x\": 1}")]));
        for text in
            ["{\"name\": \"f\"}", "{\"answer\": 3}", "{x}", "네, {\"name\": \"f\", \"arguments\": {}}", "", "  \n"]
        {
            assert_eq!(whole(ToolSyntax::Json, text), (text.to_owned(), vec![]));
        }
    }

    #[test]
    fn arguments_as_a_string_are_unpacked() {
        let text = "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"x\\\": \\\"샘\\\"}\"}</tool_call>";
        assert_eq!(whole(ToolSyntax::Hermes, text).1, [call("f", "{\"x\": \"샘\"}")]);
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for text in [
            "a < b 이고 <tool_calls> 는 아닙니다. <tool_",
            "<tool_call>그냥 글</tool_call>",
            "<tool_call>\n{\"name\": \"f",
            "끝에 빈칸 \n",
            "<tool_call>",
        ] {
            assert_eq!(whole(ToolSyntax::Hermes, text), (text.to_owned(), vec![]), "{text:?}");
        }
    }

    #[test]
    fn a_call_that_is_cut_off_does_not_end() {
        let text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": \"서";
        let expected = vec![("f".to_owned(), "{\"x\": \"서".to_owned(), false)];
        assert_eq!(whole(ToolSyntax::Hermes, text), (String::new(), expected));
    }

    #[test]
    fn arguments_stream_as_they_come() {
        let mut parser = ToolCallParser::new(ToolSyntax::Hermes);
        let mut events = Vec::new();
        for piece in ["<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": \"서", "울", "\"}}", "</tool_call>"] {
            parser.push(piece, &mut |event| events.push(event));
        }
        let text = |text: &str| ToolEvent::Arguments { index: 0, text: text.into() };
        let begin = ToolEvent::Begin { index: 0, name: "f".into() };
        assert_eq!(events, [begin, text("{\"x\": \"서"), text("울"), text("\"}"), ToolEvent::End { index: 0 }]);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            parts in prop::collection::vec(prop_oneof![
                Just(HERMES.to_owned()),
                Just("<tool_call>".to_owned()),
                Just("{\"name\": \"f\", \"arguments\": {}}".to_owned()),
                Just(" -> tool/function_call\n".to_owned()),
                Just("[".to_owned()),
                "[가-힣 \\n<{}\\[\\]\",:a]{0,6}",
            ], 0..6),
            cuts in prop::collection::vec(0_usize..400, 0..12),
        ) {
            let text = parts.concat();
            let mut borders: Vec<usize> = cuts.into_iter().filter(|at| text.is_char_boundary(*at)).collect();
            borders.extend([0, text.len()]);
            borders.sort_unstable();
            let pieces: Vec<String> = borders.windows(2).map(|pair| text[pair[0]..pair[1]].to_owned()).collect();
            for syntax in [ToolSyntax::Hermes, ToolSyntax::HyperClovaX, ToolSyntax::Json] {
                prop_assert_eq!(read(syntax, &pieces), whole(syntax, &text));
            }
        }
    }
}
