//! The loop at the heart: plan a pass, run it, choose tokens, report.
//!
//! A [`Worker`] is single-threaded and never blocks: whoever owns it submits requests and calls [`Worker::step`] as
//! long as there is work. [`Engine`](crate::Engine) does so on the caller's thread; a server does it on a thread of
//! its own.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use saem_kernels::attention::Span;
use saem_model::Adapter;

use crate::blocks::BlockTable;
use crate::constraint::{Constraints, Guide};
use crate::forward::{Forward, Vocabulary};
use crate::keep::{self, RecallError};
use crate::output::{Alternative, Control, Event, FinishReason, Timings, TokenLogprobs, TokenOutput, Usage};
use crate::random::fresh_seed;
use crate::request::{Limits, Request};
use crate::sampler::{LogProbabilities, Sampler, Scratch, largest};
use crate::scheduler::{Part, Pass, Scheduler};
use crate::sequence::{RequestId, Sequence, worst_blocks};
use crate::speculate::Drafter;
use crate::stats::{Stats, Totals};
use crate::text::TextStream;
use crate::{Adapters, EngineError, StopMatcher};

/// What is known of a request beside its sequences.
#[derive(Debug)]
struct Job {
    /// The request, its prompt moved into the sequences.
    request: Request,
    seed: u64,
    /// What is added to logits, and the automaton of the constraint at its beginning.
    bias: Arc<[(u32, f32)]>,
    guide: Option<Box<Guide>>,
    matcher: StopMatcher,
    usage: Usage,
    /// Candidates that have not finished.
    unfinished: usize,
    cancelled: bool,
    submitted: Instant,
    started: Option<Instant>,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
}

impl Job {
    /// The sampler of a candidate that has `prompt` and nothing of its own.
    fn sampler(&self, candidate: usize, prompt: &[u32]) -> Sampler {
        Sampler::new(&self.request.sampling, self.seed, candidate, prompt)
            .with_bias(Arc::clone(&self.bias))
            .with_guide(self.guide.clone())
    }

    fn timings(&self) -> Timings {
        let started = self.started.unwrap_or(self.submitted);
        let first = self.first_token.unwrap_or(started);
        Timings {
            queued: started - self.submitted,
            prefill: first - started,
            decode: self.last_token.unwrap_or(first) - first,
        }
    }
}

/// Receives what happens to which request.
pub type Receiver<'a> = dyn FnMut(RequestId, Event<'_>) -> Control + 'a;

