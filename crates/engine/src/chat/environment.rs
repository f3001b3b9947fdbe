//! The filters, functions, tests and methods of a chat template: those that templates use, each within the budget.
//!
//! The environment starts empty. What could make much from little in one step (`replace`, `join`, `indent`, `*`, `~`,
//! `+`) is written here and checks first; everything else comes from minijinja and is charged after.

use std::sync::Arc;

use jiff::Zoned;
use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, filters, functions, tests};
use minijinja_contrib::pycompat;

use super::TemplateError;
use super::budget::Budget;
use super::json;
use super::operations::{add, format, indent, join, multiply, replace, slice};

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

/// Refuses namespaces as parts of other values: they can be changed later, so that they could come to contain
/// themselves.
fn contained(budget: &Budget, items: &[Value]) -> Result<(), Error> {
    let is_namespace = |value: &Value| {
        // The type is private to minijinja; its name is what can be seen of it.
        value.kind() == ValueKind::Map
            && value.as_object().is_some_and(|object| object.type_name().ends_with("Namespace"))
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
