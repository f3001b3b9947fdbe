//! A model from a path, and the blocking calls that most programs need.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use saem_formats::Source;
use saem_kernels::ThreadPool;
use saem_model::{Description, LoadOptions, Model, describe};
use saem_tokenizer::Tokenizer;

use crate::bench::{BenchOptions, BenchResult, bench};
use crate::chat::{ChatTemplate, Message, RenderOptions, TemplateError};
use crate::constraint::Constraints;
use crate::decoder::Decoder;
use crate::model_text::ModelText;
use crate::output::{CandidateText, Completion, Control, Event, FinishReason, Timings, Usage};
use crate::perplexity::{Perplexity, PerplexityOptions, logits_for, perplexity};
use crate::plan::{EngineOptions, Plan};
use crate::request::{Limits, Request};
use crate::sequence::RequestId;
use crate::worker::Worker;
use crate::{Adapters, EngineError, Sampling, Stats};

/// A loaded model that answers requests on the threads that ask, one call at a time.
///
/// Calls from several threads wait for one another. A program that serves many people at once owns a
/// [`Worker`] instead (see [`Engine::into_parts`]), whose requests share passes.
#[derive(Debug)]
pub struct Engine {
    worker: Mutex<Worker>,
    text: Arc<ModelText>,
    plan: Plan,
    threads: usize,
}

impl Engine {
    /// What [`Engine::load`] would take, without reading the weights.
    ///
    /// # Errors
    /// Where the file cannot be read or the options do not fit the model.
    pub fn plan_for(path: impl AsRef<Path>, options: &EngineOptions) -> Result<Plan, EngineError> {
        Plan::new(&describe(&Source::open(path)?)?, options)
    }

    /// Loads a model: a GGUF file, a folder of safetensors, or one safetensors file beside its `config.json`.
    /// `progress` is told the bytes of weights read so far and in all.
    ///
    /// # Errors
    /// Where the files cannot be read, the model is not supported, an option does not fit it, or memory is short.
    pub fn load(
        path: impl AsRef<Path>,
        options: &EngineOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, EngineError> {
        Self::from_source(&Source::open(path)?, options, progress)
    }

    /// As [`Engine::load`], from a source that is already open.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn from_source(
        source: &Source,
        options: &EngineOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, EngineError> {
        let description = describe(source)?;
        // Everything that can be refused is refused before the weights are read.
        Plan::new(&description, options)?;
        let text = Arc::new(ModelText::new(source, description)?);
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let pool = ThreadPool::new(threads)?;
        let model = Model::load(source, &pool, &LoadOptions { quantize: options.quantize }, progress)?;
        let plan = Plan::resolve(&model.config, model.weight_bytes() as u64, options)?;
        let decoder = Box::new(Decoder::new(model, pool, &plan)?.with_adapters(options.adapters));
        let worker = Worker::new(decoder, text.shared_tokenizer(), text.end_tokens().to_vec(), plan.limits)?;
        Ok(Self { worker: Mutex::new(worker), text, plan, threads })
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        self.text.tokenizer()
    }

    /// What the model's files say about it.
    #[must_use]
    pub fn description(&self) -> &Description {
        self.text.description()
    }

    /// The memory the engine takes.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Sizes that bound every request.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.plan.limits
    }

    /// Threads that compute.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Tokens that end an answer.
    #[must_use]
    pub fn end_tokens(&self) -> &[u32] {
        self.text.end_tokens()
    }

    /// Compiles constraints for this model's tokens, and tells early what is wrong with them.
    #[must_use]
    pub fn constraints(&self) -> Arc<Constraints> {
        Arc::clone(self.worker().constraints())
    }

    /// The model's adapters, to load some and to choose one for a request. There is room for them only where
    /// [`EngineOptions::adapters`] asked for it.
    #[must_use]
    pub fn adapters(&self) -> Option<Arc<Adapters>> {
        self.worker().adapters().cloned()
    }

    /// How the model's makers advise to sample, or [`Sampling::fallback`].
    #[must_use]
    pub fn default_sampling(&self) -> &Sampling {
        self.text.default_sampling()
    }

    /// The model's chat template, or one of Saem's own where the files have none (see
    /// [`for_model`](crate::chat::Builtin::for_model)).
    ///
    /// # Errors
    /// Where the model's template is broken; its texts can be completed all the same.
    pub fn chat_template(&self) -> Result<&ChatTemplate, TemplateError> {
        self.text.chat_template()
    }

    /// Stop strings that a conversation needs beside the end tokens: those of
    /// [`Transcript`](crate::chat::Builtin::Transcript), else none.
    #[must_use]
    pub fn chat_stop_strings(&self) -> Vec<String> {
        self.text.chat_stop_strings()
    }

    /// The tokens of a plain text to continue, with the begin token where the model wants one. Control tokens in the
    /// text are recognised: whoever writes the whole prompt may write them.
    #[must_use]
    pub fn prompt_tokens(&self, text: &str) -> Vec<u32> {
        self.text.prompt_tokens(text)
    }

    /// The tokens of a conversation. Control tokens that messages spell out stay ordinary text.
    ///
    /// # Errors
    /// Where the template is broken, refuses the messages or exceeds its limits.
    pub fn chat_tokens(&self, messages: &[Message], options: &RenderOptions) -> Result<Vec<u32>, EngineError> {
        self.text.chat_tokens(messages, options)
    }

