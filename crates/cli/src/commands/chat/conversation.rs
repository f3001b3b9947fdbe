//! What was said, and how it is saved.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;
use crate::language::Language;

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Turn {
    /// `user` or `assistant`.
    pub(super) role: &'static str,
    /// What was said.
    pub(super) content: String,
}

/// A conversation with a model.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Instructions that precede it.
    pub(super) system: Option<String>,
    /// Messages, oldest first.
    pub(super) turns: Vec<Turn>,
}

impl Conversation {
    /// Writes it whole or not at all: JSON for `.json`, else Markdown.
    pub(super) fn save(&self, path: &Path, model: &str, language: Language) -> anyhow::Result<()> {
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let text = if is_json { self.json(model)? } else { self.markdown(model) };
        let failed = |error: std::io::Error| {
            Failure::new(language.io_failed(&path.display().to_string())).hint(language.reason(&error.to_string()))
        };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn json(&self, model: &str) -> anyhow::Result<String> {
        let mut messages: Vec<_> =
            self.system.iter().map(|text| json!({ "role": "system", "content": text })).collect();
        messages.extend(self.turns.iter().map(|turn| json!(turn)));
        Ok(serde_json::to_string_pretty(&json!({ "model": model, "messages": messages }))? + "\n")
    }

    fn markdown(&self, model: &str) -> String {
        let mut text = format!("# {model}\n");
        let system = self.system.iter().map(|system| ("system", system));
        for (role, content) in system.chain(self.turns.iter().map(|turn| (turn.role, &turn.content))) {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n## {role}\n\n{content}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Conversation, Turn};
    use crate::language::Language;

    #[test]
    fn a_conversation_is_saved_in_both_forms() {
        let directory = tempfile::tempdir().unwrap();
        let conversation = Conversation {
            system: Some("짧게 답하십시오.".to_owned()),
            turns: vec![
                Turn { role: "user", content: "안녕?".to_owned() },
                Turn { role: "assistant", content: "안녕하세요.".to_owned() },
            ],
        };
        let (json, markdown) = (directory.path().join("a.json"), directory.path().join("a.md"));
        conversation.save(&json, "tiny", Language::English).unwrap();
        conversation.save(&markdown, "tiny", Language::English).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert_eq!(read["messages"][2]["content"], "안녕하세요.");
        let text = std::fs::read_to_string(markdown).unwrap();
        assert_eq!(
            text,
            "# tiny\n\n## system\n\n짧게 답하십시오.\n\n## user\n\n안녕?\n\n## assistant\n\n안녕하세요.\n"
        );
        let nowhere = directory.path().join("no/such/directory/a.md");
        assert!(conversation.save(&nowhere, "tiny", Language::English).is_err());
    }
}