/// Owns a model and serves any number of requests with it, pass by pass.
pub struct Worker {
    forward: Box<dyn Forward>,
    vocabulary: Arc<dyn Vocabulary>,
    end_tokens: Vec<u32>,
    constraints: Arc<Constraints>,
    scheduler: Scheduler,
    jobs: HashMap<RequestId, Job>,
    next_request: u64,
    pass: Pass,
    scratch: Scratch,
    totals: Totals,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Worker").field("jobs", &self.jobs.len()).finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker over `forward`, whose cache and buffers bound what `limits` may say.
    ///
    /// # Errors
    /// [`EngineError::Parameter`] where the limits are zero or exceed what `forward` has room for.
    pub fn new(
        forward: Box<dyn Forward>,
        vocabulary: Arc<dyn Vocabulary>,
        end_tokens: Vec<u32>,
        limits: Limits,
    ) -> Result<Self, EngineError> {
        let check = |parameter, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(EngineError::Parameter { parameter, value: value.to_string(), expected: format!("1 to {most}") })
        };
        check("context", limits.context, usize::MAX)?;
        check("batch_rows", limits.batch_rows, forward.max_rows())?;
        check("prompt_rows", limits.prompt_rows, limits.batch_rows)?;
        // Every running sequence has a row and a row of logits in each pass, and so has every guessed token.
        let rows = limits.batch_rows.min(forward.max_logit_rows());
        check("max_sequences", limits.max_sequences, rows)?;
        if limits.draft_rows > rows - limits.max_sequences {
            let (value, expected) = (limits.draft_rows.to_string(), format!("0 to {}", rows - limits.max_sequences));
            return Err(EngineError::Parameter { parameter: "draft_rows", value, expected });
        }
        let scheduler = Scheduler::new(limits, forward.blocks());
        let constraints = Constraints::new(Arc::clone(&vocabulary), forward.vocabulary(), end_tokens.clone());
        Ok(Self {
            constraints: Arc::new(constraints),
            forward,
            vocabulary,
            end_tokens,
            scheduler,
            jobs: HashMap::new(),
            next_request: 0,
            pass: Pass::default(),
            scratch: Scratch::default(),
            totals: Totals::default(),
        })
    }

    /// What the worker was set up for.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.scheduler.limits
    }

    /// Compiles constraints for this model's tokens. [`Worker::submit`] does so itself; who wants to find out about a
    /// bad one earlier, or not to keep others waiting meanwhile, prepares it here on a thread of its own.
    #[must_use]
    pub fn constraints(&self) -> &Arc<Constraints> {
        &self.constraints
    }

    /// The model's adapters, where it takes any: they are loaded and removed there, by any thread and at any time.
    #[must_use]
    pub fn adapters(&self) -> Option<&Arc<Adapters>> {
        self.forward.adapters()
    }

    /// Sequences at work or waiting.
    #[must_use]
    pub fn sequences(&self) -> usize {
        let Scheduler { running, waiting, .. } = &self.scheduler;
        running.iter().map(Sequence::places).sum::<usize>() + waiting.places()
    }

    /// What is at work, and what was done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Scheduler { pool, running, waiting, .. } = &self.scheduler;
        Stats {
            running: running.iter().map(Sequence::places).sum(),
            waiting: waiting.len(),
            blocks: pool.len(),
            blocks_used: pool.len() - pool.unused(),
            blocks_kept: pool.kept(),
            totals: self.totals,
        }
    }

    /// The model, for measurements, with all of its cache: nothing may be running, and the texts it holds are
    /// forgotten.
    ///
    /// # Errors
    /// [`EngineError::Busy`] while there are requests.
    pub fn idle_forward(&mut self) -> Result<&mut dyn Forward, EngineError> {
        if !self.jobs.is_empty() {
            return Err(EngineError::Busy { sequences: self.sequences() });
        }
        self.scheduler.pool.forget();
        Ok(&mut *self.forward)
    }

    /// Writes the texts that nobody uses now and that are kept for later, with their keys and values, so that
    /// [`Worker::recall`] finds them after a restart. `model` stands for the weights: 32 bytes that no other model has.
    /// Returns how many blocks were written, at most `most`. The texts themselves are in it: keep it as you keep them.
    ///
    /// # Errors
    /// What `to` reports.
    pub fn keep(&self, model: &[u8; 32], most: usize, to: &mut dyn Write) -> std::io::Result<usize> {
        keep::write(&*self.forward, &self.scheduler.pool, model, most, to)
    }

    /// Reads what [`Worker::keep`] wrote, before the first request. Returns how many blocks are known now.
    ///
    /// # Errors
    /// [`RecallError`], and then nothing is known.
    pub fn recall(&mut self, model: &[u8; 32], from: &mut dyn Read) -> Result<usize, RecallError> {
        let recalled = keep::read(&mut *self.forward, &mut self.scheduler.pool, model, from);
        if recalled.is_err() {
            self.reset();
        }
        recalled
    }

    /// Puts a request into the queue.
    ///
    /// # Errors
    /// Where the request is out of range, can never fit, or names unknown tokens, and [`EngineError::QueueFull`] or
    /// [`EngineError::LineFull`] where it would have to wait and too many do; nothing has changed then.
    pub fn submit(&mut self, mut request: Request) -> Result<RequestId, EngineError> {
        let limits = self.scheduler.limits;
        if let Some(adapter) = &request.adapter {
            self.adapters().ok_or(EngineError::NoAdapters)?.check(adapter)?;
        }
        let matcher = request.validate(&limits, self.forward.vocabulary())?;
        let prompt = std::mem::take(&mut request.prompt);
        let tokens = after_soft_prompt(self.forward.vocabulary(), request.virtual_tokens(), &prompt);
        let wanted = request.max_tokens.map_or(usize::MAX, |max_tokens| tokens.len().saturating_add(max_tokens));
        let limit = wanted.min(limits.context);
        let needed = worst_blocks(tokens.len(), limit, request.candidates);
        if needed > self.scheduler.pool.len() {
            return Err(EngineError::CacheTooSmall { needed, blocks: self.scheduler.pool.len() });
        }
        let waiting = self.scheduler.waiting.len();
        // Who finds a free place in the next step does not really wait.
        let running: usize = self.scheduler.running.iter().map(Sequence::places).sum();
        let free = limits.max_sequences - running;
        if waiting >= limits.max_waiting.saturating_add(free) {
            return Err(EngineError::QueueFull { waiting });
        }
        let own = self.scheduler.waiting.line_len(request.line());
        if request.line_waiting.is_some_and(|most| own >= most.saturating_add(free)) {
            return Err(EngineError::LineFull { waiting: own });
        }
        let guide = request.constraint.as_ref().map(|constraint| self.constraints.guide(constraint)).transpose()?;
        self.next_request += 1;
        let id = RequestId(self.next_request);
        let job = Job {
            usage: Usage::default(),
            unfinished: request.candidates,
            seed: request.sampling.seed.unwrap_or_else(fresh_seed),
            bias: std::mem::take(&mut request.logit_bias).into(),
            guide: guide.map(Box::new),
            matcher,
            cancelled: false,
            submitted: Instant::now(),
            started: None,
            first_token: None,
            last_token: None,
            request,
        };
        self.scheduler.shares.enter(job.request.line());
        self.scheduler.waiting.push(Sequence {
            request: id,
            candidate: 0,
            prompt_len: tokens.len(),
            computed: 0,
            blocks: BlockTable::default(),
            promise: Default::default(),
            limit,
            siblings: job.request.candidates - 1,
            tenant: job.request.tenant,
            line: job.request.line(),
            adapter: job.request.adapter.clone(),
            cached: 0,
            drafter: job.request.speculate.then(Drafter::default),
            sampler: job.sampler(0, &prompt),
            text: TextStream::new(job.matcher.clone()),
            finished: None,
            tokens,
        });
        self.jobs.insert(id, job);
        Ok(id)
    }

    /// The seed that a running or waiting request draws with.
    #[must_use]
    pub fn seed(&self, request: RequestId) -> Option<u64> {
        self.jobs.get(&request).map(|job| job.seed)
    }

    /// Ends a request; its candidates finish as cancelled in the next step.
    pub fn cancel(&mut self, request: RequestId) {
        if let Some(job) = self.jobs.get_mut(&request) {
            job.cancelled = true;
        }
    }

    /// Drops all requests without a word, after a panic in the middle of a step.
    pub fn reset(&mut self) {
        self.jobs.clear();
        // What the cache holds, and what the books say about it, is not known to be whole.
        self.scheduler = Scheduler::new(self.scheduler.limits, self.forward.blocks());
    }

    /// Runs one pass and reports what came of it. False where there is nothing left to do.
    pub fn step(&mut self, receiver: &mut Receiver<'_>) -> bool {
        self.end_cancelled(receiver);
        let (jobs, totals, now) = (&mut self.jobs, &mut self.totals, Instant::now());
        self.scheduler.admit(|sequence| {
            totals.requests += 1;
            totals.prompt_tokens += sequence.prompt_len as u64;
            if let Some(job) = jobs.get_mut(&sequence.request) {
                job.started = Some(now);
                job.usage.prompt_tokens = sequence.prompt_len;
            }
        });
        let mut pass = std::mem::take(&mut self.pass);
        if self.scheduler.plan(&mut pass) {
            self.run(&pass, receiver);
        } else if let Some(stuck) = self.scheduler.running.first().map(|sequence| sequence.request) {
            // Only a mistake in the sums of blocks leads here; better an error than a loop.
            let blocks = self.scheduler.pool.len();
            self.fail(stuck, EngineError::CacheTooSmall { needed: blocks + 1, blocks }, receiver);
        }
        self.pass = pass;
        self.scheduler.retire();
        !self.jobs.is_empty()
    }

    /// The pass itself, then every part of it.
    fn run(&mut self, pass: &Pass, receiver: &mut Receiver<'_>) {
        let mut spans: Vec<Span<'_>> = Vec::with_capacity(pass.parts.len());
        let mut adapters: Vec<Option<&Adapter>> = Vec::with_capacity(pass.parts.len());
        for part in &pass.parts {
            let sequence = self.scheduler.running.get(part.sequence);
            let blocks = sequence.map_or(&[][..], |sequence| sequence.blocks.as_slice());
            let adapter = sequence.and_then(|sequence| sequence.adapter.as_deref());
            adapters.resize(adapters.len() + 1 + part.drafted, adapter);
            // A guessed row is a span of its own, so that attention sums it as it does a single row.
            let given = part.rows - part.drafted;
            let Part { first_row, first_position, .. } = *part;
            spans.push(Span { first_row, rows: given, first_position, blocks });
            spans.extend((given..part.rows).map(|row| Span {
                first_row: first_row + row,
                rows: 1,
                first_position: first_position + row,
                blocks,
            }));
        }
        let width = self.forward.vocabulary();
        if adapters.iter().all(Option::is_none) {
            adapters.clear();
        }
        let logits = match self.forward.forward_adapted(&pass.tokens, &spans, &adapters, &pass.logit_rows) {
            Ok(logits) => logits,
            Err(error) => {
                let reason = error.to_string();
                return self.fail_all(&reason, receiver);
            }
        };
        self.totals.passes += 1;
        self.totals.rows += pass.tokens.len() as u64;
        let mut born = Vec::new();
        let mut failed = Vec::new();
        for part in &pass.parts {
            let Some(sequence) = self.scheduler.running.get_mut(part.sequence) else { continue };
            let Some(job) = self.jobs.get_mut(&sequence.request) else { continue };
            if sequence.is_prompt() {
                sequence.computed += part.rows;
                sequence.blocks.register(&mut self.scheduler.pool, &sequence.tokens, sequence.computed);
                if sequence.computed == sequence.prompt_len {
                    self.totals.prefix_hits += u64::from(sequence.cached > 0);
                    self.totals.cached_tokens += sequence.cached as u64;
                }
                job.usage.cached_tokens = sequence.cached;
                let event = Event::Prefill { done: sequence.computed, total: sequence.prompt_len };
                if receiver(sequence.request, event) == Control::Cancel {
                    job.cancelled = true;
                }
            }
            let Some(first) = part.logits else { continue };
            let mut chooser =
                Chooser { row: &[], scratch: &mut self.scratch, vocabulary: &*self.vocabulary, ends: &self.end_tokens };
            let before = sequence.tokens.len();
            let drafts = pass.tokens.get(part.first_row + part.rows - part.drafted..part.first_row + part.rows);
            let mut drafts = drafts.unwrap_or_default().iter();
            let mut is_number = true;
            for row in logits.chunks_exact(width).skip(first).take(1 + part.drafted) {
                chooser.row = row;
                is_number = chooser.advance(job, sequence).is_some();
                // The logits after a guess count only where the guess was right.
                if !is_number || sequence.finished.is_some() || drafts.next() != sequence.tokens.last() {
                    break;
                }
            }
            if !is_number {
                failed.push((sequence.request, why_none(sequence)));
                continue;
            }
            let made = sequence.tokens.len() - before;
            self.totals.completion_tokens += made as u64;
            self.scheduler.shares.charge(sequence.line, made);
            if before > sequence.prompt_len {
                // Of the rows, those count whose token stayed; the last token of the text was in none.
                sequence.computed = sequence.tokens.len() - 1;
                sequence.blocks.register(&mut self.scheduler.pool, &sequence.tokens, sequence.computed);
                let right = made.saturating_sub(1);
                self.totals.drafted_tokens += part.drafted as u64;
                self.totals.accepted_tokens += right as u64;
                if let Some(drafter) = &mut sequence.drafter {
                    drafter.learn(part.drafted, right);
                }
            }
            report(job, sequence, receiver);
            // The prompt is done: its other candidates begin with tokens of their own.
            for candidate in 1..=std::mem::take(&mut sequence.siblings) {
                let mut sibling = sibling_of(sequence, candidate, job);
                if chooser.advance(job, &mut sibling).is_none() {
                    failed.push((sequence.request, why_none(&mut sibling)));
                    break;
                }
                report(job, &mut sibling, receiver);
                if sibling.finished.is_none() {
                    sibling.promise = sequence.promise.split(sibling.own_blocks());
                    born.push((part.sequence, sibling));
                }
            }
        }
        for (parent, mut sibling) in born {
            let Scheduler { running, pool, .. } = &mut self.scheduler;
            let Some(parent) = running.get(parent) else { continue };
            let fork = parent.blocks.fork(pool, &mut sibling.promise, sibling.computed);
            debug_assert!(fork.is_some(), "a candidate outgrew its promise");
            let Some((blocks, copy)) = fork else { continue };
            if let Some(copy) = copy {
                self.forward.copy_block(copy);
            }
            sibling.blocks = blocks;
            self.scheduler.shares.enter(sibling.line);
            self.scheduler.running.push(sibling);
        }
        for (request, error) in failed {
            self.fail(request, error, receiver);
        }
        self.jobs.retain(|id, job| {
            if job.unfinished > 0 {
                return true;
            }
            receiver(*id, Event::Done { usage: job.usage, timings: job.timings() });
            false
        });
    }

    fn end_cancelled(&mut self, receiver: &mut Receiver<'_>) {
        let Scheduler { waiting, running, .. } = &mut self.scheduler;
        let before = self.jobs.len();
        self.jobs.retain(|id, job| {
            if !job.cancelled && !job.request.is_cancelled() {
                return true;
            }
            for sequence in running.iter_mut().chain(waiting.iter_mut()).filter(|sequence| sequence.request == *id) {
                let first = sequence.candidate;
                sequence.finished = Some(FinishReason::Cancelled);
                sequence.text.finish();
                report(job, sequence, receiver);
                for candidate in first + 1..=first + sequence.siblings {
                    receiver(*id, Event::Finished { candidate, reason: FinishReason::Cancelled });
                }
            }
            receiver(*id, Event::Done { usage: job.usage, timings: job.timings() });
            false
        });
        if self.jobs.len() < before {
            self.scheduler.waiting.retire(&mut self.scheduler.shares);
            self.scheduler.retire();
        }
    }

    fn fail_all(&mut self, reason: &str, receiver: &mut Receiver<'_>) {
        let mut running: Vec<RequestId> = self.scheduler.running.iter().map(|sequence| sequence.request).collect();
        running.dedup();
        for request in running {
            self.fail(request, EngineError::Pass { reason: reason.to_owned() }, receiver);
        }
    }

    fn fail(&mut self, request: RequestId, error: EngineError, receiver: &mut Receiver<'_>) {
        if self.jobs.remove(&request).is_none() {
            return;
        }
        for sequence in self.scheduler.running.iter_mut().filter(|sequence| sequence.request == request) {
            sequence.finished = Some(FinishReason::Cancelled);
        }
        receiver(request, Event::Failed { error });
    }
}

