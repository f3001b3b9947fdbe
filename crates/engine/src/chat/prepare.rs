//! From a template's source to instructions that stay within the budget.
//!
//! minijinja has no hook on its operators, so the compiled instructions are rewritten: whatever makes or compares
//! values becomes a call of a charged filter of `environment`. Before that the source is looked over, since the
//! compiler itself recurses over long expressions and computes constant ones.

use minijinja::machinery::{CodeGenerator, Instruction, Instructions, Token, parse, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, Value};

use super::TemplateError;
use super::environment::{ONE, operator};

/// The name that minijinja's messages give the template.
pub(super) const NAME: &str = "chat_template";
/// Bytes of a template; the largest in use have about 40,000.
const MAX_SOURCE: usize = 256 * 1024;
/// Tokens inside one `{{ }}` or `{% %}`: long expressions are deep trees.
const MAX_TAG_TOKENS: usize = 4096;
/// `elif` branches of a template: each is nested in the one before.
const MAX_ELIFS: usize = 512;

/// Jinja as Hugging Face configures it: `trim_blocks` and `lstrip_blocks` on.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default()
}

fn syntax_error(error: &Error) -> TemplateError {
    let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    TemplateError::Syntax { line: error.line().unwrap_or(0), message }
}

/// Looks the source over and adapts two things in it:
///
/// - Hugging Face's tags `{% generation %}` and `{% endgeneration %}`, which only mark text for training, become
///   `{% if true %}` and `{% endif %}`;
/// - `a * b` becomes `a * one * b`, so that the compiler does not compute `"a" * 100000000` beforehand.
pub(super) fn adapt(source: &str) -> Result<String, TemplateError> {
    if source.len() > MAX_SOURCE {
        return Err(TemplateError::Exceeded { what: "bytes of source", limit: MAX_SOURCE as u64 });
    }
    let mut adapted = String::with_capacity(source.len() + 64);
    let mut copied = 0;
    let mut change = |start: u32, end: u32, text: &str| {
        adapted.push_str(source.get(copied..start as usize).unwrap_or_default());
        adapted.push_str(text);
        copied = end as usize;
    };
    let (mut tag_tokens, mut elifs) = (0, 0);
    let mut after_block_start = false;
    let mut may_multiply = false;
    for token in tokenize(source, false, syntax()) {
        let (token, span) = token.map_err(|error| syntax_error(&error))?;
        tag_tokens += 1;
        match token {
            Token::TemplateData(_) | Token::VariableStart | Token::BlockStart => tag_tokens = 0,
            Token::Ident("elif") => elifs += 1,
            Token::Ident("generation") if after_block_start => change(span.start_offset, span.end_offset, "if true"),
            Token::Ident("endgeneration") if after_block_start => change(span.start_offset, span.end_offset, "endif"),
            // After an opening parenthesis or a comma the star unpacks arguments.
            Token::Mul if may_multiply => change(span.end_offset, span.end_offset, &format!(" {ONE} *")),
            _ => {}
        }
        if tag_tokens > MAX_TAG_TOKENS {
            return Err(TemplateError::Exceeded { what: "tokens in a tag", limit: MAX_TAG_TOKENS as u64 });
        }
        if elifs > MAX_ELIFS {
            return Err(TemplateError::Exceeded { what: "elif branches", limit: MAX_ELIFS as u64 });
        }
        after_block_start = matches!(token, Token::BlockStart);
        may_multiply = !matches!(token, Token::ParenOpen | Token::Comma);
    }
    adapted.push_str(source.get(copied..).unwrap_or_default());
    Ok(adapted)
}

/// Compiles adapted source.
pub(super) fn compile(source: &str) -> Result<Instructions<'_>, TemplateError> {
    let tree = parse(source, NAME, syntax()).map_err(|error| syntax_error(&error))?;
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_stmt(&tree);
    let (instructions, blocks) = generator.finish();
    if !blocks.is_empty() {
        return Err(TemplateError::Unsupported { what: "the block tag".to_owned() });
    }
    guard(&instructions, source)
}

