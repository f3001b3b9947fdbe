//! The adapters of one model: loaded by name while it serves, within memory that its plan set aside.
//!
//! A request carries its adapter itself ([`Request::adapter`](crate::Request::adapter)), so nothing is looked up in a
//! pass, and an adapter that is replaced or removed lives on until the last request that uses it has ended. Loading
//! happens on the thread that asks for it and holds up nobody else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use saem_model::{Adapter, AdapterOptions, Config, Model};

use crate::EngineError;

/// What is set aside for adapters. By default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdapterRoom {
    /// Bytes of all adapters together.
    pub bytes: u64,
    /// The largest rank of a LoRA. Buffers of every pass depend on it; a soft prompt needs none.
    pub rank: usize,
}

impl AdapterRoom {
    /// The largest rank that [`AdapterRoom::for_files`] makes room for.
    pub const MAX_RANK: usize = 256;

    /// The same, but with no rank that this model's adapters cannot have: more than its width is never allowed.
    pub(crate) fn within(self, config: &Config) -> Self {
        Self { rank: self.rank.min(config.hidden), ..self }
    }

    /// Room for the adapters at these paths, whether they can be loaded or not. Matrices are kept as they are stored,
    /// but those of quantised types (which only GGUF files have) as F32, eight times as large.
    #[must_use]
    pub fn for_files<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let len = |path: &Path| path.metadata().map_or(0, |data| data.len());
        let bytes = |path: &Path| match path.read_dir() {
            Ok(entries) => 2 * entries.flatten().map(|entry| len(&entry.path())).sum::<u64>(),
            Err(_) => 8 * len(path),
        };
        let bytes: u64 = paths.into_iter().map(|path| bytes(path) + (1 << 20)).sum();
        Self { bytes, rank: if bytes == 0 { 0 } else { Self::MAX_RANK } }
    }
}

/// The adapters of one model, by name. Shared by all threads.
#[derive(Debug)]
pub struct Adapters {
    config: Config,
    /// The model, which adapters with magnitudes are loaded beside.
    model: Option<Arc<Model>>,
    room: AdapterRoom,
    /// Held while an adapter is loaded: one at a time, so that together they stay within the room.
    loading: Mutex<()>,
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    by_name: BTreeMap<String, Arc<Adapter>>,
    /// Those that have lost their name and may still be in use.
    retired: Vec<Weak<Adapter>>,
}

impl Loaded {
    fn bytes(&mut self) -> u64 {
        self.retired.retain(|adapter| adapter.strong_count() > 0);
        let named = self.by_name.values().map(|adapter| adapter.byte_len() as u64);
        let retired = self.retired.iter().filter_map(Weak::upgrade).map(|adapter| adapter.byte_len() as u64);
        named.chain(retired).sum()
    }

    fn retire(&mut self, adapter: Option<Arc<Adapter>>) -> bool {
        self.retired.extend(adapter.as_ref().map(Arc::downgrade));
        adapter.is_some()
    }
}

impl Adapters {
    /// No adapters yet, for models of this configuration: those that do not depend on weights.
    #[must_use]
    pub fn new(config: Config, room: AdapterRoom) -> Self {
        Self { config, model: None, room, loading: Mutex::default(), loaded: Mutex::default() }
    }

    /// No adapters yet, for this model.
    #[must_use]
    pub fn of(model: Arc<Model>, room: AdapterRoom) -> Self {
        Self { model: Some(Arc::clone(&model)), ..Self::new(model.config.clone(), room) }
    }

    /// What is set aside.
    #[must_use]
    pub fn room(&self) -> AdapterRoom {
        self.room
    }

    /// Bytes of all adapters that are loaded, those included that have lost their name and are still in use.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.loaded().bytes()
    }

    /// Loads the adapter at `path` (see [`Model::adapter`]) under `name`. One that has the name already gives it up:
    /// requests that use it go on with it, and until the last of them has ended there must be room for both.
    ///
    /// # Errors
    /// [`EngineError::NoAdapters`] where there is no room at all; [`EngineError::Adapter`] where the files cannot be read, do not fit the model, or take more than there is room
    /// for. Nothing has changed then.
    pub fn load(&self, name: impl Into<String>, path: impl AsRef<Path>) -> Result<Arc<Adapter>, EngineError> {
        if self.room.bytes == 0 {
            return Err(EngineError::NoAdapters);
        }
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.room.bytes.saturating_sub(self.bytes());
        let max_bytes = usize::try_from(left).unwrap_or(usize::MAX);
        let options = AdapterOptions { max_rank: self.room.rank, max_bytes, ..AdapterOptions::default() };
        let adapter = Arc::new(match &self.model {
            Some(model) => model.adapter(path, &options)?,
            None => Adapter::load(path, &self.config, &options)?,
        });
        let mut loaded = self.loaded();
        let old = loaded.by_name.insert(name.into(), Arc::clone(&adapter));
        loaded.retire(old);
        Ok(adapter)
    }

    /// The adapter of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Adapter>> {
        self.loaded().by_name.get(name).cloned()
    }

    /// Takes the name away from an adapter; its memory is free when no request uses it any more. False where there is
    /// none of that name.
    pub fn remove(&self, name: &str) -> bool {
        let mut loaded = self.loaded();
        let old = loaded.by_name.remove(name);
        loaded.retire(old)
    }

    /// All adapters that have a name, in its order.
    #[must_use]
    pub fn list(&self) -> Vec<(String, Arc<Adapter>)> {
        self.loaded().by_name.iter().map(|(name, adapter)| (name.clone(), Arc::clone(adapter))).collect()
    }

    /// Refuses an adapter that was loaded elsewhere, for another model or without regard to this one's room.
    pub(crate) fn check(&self, adapter: &Adapter) -> Result<(), EngineError> {
        let refuse =
            |value: String, expected: String| Err(EngineError::Parameter { parameter: "adapter", value, expected });
        if !adapter.fits(&self.config) {
            return refuse("for another model".to_owned(), "adapters loaded for this one".to_owned());
        }
        if adapter.rank() > self.room.rank {
            return refuse(format!("of rank {}", adapter.rank()), format!("ranks up to {}", self.room.rank));
        }
        Ok(())
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
