//! Operations on values as Python defines them, each checked against the budget before it makes anything.

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::budget::Budget;

pub(super) fn replace(budget: &Budget, text: &str, from: &str, to: &str, count: Option<usize>) -> Result<Value, Error> {
    budget.work((text.len() / 16) as u64)?;
    let matches = text.matches(from).take(count.unwrap_or(usize::MAX)).count();
    budget.room(text.len().saturating_add(matches.saturating_mul(to.len())))?;
    budget.made(Value::from(text.replacen(from, to, matches)))
}

pub(super) fn join(budget: &Budget, items: &Value, by: &str, attribute: Option<&str>) -> Result<Value, Error> {
    budget.touch(items)?;
    let mut out = String::new();
    for (index, item) in items.try_iter()?.checked().enumerate() {
        let item = item?;
        let item = attribute.map_or_else(|| Ok(item.clone()), |name| item.get_attr(name))?;
        let text = budget.text(&item)?;
        budget.room(out.len() + by.len() + text.len())?;
        if index > 0 {
            out.push_str(by);
        }
        out.push_str(&text);
    }
    budget.made(Value::from(out))
}

/// `str.format` with plain fields: `{}`, `{0}`, `{name}`. Widths and precisions could ask for anything and are refused.
pub(super) fn format(budget: &Budget, text: &str, args: &[Value]) -> Result<Value, Error> {
    let refused = || Error::new(ErrorKind::InvalidOperation, "str.format: only {}, {0} and {name} are supported");
    let mut out = String::new();
    let mut rest = text;
    let mut next = 0;
    while let Some(at) = rest.find(['{', '}']) {
        let (plain, field) = rest.split_at(at);
        out.push_str(plain);
        if let Some(after) = field.strip_prefix("{{").or_else(|| field.strip_prefix("}}")) {
            out.push_str(field.get(..1).unwrap_or_default());
            rest = after;
            continue;
        }
        let (name, after) = field.strip_prefix('{').and_then(|field| field.split_once('}')).ok_or_else(refused)?;
        let value = match name.parse::<usize>() {
            Ok(index) => args.get(index).cloned(),
            Err(_) if name.is_empty() => {
                next += 1;
                args.get(next - 1).cloned()
            }
            Err(_) => args.last().filter(|last| last.is_kwargs()).and_then(|named| named.get_attr(name).ok()),
        };
        let value = value.filter(|value| !value.is_undefined() && !value.is_kwargs()).ok_or_else(refused)?;
        let value = budget.text(&value)?;
        budget.room(out.len() + value.len())?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    budget.made(Value::from(out))
}

pub(super) fn indent(budget: &Budget, text: &str, width: usize, first: bool, blank: bool) -> Result<Value, Error> {
    let lines = text.matches('\n').count() + 1;
    budget.room(text.len().saturating_add(lines.saturating_mul(width)))?;
    let margin = " ".repeat(width);
    let mut out = String::new();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        if (index > 0 || first) && (blank || !line.is_empty()) {
            out.push_str(&margin);
        }
        out.push_str(line);
    }
    budget.made(Value::from(out))
}

pub(super) fn add(budget: &Budget, a: &Value, b: &Value) -> Result<Value, Error> {
    let is_list = |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        budget.room(a.len() + b.len())?;
        return budget.made(Value::from([a, b].concat()));
    }
    if is_list(a) && is_list(b) {
        budget.touch(a)?;
        budget.touch(b)?;
        let items = a.try_iter()?.checked().chain(b.try_iter()?.checked()).collect::<Result<Vec<Value>, Error>>()?;
        let value = if a.is_tuple() && b.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) };
        return budget.made(value);
    }
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return a.checked_add(b).map(Value::from).ok_or_else(|| impossible("+", "the sum is too large"));
    }
    match (f64::try_from(a.clone()), f64::try_from(b.clone())) {
        (Ok(a), Ok(b)) => Ok(Value::from(a + b)),
        _ => Err(impossible("+", &format!("{} and {} cannot be added", a.kind(), b.kind()))),
    }
}

