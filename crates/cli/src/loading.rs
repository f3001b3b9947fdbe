//! From a model's name to an engine, with a bar on the way.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use saem_engine::{Adapter, AdapterRoom, Engine, EngineOptions};

use crate::arguments::ModelFlag;
use crate::language::Language;
use crate::models;
use crate::progress::{Progress, Unit};

/// A model ready to answer.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// As the user knows it.
    pub(crate) name: String,
    /// The model.
    pub(crate) engine: Engine,
    /// How long loading took, a download not counted.
    pub(crate) time: Duration,
}

/// Loads the model that the flag names, downloading it if it is not here.
pub(crate) fn load(model: &ModelFlag, options: &EngineOptions, language: Language) -> anyhow::Result<Loaded> {
    let chosen = models::choose(model, language)?;
    let begun = Instant::now();
    let mut progress = Progress::new(language, language.loading(&chosen.name), Unit::Bytes, None);
    let engine = Engine::load(&chosen.path, options, &mut |done, total| progress.set_of(done, total))?;
    drop(progress);
    Ok(Loaded { name: chosen.name, engine, time: begun.elapsed() })
}

/// As [`load`], with the adapter that is named, if one is.
pub(crate) fn load_adapted(
    model: &ModelFlag,
    adapter: Option<&Path>,
    options: EngineOptions,
    language: Language,
) -> anyhow::Result<(Loaded, Option<Arc<Adapter>>)> {
    let options = EngineOptions { adapters: AdapterRoom::for_files(adapter), ..options };
    let loaded = load(model, &options, language)?;
    let adapter = match (adapter, loaded.engine.adapters()) {
        (Some(path), Some(adapters)) => Some(adapters.load("adapter", path)?),
        _ => None,
    };
    Ok((loaded, adapter))
}
