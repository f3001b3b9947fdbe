//! Cutting a text into pieces, which the model then encodes one by one.
//!
//! A pre-tokeniser is a list of [`Stage`]s; each cuts the pieces of the one before. Pieces stay slices of the text
//! wherever a stage does not change it, and the sink learns the text around a piece, so that nothing is copied on the
//! usual path.

mod class;
mod pattern;
mod scan;

pub(crate) use class::{Classes, WORD};
pub(crate) use pattern::Pattern;
pub(crate) use scan::Scanner;

use crate::byte_level;

/// What becomes of the text that a pattern matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// When [`Stage::Metaspace`] puts its character in front of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepend {
    First,
    Never,
    Always,
}

/// One step of a pre-tokeniser.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// Cuts at the matches of a pattern, or, inverted, at what lies between them.
    Split { pattern: Pattern, behaviour: Behaviour, invert: bool },
    /// Puts a space in front of a piece that has none.
    PrefixSpace,
    /// Spells every byte in the byte-level alphabet.
    SpellBytes,
    /// Replaces spaces by a visible character, and cuts before each.
    Metaspace { replacement: char, prepend: Prepend, split: bool },
}

/// A list of stages.
#[derive(Debug, Clone, Default)]
pub(crate) struct PreTokenizer {
    pub(crate) stages: Vec<Stage>,
}

impl PreTokenizer {
    /// Calls `sink(text, start, end)` for each piece; `text` is the original or a changed copy. `at_start` says that
    /// nothing precedes `text`.
    pub(crate) fn run(&self, text: &str, at_start: bool, sink: &mut impl FnMut(&str, usize, usize)) {
        // The usual pre-tokeniser is one scanner, which deserves a loop without detours.
        if let [Stage::Split { pattern: Pattern::Scanner(scanner), behaviour: Behaviour::Isolated, invert: false }] =
            self.stages.as_slice()
        {
            scanner.pieces(text.as_bytes(), &mut |start, end| sink(text, start, end));
        } else {
            run(&self.stages, text, 0, text.len(), at_start, sink);
        }
    }
}

fn run<F: FnMut(&str, usize, usize)>(
    stages: &[Stage],
    text: &str,
    start: usize,
    end: usize,
    at_start: bool,
    sink: &mut F,
) {
    let Some(piece) = text.get(start..end) else { return };
    if piece.is_empty() {
        return;
    }
    let Some((stage, rest)) = stages.split_first() else {
        sink(text, start, end);
        return;
    };
    match stage {
        Stage::Split { pattern, behaviour, invert } => {
            split(pattern, *behaviour, *invert, piece, &mut |from, to| {
                run(rest, text, start + from, start + to, at_start && from == 0, sink);
            });
        }
        Stage::PrefixSpace => {
            if piece.starts_with(' ') {
                run(rest, text, start, end, at_start, sink);
            } else {
                let prefixed = format!(" {piece}");
                run(rest, &prefixed, 0, prefixed.len(), at_start, sink);
            }
        }
        Stage::SpellBytes => {
            let spelled = byte_level::spell_all(piece.as_bytes());
            run(rest, &spelled, 0, spelled.len(), at_start, sink);
        }
        Stage::Metaspace { replacement, prepend, split: cut } => {
            let mut changed = String::with_capacity(piece.len() + 4);
            let leads = piece.starts_with([' ', *replacement]);
            if !leads && (*prepend == Prepend::Always || *prepend == Prepend::First && at_start) {
                changed.push(*replacement);
            }
            changed.extend(piece.chars().map(|character| if character == ' ' { *replacement } else { character }));
            if !*cut {
                run(rest, &changed, 0, changed.len(), at_start, sink);
                return;
            }
            let mut from = 0;
            for (at, _) in changed.match_indices(*replacement) {
                run(rest, &changed, from, at, at_start && from == 0, sink);
                from = at;
            }
            run(rest, &changed, from, changed.len(), at_start && from == 0, sink);
        }
    }
}

