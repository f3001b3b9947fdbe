//! The smaller tools of CLOVA Studio's explorer: counting tokens, the sliding window, summaries.

use saem_engine::chat::Message;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chat_v3::{ResponseFormat, Tool, ToolChoice};
use super::messages::{ChatMessage, Role};
use super::parameters::within;
use super::segmentation::{Settings, check_length, segment_count, sizes};
use super::status::{parameter, text_empty, too_long};
use crate::ApiError;

/// Tokens that an answer may have where the sliding window is not told.
const DEFAULT_MAX_TOKENS: u32 = 100;
/// The most characters of what is to be summarised.
const MAX_SUMMARY_CHARACTERS: usize = 35_000;
/// The most characters of one part of it.
const MAX_SEGMENT: usize = 3000;
/// The most messages that are counted one by one: each is rendered with all before it.
const MAX_COUNTED: usize = 256;

/// What is to be counted by version 1: a conversation, or a text.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ClovaCountV1Request)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountV1Request {
    /// The conversation.
    #[serde(default)]
    pub(crate) messages: Option<Vec<ChatMessage>>,
    /// Or the text, for the models of 2021.
    #[serde(default)]
    pub(crate) text: Option<String>,
}

/// What version 1 is to count.
#[derive(Debug)]
pub(crate) enum Counted<'a> {
    /// A conversation.
    Messages(&'a [ChatMessage]),
    /// A text.
    Text(&'a str),
}

impl CountV1Request {
    /// The one field that is given.
    ///
    /// # Errors
    /// [`ApiError`] where both are, or none.
    pub(crate) fn counted(&self) -> Result<Counted<'_>, ApiError> {
        match (&self.messages, &self.text) {
            (Some(messages), None) => countable(messages).map(Counted::Messages),
            (None, Some(text)) => Ok(Counted::Text(text)),
            (Some(_), Some(_)) => Err(parameter("text", "cannot be given beside messages")),
            (None, None) => Err(parameter("messages", "is missing")),
        }
    }
}

/// Refuses more messages than can be counted one by one.
pub(crate) fn countable(messages: &[ChatMessage]) -> Result<&[ChatMessage], ApiError> {
    within("messages", messages.len(), 1, MAX_COUNTED).map(|_| messages)
}

/// What is to be counted by version 3.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ClovaCountV3Request)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CountV3Request {
    /// The conversation.
    pub(crate) messages: Vec<ChatMessage>,
    /// Functions that the model may call.
    #[serde(default)]
    pub(crate) tools: Option<Vec<Tool>>,
    /// Taken and without effect on the count.
    #[serde(default)]
    #[allow(dead_code, reason = "taken and without effect")]
    pub(crate) tool_choice: Option<ToolChoice>,
    /// The form of the answer. It takes no tokens here: it bounds what the model may write and is not told to it.
    #[serde(default)]
    pub(crate) response_format: Option<ResponseFormat>,
}

/// A message and its tokens, in version 1.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaCountedMessage)]
pub(crate) struct CountedMessage {
    /// Who speaks.
    pub(crate) role: Role,
    /// What is said.
    pub(crate) content: String,
    /// Its tokens, with those that the chat template puts around it.
    pub(crate) count: usize,
}

/// A conversation and its tokens, in version 1.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaCountV1Result)]
pub(crate) struct CountV1Result {
    /// Message by message.
    pub(crate) messages: Vec<CountedMessage>,
}

/// A text's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaCountedText)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CountedText {
    /// How many.
    pub(crate) num_tokens: usize,
}

/// A message and its tokens, in version 3.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaCountedMessageV3)]
pub(crate) struct CountedMessageV3 {
    /// Who speaks.
    pub(crate) role: Role,
    /// What is said: one part.
    pub(crate) content: Vec<CountedPart>,
}

/// The text of a message and its tokens.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaCountedPart)]
pub(crate) struct CountedPart {
    /// Always `text`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The text.
    pub(crate) text: String,
    /// Its tokens, with those that the chat template puts around it.
    pub(crate) count: usize,
}

/// Some tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaCount)]
pub(crate) struct Count {
    /// How many.
    pub(crate) count: usize,
}

/// A conversation and its tokens, in version 3.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaCountV3Result)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CountV3Result {
    /// Message by message.
    pub(crate) messages: Vec<CountedMessageV3>,
    /// Tokens that the functions take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tools: Option<Count>,
    /// Tokens that the form of the answer takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_format: Option<Count>,
}

