//! Failures as their reader needs them: what, where, what to do.

use std::fmt::Write as _;
use std::path::Path;

use indicatif::DecimalBytes;
use saem_encoder::EncoderError;
use saem_engine::EngineError;
use saem_engine::chat::TemplateError;
use saem_engine::constraint::ConstraintError;
use saem_formats::FormatError;
use saem_hub::HubError;
use saem_kernels::KernelError;
use saem_model::ModelError;
use saem_server::http::ServeError;
use saem_server::service::LoadError;
use saem_store::StoreError;
use saem_train::TrainError;

use crate::language::Language;

/// A failure that the command line itself finds; the text is in the user's language already.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    hints: Vec<String>,
    usage: bool,
}

impl Failure {
    /// Something that went wrong.
    pub(crate) fn new(what: String) -> Self {
        Self { what, hints: Vec::new(), usage: false }
    }

    /// Something that was asked for wrongly (exit code 2).
    pub(crate) fn usage(what: String) -> Self {
        Self { usage: true, ..Self::new(what) }
    }

    /// Adds what to do.
    pub(crate) fn hint(mut self, hint: String) -> Self {
        self.hints.push(hint);
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "saem: {}", self.what)?;
        self.hints.iter().try_for_each(|hint| write!(formatter, "\n  {hint}"))
    }
}

impl std::error::Error for Failure {}

/// Whether nobody reads the output any more, which is no failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// The failure in the user's language, and whether the command line was wrong and not the world.
pub(crate) fn explain(error: &anyhow::Error, language: Language) -> (String, bool) {
    let known = || match error.downcast_ref::<HubError>() {
        Some(error) => Some(hub(error, language)),
        None => error.downcast_ref().map(|error| store(error, language)).or_else(|| model(error, language)),
    };
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return (failure.to_string(), failure.usage);
    }
    if let Some(failure) = known() {
        return (failure.to_string(), failure.usage);
    }
    let mut text = format!("saem: {error}");
    for cause in error.chain().skip(1) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {}", language.reason(&cause.to_string()));
    }
    (text, false)
}

fn hub(error: &HubError, language: Language) -> Failure {
    let l = language;
    match error {
        HubError::NoHome => Failure::new(l.no_home()).hint(l.no_home_hint()),
        HubError::InvalidName { name, .. } => Failure::usage(l.invalid_name(name)).hint(l.invalid_name_hint()),
        HubError::UnknownModel { name, similar } => {
            let failure = Failure::new(l.unknown_model(name));
            let failure = if similar.is_empty() { failure } else { failure.hint(l.similar_hint(&similar.join(", "))) };
            failure.hint(l.list_hint())
        }
        HubError::NotInstalled { name } => Failure::new(l.not_installed(name)).hint(l.pull_hint(name)),
        HubError::NoSuchPath { path } => Failure::new(l.no_such_path(&shown(path))).hint(l.no_such_path_hint()),
        HubError::LicenceNotAccepted { name, licence } => {
            Failure::new(l.licence_refused(name, licence)).hint(l.licence_refused_hint())
        }
        HubError::NoSpace { path, needed, available } => {
            Failure::new(l.no_space(&shown(path), &bytes(*needed), &bytes(*available))).hint(l.no_space_hint())
        }
        HubError::Busy { name } => Failure::new(l.model_busy(name)).hint(l.model_busy_hint()),
        HubError::Unreachable { host, reason } => {
            Failure::new(l.unreachable(host)).hint(l.reason(reason)).hint(l.unreachable_hint())
        }
        HubError::Refused { repository, status } => {
            Failure::new(l.hub_refused(repository, *status)).hint(l.hub_refused_hint())
        }
        HubError::NotFound { what } => Failure::new(l.remote_missing(what)).hint(l.list_hint()),
        HubError::BadStatus { host, status } => Failure::new(l.bad_status(host, *status)).hint(l.try_later_hint()),
        HubError::BadAnswer { host, reason } => Failure::new(l.bad_answer(host)).hint(l.reason(reason)),
        HubError::ChooseFile { name, choices } if choices.is_empty() => {
            Failure::new(l.no_model_file(name)).hint(l.list_hint())
        }
        HubError::ChooseFile { name, choices } => {
            Failure::new(l.choose_file(name)).hint(l.choose_file_hint(name, &choices.join(", ")))
        }
        HubError::Checksum { path, .. } => Failure::new(l.checksum(&shown(path))).hint(l.checksum_hint()),
        HubError::Length { path, expected, actual } => {
            Failure::new(l.wrong_length(&shown(path), &expected.to_string(), &actual.to_string()))
                .hint(l.try_later_hint())
        }
        HubError::NoPip => Failure::new(l.no_pip()).hint(l.no_pip_hint()),
        HubError::Pip { reason } => Failure::new(l.pip_failed()).hint(l.reason(reason)),
        HubError::Package { reason } => Failure::new(l.bad_package()).hint(l.reason(reason)),
        HubError::AllSources { name, causes } => {
            let mut failure = Failure::new(l.all_sources(name));
            for (number, cause) in causes.iter().enumerate() {
                failure = failure.hint(format!("{}. {}", number + 1, source(cause, language)));
            }
            failure.hint(l.unreachable_hint())
        }
        HubError::Stopped => Failure::new(l.stopped()),
        HubError::Json { path, source } => Failure::new(l.bad_json(&shown(path)))
            .hint(l.reason(&source.to_string()))
            .hint(l.bad_json_hint(&shown(path))),
        HubError::Io { path, source, .. } => {
            Failure::new(l.io_failed(&shown(path))).hint(l.reason(&source.to_string())).hint(l.io_hint())
        }
        // A new kind of failure speaks English until it is translated.
        #[allow(unreachable_patterns)]
        other => Failure::new(other.to_string()),
    }
}

