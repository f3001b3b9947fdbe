//! From constraints to automata over the tokens of one tokenizer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use llguidance::api::ParserLimits;
use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use super::{Constraint, ConstraintError, Guide, only_token, restrict};
use crate::Vocabulary;

/// How long a constraint may take to compile. What takes longer is given up, though its thread goes on until its fuel
/// is spent.
pub const COMPILE_TIME: Duration = Duration::from_secs(3);
/// Compilations at once, those that were given up included.
const MAX_COMPILING: usize = 4;
/// Compiled constraints that are kept for the next request that has the same.
const MAX_CACHED: usize = 32;
/// Stack of a compilation, which recurses over the depth of a schema and along its references. Only touched pages are
/// backed by memory.
const STACK_BYTES: usize = 256 << 20;

/// Compiles constraints for one tokenizer. The trie of its tokens is built with the first constraint and shared by
/// all; automata are kept for requests that ask for the same again.
///
/// Compiling takes milliseconds for common schemas and up to [`COMPILE_TIME`] for bad ones, so a server calls
/// [`Constraints::prepare`] on a thread of its own before it submits the request.
pub struct Constraints {
    vocabulary: Arc<dyn Vocabulary>,
    /// Tokens of the vocabulary, the width of a row of logits.
    width: usize,
    end_tokens: Vec<u32>,
    factory: OnceLock<Result<Arc<ParserFactory>, ConstraintError>>,
    /// The most recently used last.
    cache: Mutex<VecDeque<(Constraint, Matcher)>>,
    compiling: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Constraints {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Constraints").field("width", &self.width).finish_non_exhaustive()
    }
}

impl Constraints {
    /// A compiler for a vocabulary of `width` tokens, of which `end_tokens` end a text. Costs nothing until it is
    /// used.
    #[must_use]
    pub fn new(vocabulary: Arc<dyn Vocabulary>, width: usize, end_tokens: Vec<u32>) -> Self {
        let factory = OnceLock::new();
        let compiling = Arc::new(AtomicUsize::new(0));
        Self { vocabulary, width, end_tokens, factory, cache: Mutex::default(), compiling }
    }

    /// Compiles a constraint, so that the request that has it begins without delay.
    ///
    /// # Errors
    /// [`ConstraintError`] where it cannot be compiled within the limits.
    pub fn prepare(&self, constraint: &Constraint) -> Result<(), ConstraintError> {
        self.guide(constraint).map(drop)
    }

    /// Whether the constraint takes these tokens as a whole text.
    ///
    /// # Errors
    /// [`ConstraintError`] where it cannot be compiled within the limits.
    pub fn accepts(&self, constraint: &Constraint, tokens: &[u32]) -> Result<bool, ConstraintError> {
        let mut guide = self.guide(constraint)?;
        Ok(tokens.iter().all(|token| guide.take(*token).is_ok()) && guide.is_accepting())
    }

    /// How long each step of this text takes: finding out what is allowed, taking it out of a row of logits, and going
    /// on by the token. For measurements.
    ///
    /// # Errors
    /// [`ConstraintError`] where the constraint cannot be compiled, or the tokens are no beginning of its text.
    pub fn measure(&self, constraint: &Constraint, tokens: &[u32]) -> Result<Vec<Duration>, ConstraintError> {
        let mut guide = self.guide(constraint)?;
        let (row, mut logits) = (vec![0.0_f32; self.width], Vec::with_capacity(self.width));
        let mut times = Vec::with_capacity(tokens.len());
        for token in tokens {
            let begin = Instant::now();
            let allowed = guide.allowed()?;
            if only_token(allowed).is_none() {
                logits.clear();
                logits.extend_from_slice(&row);
                restrict(&mut logits, allowed);
            }
            guide.take(*token)?;
            times.push(begin.elapsed());
        }
        Ok(times)
    }

    /// The automaton of a text that begins.
    pub(crate) fn guide(&self, constraint: &Constraint) -> Result<Guide, ConstraintError> {
        if let Some(matcher) = self.cached(constraint) {
            return Ok(Guide::new(matcher));
        }
        let matcher = self.compile(constraint)?;
        let guide = Guide::new(matcher.deep_clone());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED {
            cache.pop_front();
        }
        cache.push_back((constraint.clone(), matcher));
        Ok(guide)
    }

