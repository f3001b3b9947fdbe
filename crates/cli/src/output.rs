//! What goes to standard output, and how text is laid out in columns.

use std::io::{self, Write};

use console::{Style, measure_text_width};
use serde::Serialize;

/// Prints a value as one JSON document with a line feed.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    line(&text)
}

/// Writes to standard output at once; a reader that went away is an error of kind `BrokenPipe`.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Says something that is no result. Nobody has to read it, so failing to say it is no failure.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Faint text for standard error, where it shows colours.
pub(crate) fn faint(text: &str) -> String {
    Style::new().for_stderr().dim().apply_to(text).to_string()
}

/// Rows as columns, separated by two spaces; widths count a Korean letter as two. `right` marks columns of numbers.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| measure_text_width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut written = String::from(" ");
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - measure_text_width(cell));
            let padded = if right.contains(&column) { format!("{padding}{cell}") } else { format!("{cell}{padding}") };
            written.push(' ');
            written.push_str(&padded);
            written.push(' ');
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn korean_letters_take_two_columns() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let text = table(&[row(&["이름", "크기", "b"]), row(&["abcdef", "1", "c"])], &[1]);
        assert_eq!(text, "  이름    크기  b\n  abcdef     1  c\n");
    }
}
