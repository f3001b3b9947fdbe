//! The filters, functions, tests and methods of a chat template: those that templates use, each within the budget.
//!
//! The environment starts empty. What could make much from little in one step (`replace`, `join`, `indent`, `*`, `~`, `+`)
//! is written here and checks first; everything else comes from minijinja and is charged after.

use std::sync::Arc;

use jiff::Zoned;
use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, filters, functions, tests};
use minijinja_contrib::pycompat;

use super::TemplateError;
use super::budget::Budget;
use super::json;

/// Names which instructions are redirected to; a template cannot write them, for they are no identifiers.
pub(super) mod operator {
    pub(in crate::chat) const ADD: &str = "<add>";
    pub(in crate::chat) const MULTIPLY: &str = "<multiply>";
    pub(in crate::chat) const CONCAT: &str = "<concat>";
    pub(in crate::chat) const SLICE: &str = "<slice>";
    pub(in crate::chat) const LIST: &str = "<list>";
    pub(in crate::chat) const TUPLE: &str = "<tuple>";
    pub(in crate::chat) const MAP: &str = "<map>";
    pub(in crate::chat) const TOUCH: &str = "<touch>";
    pub(in crate::chat) const ATTRIBUTE: &str = "<attribute>";
}

/// Stands for the factor 1; see `prepare`.
pub(super) const ONE: &str = "saem_one";

/// Depth of macros, loops and blocks inside one another, in minijinja's units.
pub(super) const RECURSION_LIMIT: usize = 250;

/// Everything a chat template may call.
pub(super) fn environment<'source>(budget: &Arc<Budget>, fuel: u64, now: &Zoned) -> Environment<'source> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(fuel));
    environment.set_recursion_limit(RECURSION_LIMIT);
    environment.add_global(ONE, 1);
    let keeper = Arc::clone(budget);
    environment.set_formatter(move |out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value| {
        let text = keeper.text(value)?;
        keeper.charge(text.len())?;
        out.write_str(&text).map_err(Error::from)
    });
    let keeper = Arc::clone(budget);
    environment.set_unknown_method_callback(move |state, value, method, args| {
        call_method(&keeper, state, value, method, args)
    });
    add_filters(&mut environment, budget);
    add_operators(&mut environment, budget);
    add_functions(&mut environment, budget, now);
    add_tests(&mut environment);
    environment
}

/// Adds a filter of minijinja's, charged for what it reads and for what it makes.
fn charged(environment: &mut Environment<'_>, budget: &Arc<Budget>, name: &'static str, inner: Value) {
    let budget = Arc::clone(budget);
    environment.add_filter(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
        let args = args.into_values();
        for arg in &args {
            budget.touch(arg)?;
        }
        budget.made(inner.call(state, &args)?)
    });
}