/// One source's failure in a line. Which packages stand behind a model is nobody's business.
fn source(cause: &HubError, language: Language) -> String {
    match cause {
        HubError::Unreachable { host, .. } if host == "pip" => language.pip_failed(),
        HubError::NotFound { what } if what.starts_with("pypi:") => language.pip_failed(),
        cause => hub(cause, language).what,
    }
}

/// What the records ran into.
fn store(error: &StoreError, language: Language) -> Failure {
    let l = language;
    match error {
        StoreError::Location { location } => {
            Failure::usage(l.database_unknown(location)).hint(l.database_unknown_hint())
        }
        StoreError::Io { path, source } => {
            Failure::new(l.io_failed(&shown(path))).hint(l.reason(&source.to_string())).hint(l.io_hint())
        }
        StoreError::Database { source, .. } => {
            Failure::new(format!("{}: {error}", l.database_failed())).hint(l.reason(&source.to_string()))
        }
        StoreError::Migration { source, .. } => Failure::new(format!("{}: {error}", l.database_newer()))
            .hint(l.reason(&source.to_string()))
            .hint(l.database_newer_hint()),
        StoreError::NotFound { kind: "key", id } => Failure::new(l.key_unknown(id)).hint(l.key_list_hint()),
        StoreError::KeyInactive { id } => Failure::new(l.key_inactive(id)).hint(l.key_create_hint()),
        StoreError::Invalid { field: "password", .. } => Failure::new(l.bad_password()),
        StoreError::Invalid { field, .. } => Failure::usage(l.bad_field(field)),
        // A new kind of failure speaks English until it is translated.
        other => Failure::new(l.database_failed()).hint(l.reason(&other.to_string())),
    }
}

/// What the model's own files, or the request to it, ran into.
fn model(error: &anyhow::Error, language: Language) -> Option<Failure> {
    if let Some(error) = error.downcast_ref::<EngineError>() {
        return Some(engine(error, language));
    }
    if let Some(error) = error.downcast_ref::<LoadError>() {
        return Some(load(error, language));
    }
    if let Some(error) = error.downcast_ref::<ServeError>() {
        return Some(serve(error, language));
    }
    if let Some(error) = error.downcast_ref::<ConstraintError>() {
        return Some(constraint(error, language));
    }
    if let Some(error) = error.downcast_ref::<EncoderError>() {
        return Some(encoder(error, language));
    }
    if let Some(error) = error.downcast_ref::<TemplateError>() {
        return Some(template(error, language));
    }
    if let Some(error) = error.downcast_ref::<ModelError>() {
        return Some(architecture(error, language));
    }
    if let Some(error) = error.downcast_ref::<FormatError>() {
        return Some(format(error, language));
    }
    if let Some(error) = error.downcast_ref::<TrainError>() {
        return Some(training(error, language));
    }
    error.downcast_ref::<KernelError>().map(|error| kernel(error, language))
}

/// What kept kernels from computing.
fn kernel(error: &KernelError, language: Language) -> Failure {
    match error {
        KernelError::Memory { bytes: asked, reason } => Failure::new(language.memory_refused(&bytes(*asked as u64)))
            .hint(language.reason(reason))
            .hint(language.memory_refused_hint()),
        other => Failure::new(language.threads_failed()).hint(language.reason(&other.to_string())),
    }
}