    /// Runs one request to its end, telling `receiver` of everything on the way. What it has in common with requests
    /// before it, such as the earlier turns of a conversation, is not computed again while the memory lasts.
    ///
    /// # Errors
    /// Where the request does not fit the engine or the model computes no numbers.
    pub fn generate(
        &self,
        request: Request,
        receiver: &mut dyn FnMut(Event<'_>) -> Control,
    ) -> Result<Completion, EngineError> {
        self.run(vec![request], &mut |_, event| receiver(event)).map(first)
    }

    /// Runs several requests in common passes; those that do not fit at once wait for others to end. `receiver` is
    /// told which request each event belongs to.
    ///
    /// # Errors
    /// The first request that does not fit or fails ends all.
    pub fn generate_many(
        &self,
        requests: Vec<Request>,
        receiver: &mut dyn FnMut(usize, Event<'_>) -> Control,
    ) -> Result<Vec<Completion>, EngineError> {
        self.run(requests, receiver)
    }

    fn run(
        &self,
        requests: Vec<Request>,
        receiver: &mut dyn FnMut(usize, Event<'_>) -> Control,
    ) -> Result<Vec<Completion>, EngineError> {
        let mut worker = self.worker();
        let mut collected = Vec::with_capacity(requests.len());
        for request in requests {
            let candidates = request.candidates;
            match worker.submit(request) {
                Ok(id) => collected.push(Collected::new(id, candidates, worker.seed(id).unwrap_or_default())),
                Err(error) => {
                    worker.reset();
                    return Err(error);
                }
            }
        }
        let mut failed = None;
        while failed.is_none()
            && worker.step(&mut |id, event| {
                let Some(index) = collected.iter().position(|request| request.id == id) else {
                    return Control::Cancel;
                };
                if let Event::Failed { error } = event {
                    failed.get_or_insert(error);
                    return Control::Cancel;
                }
                if let Some(request) = collected.get_mut(index) {
                    request.take(&event);
                }
                receiver(index, event)
            })
        {}
        if let Some(error) = failed {
            worker.reset();
            return Err(error);
        }
        Ok(collected.into_iter().map(Collected::finish).collect())
    }

    /// Measures how well the model predicts a text; see [`perplexity`].
    ///
    /// # Errors
    /// As [`perplexity`].
    pub fn perplexity(
        &self,
        tokens: &[u32],
        options: &PerplexityOptions,
        progress: &mut dyn FnMut(&Perplexity) -> Control,
    ) -> Result<Perplexity, EngineError> {
        let mut worker = self.worker();
        perplexity(worker.idle_forward()?, self.text.tokenizer(), &self.plan.limits, tokens, options, progress)
    }

    /// Shows `visit` the logits after every token of a text.
    ///
    /// # Errors
    /// As [`logits_for`].
    pub fn logits_for(
        &self,
        tokens: &[u32],
        visit: &mut dyn FnMut(usize, &[f32]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        logits_for(self.worker().idle_forward()?, tokens, 0, visit)
    }

    /// Measures how fast the model computes; see [`bench`](bench()).
    ///
    /// # Errors
    /// As [`bench`](bench()).
    pub fn bench(
        &self,
        options: &BenchOptions,
        progress: &mut dyn FnMut(usize, usize) -> Control,
    ) -> Result<BenchResult, EngineError> {
        bench(self.worker().idle_forward()?, options, progress)
    }

    /// What turns messages into tokens, without the weights: it can be shared between threads.
    #[must_use]
    pub fn text(&self) -> &Arc<ModelText> {
        &self.text
    }

    /// What the engine has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.worker().stats()
    }

    /// Gives up the convenience for the loop itself, for a server with a thread of its own, and for the text side
    /// that everybody may use meanwhile.
    #[must_use]
    pub fn into_parts(self) -> (Worker, Arc<ModelText>) {
        (self.worker.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner), self.text)
    }

    fn worker(&self) -> MutexGuard<'_, Worker> {
        self.worker.lock().unwrap_or_else(|poisoned| {
            // A callback or a kernel panicked in the middle of a step: what was running is lost, the engine is not.
            let mut worker = poisoned.into_inner();
            worker.reset();
            self.worker.clear_poison();
            worker
        })
    }
}

/// What comes of one request while it runs.
#[derive(Debug)]
struct Collected {
    id: RequestId,
    seed: u64,
    candidates: Vec<CandidateText>,
    usage: Usage,
    timings: Timings,
}

impl Collected {
    fn new(id: RequestId, candidates: usize, seed: u64) -> Self {
        let empty = CandidateText { text: String::new(), tokens: Vec::new(), reason: FinishReason::Cancelled };
        let candidates = vec![empty; candidates];
        Self { id, seed, candidates, usage: Usage::default(), timings: Timings::default() }
    }

    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Text { candidate, text, tokens } => {
                if let Some(candidate) = self.candidates.get_mut(*candidate) {
                    candidate.text.push_str(text);
                    candidate.tokens.extend_from_slice(tokens);
                }
            }
            Event::Finished { candidate, reason } => {
                if let Some(candidate) = self.candidates.get_mut(*candidate) {
                    candidate.reason = *reason;
                }
            }
            Event::Done { usage, timings } => (self.usage, self.timings) = (*usage, *timings),
            Event::Prefill { .. } | Event::Failed { .. } => {}
        }
    }

    fn finish(self) -> Completion {
        let Self { seed, candidates, usage, timings, .. } = self;
        Completion { candidates, seed, usage, timings }
    }
}

/// The only completion of a single request.
fn first(completions: Vec<Completion>) -> Completion {
    completions.into_iter().next().unwrap_or_else(|| Completion {
        candidates: Vec::new(),
        seed: 0,
        usage: Usage::default(),
        timings: Timings::default(),
    })
}
