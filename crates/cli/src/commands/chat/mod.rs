//! `saem chat`.

mod command;
mod conversation;
mod input;
mod interrupt;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use saem_engine::chat::{Message, RenderOptions};
use saem_engine::{Adapter, Completion, Control, Engine, EngineError, Event, FinishReason, Request, Sampling};

use self::command::Command;
use self::conversation::{Conversation, Turn};
use self::input::{Input, Reader};
use self::interrupt::Interrupt;
use crate::arguments::Chat;
use crate::commands::run::Prefill;
use crate::failure;
use crate::language::Language;
use crate::loading::{self, Loaded};
use crate::output::{faint, note};
use crate::{models, resolve};

/// Room that is kept for an answer when old messages have to go.
const ROOM_FOR_ANSWER: usize = 256;

/// Opens a chat and stays in it until the user leaves.
pub(crate) fn run(arguments: &Chat, language: Language) -> anyhow::Result<()> {
    let options = resolve::options(&arguments.load, language)?;
    let home = models::hub()?.home().to_owned();
    let (loaded, adapter) = loading::load_adapted(&arguments.model, arguments.adapter.as_deref(), options, language)?;
    let sampling = resolve::sampling(&arguments.sampling, loaded.engine.default_sampling())?;
    // A broken template is better known before the first message than after it.
    loaded.engine.chat_template().map_err(EngineError::from)?;
    let mut chat = Room {
        loaded: &loaded,
        adapter,
        sampling,
        max_tokens: arguments.max_tokens,
        timing: arguments.timing,
        conversation: Conversation { system: arguments.system.clone(), ..Conversation::default() },
        interrupt: Interrupt::watch()?,
        language,
    };
    let mut reader = Reader::open(home.join("chat-history.txt"))?;
    if matches!(reader, Reader::Terminal { .. }) {
        note(&faint(&language.chat_welcome(&loaded.name)));
    }
    loop {
        let Input::Text(text) = reader.read()? else { break };
        let proceed = match Command::parse(&text) {
            _ if text.trim().is_empty() => true,
            Some(command) => chat.obey(&command),
            None => chat.answer(&text)?,
        };
        if !proceed {
            break;
        }
    }
    Ok(())
}

/// A chat in progress.
struct Room<'a> {
    loaded: &'a Loaded,
    adapter: Option<Arc<Adapter>>,
    sampling: Sampling,
    max_tokens: Option<usize>,
    timing: bool,
    conversation: Conversation,
    interrupt: Interrupt,
    language: Language,
}