/// Counts a conversation message by message: what each adds to the rendered whole. So the counts sum up to the prompt,
/// but for the beginning of the answer. A beginning that the chat template refuses (it may insist on a user's message)
/// counts as nothing, and the next message bears its tokens.
///
/// # Errors
/// What `tokens` returns for the whole conversation.
pub(crate) fn count_messages(
    messages: &[Message],
    tokens: &mut dyn FnMut(&[Message]) -> Result<usize, ApiError>,
) -> Result<Vec<usize>, ApiError> {
    let mut counts = Vec::with_capacity(messages.len());
    let mut before = 0;
    for end in 1..=messages.len() {
        let part = messages.get(..end).unwrap_or_default();
        let total = match tokens(part) {
            Ok(total) => total,
            Err(error) if end == messages.len() => return Err(error),
            Err(_) => before,
        };
        counts.push(total.saturating_sub(before));
        before = before.max(total);
    }
    Ok(counts)
}

/// A conversation that may be too long.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ClovaSlidingRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SlidingRequest {
    /// The conversation.
    pub(crate) messages: Vec<ChatMessage>,
    /// Tokens that the answer needs: 1 to 4,096; 100.
    #[serde(default)]
    pub(crate) max_tokens: Option<u32>,
}

impl SlidingRequest {
    /// Tokens that are kept free for the answer.
    ///
    /// # Errors
    /// `invalid_value` where `maxTokens` is out of range.
    pub(crate) fn reserved(&self) -> Result<usize, ApiError> {
        let tokens = within("maxTokens", self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS), 1, super::chat_v1::MAX_TOKENS)?;
        Ok(tokens as usize)
    }
}

/// A message of a conversation that fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaPlainMessage)]
pub(crate) struct PlainMessage {
    /// Who speaks.
    pub(crate) role: Role,
    /// What is said.
    pub(crate) content: String,
}

/// A conversation that fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaSlidingResult)]
pub(crate) struct SlidingResult {
    /// The messages that remain.
    pub(crate) messages: Vec<PlainMessage>,
}

