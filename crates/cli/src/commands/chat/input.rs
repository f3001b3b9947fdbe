//! Reading messages: a line editor on a terminal, plain lines elsewhere.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

/// Mark at the start and the end of a message of several lines.
const BLOCK: &str = "\"\"\"";

/// What the user did at the prompt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A message, possibly of several lines, or a command.
    Text(String),
    /// Ctrl-C, Ctrl-D, or the end of what was piped in.
    End,
}

/// Where messages come from.
pub(super) enum Reader {
    /// A terminal. The history is kept in a file, so that it is there the next time.
    Terminal { editor: Box<Editor<(), FileHistory>>, history: PathBuf },
    /// A pipe or a file.
    Lines,
}

impl Reader {
    /// A line editor where both ends are terminals.
    pub(super) fn open(history: PathBuf) -> anyhow::Result<Self> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(Self::Lines);
        }
        let config = Config::builder().max_history_size(1000)?.auto_add_history(true).build();
        let mut editor = Editor::with_history(config.clone(), FileHistory::with_config(&config))?;
        // A history that cannot be read or written is only a history.
        let _ = editor.load_history(&history);
        Ok(Self::Terminal { editor: Box::new(editor), history })
    }

    /// Waits for a message.
    pub(super) fn read(&mut self) -> anyhow::Result<Input> {
        let Input::Text(first) = self.line(">>> ")? else { return Ok(Input::End) };
        let Some(rest) = first.trim_start().strip_prefix(BLOCK) else { return Ok(Input::Text(first)) };
        if let Some(whole) = rest.trim_end().strip_suffix(BLOCK) {
            return Ok(Input::Text(whole.to_owned()));
        }
        let mut text = rest.trim_start().to_owned();
        loop {
            // Ctrl-C takes the message back.
            let Input::Text(line) = self.line("... ")? else { return Ok(Input::Text(String::new())) };
            let end = line.trim_end().strip_suffix(BLOCK);
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(end.unwrap_or(&line));
            if end.is_some() {
                return Ok(Input::Text(text));
            }
        }
    }

    fn line(&mut self, prompt: &str) -> anyhow::Result<Input> {
        match self {
            Self::Terminal { editor, .. } => match editor.readline(prompt) {
                Ok(line) => Ok(Input::Text(line)),
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => Ok(Input::End),
                Err(error) => Err(error.into()),
            },
            Self::Lines => {
                let mut line = String::new();
                if io::stdin().lock().read_line(&mut line)? == 0 {
                    return Ok(Input::End);
                }
                let text = line.strip_suffix('\n').unwrap_or(&line);
                Ok(Input::Text(text.strip_suffix('\r').unwrap_or(text).to_owned()))
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Self::Terminal { editor, history } = self {
            if let Some(directory) = history.parent() {
                let _ = std::fs::create_dir_all(directory);
            }
            let _ = editor.save_history(history);
        }
    }
}
