//! From rows of files to examples, and a report of what became of every row.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use saem_tokenizer::Tokenizer;
use serde::Serialize;
use serde_json::Value;

use crate::examples::Examples;
use crate::recipe::{DataRecipe, Form};
use crate::rows::{self, Format, LONGEST_ROW};
use crate::template::{Row, Template, value};
use crate::texts::list;
use crate::{DataProblem, TrainError};

/// Refused rows that a report lists one by one.
const LISTED: usize = 100;

/// Writes a conversation as the model's template has it: the messages, and whether the assistant's turn should be begun.
pub type WriteChat = dyn Fn(&[Value], bool) -> Result<String, String>;

/// What became of the rows of some files.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DataReport {
    /// Rows that there are, blank lines not counted.
    pub rows: usize,
    /// Examples to learn from or to measure with.
    pub examples: usize,
    /// Texts that were longer than a sequence, and became several examples or lost their end.
    pub cut: usize,
    /// Rows that were left out.
    pub refused: usize,
    /// The first of them.
    pub refusals: Vec<Refusal>,
    /// Examples of each label, under its name in answers.
    pub labels: BTreeMap<String, usize>,
    /// Tokens of all examples.
    pub tokens: usize,
    /// Those of them that are learnt.
    pub learnt_tokens: usize,
    /// Tokens of the shortest example, the median, the one that 95 % do not exceed, and the longest.
    pub lengths: [usize; 4],
}

/// A row that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Its file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// How rows become examples.
pub(crate) struct Prepare<'a> {
    pub(crate) data: &'a DataRecipe,
    pub(crate) tokenizer: &'a Tokenizer,
    /// The most tokens of an example.
    pub(crate) sequence: usize,
    pub(crate) write_chat: Option<&'a WriteChat>,
    pub(crate) choices: Choices,
}

/// The answers, where they are one of a few labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    /// What the labels are called, in the order of their first value.
    pub(crate) words: Vec<String>,
    /// The tokens of each answer.
    pub(crate) answers: Vec<Vec<u32>>,
}

impl Choices {
    /// Ends all answers where one of them begins another. Otherwise "1" would never be less likely than "10".
    fn end_where_others_go_on(&mut self, end: Option<u32>) {
        let begins = |answer: &Vec<u32>| self.answers.iter().any(|other| other != answer && other.starts_with(answer));
        let Some(end) = end.filter(|_| self.answers.iter().any(begins)) else { return };
        for answer in self.answers.iter_mut().filter(|answer| answer.last() != Some(&end)) {
            answer.push(end);
        }
    }

    /// Tokens that the longest has more than the shortest.
    pub(crate) fn spread(&self) -> usize {
        let lengths = || self.answers.iter().map(Vec::len);
        lengths().max().unwrap_or(0) - lengths().min().unwrap_or(0)
    }
}

impl<'a> Prepare<'a> {
    pub(crate) fn new(
        data: &'a DataRecipe,
        tokenizer: &'a Tokenizer,
        sequence: usize,
        write_chat: Option<&'a WriteChat>,
    ) -> Result<Self, String> {
        let mut choices = Choices::default();
        if matches!(data.form()?, Form::Label(_)) {
            // The number of a label stands for it, as a token would.
            choices.words = data.label_names();
            choices.answers = (0..choices.words.len()).map(|label| vec![label as u32]).collect();
        } else if let (Form::Answer(_, answer), Some(label)) = (data.form()?, &data.label) {
            let answer = Template::parse(answer)?;
            for word in data.labels.values() {
                if choices.words.contains(word) {
                    continue;
                }
                let text = answer.fill(&Row::new(), Some((label, word))).map_err(|problem| problem.to_string())?;
                let tokens = tokenizer.encode(&text, false, true);
                if let Some(other) = choices.answers.iter().position(|other| *other == tokens) {
                    let other = &choices.words[other];
                    return Err(format!("[data] labels {other:?} and {word:?} are the same tokens"));
                }
                choices.words.push(word.clone());
                choices.answers.push(tokens);
            }
            choices.end_where_others_go_on(tokenizer.eos());
        }
        if data.label.is_some() && choices.words.len() < 2 {
            return Err("[data] labels must have two names at least".into());
        }
        Ok(Self { data, tokenizer, sequence, write_chat, choices })
    }