/// What kept models from being served.
fn load(error: &LoadError, language: Language) -> Failure {
    match error {
        LoadError::SameName { name } => Failure::usage(language.same_name(name)),
        LoadError::Memory { needed, memory } => {
            Failure::usage(language.memory_too_small(&bytes(*needed), &bytes(*memory)))
                .hint(language.memory_too_small_hint())
        }
        LoadError::Model { source, .. } | LoadError::Adapter { source, .. } => engine(source, language),
        LoadError::Thread { source, .. } => {
            Failure::new(language.threads_failed()).hint(language.reason(&source.to_string()))
        }
        other => Failure::new(other.to_string()),
    }
}

/// What kept the server from starting.
fn serve(error: &ServeError, language: Language) -> Failure {
    match error {
        ServeError::Public { address } => {
            Failure::usage(language.public_address(&address.to_string())).hint(language.public_address_hint())
        }
        ServeError::Bind { address, source } => Failure::new(language.bind_failed(&address.to_string()))
            .hint(language.reason(&source.to_string()))
            .hint(language.bind_failed_hint()),
        other => Failure::new(other.to_string()),
    }
}

/// What a request to a loaded model ran into.
fn engine(error: &EngineError, language: Language) -> Failure {
    let l = language;
    match error {
        EngineError::Parameter { parameter, value, expected } => {
            Failure::usage(l.bad_parameter(parameter, value, expected))
        }
        EngineError::EmptyPrompt => Failure::new(l.empty_prompt()),
        EngineError::ContextOverflow { prompt, context, model_context } => {
            Failure::new(l.context_overflow(*prompt, *context)).hint(l.context_overflow_hint(*model_context))
        }
        EngineError::CacheTooSmall { .. } => Failure::new(l.cache_too_small()).hint(l.cache_too_small_hint()),
        EngineError::TextTooShort { tokens, needed } => {
            Failure::new(l.text_too_short(*tokens, *needed)).hint(l.text_too_short_hint())
        }
        EngineError::NotANumber { .. } => Failure::new(l.not_a_number()).hint(l.bad_model_file_hint()),
        EngineError::Constraint(error) => constraint(error, language),
        EngineError::Template(error) => template(error, language),
        EngineError::Format(error) => format(error, language),
        EngineError::Model(error) => architecture(error, language),
        EngineError::Adapter(error) => Failure::new(l.bad_adapter()).hint(l.reason(&error.to_string())),
        EngineError::Kernel(error) => kernel(error, language),
        other => Failure::new(l.bad_request()).hint(l.reason(&other.to_string())),
    }
}

fn constraint(error: &ConstraintError, language: Language) -> Failure {
    Failure::usage(language.bad_constraint()).hint(language.reason(&error.to_string()))
}

/// What kept a sentence encoder's files from being one.
fn encoder(error: &EncoderError, language: Language) -> Failure {
    let l = language;
    match error {
        EncoderError::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let directory = path.parent().map(shown).unwrap_or_default();
            Failure::new(l.missing_file(&file, &directory)).hint(l.not_an_encoder_hint())
        }
        EncoderError::Io { path, source } => {
            Failure::new(l.io_failed(&shown(path))).hint(l.reason(&source.to_string())).hint(l.not_an_encoder_hint())
        }
        EncoderError::Kernel(error) => kernel(error, language),
        other => Failure::new(l.bad_model_file()).hint(l.reason(&other.to_string())).hint(l.bad_model_file_hint()),
    }
}

fn template(error: &TemplateError, language: Language) -> Failure {
    Failure::new(language.bad_template()).hint(language.reason(&error.to_string()))
}

/// What kept a model's files from becoming a model.
fn architecture(error: &ModelError, language: Language) -> Failure {
    match error {
        ModelError::Format(error) => format(error, language),
        ModelError::Tokenizer(_) | ModelError::NoTokenizer { .. } => {
            Failure::new(language.bad_tokenizer()).hint(language.reason(&error.to_string()))
        }
        ModelError::UnknownArchitecture { name, known } => {
            Failure::new(language.unknown_architecture(name)).hint(language.usage_possible(&known.join(", ")))
        }
        ModelError::Write { path, source } => {
            Failure::new(language.write_failed(&shown(path))).hint(language.reason(&source.to_string()))
        }
        ModelError::Io { path, source } => {
            Failure::new(language.write_failed(&shown(path))).hint(language.reason(&source.to_string()))
        }
        other => Failure::new(language.unsupported_model()).hint(language.reason(&other.to_string())),
    }
}