/// Leaves out the oldest turns until what remains takes at most `budget` tokens: which messages remain.
///
/// A turn begins with a user's message. The system message stays, and so does the last turn. `tokens` counts the
/// messages with the given numbers; it is called a few times, since a shorter conversation never has more tokens.
///
/// # Errors
/// `context_length_exceeded` where not even the last turn fits, or what `tokens` returns.
pub(crate) fn slide(
    roles: &[Role],
    budget: usize,
    tokens: &mut dyn FnMut(&[usize]) -> Result<usize, ApiError>,
) -> Result<Vec<usize>, ApiError> {
    let numbers = |role: fn(Role) -> bool| {
        let chosen = roles.iter().enumerate().filter(move |(_, each)| role(**each));
        chosen.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let system = numbers(|role| role == Role::System);
    let others = numbers(|role| role != Role::System);
    // Where a turn begins, as a place in `others`.
    let is_user = |index: &usize| roles.get(*index) == Some(&Role::User);
    let mut begins: Vec<usize> = (1..others.len()).filter(|at| others.get(*at).is_some_and(is_user)).collect();
    begins.insert(0, 0);
    let remaining = |turn: usize| {
        let first = begins.get(turn).copied().unwrap_or_default();
        let mut remaining: Vec<usize> = system.iter().chain(others.get(first..).unwrap_or_default()).copied().collect();
        remaining.sort_unstable();
        remaining
    };
    // The first turn with which the rest fits, by halving.
    let (mut low, mut high) = (0, begins.len());
    while low < high {
        let middle = low.midpoint(high);
        if tokens(&remaining(middle))? <= budget {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if low == begins.len() {
        let taken = tokens(&remaining(begins.len() - 1))?;
        let reason = format!("the last turn has {taken} tokens and {budget} remain beside maxTokens");
        return Err(too_long("messages", reason));
    }
    Ok(remaining(low))
}

/// Texts to summarise.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ClovaSummarizationRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SummarizationRequest {
    /// The texts: 1 to 35,000 characters in all.
    pub(crate) texts: Vec<String>,
    /// Part the texts by topic, and summarise part by part; true.
    #[serde(default)]
    pub(crate) auto_sentence_splitter: Option<bool>,
    /// The number of parts, or -1 for automatic; -1.
    #[serde(default)]
    pub(crate) seg_count: Option<i64>,
    /// The most characters of a part: 1 to 3,000; 1,000.
    #[serde(default)]
    pub(crate) seg_max_size: Option<i64>,
    /// The fewest characters of a part: 0 to `segMaxSize`; 300.
    #[serde(default)]
    pub(crate) seg_min_size: Option<i64>,
    /// Taken and without effect: the server has no filter.
    #[serde(default)]
    #[allow(dead_code, reason = "taken and without effect")]
    pub(crate) include_ai_filters: Option<bool>,
}

impl SummarizationRequest {
    /// The whole text, and how to part it; `None` where it stays whole.
    ///
    /// # Errors
    /// [`ApiError`] for the first field that is wrong.
    pub(crate) fn plan(&self) -> Result<(String, Option<Settings>), ApiError> {
        let text = self.texts.join("\n");
        check_length("texts", text.chars().count(), MAX_SUMMARY_CHARACTERS)?;
        if text.trim().is_empty() {
            return Err(text_empty("texts"));
        }
        let count = segment_count("segCount", self.seg_count)?;
        let sizes = sizes(("segMinSize", self.seg_min_size), ("segMaxSize", self.seg_max_size), MAX_SEGMENT)?;
        let settings = Settings { alpha: None, count, sizes: Some(sizes) };
        Ok((text, (self.auto_sentence_splitter != Some(false)).then_some(settings)))
    }
}

/// A summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaSummarizationResult)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SummarizationResult {
    /// One line for each part, each beginning with `- `.
    pub(crate) text: String,
    /// Tokens of the texts.
    pub(crate) input_tokens: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse;

    #[test]
    fn counts_sum_up_to_the_whole() {
        let messages: Vec<Message> =
            ["system", "user", "assistant"].iter().map(|role| Message::new(*role, "a".repeat(role.len()))).collect();
        let cost = |messages: &[Message]| messages.iter().map(|m| m.role.len() + 2).sum::<usize>();
        let counts = count_messages(&messages, &mut |part| Ok(cost(part))).unwrap();
        assert_eq!(counts, [8, 6, 11]);
        // A template that insists on a user's message: the system message's tokens come with it.
        let refusal = || parameter("messages", "a user must speak");
        let mut strict = |part: &[Message]| if part.len() < 2 { Err(refusal()) } else { Ok(cost(part)) };
        assert_eq!(count_messages(&messages, &mut strict).unwrap(), [0, 14, 11]);
        assert_eq!(count_messages(&messages, &mut |_| Err(refusal())).unwrap_err(), refusal());
    }

    const ROLES: [Role; 6] = [Role::System, Role::User, Role::Assistant, Role::User, Role::Assistant, Role::User];

    fn slid(budget: usize) -> Result<Vec<usize>, ApiError> {
        slide(&ROLES, budget, &mut |numbers| Ok(numbers.len() * 10))
    }

    #[test]
    fn the_oldest_turns_go_first() {
        assert_eq!(slid(60).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(slid(59).unwrap(), [0, 3, 4, 5]);
        assert_eq!(slid(40).unwrap(), [0, 3, 4, 5]);
        assert_eq!(slid(20).unwrap(), [0, 5]);
        let error = slid(19).unwrap_err();
        assert_eq!(error.code, "context_length_exceeded");
        assert!(error.to_string().contains("20 tokens and 19 remain"), "{error}");
    }

    #[test]
    fn a_conversation_may_begin_with_the_assistant() {
        let roles = [Role::Assistant, Role::User, Role::Assistant];
        let slid = |budget| slide(&roles, budget, &mut |numbers| Ok(numbers.len()));
        assert_eq!(slid(3).unwrap(), [0, 1, 2]);
        assert_eq!(slid(2).unwrap(), [1, 2]);
        let failing = slide(&roles, 3, &mut |_| Err(text_empty("x")));
        assert_eq!(failing.unwrap_err().code, "text_empty");
    }

    #[test]
    fn summaries_check_their_fields() {
        let plan = |change: &str| {
            let body = format!(r#"{{"texts":["가나다.","라마바."]{change}}}"#);
            parse::<SummarizationRequest>(body.as_bytes()).and_then(|request| request.plan())
        };
        let (text, settings) = plan("").unwrap();
        assert_eq!(text, "가나다.\n라마바.");
        assert_eq!(settings, Some(Settings { alpha: None, count: None, sizes: Some((300, 1000)) }));
        assert_eq!(plan(r#","autoSentenceSplitter":false"#).unwrap().1, None);
        for (field, bad) in [
            ("segCount", "0"),
            ("segMaxSize", "3001"),
            ("segMaxSize", "0"),
            ("segMinSize", "1001"),
            ("postProcess", "true"),
        ] {
            let error = plan(&format!(r#","{field}":{bad}"#)).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(field), "{error}");
        }
        let empty = parse::<SummarizationRequest>(br#"{"texts":[]}"#).unwrap().plan().unwrap_err();
        assert_eq!(empty.code, "text_empty");
        assert!(parse::<SummarizationRequest>(br#"{"texts":"a"}"#).is_err());
    }

    #[test]
    fn one_of_two_fields_is_counted() {
        let counted = |body: &str| parse::<CountV1Request>(body.as_bytes()).unwrap();
        assert!(matches!(counted(r#"{"text":"a"}"#).counted(), Ok(Counted::Text("a"))));
        assert!(counted("{}").counted().is_err());
        assert!(counted(r#"{"text":"a","messages":[]}"#).counted().is_err());
        assert!(counted(r#"{"messages":[]}"#).counted().unwrap_err().message.contains("messages"));
    }
}
