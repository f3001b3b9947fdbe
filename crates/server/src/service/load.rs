//! From files to models that answer, within a memory that was planned before.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use saem_engine::blocks::blocks_for;
use saem_engine::{Adapter, AdapterRoom, Engine, EngineError, EngineOptions, Plan, Worker};

use super::keep::Keeper;
use super::{Served, Service};

/// The largest rank of adapters that come while a model serves.
const TUNED_RANK: usize = 64;

/// A model to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// The name that requests will use.
    pub name: String,
    /// A GGUF file or a folder of safetensors.
    pub path: PathBuf,
    /// Adapters of the model. Each is served as a model of its own, named `model:adapter`.
    pub adapters: Vec<AdapterFile>,
    /// Bytes that are set aside for adapters that come while it serves.
    pub adapter_bytes: u64,
}

/// An adapter of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterFile {
    /// Its name, after the model's and a colon.
    pub name: String,
    /// A folder of `peft`, or a GGUF file.
    pub path: PathBuf,
}

impl ModelFile {
    /// The names under which requests find it: its own, and those with adapters.
    fn names(&self) -> Vec<String> {
        let adapted = self.adapters.iter().map(|adapter| format!("{}:{}", self.name, adapter.name));
        std::iter::once(self.name.clone()).chain(adapted).collect()
    }
}

/// How models are loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceOptions {
    /// Threads, context, sequences and types of each model.
    pub engine: EngineOptions,
    /// Bytes that all models together may take: weights, buffers, keys and values. Where absent, each model gets keys
    /// and values for all of its sequences at full context.
    pub memory: Option<u64>,
    /// A directory where computed prompts are kept from one start to the next. They can be read there.
    pub prompts: Option<PathBuf>,
}

