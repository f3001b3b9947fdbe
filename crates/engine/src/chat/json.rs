//! `tojson` as Hugging Face defines it: Python's `json.dumps(value, ensure_ascii=False)`, spaces after commas and
//! colons, keys in the order of the map, nothing escaped for HTML.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::budget::{Budget, MAX_DEPTH};

/// The arguments of `json.dumps` that templates use.
#[derive(Debug)]
struct Style {
    ensure_ascii: bool,
    sort_keys: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
}

/// Writes `value` as JSON.
pub(super) fn dumps(budget: &Budget, value: &Value, indent: Option<Value>, options: &Kwargs) -> Result<String, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get::<Option<Value>>("indent")?,
    };
    let indent = indent.filter(|indent| !indent.is_none() && !indent.is_undefined()).map(|indent| {
        indent.as_str().map_or_else(|| " ".repeat(indent.as_usize().unwrap_or(0).min(64)), str::to_owned)
    });
    let separators = options.get::<Option<Vec<String>>>("separators")?.unwrap_or_default();
    let mut separators = separators.into_iter();
    let style = Style {
        ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        item_separator: separators.next().unwrap_or_else(|| if indent.is_some() { "," } else { ", " }.to_owned()),
        key_separator: separators.next().unwrap_or_else(|| ": ".to_owned()),
        indent,
    };
    options.assert_all_used()?;
    budget.touch(value)?;
    let mut out = String::new();
    write(budget, &style, value, 0, &mut out)?;
    Ok(out)
}

fn write(budget: &Budget, style: &Style, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
    debug_assert!(depth <= MAX_DEPTH + 1, "the value was measured");
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            budget.room(out.len() + text.len())?;
            quote(text, style.ensure_ascii, out);
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.checked().map(|item| item.map(|item| (None, item)));
            let items = items.collect::<Result<Vec<_>, _>>()?;
            container(budget, style, ['[', ']'], items, depth, out)?;
        }
        ValueKind::Map => {
            let mut items = Vec::new();
            for key in value.try_iter()?.checked() {
                let key = key?;
                let item = value.get_item(&key)?;
                items.push((Some(key_text(&key)?), item));
            }
            if style.sort_keys {
                items.sort_by(|a, b| a.0.cmp(&b.0));
            }
            container(budget, style, ['{', '}'], items, depth, out)?;
        }
        kind => return Err(unsupported(kind)),
    }
    Ok(())
}

fn container(
    budget: &Budget,
    style: &Style,
    [open, close]: [char; 2],
    items: Vec<(Option<String>, Value)>,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let new_line = |depth: usize, out: &mut String| {
        if let Some(indent) = &style.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push(open);
    let is_empty = items.is_empty();
    for (index, (key, item)) in items.into_iter().enumerate() {
        let before = out.len();
        if index > 0 {
            out.push_str(&style.item_separator);
        }
        new_line(depth + 1, out);
        if let Some(key) = key {
            quote(&key, style.ensure_ascii, out);
            out.push_str(&style.key_separator);
        }
        // Indentation and separators can outweigh the value itself.
        budget.work((out.len() - before) as u64)?;
        write(budget, style, &item, depth + 1, out)?;
    }
    if !is_empty {
        new_line(depth, out);
    }
    out.push(close);
    Ok(())
}

fn unsupported(kind: ValueKind) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a value of type {kind} is not JSON serializable"))
}

fn key_text(key: &Value) -> Result<String, Error> {
    Ok(match key.kind() {
        ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => if key.is_true() { "true" } else { "false" }.to_owned(),
        ValueKind::Number => number(key),
        kind => return Err(unsupported(kind)),
    })
}

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float)
}

/// Python's `repr` of a float: the shortest digits that read back the same, with an exponent from 1e16 up and below
/// 1e-4.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn quote(text: &str, ensure_ascii: bool, out: &mut String) {
    use std::fmt::Write;
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            character if character < ' ' || (ensure_ascii && !character.is_ascii()) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a string does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            character if ensure_ascii && character == '\u{7f}' => out.push_str("\\u007f"),
            character => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_python_prints_them() {
        for (number, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (-0.0, "-0.0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(float(number), text);
        }
    }
}