    /// A copy of a compiled constraint. It shares nothing with other texts: what one request makes of its automaton
    /// neither slows nor breaks another's.
    fn cached(&self, constraint: &Constraint) -> Option<Matcher> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let index = cache.iter().position(|(cached, _)| cached == constraint)?;
        let entry = cache.remove(index)?;
        let matcher = entry.1.deep_clone();
        cache.push_back(entry);
        Some(matcher)
    }

    fn compile(&self, constraint: &Constraint) -> Result<Matcher, ConstraintError> {
        let factory = self.factory.get_or_init(|| self.build_factory()).clone()?;
        let slot = Slot::take(&self.compiling)?;
        let (sender, receiver) = sync_channel(1);
        let what = constraint.kind();
        let constraint = constraint.clone();
        let job = move || {
            let compiled = compile(&factory, &constraint);
            drop(slot);
            // The receiver may have given up.
            let _ignored = sender.send(compiled);
        };
        let thread = std::thread::Builder::new().name("saem-constraint".into()).stack_size(STACK_BYTES).spawn(job);
        if let Err(error) = thread {
            return Err(ConstraintError::refused(what, &format!("no thread can be started: {error}")));
        }
        receiver.recv_timeout(COMPILE_TIME).unwrap_or_else(|error| {
            let reason = match error {
                RecvTimeoutError::Timeout => format!("it takes more than {} s to prepare", COMPILE_TIME.as_secs()),
                RecvTimeoutError::Disconnected => "it cannot be prepared".to_owned(),
            };
            Err(ConstraintError::TooComplex { what, reason })
        })
    }

    fn build_factory(&self) -> Result<Arc<ParserFactory>, ConstraintError> {
        let words: Vec<Vec<u8>> = (0..self.width as u32)
            .map(|token| {
                let bytes = self.vocabulary.bytes(token);
                // A byte that no text has keeps control tokens out of every text that does not name them.
                let marker = if self.vocabulary.is_control(token) { &[TokTrie::SPECIAL_TOKEN_MARKER][..] } else { &[] };
                [marker, bytes].concat()
            })
            .collect();
        let info = TokRxInfo::new(words.len() as u32, self.end_tokens.first().copied().unwrap_or(INVALID_TOKEN));
        let failed = |error: &dyn std::fmt::Display| ConstraintError::refused("vocabulary", error);
        // llguidance asserts what it takes for granted of a vocabulary; a model's file may not keep to it.
        let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut trie = TokTrie::from(&info, &words);
            if !self.end_tokens.is_empty() {
                trie = trie.with_eos_tokens(&self.end_tokens);
            }
            let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
            ParserFactory::new_simple(&environment)
        }));
        let mut factory = built.map_err(|_| failed(&"its tokens form no trie"))?.map_err(|error| failed(&error))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Arc::new(factory))
    }
}

/// What one automaton may take. Speeds are of a server core: 50,000 units of fuel for the beginning or 14,000 for a
/// step last about a millisecond.
fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        // About 1.5 kB each.
        max_lexer_states: 50_000,
        max_grammar_size: 200_000,
        // Neither states of the parser nor the grammar belong into messages to users.
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

fn compile(factory: &ParserFactory, constraint: &Constraint) -> Result<Matcher, ConstraintError> {
    let what = constraint.kind();
    let parser =
        factory.create_parser(constraint.grammar()?).map_err(|error| ConstraintError::refused(what, &error))?;
    let matcher = Matcher::new(Ok(parser));
    match matcher.get_error() {
        Some(error) => Err(ConstraintError::refused(what, &error)),
        // The first mask shows what only a walk over the tokens can: that there is a beginning, and at which cost.
        None => match Guide::new(matcher.deep_clone()).allowed() {
            Ok(_) => Ok(matcher),
            Err(ConstraintError::DeadEnd) => {
                Err(ConstraintError::Unsatisfiable { what, reason: "no text does".to_owned() })
            }
            Err(error) => Err(error),
        },
    }
}

/// A place among the compilations that run at once.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(running: &Arc<AtomicUsize>) -> Result<Self, ConstraintError> {
        let before = running.fetch_add(1, Ordering::AcqRel);
        let slot = Self(Arc::clone(running));
        if before >= MAX_COMPILING {
            return Err(ConstraintError::Busy { running: before });
        }
        Ok(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