    /// Reads files, or all files of folders, in the order of their names.
    pub(crate) fn read(
        &self,
        paths: &[PathBuf],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Examples, DataReport), TrainError> {
        let mut files = Vec::new();
        for path in paths {
            list(path, &mut files)?;
        }
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let total: u64 = files.iter().map(size).sum();
        let (mut examples, mut report, mut done) = (Examples::default(), DataReport::default(), 0);
        for path in &files {
            let format = Format::of(path).0;
            match (format, self.form(path)?) {
                (Some(format), form) => {
                    let mut each = |line, row| self.take(path, line, form, row, &mut examples, &mut report);
                    rows::read(path, format, LONGEST_ROW, &mut each, &mut |read| progress(done + read, total))?;
                }
                (None, Form::Text(column)) => {
                    let row = Row::from_iter([(column.to_owned(), Value::String(rows::text(path)?))]);
                    self.take(path, 1, Form::Text(column), Ok(row), &mut examples, &mut report)?;
                }
                (None, _) => {
                    let problem =
                        "rows are read from .jsonl and .csv, either with .zst behind it or not, and from .parquet";
                    return Err(TrainError::Recipe { path: path.clone(), problem: problem.to_owned() });
                }
            }
            done += size(path);
            progress(done, total);
        }
        if examples.is_empty() {
            return Err(match report.refusals.into_iter().next() {
                Some(Refusal { file, line, reason }) => TrainError::NoExamples { file, line, reason },
                None => {
                    let path = files.into_iter().next().unwrap_or_default();
                    TrainError::Recipe { path, problem: "there is no row in it".to_owned() }
                }
            });
        }
        Ok((examples, report))
    }