pub(super) fn multiply(budget: &Budget, a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return a.checked_mul(b).map(Value::from).ok_or_else(|| impossible("*", "the product is too large"));
    }
    let repeated = match (a.as_str(), b.as_str()) {
        (Some(text), None) => Some((text, b)),
        (None, Some(text)) => Some((text, a)),
        _ => None,
    };
    if let Some((text, count)) = repeated {
        let count = integer(count).ok_or_else(|| impossible("*", "text is repeated a whole number of times"))?;
        let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
        budget.room(text.len().saturating_mul(count))?;
        return budget.made(Value::from(text.repeat(count)));
    }
    match (f64::try_from(a.clone()), f64::try_from(b.clone())) {
        (Ok(a), Ok(b)) => Ok(Value::from(a * b)),
        _ => Err(impossible("*", &format!("{} and {} cannot be multiplied", a.kind(), b.kind()))),
    }
}

/// The value of an integer; Python counts booleans among them.
fn integer(value: &Value) -> Option<i64> {
    match value.kind() {
        ValueKind::Bool => Some(i64::from(value.is_true())),
        ValueKind::Number if value.is_integer() => value.as_i64(),
        _ => None,
    }
}

fn impossible(operator: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{operator}: {why}"))
}

/// Python's slices of strings and sequences.
pub(super) fn slice(budget: &Budget, value: &Value, start: &Value, stop: &Value, step: &Value) -> Result<Value, Error> {
    let bound = |value: &Value| match integer(value) {
        Some(bound) => Ok(Some(bound)),
        None if value.is_none() || value.is_undefined() => Ok(None),
        None => Err(impossible("slice", "the bounds are whole numbers")),
    };
    let (start, stop, step) = (bound(start)?, bound(stop)?, bound(step)?.unwrap_or(1));
    budget.touch(value)?;
    if value.is_none() || value.is_undefined() {
        return Ok(Value::from(Vec::<Value>::new()));
    }
    if let Some(text) = value.as_str() {
        let characters: Vec<char> = text.chars().collect();
        let picked = picked(characters.len(), start, stop, step)?;
        return budget.made(Value::from(picked.filter_map(|index| characters.get(index)).collect::<String>()));
    }
    let items = value.try_iter()?.checked().collect::<Result<Vec<Value>, Error>>()?;
    let picked = picked(items.len(), start, stop, step)?.filter_map(|index| items.get(index).cloned());
    let picked: Vec<Value> = picked.collect();
    budget.made(if value.is_tuple() { Value::from(Tuple::from(picked)) } else { Value::from(picked) })
}

/// The indices of `[start:stop:step]` in a sequence of `len`, by the rules of Python's `slice.indices`.
fn picked(len: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> Result<impl Iterator<Item = usize>, Error> {
    if step == 0 {
        return Err(impossible("slice", "the step cannot be 0"));
    }
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let (lowest, highest) = if step < 0 { (-1, len - 1) } else { (0, len) };
    let place = |bound: Option<i64>, default: i64| {
        bound.map_or(default, |at| if at < 0 { at.saturating_add(len).max(lowest) } else { at.min(highest) })
    };
    let (first, last) = if step < 0 { (highest, lowest) } else { (lowest, highest) };
    let (mut at, end) = (place(start, first), place(stop, last));
    Ok(std::iter::from_fn(move || {
        if (step > 0 && at >= end) || (step < 0 && at <= end) {
            return None;
        }
        let index = usize::try_from(at).ok();
        at = at.saturating_add(step);
        index
    }))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn slices_as_python_takes_them() {
        let pick = |start, stop, step| picked(5, start, stop, step).unwrap().collect::<Vec<_>>();
        assert_eq!(pick(None, None, 1), [0, 1, 2, 3, 4]);
        assert_eq!(pick(None, None, -1), [4, 3, 2, 1, 0]);
        assert_eq!(pick(Some(1), None, 1), [1, 2, 3, 4]);
        assert_eq!(pick(Some(-2), None, 1), [3, 4]);
        assert_eq!(pick(None, Some(-1), 2), [0, 2]);
        assert_eq!(pick(Some(3), Some(0), -1), [3, 2, 1]);
        assert_eq!(pick(Some(9), Some(-9), -2), [4, 2, 0]);
        assert_eq!(pick(Some(i64::MAX), None, 1), [0; 0]);
        assert_eq!(pick(Some(1), None, i64::MAX), [1]);
        assert!(picked(5, None, None, 0).is_err());
    }
}
