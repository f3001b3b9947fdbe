//! Reads one call, `{"name": …, "arguments": …}`, as its characters come.

/// What the scanner wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The opening brace.
    Open,
    /// A key, a comma or the closing brace.
    Key,
    /// The rest of a key.
    InKey,
    Colon,
    /// The first character of a value.
    Value,
    /// The rest of a value.
    InValue,
    Done,
    Broken,
}

/// Which value is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Arguments,
    Other,
}

/// One call while it is read. Nothing in it recurses, so nesting costs nothing.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    state: State,
    field: Field,
    /// Inside a string, and right after a backslash in it.
    in_string: bool,
    escaped: bool,
    /// Open brackets within the value.
    depth: usize,
    /// The key or value that is being read.
    token: String,
    /// The function's name, once it is known.
    pub(super) name: Option<String>,
    /// Arguments that were read and not yet taken.
    pub(super) arguments: String,
    /// Whether the arguments have begun.
    pub(super) has_arguments: bool,
    /// Arguments come as a string that holds JSON.
    quoted: bool,
    /// Everything read, for the case that it is no call after all.
    pub(super) raw: String,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self {
            state: State::Open,
            field: Field::Other,
            in_string: false,
            escaped: false,
            depth: 0,
            token: String::new(),
            name: None,
            arguments: String::new(),
            has_arguments: false,
            quoted: false,
            raw: String::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Takes one character.
    pub(super) fn push(&mut self, character: char) {
        self.raw.push(character);
        match self.state {
            State::Open => self.want(character, '{', State::Key),
            State::Key => match character {
                '"' => {
                    self.token.clear();
                    self.token.push('"');
                    self.state = State::InKey;
                    self.in_string = true;
                }
                ',' => {}
                '}' => self.state = State::Done,
                other if other.is_ascii_whitespace() => {}
                _ => self.state = State::Broken,
            },
            State::InKey => {
                self.token.push(character);
                self.in_text(character);
                if !self.in_string {
                    self.field = match self.token.as_str() {
                        "\"name\"" => Field::Name,
                        "\"arguments\"" | "\"parameters\"" => Field::Arguments,
                        _ => Field::Other,
                    };
                    self.state = State::Colon;
                }
            }
            State::Colon => self.want(character, ':', State::Value),
            State::Value if character.is_ascii_whitespace() => {}
            State::Value => self.begin_value(character),
            State::InValue => self.in_value(character),
            State::Done | State::Broken => {}
        }
    }

    /// Whitespace, or the one character that may come.
    fn want(&mut self, character: char, wanted: char, next: State) {
        if character == wanted {
            self.state = next;
        } else if !character.is_ascii_whitespace() {
            self.state = State::Broken;
        }
    }

    fn begin_value(&mut self, character: char) {
        self.state = State::InValue;
        self.token.clear();
        self.depth = 0;
        if self.field == Field::Arguments {
            if self.has_arguments {
                // Said twice: the first counts.
                self.field = Field::Other;
            } else {
                self.has_arguments = true;
                self.quoted = character == '"';
            }
        }
        match character {
            '"' => self.in_string = true,
            '{' | '[' => self.depth = 1,
            ',' | '}' | ']' | ':' => self.state = State::Broken,
            _ => {}
        }
        self.keep(character);
    }

    fn in_value(&mut self, character: char) {
        if self.in_string {
            self.keep(character);
            self.in_text(character);
            if !self.in_string && self.depth == 0 {
                self.end_value();
            }
            return;
        }
        match character {
            '"' => self.in_string = true,
            '{' | '[' => self.depth += 1,
            '}' | ']' if self.depth > 0 => {
                self.depth -= 1;
                self.keep(character);
                if self.depth == 0 {
                    self.end_value();
                }
                return;
            }
            // A number or a word ends where the next thing begins.
            ',' | '}' if self.depth == 0 => {
                self.end_value();
                if character == '}' && self.state != State::Broken {
                    self.state = State::Done;
                }
                return;
            }
            other if other.is_ascii_whitespace() && self.depth == 0 => return self.end_value(),
            _ => {}
        }
        self.keep(character);
    }

    /// Follows quotes and backslashes inside a string.
    fn in_text(&mut self, character: char) {
        match character {
            _ if self.escaped => self.escaped = false,
            '\\' => self.escaped = true,
            '"' => self.in_string = false,
            _ => {}
        }
    }

    fn keep(&mut self, character: char) {
        match self.field {
            Field::Arguments if !self.quoted => self.arguments.push(character),
            Field::Name | Field::Arguments => self.token.push(character),
            Field::Other => {}
        }
    }

    fn end_value(&mut self) {
        self.state = State::Key;
        let text = || serde_json::from_str::<String>(&self.token).ok();
        match self.field {
            Field::Name => match text() {
                Some(name) => self.name = self.name.take().or(Some(name)),
                None => self.state = State::Broken,
            },
            Field::Arguments if self.quoted => match text() {
                Some(arguments) => self.arguments = arguments,
                None => self.state = State::Broken,
            },
            _ => {}
        }
    }
}