/// Calls `emit(start, end)` for the parts into which `pattern` cuts `text`; some may be empty.
fn split(pattern: &Pattern, behaviour: Behaviour, invert: bool, text: &str, emit: &mut impl FnMut(usize, usize)) {
    let mut done = 0;
    if behaviour == Behaviour::Isolated || behaviour == Behaviour::Removed {
        let keep_matches = behaviour == Behaviour::Isolated || invert;
        let keep_gaps = behaviour == Behaviour::Isolated || !invert;
        pattern.matches(text, |start, end| {
            if keep_gaps {
                emit(done, start);
            }
            if keep_matches {
                emit(start, end);
            }
            done = end;
        });
        if keep_gaps {
            emit(done, text.len());
        }
        return;
    }
    let mut spans: Vec<(usize, usize, bool)> = Vec::new();
    pattern.matches(text, |start, end| {
        if done != start {
            spans.push((done, start, invert));
        }
        spans.push((start, end, !invert));
        done = end;
    });
    if done != text.len() {
        spans.push((done, text.len(), invert));
    }
    // A delimiter joins its neighbour only if the one before it (in the direction of work) is not a delimiter too.
    let joins = |is_match: bool, previous: bool| match behaviour {
        Behaviour::Contiguous => is_match == previous,
        _ => is_match && !previous,
    };
    let mut merged: Vec<(usize, usize)> = Vec::new();
    let mut previous = false;
    let backwards = behaviour == Behaviour::MergedWithNext;
    if backwards {
        spans.reverse();
    }
    for (start, end, is_match) in spans {
        match merged.last_mut() {
            Some(last) if joins(is_match, previous) && backwards => last.0 = start,
            Some(last) if joins(is_match, previous) => last.1 = end,
            _ => merged.push((start, end)),
        }
        previous = is_match;
    }
    if backwards {
        merged.reverse();
    }
    for (start, end) in merged {
        emit(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(stages: &[Stage], text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        PreTokenizer { stages: stages.to_vec() }
            .run(text, true, &mut |text, start, end| pieces.push(text[start..end].to_owned()));
        pieces
    }

    fn split_at(pattern: &str, behaviour: Behaviour, invert: bool) -> Stage {
        Stage::Split { pattern: Pattern::literal(pattern).unwrap(), behaviour, invert }
    }

    #[test]
    fn behaviours_match_their_definition() {
        let cut = |behaviour| pieces(&[split_at("-", behaviour, false)], "the-final--countdown").join("|");
        assert_eq!(cut(Behaviour::Removed), "the|final|countdown");
        assert_eq!(cut(Behaviour::Isolated), "the|-|final|-|-|countdown");
        assert_eq!(cut(Behaviour::MergedWithPrevious), "the-|final-|-|countdown");
        assert_eq!(cut(Behaviour::MergedWithNext), "the|-final|-|-countdown");
        assert_eq!(cut(Behaviour::Contiguous), "the|-|final|--|countdown");
        assert_eq!(pieces(&[split_at("-", Behaviour::Removed, true)], "a-b").join("|"), "-");
    }

    #[test]
    fn metaspace_marks_the_first_piece_only_when_asked() {
        let stage = |prepend, split| Stage::Metaspace { replacement: '▁', prepend, split };
        assert_eq!(pieces(&[stage(Prepend::Always, true)], "a b  c").join("|"), "▁a|▁b|▁|▁c");
        assert_eq!(pieces(&[stage(Prepend::Always, true)], " a").join("|"), "▁a");
        assert_eq!(pieces(&[stage(Prepend::Never, false)], "a b").join("|"), "a▁b");
        let stages = [split_at("-", Behaviour::Isolated, false), stage(Prepend::First, true)];
        assert_eq!(pieces(&stages, "a-b").join("|"), "▁a|-|b");
    }

    #[test]
    fn spelled_bytes_pass_on_as_text() {
        assert_eq!(pieces(&[Stage::PrefixSpace, Stage::SpellBytes], "é"), ["ĠÃ©"]);
        assert_eq!(pieces(&[Stage::PrefixSpace], ""), Vec::<String>::new());
    }
}
