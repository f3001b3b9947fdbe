//! The completion API of 2021: a prompt, the texts around it, and what came out.
//!
//! The texts go together as the playground showed them: `text`, then `start`, then the output, then `restart`, so that
//! the whole is the prompt of the next turn once the user has written on.

use saem_engine::{FinishReason, TokenOutput, repetition_penalty_from_clova};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chat_v1::{StopReason, TextPlan};
use super::parameters::{above, sampling, stop, within};
use super::status::text_empty;
use crate::ApiError;

/// The most tokens of an answer.
const MAX_TOKENS: u32 = 2048;
/// Tokens where `maxTokens` is not given.
const DEFAULT_MAX_TOKENS: u32 = 100;
/// Candidates that `includeProbs` tells at each position.
pub(crate) const PROBABLE_TOKENS: usize = 5;

/// A request.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ClovaCompletionRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CompletionRequest {
    /// The prompt.
    pub(crate) text: String,
    /// Comes after the prompt, before the output.
    #[serde(default)]
    pub(crate) start: Option<String>,
    /// Comes after the output.
    #[serde(default)]
    pub(crate) restart: Option<String>,
    /// Strings that end the output and are no part of it.
    #[serde(default)]
    pub(crate) stop_before: Option<Vec<String>>,
    /// Above 0 to 1; 0.8.
    #[serde(default)]
    pub(crate) top_p: Option<f32>,
    /// 0 to 128; 0 is off.
    #[serde(default)]
    pub(crate) top_k: Option<u32>,
    /// 1 to 2,048; 100.
    #[serde(default)]
    pub(crate) max_tokens: Option<u32>,
    /// 0 (greedy) to 1; 0.5.
    #[serde(default)]
    pub(crate) temperature: Option<f32>,
    /// 0 to 10; 5. See [`repetition_penalty_from_clova`].
    #[serde(default)]
    pub(crate) repeat_penalty: Option<f32>,
    /// List the tokens of input and output.
    #[serde(default)]
    pub(crate) include_tokens: Option<bool>,
    /// List the most probable tokens at each position of the output.
    #[serde(default)]
    pub(crate) include_probs: Option<bool>,
    /// Taken and without effect: the server has no filter, so no answer has `aiFilter`.
    #[serde(default)]
    #[allow(dead_code, reason = "taken and without effect")]
    pub(crate) include_ai_filters: Option<bool>,
    /// 0 (drawn) to 4,294,967,295; 0.
    #[serde(default)]
    pub(crate) seed: Option<u64>,
}

impl CompletionRequest {
    /// Checks all ranges.
    ///
    /// # Errors
    /// [`ApiError`] for the first field that is wrong.
    pub(crate) fn plan(&self) -> Result<TextPlan, ApiError> {
        if self.text.is_empty() {
            return Err(text_empty("text"));
        }
        let temperature = within("temperature", self.temperature.unwrap_or(0.5), 0.0, 1.0)?;
        let penalty = within("repeatPenalty", self.repeat_penalty.unwrap_or(5.0), 0.0, 10.0)?;
        let penalty = repetition_penalty_from_clova(penalty)?;
        let top_p = above("topP", self.top_p.unwrap_or(0.8), 0.0, 1.0)?;
        let max_tokens = within("maxTokens", self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS), 1, MAX_TOKENS)?;
        Ok(TextPlan {
            sampling: sampling(Some(top_p), self.top_k, temperature, penalty, self.seed)?,
            max_tokens: max_tokens as usize,
            stop: stop("stopBefore", self.stop_before.clone())?,
        })
    }

    /// What the model continues: `text` and `start`.
    #[must_use]
    pub(crate) fn prompt(&self) -> String {
        format!("{}{}", self.text, self.start.as_deref().unwrap_or_default())
    }
}

/// A token and how probable it was.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaProbableToken)]
pub(crate) struct ProbableToken {
    /// The token, as in `outputTokens`.
    pub(crate) token: String,
    /// 0 to 1, before penalties and temperature.
    pub(crate) prob: f32,
}

/// A completion.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaCompletionResult)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CompletionResult {
    /// Everything: prompt, `start`, output, `restart`.
    pub(crate) text: String,
    /// Why the output ended.
    pub(crate) stop_reason: StopReason,
    /// Characters of `start`.
    pub(crate) start_length: usize,
    /// The prompt.
    pub(crate) input_text: String,
    /// Tokens of the prompt and `start`.
    pub(crate) input_length: usize,
    /// These tokens, where `includeTokens` asks for them.
    pub(crate) input_tokens: Vec<String>,
    /// `start`, output, `restart`.
    pub(crate) output_text: String,
    /// Tokens of the output.
    pub(crate) output_length: usize,
    /// These tokens, where `includeTokens` asks for them.
    pub(crate) output_tokens: Vec<String>,
    /// For each token of the output the most probable ones, best first, where `includeProbs` asks for them.
    pub(crate) probs: Vec<Vec<ProbableToken>>,
    /// Whether it went well; always true.
    pub(crate) ok: bool,
    /// The seed that was given or drawn.
    pub(crate) seed: u64,
}

/// What a completion came to, before it is put together.
#[derive(Clone, Debug)]
pub(crate) struct Output<'a> {
    /// The text.
    pub(crate) text: &'a str,
    /// Its tokens.
    pub(crate) tokens: &'a [TokenOutput],
    /// Why it ended.
    pub(crate) reason: FinishReason,
    /// The tokens of the prompt, spelt out.
    pub(crate) input_tokens: Vec<String>,
    /// Tokens generated, those of the stop string and the end token included.
    pub(crate) output_length: usize,
    /// The seed.
    pub(crate) seed: u64,
}