    fn form(&self, path: &Path) -> Result<Form<'a>, TrainError> {
        self.data.form().map_err(|problem| TrainError::Recipe { path: path.to_owned(), problem })
    }

    fn take(
        &self,
        path: &Path,
        line: usize,
        form: Form<'_>,
        row: Result<Row, DataProblem>,
        examples: &mut Examples,
        report: &mut DataReport,
    ) -> Result<(), TrainError> {
        report.rows += 1;
        let Err(problem) = row.and_then(|row| self.example(form, &row, examples, report)) else { return Ok(()) };
        // The recipe speaks of another table than this: nobody wants to hear that of every row.
        if matches!(problem, DataProblem::NoColumn { .. }) && report.refused + 1 == report.rows {
            return Err(TrainError::Data { path: path.to_owned(), line, problem });
        }
        report.refused += 1;
        if report.refusals.len() < LISTED {
            report.refusals.push(Refusal { file: path.to_owned(), line, reason: problem.to_string() });
        }
        Ok(())
    }

    fn example(
        &self,
        form: Form<'_>,
        row: &Row,
        examples: &mut Examples,
        report: &mut DataReport,
    ) -> Result<(), DataProblem> {
        match form {
            Form::Text(column) => self.text(&value(row, column)?, examples, report),
            Form::Answer(prompt, answer) => self.answer(prompt, answer, row, examples)?,
            Form::Chat(column) => self.chat(column, row, examples, report)?,
            Form::Label(prompt) => self.label(prompt, row, examples)?,
            Form::Preference(prompt, answers) => self.pair(prompt, answers, row, examples)?,
        }
        Ok(())
    }

    /// A text, in several examples where it is long. All of it is learnt, but not that texts begin.
    fn text(&self, text: &str, examples: &mut Examples, report: &mut DataReport) {
        let mut tokens = self.tokenizer.encode(text, true, false);
        tokens.extend(self.tokenizer.eos().filter(|end| tokens.last() != Some(end)));
        report.cut += usize::from(tokens.len() > self.sequence);
        for piece in tokens.chunks(self.sequence).filter(|piece| piece.len() > 1) {
            let begin = usize::from(piece.first().copied() == self.tokenizer.bos());
            examples.push([(&piece[..begin], false), (&piece[begin..], true)], None);
        }
    }

    fn answer(&self, prompt: &str, answer: &str, row: &Row, examples: &mut Examples) -> Result<(), DataProblem> {
        // Both were parsed when the recipe was read.
        let template = |text| Template::parse(text).map_err(DataProblem::Conversation);
        let tokens = self.tokenizer.encode(&template(prompt)?.fill(row, None)?, true, true);
        let (answer, label) = match &self.data.label {
            None => (self.tokenizer.encode(&template(answer)?.fill(row, None)?, false, true), None),
            Some(column) => {
                let index = self.label_of(row, column)?;
                (self.choices.answers[index].clone(), Some(index as u32))
            }
        };
        let end: Vec<u32> = self.tokenizer.eos().filter(|end| answer.last() != Some(end)).into_iter().collect();
        let found = tokens.len() + answer.len() + end.len();
        if found > self.sequence {
            return Err(DataProblem::TooManyTokens { found, limit: self.sequence });
        }
        examples.push([(&tokens[..], false), (&answer[..], true), (&end[..], true)], label);
        Ok(())
    }

    /// The number of a row's label.
    fn label_of(&self, row: &Row, column: &str) -> Result<usize, DataProblem> {
        let found = value(row, column)?;
        let word = self.data.labels.get(found.trim()).ok_or(DataProblem::Label(found))?;
        Ok(self.choices.words.iter().position(|known| known == word).unwrap_or(0))
    }

    /// A text whose label is to be told; nothing of it is learnt.
    fn label(&self, prompt: &str, row: &Row, examples: &mut Examples) -> Result<(), DataProblem> {
        let label = self.label_of(row, self.data.label.as_deref().unwrap_or_default())?;
        let text = Template::parse(prompt).map_err(DataProblem::Conversation)?.fill(row, None)?;
        let tokens = self.tokenizer.encode(&text, true, true);
        if tokens.len() > self.sequence {
            return Err(DataProblem::TooManyTokens { found: tokens.len(), limit: self.sequence });
        }
        examples.push([(&tokens[..], false)], Some(label as u32));
        Ok(())
    }

    fn pair(&self, prompt: &str, answers: [&str; 2], row: &Row, examples: &mut Examples) -> Result<(), DataProblem> {
        // They were parsed when the recipe was read.
        let fill = |text| Template::parse(text).map_err(DataProblem::Conversation)?.fill(row, None);
        let prompt = self.tokenizer.encode(&fill(prompt)?, true, true);
        let mut both = Vec::new();
        for answer in answers {
            let mut tokens = self.tokenizer.encode(&fill(answer)?, false, true);
            tokens.extend(self.tokenizer.eos().filter(|end| tokens.last() != Some(end)));
            let found = prompt.len() + tokens.len();
            if found > self.sequence {
                return Err(DataProblem::TooManyTokens { found, limit: self.sequence });
            }
            both.push(tokens);
        }
        if both.first() == both.last() {
            return Err(DataProblem::SameAnswers);
        }
        for answer in &both {
            examples.push([(&prompt[..], false), (&answer[..], true)], None);
        }
        examples.are_pairs = true;
        Ok(())
    }

    fn chat(
        &self,
        column: &str,
        row: &Row,
        examples: &mut Examples,
        report: &mut DataReport,
    ) -> Result<(), DataProblem> {
        let wrong = |problem: &str| DataProblem::Conversation(problem.to_owned());
        let Some(messages) = row.get(column) else {
            let columns = row.keys().cloned().collect();
            return Err(DataProblem::NoColumn { column: column.to_owned(), columns });
        };
        let messages =
            messages.as_array().filter(|messages| !messages.is_empty()).ok_or_else(|| wrong("not a list"))?;
        let write = self.write_chat.ok_or_else(|| wrong("the model has no chat template"))?;
        let write = |count: usize, begin| write(&messages[..count], begin).map_err(DataProblem::Conversation);
        let is_answer = |message: &Value| message["role"] == "assistant";
        let whole = write(messages.len(), false)?;
        // Where each turn of the assistant begins and ends in the whole. Templates that write a conversation otherwise
        // once it goes on leave the last turn alone to learn from.
        let mut turns = Vec::new();
        for (index, _) in messages.iter().enumerate().filter(|(_, message)| is_answer(message)) {
            let (before, after) = (write(index, true)?, write(index + 1, false)?);
            if !whole.starts_with(&after) || !after.starts_with(&before) {
                turns.clear();
                continue;
            }
            // Or take the turn before up again.
            if turns.last().is_some_and(|last: &Range<usize>| last.end > before.len()) {
                turns.clear();
            }
            turns.push(before.len()..after.len());
        }
        let mut parts: Vec<(Vec<u32>, bool)> = Vec::new();
        let (mut at, mut count) = (0, 0);
        for turn in turns {
            for (text, learnt) in [(&whole[at..turn.start], false), (&whole[turn.clone()], true)] {
                parts.push((self.tokenizer.encode(text, false, true), learnt));
            }
            at = turn.end;
        }
        let found: usize = parts.iter().map(|(tokens, _)| tokens.len()).sum();
        for (tokens, _) in &mut parts {
            tokens.truncate(self.sequence.saturating_sub(count));
            count += tokens.len();
        }
        report.cut += usize::from(found > self.sequence);
        if !parts.iter().any(|(tokens, learnt)| *learnt && !tokens.is_empty()) {
            return Err(if found > self.sequence {
                DataProblem::TooManyTokens { found, limit: self.sequence }
            } else {
                wrong("nothing that the assistant says can be learnt from")
            });
        }
        examples.push(parts.iter().map(|(tokens, learnt)| (&tokens[..], *learnt)), None);
        Ok(())
    }
}

impl DataReport {
    /// Completes a report by what the examples are.
    pub(crate) fn of(mut self, examples: &Examples, choices: &Choices) -> Self {
        self.examples = examples.len();
        self.tokens = examples.token_count();
        self.learnt_tokens = examples.learnt_count();
        self.lengths = examples.lengths();
        self.labels = choices.words.iter().map(|word| (word.clone(), 0)).collect();
        for label in examples.iter().filter_map(|example| example.label) {
            if let Some(count) = choices.words.get(label as usize).and_then(|word| self.labels.get_mut(word)) {
                *count += 1;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_begin_others_are_told_from_them_by_their_end() {
        let ended = |answers: &[&[u32]]| {
            let answers = answers.iter().map(|answer| answer.to_vec()).collect();
            let mut choices = Choices { answers, ..Choices::default() };
            choices.end_where_others_go_on(Some(9));
            (choices.spread(), choices.answers)
        };
        assert_eq!(ended(&[&[1], &[2, 3]]), (1, vec![vec![1], vec![2, 3]]));
        assert_eq!(ended(&[&[1], &[1, 0], &[2, 9]]), (1, vec![vec![1, 9], vec![1, 0, 9], vec![2, 9]]));
    }
}
