//! Functions: what a request of version 3 adds to the prompt, and what its answer calls.

use saem_engine::ModelText;
use saem_engine::chat::Message;
use saem_engine::constraint::Constraint;
use saem_engine::tools::{
    self, ToolCallParser, ToolChoice as EngineChoice, ToolError, ToolEvent, ToolSyntax, parse_tools,
};
use serde_json::{Map, Value};

use super::chat_v3::{
    AnswerV3, BegunCall, BegunFunction, CallOut, CallPiece, ChatV3Request, FunctionPiece, ToolChoice,
};
use super::messages::{CalledFunction, FunctionKind, ToolCall};
use crate::ApiError;
use crate::openai::{call_id, instruct};

/// Functions on offer, in the way in which a model was taught to call them.
#[derive(Debug)]
pub(crate) struct Offer {
    /// For the chat template; `None` where the model knows no syntax and is told in a message.
    pub(crate) for_template: Option<Value>,
    /// What the answer must be.
    pub(crate) constraint: Option<Constraint>,
    syntax: ToolSyntax,
}

impl Offer {
    /// The functions of a request, where it has any that may be called. A model that was taught no syntax is told of
    /// them in the system message.
    pub(crate) fn new(
        request: &ChatV3Request,
        text: &ModelText,
        messages: &mut Vec<Message>,
    ) -> Result<Option<Self>, ApiError> {
        if !request.offers_tools() {
            return Ok(None);
        }
        let listed = serde_json::to_value(&request.tools).map_err(|_| ApiError::internal())?;
        let offered = parse_tools(&listed).map_err(refused)?;
        let choice = match &request.tool_choice {
            Some(ToolChoice::Function(forced)) => EngineChoice::Named(forced.function.name.clone()),
            _ => EngineChoice::Auto,
        };
        let syntax = ToolSyntax::of_template(text.chat_template()?);
        let constraint = tools::constraint(syntax, &offered, &choice, true).map_err(refused)?;
        let for_template = (syntax != ToolSyntax::Json).then_some(listed);
        if for_template.is_none() {
            instruct(messages, &tools::instructions(&offered));
        }
        Ok(Some(Self { for_template, constraint, syntax }))
    }

    /// What reads the answer.
    pub(crate) fn reader(&self) -> Reader {
        Reader { parser: ToolCallParser::new(self.syntax), text: String::new(), calls: Vec::new() }
    }
}

fn refused(error: ToolError) -> ApiError {
    match error {
        ToolError::Field { field, reason } => {
            let field = field.replace("tool_choice", "toolChoice");
            let message = format!("`{field}` {reason}");
            ApiError::invalid_value(field, message)
        }
        error => ApiError::invalid("invalid_schema", "tools", error.to_string()),
    }
}

/// A call that is being read.
#[derive(Debug)]
struct Call {
    id: String,
    name: String,
    arguments: String,
    is_complete: bool,
}

/// Reads an answer as it streams.
#[derive(Debug)]
pub(crate) struct Reader {
    parser: ToolCallParser,
    text: String,
    calls: Vec<Call>,
}

impl Reader {
    /// Takes the next piece of the answer; returns what a stream tells of it.
    pub(crate) fn push(&mut self, piece: &str) -> Vec<AnswerV3> {
        let mut told = Vec::new();
        let Self { parser, text, calls } = self;
        parser.push(piece, &mut |event| told.extend(take(event, text, calls)));
        told
    }

    /// The answer is over.
    pub(crate) fn finish(&mut self) -> Vec<AnswerV3> {
        let mut told = Vec::new();
        let Self { parser, text, calls } = self;
        parser.finish(&mut |event| told.extend(take(event, text, calls)));
        told
    }

    /// The whole answer. A call that was cut off is left out.
    pub(crate) fn answer(&self) -> AnswerV3 {
        let call = |call: &Call| {
            let arguments: Map<String, Value> = serde_json::from_str(&call.arguments).ok()?;
            let function = CalledFunction { name: call.name.clone(), arguments };
            call.is_complete.then(|| ToolCall { id: call.id.clone(), kind: FunctionKind::Function, function })
        };
        let calls: Vec<CallOut> = self.calls.iter().filter_map(call).map(CallOut::Whole).collect();
        let tool_calls = (!calls.is_empty()).then_some(calls);
        AnswerV3 { tool_calls, ..AnswerV3::new(self.text.clone()) }
    }
}

fn take(event: ToolEvent, text: &mut String, calls: &mut Vec<Call>) -> Option<AnswerV3> {
    let told = |call: CallOut| Some(AnswerV3 { tool_calls: Some(vec![call]), ..AnswerV3::new("") });
    match event {
        ToolEvent::Text(piece) => {
            text.push_str(&piece);
            Some(AnswerV3::new(piece))
        }
        ToolEvent::Begin { name, .. } => {
            let id = call_id();
            let call = Call { id: id.clone(), name: name.clone(), arguments: String::new(), is_complete: false };
            calls.push(call);
            told(CallOut::Begun(BegunCall { id, kind: FunctionKind::Function, function: BegunFunction { name } }))
        }
        ToolEvent::Arguments { index, text: piece } => {
            calls.get_mut(index)?.arguments.push_str(&piece);
            let function = FunctionPiece { partial_json: piece };
            told(CallOut::Piece(CallPiece { kind: FunctionKind::Function, function }))
        }
        ToolEvent::End { index } => {
            calls.get_mut(index)?.is_complete = true;
            None
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        Reader { parser: ToolCallParser::new(ToolSyntax::Hermes), text: String::new(), calls: Vec::new() }
    }

    #[test]
    fn calls_stream_as_documented() {
        let mut reader = reader();
        let mut told = Vec::new();
        for piece in ["<tool_call>\n{\"name\": \"weather\", \"arg", "uments\": {\"city\": \"서", "울\"}}\n</tool_call>"]
        {
            told.extend(reader.push(piece));
        }
        told.extend(reader.finish());
        let json: Vec<Value> = told.iter().map(|message| serde_json::to_value(message).unwrap()).collect();
        assert_eq!(json[0]["toolCalls"][0]["function"]["name"], "weather");
        assert!(json[0]["toolCalls"][0]["id"].as_str().unwrap().starts_with("call_"));
        let pieces: String =
            json[1..].iter().map(|m| m["toolCalls"][0]["function"]["partialJson"].as_str().unwrap()).collect();
        assert_eq!(pieces, "{\"city\": \"서울\"}");
        let answer = serde_json::to_value(reader.answer()).unwrap();
        assert_eq!(answer["content"], "");
        assert_eq!(answer["toolCalls"][0]["function"]["arguments"]["city"], "서울", "an object, not a text");
        assert_eq!(answer["toolCalls"][0]["id"], json[0]["toolCalls"][0]["id"]);
    }

    #[test]
    fn a_call_that_is_cut_off_is_none() {
        let mut reader = reader();
        reader.push("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"서");
        reader.finish();
        assert_eq!(reader.answer().tool_calls, None);
        let mut plain = self::reader();
        plain.push("맑아요.");
        plain.finish();
        assert_eq!(plain.answer(), AnswerV3::new("맑아요."));
    }
}