/// What kept a run from going on.
fn training(error: &TrainError, language: Language) -> Failure {
    let l = language;
    let reason = || l.reason(&error.to_string());
    match error {
        TrainError::Model(error) => architecture(error, language),
        TrainError::Format(error) => format(error, language),
        TrainError::Kernel(error) => kernel(error, language),
        TrainError::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::new(l.no_such_path(&shown(path)))
        }
        TrainError::Io { path, source } => {
            Failure::new(l.io_failed(&shown(path))).hint(l.reason(&source.to_string())).hint(l.io_hint())
        }
        TrainError::Write { path, source } => {
            Failure::new(l.write_failed(&shown(path))).hint(l.reason(&source.to_string()))
        }
        TrainError::Recipe { path, problem } => {
            let failure = Failure::usage(l.train_recipe(&shown(path))).hint(l.reason(problem));
            match saem_train::nearest_name(problem) {
                Some(name) => failure.hint(l.similar_hint(&name)),
                None => failure,
            }
        }
        TrainError::Memory { needed, available, fits } => {
            let missing = bytes(needed.saturating_sub(*available));
            let failure = Failure::new(l.plan_no_memory(&bytes(*needed), &bytes(*available), &missing));
            failure.hint(match fits {
                Some((choice, total)) => l.plan_no_memory_fits(
                    choice.micro_batch,
                    choice.recompute.name(),
                    choice.optimizer.name(),
                    choice.weights.name(),
                    &bytes(*total),
                ),
                None => l.plan_no_memory_nothing(),
            })
        }
        TrainError::Scaling { path, problem } => Failure::new(l.plan_scaling(&shown(path))).hint(l.reason(problem)),
        TrainError::TooFewRuns { found, needed } => Failure::usage(l.plan_too_few_runs(*found, *needed)),
        TrainError::Data { path, line, problem } => {
            Failure::new(l.train_data(&shown(path), *line)).hint(l.reason(&problem.to_string()))
        }
        TrainError::NoExamples { file, line, reason } => {
            Failure::new(l.train_no_examples(&shown(file), *line)).hint(l.reason(reason))
        }
        TrainError::TooLittleData { tokens, sequence } => {
            Failure::new(l.train_too_little(*tokens, *sequence)).hint(l.train_too_little_hint())
        }
        TrainError::Diverged { step, what } => {
            Failure::new(l.train_diverged(*step)).hint(l.reason(what)).hint(l.train_diverged_hint())
        }
        TrainError::Checkpoint { path, problem } => {
            Failure::new(l.train_checkpoint(&shown(path))).hint(l.reason(problem)).hint(l.train_checkpoint_hint())
        }
        TrainError::Positions { found, limit } => {
            Failure::new(l.train_positions(*found, *limit)).hint(l.train_positions_hint())
        }
        TrainError::TooManyTokens { .. } | TrainError::Token { .. } | TrainError::Documents { .. } => {
            Failure::new(l.train_failed()).hint(reason())
        }
    }
}

/// What is wrong with a file.
fn format(error: &FormatError, language: Language) -> Failure {
    let l = language;
    match error {
        FormatError::NotFound { path } => Failure::new(l.no_such_path(&shown(path))).hint(l.no_such_path_hint()),
        FormatError::MissingFile { directory, file } => {
            Failure::new(l.missing_file(file, &shown(directory))).hint(l.bad_model_file_hint())
        }
        FormatError::Io { path, source } => {
            Failure::new(l.io_failed(&shown(path))).hint(l.reason(&source.to_string())).hint(l.io_hint())
        }
        FormatError::UnknownFormat { path, lookalike } => {
            let failure = Failure::new(l.no_model_file(&shown(path)));
            match lookalike {
                Some(kind) => failure.hint(l.reason(&kind.to_string())),
                None => failure.hint(l.no_such_path_hint()),
            }
        }
        FormatError::NoModel { directory } => {
            Failure::new(l.no_model_file(&shown(directory))).hint(l.no_such_path_hint())
        }
        FormatError::SeveralModels { directory, files } => {
            Failure::new(l.choose_file(&shown(directory))).hint(l.usage_possible(&files.join(", ")))
        }
        FormatError::Gguf { path, offset, problem } => damaged(path, *offset, problem, language),
        FormatError::SafeTensors { path, offset, problem } => damaged(path, *offset, problem, language),
        other => Failure::new(l.bad_model_file()).hint(l.reason(&other.to_string())).hint(l.bad_model_file_hint()),
    }
}

fn damaged(path: &Path, offset: u64, problem: &dyn std::fmt::Display, language: Language) -> Failure {
    Failure::new(language.damaged_at(&shown(path), offset))
        .hint(language.reason(&problem.to_string()))
        .hint(language.bad_model_file_hint())
}

/// A size as people read it: `1.12 GB`.
pub(crate) fn bytes(count: u64) -> String {
    DecimalBytes(count).to_string()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
