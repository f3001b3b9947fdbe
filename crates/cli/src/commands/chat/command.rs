//! What can be said to the chat instead of to the model.

/// A line that starts with a slash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// `/help`.
    Help,
    /// `/clear`.
    Clear,
    /// `/system TEXT`; without a text, shows it.
    System(&'a str),
    /// `/save FILE`.
    Save(&'a str),
    /// `/exit`.
    Exit,
    /// A word that is none of these.
    Unknown(&'a str),
}

impl<'a> Command<'a> {
    /// Reads a line; `None` where it is a message.
    ///
    /// A path or a comment that happens to start with a slash (`/etc/hosts`, `// note`) is a message.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let rest = line.strip_prefix('/')?;
        let (word, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if word.is_empty() || !word.chars().all(char::is_alphabetic) {
            return None;
        }
        Some(match word.to_lowercase().as_str() {
            "help" | "도움말" => Self::Help,
            "clear" | "새로" => Self::Clear,
            "system" | "지시" => Self::System(argument.trim()),
            "save" | "저장" => Self::Save(argument.trim()),
            "exit" | "quit" | "bye" | "끝" => Self::Exit,
            _ => Self::Unknown(line.split_whitespace().next().unwrap_or(line)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn commands_and_messages_are_told_apart() {
        assert_eq!(Command::parse("/help"), Some(Command::Help));
        assert_eq!(Command::parse("  /EXIT "), Some(Command::Exit));
        assert_eq!(Command::parse("/system 존댓말로 답해 줘"), Some(Command::System("존댓말로 답해 줘")));
        assert_eq!(Command::parse("/system"), Some(Command::System("")));
        assert_eq!(Command::parse("/save a b.md"), Some(Command::Save("a b.md")));
        assert_eq!(Command::parse("/hlep me"), Some(Command::Unknown("/hlep")));
        for message in ["hello", "/etc/hosts", "// a comment", "/", "a /help", ""] {
            assert_eq!(Command::parse(message), None, "{message}");
        }
    }
}