impl CompletionResult {
    /// Puts the texts together.
    #[must_use]
    pub(crate) fn new(request: &CompletionRequest, output: Output<'_>) -> Self {
        let start = request.start.as_deref().unwrap_or_default();
        let restart = request.restart.as_deref().unwrap_or_default();
        let output_text = format!("{start}{}{restart}", output.text);
        let list = request.include_tokens == Some(true);
        let output_tokens = output.tokens.iter().filter(|_| list).map(|token| spelt(&token.bytes)).collect();
        let probs = if request.include_probs == Some(true) { probabilities(output.tokens) } else { Vec::new() };
        Self {
            text: format!("{}{output_text}", request.text),
            stop_reason: output.reason.into(),
            start_length: start.chars().count(),
            input_text: request.text.clone(),
            input_length: output.input_tokens.len(),
            input_tokens: if list { output.input_tokens } else { Vec::new() },
            output_text,
            output_length: output.output_length,
            output_tokens,
            probs,
            ok: true,
            seed: output.seed,
        }
    }
}

fn probabilities(tokens: &[TokenOutput]) -> Vec<Vec<ProbableToken>> {
    let best = |token: &TokenOutput| {
        let top = token.logprobs.iter().flat_map(|logprobs| &logprobs.top);
        top.map(|other| ProbableToken { token: spelt(&other.bytes), prob: other.logprob.exp() }).collect()
    };
    tokens.iter().map(best).collect()
}

/// A token that may be a part of a character: bytes that are no text are spelt `<0xEC>`, so that nothing is lost.
#[must_use]
pub(crate) fn spelt(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("<0x{byte:02X}>"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse;
    use saem_engine::{Alternative, TokenLogprobs};

    fn request(json: &str) -> Result<CompletionRequest, ApiError> {
        parse(json.as_bytes())
    }

    fn token(bytes: &[u8]) -> TokenOutput {
        let alternative = Alternative { token: 1, bytes: bytes.into(), logprob: 0.5_f32.ln() };
        let logprobs = TokenLogprobs { logprob: 0.5_f32.ln(), top: vec![alternative] };
        TokenOutput { token: 1, bytes: bytes.into(), logprobs: Some(logprobs) }
    }

    #[test]
    fn the_texts_go_around_the_output() {
        // The playground's example: sentences and their mood, one per turn.
        let body = r####"{"text":"문장: 재미있다","start":"\n감정:","restart":"\n###\n문장:","stopBefore":["###"],
            "includeTokens":true,"includeProbs":true,"includeAiFilters":true,"topP":0.8,"topK":0,"maxTokens":30,
            "temperature":0.5,"repeatPenalty":5}"####;
        let request = request(body).unwrap();
        assert_eq!(request.prompt(), "문장: 재미있다\n감정:");
        let plan = request.plan().unwrap();
        assert_eq!((plan.max_tokens, plan.sampling.repetition_penalty), (30, 1.1));
        let tokens = [token(b" "), token(&[0xEA, 0xB8]), token(&[0x8D])];
        let output = Output {
            text: " 긍",
            tokens: &tokens,
            reason: FinishReason::StopString,
            input_tokens: vec!["문장".into(), ":".into()],
            output_length: 4,
            seed: 9,
        };
        let result = CompletionResult::new(&request, output);
        assert_eq!(result.output_text, "\n감정: 긍\n###\n문장:");
        assert_eq!(result.text, "문장: 재미있다\n감정: 긍\n###\n문장:");
        assert_eq!((result.start_length, result.input_length, result.output_length), (4, 2, 4));
        assert_eq!(result.output_tokens, [" ", "<0xEA><0xB8>", "<0x8D>"]);
        assert_eq!(result.probs[0], [ProbableToken { token: " ".into(), prob: 0.5 }]);
        assert_eq!(result.stop_reason, StopReason::StopBefore);
    }

    #[test]
    fn tokens_and_probabilities_are_told_where_they_are_asked_for() {
        let request = request(r#"{"text":"a"}"#).unwrap();
        let tokens = [token(b"b")];
        let output = Output {
            text: "b",
            tokens: &tokens,
            reason: FinishReason::Length,
            input_tokens: vec!["a".into()],
            output_length: 1,
            seed: 1,
        };
        let result = CompletionResult::new(&request, output);
        assert_eq!((result.text.as_str(), result.output_text.as_str()), ("ab", "b"));
        assert!(result.input_tokens.is_empty() && result.output_tokens.is_empty() && result.probs.is_empty());
        assert_eq!(result.input_length, 1);
    }

    #[test]
    fn every_range_has_two_ends() {
        for (field, good, bad) in [
            ("temperature", "0", "1.1"),
            ("topK", "128", "129"),
            ("topP", "0.1", "0"),
            ("repeatPenalty", "10", "11"),
            ("maxTokens", "2048", "2049"),
            ("maxTokens", "1", "0"),
            ("seed", "1", "4294967296"),
        ] {
            let plan = |value: &str| request(&format!(r#"{{"text":"a","{field}":{value}}}"#)).and_then(|r| r.plan());
            assert!(plan(good).is_ok(), "{field} {good}");
            let error = plan(bad).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(field), "{error}");
        }
        assert_eq!(request(r#"{"text":""}"#).unwrap().plan().unwrap_err().code, "text_empty");
        assert_eq!(request("{}").unwrap_err().param.as_deref(), Some("text"));
        assert_eq!(request(r#"{"text":"a","prompt":"b"}"#).unwrap_err().param.as_deref(), Some("prompt"));
    }
}