/// Models that cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Two models, or adapters of one model, have one name, so that requests could not tell them apart.
    #[error("two models are called `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
    /// The memory is too small for the models, each with one sequence of full context.
    #[error("the models need at least {needed} bytes, but may take {memory}")]
    Memory {
        /// Bytes that are needed at least.
        needed: u64,
        /// Bytes that there may be.
        memory: u64,
    },
    /// An adapter cannot be loaded.
    #[error("adapter {name}: {source}")]
    Adapter {
        /// Which.
        name: String,
        /// Why.
        source: Box<EngineError>,
    },
    /// A model cannot be loaded.
    #[error("{name}: {source}")]
    Model {
        /// Which.
        name: String,
        /// Why.
        source: Box<EngineError>,
    },
    /// The directory for computed prompts cannot be made, or the model's files not be read for a name.
    #[error("prompts cannot be kept: {source}")]
    Prompts {
        /// Why.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("{name}: no thread can be started")]
    Thread {
        /// For which model.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Service {
    /// What every model will take, without reading its weights; `options` are shared out so that the sum stays within
    /// the memory. [`Planned::load`] keeps to it.
    ///
    /// # Errors
    /// Where a file cannot be read, options do not fit a model, or the memory is too small.
    pub fn plan(models: Vec<ModelFile>, options: &ServiceOptions) -> Result<Planned, LoadError> {
        let plans = share_out(&models, options)?;
        Ok(Planned { models, plans, prompts: options.prompts.clone() })
    }
}

/// Models with their plans, about to be loaded.
#[derive(Debug)]
pub struct Planned {
    models: Vec<ModelFile>,
    plans: Vec<(EngineOptions, Plan)>,
    prompts: Option<PathBuf>,
}

/// The options and plan of each model.
fn share_out(models: &[ModelFile], options: &ServiceOptions) -> Result<Vec<(EngineOptions, Plan)>, LoadError> {
    let mut names = HashSet::new();
    if let Some(name) = models.iter().flat_map(ModelFile::names).find(|name| !names.insert(name.clone())) {
        return Err(LoadError::SameName { name });
    }
    let plan_of = |model: &ModelFile, options: &EngineOptions| {
        Engine::plan_for(&model.path, options)
            .map_err(|source| LoadError::Model { name: model.name.clone(), source: Box::new(source) })
    };
    let mut plans = Vec::with_capacity(models.len());
    for model in models {
        let mut adapters = AdapterRoom::for_files(model.adapters.iter().map(|adapter| adapter.path.as_path()));
        if model.adapter_bytes > 0 {
            adapters.bytes += model.adapter_bytes;
            adapters.rank = adapters.rank.max(TUNED_RANK);
        }
        let engine = EngineOptions { adapters, ..options.engine.clone() };
        let plan = plan_of(model, &engine)?;
        plans.push((engine, plan));
    }
    let Some(memory) = options.memory else { return Ok(plans) };
    // Everything but keys and values is fixed; what is left of the memory is shared out in equal parts, and what
    // one model does not need goes to those after it.
    let fixed: u64 = plans.iter().map(|(_, plan)| plan.total_bytes() - plan.kv_bytes).sum();
    let least: u64 = plans.iter().map(|(_, plan)| block_bytes(plan) * blocks_for(plan.limits.context) as u64).sum();
    if memory < fixed + least {
        return Err(LoadError::Memory { needed: fixed + least, memory });
    }
    let mut spare = memory - fixed - least;
    let count = plans.len() as u64;
    for (index, (model, (engine, plan))) in models.iter().zip(&mut plans).enumerate() {
        let own = blocks_for(plan.limits.context) as u64;
        let share = spare / (count - index as u64);
        let blocks = (own + share / block_bytes(plan)).min(plan.kv_blocks as u64);
        spare -= (blocks - own) * block_bytes(plan);
        engine.kv_blocks = usize::try_from(blocks).ok();
        *plan = plan_of(model, engine)?;
    }
    Ok(plans)
}

impl Planned {
    /// The models, each with its plan.
    pub fn plans(&self) -> impl Iterator<Item = (&ModelFile, &Plan)> {
        self.models.iter().zip(self.plans.iter().map(|(_, plan)| plan))
    }

    /// Loads every model and starts its thread. `progress` is told which model is read, and the bytes of weights read
    /// so far and in all.
    ///
    /// # Errors
    /// Where weights cannot be read or memory is short.
    pub fn load(self, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<Service, LoadError> {
        let Self { models, plans, prompts } = self;
        let mut served = Vec::with_capacity(models.len());
        for (model, (engine, _)) in models.iter().zip(&plans) {
            let name = model.name.clone();
            let engine = Engine::load(&model.path, engine, &mut |done, total| progress(&model.name, done, total))
                .map_err(|source| LoadError::Model { name: name.clone(), source: Box::new(source) })?;
            let plan = engine.plan().clone();
            let (mut worker, text) = engine.into_parts();
            let adapters = load_adapters(model, &worker)?;
            let keeper = prompts.as_ref().map(|directory| Keeper::new(directory, &model.path)).transpose();
            let keeper = keeper.map_err(|source| LoadError::Prompts { source })?;
            if let Some(keeper) = &keeper {
                keeper.recall(&mut worker);
            }
            let base = Served::new(name.clone(), worker, text, plan);
            let base = base.map_err(|source| LoadError::Thread { name, source })?.read_from(&model.path);
            let adapted: Vec<Served> =
                adapters.into_iter().map(|(name, adapter)| base.with_adapter(name, adapter)).collect();
            served.push(match keeper {
                Some(keeper) => base.kept_by(keeper),
                None => base,
            });
            served.extend(adapted);
        }
        Ok(Service::new(served))
    }
}

/// The adapters of a model, with the names that requests use.
fn load_adapters(model: &ModelFile, worker: &Worker) -> Result<Vec<(String, Arc<Adapter>)>, LoadError> {
    let load = |(file, name): (&AdapterFile, String)| {
        let adapters = worker.adapters().ok_or(EngineError::NoAdapters);
        match adapters.and_then(|adapters| adapters.load(&file.name, &file.path)) {
            Ok(adapter) => Ok((name, adapter)),
            Err(source) => Err(LoadError::Adapter { name, source: Box::new(source) }),
        }
    };
    model.adapters.iter().zip(model.names().into_iter().skip(1)).map(load).collect()
}

/// Bytes of one block of the cache.
fn block_bytes(plan: &Plan) -> u64 {
    (plan.kv_bytes / (plan.kv_blocks as u64).max(1)).max(1)
}
