//! Text from an argument, a file or standard input.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use crate::failure::Failure;
use crate::language::Language;

/// The text: the argument, the file, or standard input where either is `-` or both are absent and it is piped.
///
/// `None` where there is no text anywhere.
pub(crate) fn read(argument: Option<&str>, file: Option<&Path>, language: Language) -> anyhow::Result<Option<String>> {
    let dash = Path::new("-");
    match (argument, file) {
        (Some(text), _) if text != "-" => Ok(Some(text.to_owned())),
        (_, Some(path)) if path != dash => file_text(path, language).map(Some),
        (None, None) if io::stdin().is_terminal() => Ok(None),
        _ => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes)?;
            text(bytes, "stdin", language).map(Some)
        }
    }
}

/// The text of a file.
pub(crate) fn file_text(path: &Path, language: Language) -> anyhow::Result<String> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Failure::new(language.no_such_path(&shown))
        } else {
            Failure::new(language.io_failed(&shown)).hint(language.reason(&error.to_string()))
        }
    })?;
    text(bytes, &shown, language)
}

fn text(bytes: Vec<u8>, from: &str, language: Language) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Failure::new(language.not_utf8(from, offset)).hint(language.not_utf8_hint()).into()
    })
}