/// A prompt after `count` virtual tokens, which are numbered from the vocabulary's size on.
fn after_soft_prompt(vocabulary: usize, count: usize, prompt: &[u32]) -> Vec<u32> {
    // Both are far below the range of token numbers: models have the bounds that their files are checked for.
    let first = vocabulary as u32;
    (first..first.saturating_add(count as u32)).chain(prompt.iter().copied()).collect()
}

/// Why no token could be chosen for a sequence.
fn why_none(sequence: &mut Sequence) -> EngineError {
    let position = sequence.tokens.len().saturating_sub(1);
    sequence.sampler.take_failure().map_or(EngineError::NotANumber { position }, EngineError::from)
}

/// A candidate that shares the prompt of `first` and has nothing yet of its own.
fn sibling_of(first: &Sequence, candidate: usize, job: &Job) -> Sequence {
    Sequence {
        request: first.request,
        candidate,
        tokens: first.tokens.get(..first.prompt_len).unwrap_or_default().to_vec(),
        prompt_len: first.prompt_len,
        computed: first.prompt_len,
        blocks: BlockTable::default(),
        promise: Default::default(),
        limit: first.limit,
        siblings: 0,
        tenant: first.tenant,
        line: first.line,
        adapter: first.adapter.clone(),
        cached: 0,
        drafter: job.request.speculate.then(Drafter::default),
        sampler: job.sampler(candidate, first.prompt()),
        text: TextStream::new(job.matcher.clone()),
        finished: None,
    }
}