/// What an instruction becomes.
fn guarded(instruction: &Instruction<'_>) -> Result<Option<Vec<Instruction<'static>>>, TemplateError> {
    let call = |name: &'static str, count: u16| Instruction::ApplyFilter(name, Some(count), u8::MAX);
    let unsupported = |what: &str| Err(TemplateError::Unsupported { what: what.to_owned() });
    let collect = |name: &'static str, count: usize| match u16::try_from(count) {
        Ok(count) => Ok(Some(vec![call(name, count)])),
        Err(_) => Err(TemplateError::Exceeded { what: "elements in a literal", limit: u64::from(u16::MAX) }),
    };
    Ok(Some(match instruction {
        // Text goes through the formatter like values, since it may be captured.
        Instruction::EmitRaw(text) => vec![Instruction::LoadConst(Value::from(*text)), Instruction::Emit],
        Instruction::Add => vec![call(operator::ADD, 2)],
        Instruction::Mul => vec![call(operator::MULTIPLY, 2)],
        Instruction::StringConcat => vec![call(operator::CONCAT, 2)],
        Instruction::Slice => vec![call(operator::SLICE, 4)],
        Instruction::BuildList(Some(count)) => return collect(operator::LIST, *count),
        Instruction::BuildTuple(Some(count)) => return collect(operator::TUPLE, *count),
        Instruction::BuildMap(pairs) => return collect(operator::MAP, pairs.saturating_mul(2)),
        Instruction::Eq
        | Instruction::Ne
        | Instruction::Gt
        | Instruction::Gte
        | Instruction::Lt
        | Instruction::Lte
        | Instruction::In
        | Instruction::CompareAndPreserve(_) => return Ok(None),
        Instruction::SetAttr(_) => return Ok(None),
        // The number of elements lies on the stack, as for a call.
        Instruction::BuildList(None) => vec![Instruction::ApplyFilter(operator::LIST, None, u8::MAX)],
        Instruction::BuildTuple(None) => vec![Instruction::ApplyFilter(operator::TUPLE, None, u8::MAX)],
        Instruction::PushAutoEscape => return unsupported("the autoescape tag"),
        Instruction::Include(_) => return unsupported("the include tag"),
        Instruction::LoadBlocks | Instruction::CallBlock(_) | Instruction::FastSuper => {
            return unsupported("the extends or block tag");
        }
        Instruction::ExportLocals => return unsupported("the import tag"),
        _ => return Ok(None),
    }))
}

/// Instructions to run before one that stays as it is.
fn before(instruction: &Instruction<'_>) -> Vec<Instruction<'static>> {
    let call = |name: &'static str| Instruction::ApplyFilter(name, Some(1), u8::MAX);
    match instruction {
        // A comparison costs no more than a walk over its right side.
        Instruction::Eq
        | Instruction::Ne
        | Instruction::Gt
        | Instruction::Gte
        | Instruction::Lt
        | Instruction::Lte
        | Instruction::In
        | Instruction::CompareAndPreserve(_) => vec![call(operator::TOUCH)],
        // The namespace lies on top of the value.
        Instruction::SetAttr(_) => vec![Instruction::Swap, call(operator::ATTRIBUTE), Instruction::Swap],
        _ => Vec::new(),
    }
}

/// Rewrites the instructions and moves the targets of jumps.
fn guard<'source>(old: &Instructions<'source>, source: &'source str) -> Result<Instructions<'source>, TemplateError> {
    let mut replacements = Vec::new();
    let mut starts = Vec::new();
    let mut next = 0_u32;
    while let Some(instruction) = u32::try_from(replacements.len()).ok().and_then(|index| old.get(index)) {
        let mut replacement: Vec<Instruction<'source>> = before(instruction);
        match guarded(instruction)? {
            Some(others) => replacement.extend(others),
            None => replacement.push(instruction.clone()),
        }
        starts.push(next);
        next += replacement.len() as u32;
        replacements.push(replacement);
    }
    // Jumps may point just behind the last instruction.
    starts.push(next);
    let mut new = Instructions::new(NAME, source);
    for (index, replacement) in replacements.into_iter().enumerate() {
        let index = index as u32;
        for mut instruction in replacement {
            if let Instruction::Iterate(target)
            | Instruction::Jump(target)
            | Instruction::JumpIfFalse(target)
            | Instruction::JumpIfFalseOrPop(target)
            | Instruction::JumpIfTrueOrPop(target)
            | Instruction::BuildMacro(_, target, _) = &mut instruction
            {
                *target = starts.get(*target as usize).copied().unwrap_or(next);
            }
            match (old.get_span(index), old.get_line(index)) {
                (Some(span), _) => new.add_with_span(instruction, span),
                (None, Some(line)) => new.add_with_line(instruction, u16::try_from(line).unwrap_or(u16::MAX)),
                (None, None) => new.add(instruction),
            };
        }
    }
    Ok(new)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn multiplication_and_generation_tags_are_adapted() {
        let adapt = |source| adapt(source).unwrap();
        assert_eq!(adapt("{{ 'a' * 3 }} * {{ f(*x, **y) }}"), "{{ 'a' * saem_one * 3 }} * {{ f(*x, **y) }}");
        assert_eq!(adapt("{%- generation -%}x{% endgeneration %}"), "{%- if true -%}x{% endif %}");
        assert_eq!(adapt("{{ generation }} 안녕 {{ a*b }}"), "{{ generation }} 안녕 {{ a* saem_one *b }}");
    }

    #[test]
    fn sources_that_would_exhaust_the_compiler_are_refused() {
        let long_sum = format!("{{{{ {} }}}}", vec!["a"; 50_000].join(" ~ "));
        assert!(matches!(adapt(&long_sum), Err(TemplateError::Exceeded { what: "tokens in a tag", .. })));
        let elifs = format!("{{% if a %}}{}{{% endif %}}", "{% elif b %}".repeat(600));
        assert!(matches!(adapt(&elifs), Err(TemplateError::Exceeded { what: "elif branches", .. })));
        assert!(adapt(&"x".repeat(300_000)).is_err());
    }
}