fn add_filters(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    for (name, inner) in [
        ("abs", Value::from_function(filters::abs)),
        ("attr", Value::from_function(filters::attr)),
        ("bool", Value::from_function(filters::bool)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("count", Value::from_function(filters::length)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("first", Value::from_function(filters::first)),
        ("float", Value::from_function(filters::float)),
        ("int", Value::from_function(filters::int)),
        ("items", Value::from_function(filters::items)),
        ("last", Value::from_function(filters::last)),
        ("length", Value::from_function(filters::length)),
        ("lines", Value::from_function(filters::lines)),
        ("list", Value::from_function(filters::list)),
        ("lower", Value::from_function(filters::lower)),
        ("map", Value::from_function(filters::map)),
        ("max", Value::from_function(filters::max)),
        ("min", Value::from_function(filters::min)),
        ("reject", Value::from_function(filters::reject)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("reverse", Value::from_function(filters::reverse)),
        ("round", Value::from_function(filters::round)),
        ("select", Value::from_function(filters::select)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("sort", Value::from_function(filters::sort)),
        ("split", Value::from_function(filters::split)),
        ("sum", Value::from_function(filters::sum)),
        ("title", Value::from_function(filters::title)),
        ("trim", Value::from_function(filters::trim)),
        ("unique", Value::from_function(filters::unique)),
        ("upper", Value::from_function(filters::upper)),
    ] {
        charged(environment, budget, name, inner);
    }
    for name in ["d", "default"] {
        environment.add_filter(name, |value: Value, other: Option<Value>, lax: Option<bool>, options: Kwargs| {
            let other = other.or(options.get::<Option<Value>>("default_value")?).unwrap_or_else(|| Value::from(""));
            let lax = lax.or(options.get::<Option<bool>>("boolean")?).unwrap_or(false);
            options.assert_all_used()?;
            Ok::<_, Error>(if value.is_undefined() || (lax && !value.is_true()) { other } else { value })
        });
    }
    // There is no HTML here: safe text is text.
    environment.add_filter("safe", |value: Value| value);
    let keeper = Arc::clone(budget);
    environment.add_filter("string", move |value: Value| keeper.made(Value::from(keeper.text(&value)?)));
    let keeper = Arc::clone(budget);
    environment.add_filter("tojson", move |value: Value, indent: Option<Value>, options: Kwargs| {
        keeper.made(Value::from(json::dumps(&keeper, &value, indent, &options)?))
    });
    let keeper = Arc::clone(budget);
    environment.add_filter("replace", move |value: Value, from: Value, to: Value, count: Option<usize>| {
        replace(&keeper, &keeper.text(&value)?, &keeper.text(&from)?, &keeper.text(&to)?, count)
    });
    let keeper = Arc::clone(budget);
    environment.add_filter("join", move |value: Value, by: Option<Value>, options: Kwargs| -> Result<Value, Error> {
        let attribute = options.get::<Option<String>>("attribute")?;
        options.assert_all_used()?;
        let by = by.map_or_else(|| Ok(String::new()), |by| keeper.text(&by))?;
        join(&keeper, &value, &by, attribute.as_deref())
    });
    let keeper = Arc::clone(budget);
    environment.add_filter(
        "indent",
        move |value: Value, width: Option<usize>, first: Option<bool>, blank: Option<bool>, options: Kwargs| {
            let width = width.or(options.get::<Option<usize>>("width")?).unwrap_or(4);
            let first = first.or(options.get::<Option<bool>>("first")?).unwrap_or(false);
            let blank = blank.or(options.get::<Option<bool>>("blank")?).unwrap_or(false);
            options.assert_all_used()?;
            indent(&keeper, &keeper.text(&value)?, width, first, blank)
        },
    );
}

fn add_operators(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    let keeper = Arc::clone(budget);
    environment.add_filter(operator::ADD, move |a: Value, b: Value| add(&keeper, &a, &b));
    let keeper = Arc::clone(budget);
    environment.add_filter(operator::MULTIPLY, move |a: Value, b: Value| multiply(&keeper, &a, &b));
    let keeper = Arc::clone(budget);
    environment.add_filter(operator::CONCAT, move |a: Value, b: Value| {
        let (a, b) = (keeper.text(&a)?, keeper.text(&b)?);
        keeper.room(a.len() + b.len())?;
        keeper.made(Value::from(a + &b))
    });
    let keeper = Arc::clone(budget);
    environment.add_filter(operator::SLICE, move |value: Value, start: Value, stop: Value, step: Value| {
        slice(&keeper, &value, &start, &stop, &step)
    });
    let keeper = Arc::clone(budget);
    environment.add_filter(operator::LIST, move |items: Rest<Value>| {
        contained(&keeper, &items)?;
        keeper.made(Value::from(items.0))
    });
    let keeper = Arc::clone(budget);
    environment.add_filter(operator::TUPLE, move |items: Rest<Value>| {
        contained(&keeper, &items)?;
        keeper.made(Value::from(Tuple::from(items.0)))
    });
    let keeper = Arc::clone(budget);
    environment.add_filter(operator::MAP, move |items: Rest<Value>| {
        contained(&keeper, &items)?;
        let pairs = items.chunks_exact(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone())));
        keeper.made(Value::from_pairs(pairs))
    });
    let keeper = Arc::clone(budget);
    environment.add_filter(operator::TOUCH, move |value: Value| keeper.touch(&value).map(|()| value));
    let keeper = Arc::clone(budget);
    environment.add_filter(operator::ATTRIBUTE, move |value: Value| {
        contained(&keeper, std::slice::from_ref(&value))?;
        keeper.made(value)
    });
}

fn add_functions(environment: &mut Environment<'_>, budget: &Arc<Budget>, now: &Zoned) {
    for (name, inner) in [
        ("dict", Value::from_function(functions::dict)),
        ("namespace", Value::from_function(functions::namespace)),
        ("range", Value::from_function(functions::range)),
    ] {
        let budget = Arc::clone(budget);
        environment.add_function(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
            let args = args.into_values();
            for arg in &args {
                // Keyword arguments come as one map.
                if arg.is_kwargs() {
                    for key in arg.try_iter()?.checked() {
                        contained(&budget, &[arg.get_item(&key?)?])?;
                    }
                } else {
                    contained(&budget, std::slice::from_ref(arg))?;
                }
            }
            budget.made(inner.call(state, &args)?)
        });
    }
    let keeper = Arc::clone(budget);
    environment.add_function("raise_exception", move |message: Value| -> Result<Value, Error> {
        let message = keeper.text(&message)?.chars().take(1000).collect();
        Err(keeper.stop(TemplateError::Refused { message }))
    });
    let (keeper, now) = (Arc::clone(budget), now.clone());
    environment.add_function("strftime_now", move |format: &str| -> Result<Value, Error> {
        let invalid = |reason: String| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {reason}"));
        if format.len() > 256 {
            return Err(invalid("the format is longer than 256 bytes".to_owned()));
        }
        let text = jiff::fmt::strtime::format(format, &now).map_err(|error| invalid(error.to_string()))?;
        keeper.made(Value::from(text))
    });
}

fn add_tests(environment: &mut Environment<'_>) {
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("none", tests::is_none);
    environment.add_test("boolean", tests::is_boolean);
    environment.add_test("true", tests::is_true);
    environment.add_test("false", tests::is_false);
    environment.add_test("odd", tests::is_odd);
    environment.add_test("even", tests::is_even);
    environment.add_test("divisibleby", tests::is_divisibleby);
    // Python's booleans are numbers, its strings and dictionaries are sequences, its None is neither.
    environment.add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    for name in ["iterable", "sequence"] {
        environment.add_test(name, |value: &Value| {
            use ValueKind::{Iterable, Map, Seq, String, Undefined};
            matches!(value.kind(), String | Seq | Map | Iterable | Undefined)
        });
    }
    environment.add_test("integer", tests::is_integer);
    environment.add_test("float", tests::is_float);
    environment.add_test("string", tests::is_string);
    environment.add_test("mapping", tests::is_mapping);
    environment.add_test("lower", tests::is_lower);
    environment.add_test("upper", tests::is_upper);
    environment.add_test("startingwith", tests::is_startingwith);
    environment.add_test("endingwith", tests::is_endingwith);
    environment.add_test("sameas", tests::is_sameas);
    environment.add_test("in", tests::is_in);
    for name in ["eq", "equalto", "=="] {
        environment.add_test(name, tests::is_eq);
    }
    for name in ["ne", "!="] {
        environment.add_test(name, tests::is_ne);
    }
    for name in ["lt", "lessthan", "<"] {
        environment.add_test(name, tests::is_lt);
    }
    for name in ["le", "<="] {
        environment.add_test(name, tests::is_le);
    }
    for name in ["gt", "greaterthan", ">"] {
        environment.add_test(name, tests::is_gt);
    }
    for name in ["ge", ">="] {
        environment.add_test(name, tests::is_ge);
    }
}

/// Refuses namespaces as parts of other values: they can be changed later, so that they could come to contain themselves.
fn contained(budget: &Budget, items: &[Value]) -> Result<(), Error> {
    let is_namespace = |value: &Value| {
        // The type is private to minijinja; its name is what can be seen of it.
        value.kind() == ValueKind::Map && value.as_object().is_some_and(|object| object.type_name().ends_with("Namespace"))
    };
    if items.iter().any(is_namespace) {
        return Err(budget.stop(TemplateError::Unsupported { what: "a namespace inside another value".to_owned() }));
    }
    Ok(())
}

/// Python's methods of strings, lists and dictionaries.
fn call_method(
    budget: &Budget,
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    budget.touch(value)?;
    for arg in args {
        budget.touch(arg)?;
    }
    let Some(text) = value.as_str() else {
        return budget.made(pycompat::unknown_method_callback(state, value, method, args)?);
    };
    let argument = |index: usize| args.get(index).and_then(Value::as_str);
    match (method, argument(0)) {
        ("replace", Some(from)) => {
            let count = args.get(2).and_then(Value::as_usize);
            replace(budget, text, from, argument(1).unwrap_or_default(), count)
        }
        ("join", _) => join(budget, args.first().unwrap_or(&Value::UNDEFINED), text, None),
        ("removeprefix", Some(prefix)) => budget.made(Value::from(text.strip_prefix(prefix).unwrap_or(text))),
        ("removesuffix", Some(suffix)) => budget.made(Value::from(text.strip_suffix(suffix).unwrap_or(text))),
        ("partition", Some(by)) => {
            let (before, after) = text.split_once(by).map_or((text, None), |(before, after)| (before, Some(after)));
            let parts = [before, if after.is_some() { by } else { "" }, after.unwrap_or_default()];
            budget.made(Value::from(Tuple::from(parts.map(Value::from))))
        }
        ("rpartition", Some(by)) => {
            let (before, after) = text.rsplit_once(by).map_or((None, text), |(before, after)| (Some(before), after));
            let parts = [before.unwrap_or_default(), if before.is_some() { by } else { "" }, after];
            budget.made(Value::from(Tuple::from(parts.map(Value::from))))
        }
        ("rsplit", Some(by)) if !by.is_empty() => {
            let count = args.get(1).and_then(Value::as_usize).map_or(usize::MAX, |count| count.saturating_add(1));
            let mut parts: Vec<Value> = text.rsplitn(count, by).map(Value::from).collect();
            parts.reverse();
            budget.made(Value::from(parts))
        }
        ("format", _) => format(budget, text, args),
        _ => budget.made(pycompat::unknown_method_callback(state, value, method, args)?),
    }
}

fn replace(budget: &Budget, text: &str, from: &str, to: &str, count: Option<usize>) -> Result<Value, Error> {
    budget.work((text.len() / 16) as u64)?;
    let matches = text.matches(from).take(count.unwrap_or(usize::MAX)).count();
    budget.room(text.len().saturating_add(matches.saturating_mul(to.len())))?;
    budget.made(Value::from(text.replacen(from, to, matches)))
}

fn join(budget: &Budget, items: &Value, by: &str, attribute: Option<&str>) -> Result<Value, Error> {
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
fn format(budget: &Budget, text: &str, args: &[Value]) -> Result<Value, Error> {
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

fn indent(budget: &Budget, text: &str, width: usize, first: bool, blank: bool) -> Result<Value, Error> {
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

fn add(budget: &Budget, a: &Value, b: &Value) -> Result<Value, Error> {
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

fn multiply(budget: &Budget, a: &Value, b: &Value) -> Result<Value, Error> {
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
fn slice(budget: &Budget, value: &Value, start: &Value, stop: &Value, step: &Value) -> Result<Value, Error> {
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