/// Tells the receiver what a sequence has to show.
fn report(job: &mut Job, sequence: &mut Sequence, receiver: &mut Receiver<'_>) {
    let (candidate, id) = (sequence.candidate, sequence.request);
    let mut cancel = false;
    if !sequence.text.text.is_empty() || !sequence.text.tokens.is_empty() {
        let event = Event::Text { candidate, text: &sequence.text.text, tokens: &sequence.text.tokens };
        cancel |= receiver(id, event) == Control::Cancel;
        sequence.text.clear();
    }
    if let Some(reason) = sequence.finished {
        job.unfinished -= 1;
        cancel |= receiver(id, Event::Finished { candidate, reason }) == Control::Cancel;
    }
    job.cancelled |= cancel;
}

/// Chooses a token from one row of logits and lets a sequence take it in.
struct Chooser<'a> {
    row: &'a [f32],
    scratch: &'a mut Scratch,
    vocabulary: &'a dyn Vocabulary,
    ends: &'a [u32],
}

impl Chooser<'_> {
    /// `None` where the logits are not numbers or the constraint failed.
    fn advance(&mut self, job: &mut Job, sequence: &mut Sequence) -> Option<()> {
        if sequence.tokens.len() >= sequence.limit {
            // Only where no token was asked for at all.
            sequence.finished = Some(FinishReason::Length);
            return Some(());
        }
        if let Some(adapter) = sequence.adapter.clone().filter(|adapter| !adapter.labels().is_empty()) {
            return self.tell(adapter.labels(), job, sequence);
        }
        let token = sequence.sampler.sample(self.row, self.scratch)?;
        take(token, job, sequence);
        if !job.request.ignore_end_tokens && self.ends.contains(&token) {
            sequence.finished = Some(FinishReason::EndToken(token));
            sequence.text.finish();
            return Some(());
        }
        let output = TokenOutput {
            token,
            bytes: self.vocabulary.bytes(token).into(),
            logprobs: job.request.logprobs.map(|count| {
                let vocabulary = self.vocabulary;
                self.logprobs(token, count, &|token| vocabulary.bytes(token).into())
            }),
        };
        if sequence.text.push(output, !self.vocabulary.is_control(token)) {
            sequence.finished = Some(FinishReason::StopString);
        } else if sequence.sampler.is_complete() {
            sequence.finished = Some(FinishReason::Constraint);
            sequence.text.finish();
        } else if sequence.tokens.len() >= sequence.limit {
            let wanted = job.request.max_tokens.map(|max_tokens| sequence.prompt_len + max_tokens);
            let full = wanted.is_none_or(|wanted| wanted > sequence.limit);
            sequence.finished = Some(if full { FinishReason::ContextFull } else { FinishReason::Length });
            sequence.text.finish();
        }
        Some(())
    }

    /// The label with the highest score, which is all that there is to say with an adapter that has some. Nothing is drawn.
    fn tell(&mut self, labels: &[String], job: &mut Job, sequence: &mut Sequence) -> Option<()> {
        let label = largest(self.row)?.token;
        let bytes = |label: u32| labels.get(label as usize).map_or(&[][..], |label| label.as_bytes()).into();
        take(label, job, sequence);
        let logprobs = job.request.logprobs.map(|count| self.logprobs(label, count, &bytes));
        sequence.text.push(TokenOutput { token: label, bytes: bytes(label), logprobs }, true);
        sequence.finished = Some(FinishReason::Label);
        sequence.text.finish();
        Some(())
    }

    fn logprobs(&mut self, token: u32, count: usize, bytes: &dyn Fn(u32) -> Box<[u8]>) -> TokenLogprobs {
        let computed = LogProbabilities::compute(self.row, token, count, self.scratch);
        let alternative = |(token, logprob)| Alternative { token, bytes: bytes(token), logprob };
        TokenLogprobs { logprob: computed.chosen, top: computed.top.into_iter().map(alternative).collect() }
    }
}

/// Adds a token to a sequence and counts it.
fn take(token: u32, job: &mut Job, sequence: &mut Sequence) {
    sequence.tokens.push(token);
    job.usage.completion_tokens += 1;
    let now = Instant::now();
    job.first_token.get_or_insert(now);
    job.last_token = Some(now);
}