impl Room<'_> {
    /// Carries out a command; false ends the chat.
    fn obey(&mut self, command: &Command<'_>) -> bool {
        let language = self.language;
        match command {
            Command::Help => note(&language.chat_help()),
            Command::Clear => {
                self.conversation.turns.clear();
                note(&faint(&language.chat_cleared()));
            }
            Command::System("") => match &self.conversation.system {
                Some(system) => note(system),
                None => note(&faint(&language.chat_no_system())),
            },
            Command::System(text) => {
                self.conversation.system = Some((*text).to_owned());
                note(&faint(&language.chat_system_set()));
            }
            Command::Save("") => note(&language.chat_save_usage()),
            Command::Save(path) => match self.conversation.save(Path::new(path), &self.loaded.name, language) {
                Ok(()) => note(&faint(&language.chat_saved(path))),
                Err(error) => note(&failure::explain(&error, language).0),
            },
            Command::Exit => return false,
            Command::Unknown(word) => note(&language.chat_unknown_command(word)),
        }
        true
    }

    /// Answers a message as it thinks; false ends the chat because nobody reads the answer.
    fn answer(&mut self, text: &str) -> anyhow::Result<bool> {
        self.conversation.turns.push(Turn { role: "user", content: text.to_owned() });
        let prompt = match self.prompt() {
            Ok(prompt) => prompt,
            Err(error) => {
                // A message that cannot be sent is forgotten, and the chat goes on.
                self.conversation.turns.pop();
                note(&failure::explain(&error.into(), self.language).0);
                return Ok(true);
            }
        };
        let stop = self.engine().chat_template().ok().and_then(|template| template.origin());
        let stop = stop.map(|builtin| builtin.stop_strings()).unwrap_or_default();
        let cancel = self.interrupt.begin_answer();
        let request = Request {
            max_tokens: self.max_tokens,
            stop: stop.iter().map(|stop| (*stop).to_owned()).collect(),
            cancel: Some(Arc::clone(&cancel)),
            adapter: self.adapter.clone(),
            ..Request::new(prompt, self.sampling.clone())
        };
        let result = self.stream(request);
        self.interrupt.end_answer();
        match result {
            Ok(completion) => {
                let content = completion.text().trim().to_owned();
                self.conversation.turns.push(Turn { role: "assistant", content });
                self.close(&completion);
                Ok(true)
            }
            Err(error) if failure::is_broken_pipe(&error) => Ok(false),
            Err(error) => {
                self.conversation.turns.pop();
                note(&failure::explain(&error, self.language).0);
                Ok(true)
            }
        }
    }

    /// The tokens of the conversation, its oldest messages left out where they do not fit.
    fn prompt(&mut self) -> Result<Vec<u32>, EngineError> {
        let context = self.engine().limits().context;
        let room = self.max_tokens.unwrap_or(ROOM_FOR_ANSWER).min(context / 2);
        let mut forgotten = 0;
        let prompt = loop {
            let system = self.conversation.system.iter().map(|text| Message::new("system", text));
            let turns = self.conversation.turns.iter().map(|turn| Message::new(turn.role, &turn.content));
            let messages: Vec<Message> = system.chain(turns).collect();
            let prompt = self.engine().chat_tokens(&messages, &RenderOptions::default())?;
            // A question and its answer go together, so that roles still take turns.
            if prompt.len() + room <= context || self.conversation.turns.len() < 3 {
                break prompt;
            }
            self.conversation.turns.drain(..2);
            forgotten += 2;
        };
        if forgotten > 0 {
            note(&faint(&self.language.chat_forgot(forgotten)));
        }
        Ok(prompt)
    }

    /// Generates and prints.
    fn stream(&self, request: Request) -> anyhow::Result<Completion> {
        let mut progress = Some(Prefill::new(self.language));
        let mut out = io::stdout().lock();
        let mut failed = None;
        let completion = self.engine().generate(request, &mut |event| {
            if let Event::Text { text, .. } = &event {
                progress = None;
                if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                    failed = Some(error);
                    return Control::Cancel;
                }
            }
            progress.as_mut().map_or(Control::Continue, |progress| progress.see(&event))
        })?;
        match failed {
            Some(error) => Err(error.into()),
            None => {
                writeln!(out)?;
                Ok(completion)
            }
        }
    }

    /// Says why an answer ended where that is not obvious, and how fast it came where that was asked for.
    fn close(&self, completion: &Completion) {
        let language = self.language;
        match completion.candidates.first().map(|candidate| candidate.reason) {
            Some(FinishReason::Cancelled) => note(&faint(&language.chat_stopped())),
            Some(FinishReason::Length) => note(&faint(&language.chat_length())),
            Some(FinishReason::ContextFull) => note(&faint(&language.chat_context_full())),
            _ => {}
        }
        if self.timing {
            let (usage, timings) = (&completion.usage, &completion.timings);
            let prefill = format!("{:.1}", timings.prefill_tokens_per_second(usage));
            let decode = format!("{:.1}", timings.decode_tokens_per_second(usage, 1));
            let (prompt, cached) = (usage.prompt_tokens, usage.cached_tokens);
            note(&faint(&language.timing(prompt, cached, &prefill, usage.completion_tokens, &decode)));
        }
        if io::stdout().is_terminal() {
            note("");
        }
    }

    fn engine(&self) -> &Engine {
        &self.loaded.engine
    }
}
