//! The models of Saem's home and catalogue, for a server that runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use saem_encoder::SentenceEncoder;
use saem_hub::{Hub, Installed, Kind};
use saem_server::service::{ModelFile, Planned, Service, ServiceOptions, ShelfError, Shelved, Words};

use super::TUNED_BYTES;

/// Of a model that is not here: what serving it takes, to the size of its files. Keys, values and buffers come on top.
const GUESS: f64 = 1.25;

/// Models by their names here and in the catalogue, loaded as the server's own were.
#[derive(Debug)]
pub(super) struct Shelf {
    hub: Hub,
    options: ServiceOptions,
    /// What was planned: a model's files do not change once they are here.
    plans: Mutex<HashMap<PathBuf, Option<u64>>>,
}

impl Shelf {
    pub(super) fn new(hub: Hub, options: ServiceOptions) -> Self {
        Self { hub, options, plans: Mutex::default() }
    }

    /// The server's options for one more model: what it needs is asked for and not shared out.
    fn options(&self) -> ServiceOptions {
        ServiceOptions { memory: None, ..self.options.clone() }
    }

    /// What a model that is here takes; nothing where it cannot be read, or makes vectors.
    fn planned(&self, model: &Installed) -> Option<u64> {
        let plan = || {
            if SentenceEncoder::is_at(&model.path()) {
                return None;
            }
            let planned = Service::plan(vec![file(model)], &self.options()).ok()?;
            Some(planned.plans().map(|(_, plan)| plan.total_bytes()).sum())
        };
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        *plans.entry(model.path()).or_insert_with(plan)
    }
}

fn file(model: &Installed) -> ModelFile {
    let (name, path) = (model.manifest.name.clone(), model.path());
    ModelFile { name, path, adapters: Vec::new(), adapter_bytes: TUNED_BYTES }
}

impl saem_server::service::Shelf for Shelf {
    fn models(&self) -> Vec<Shelved> {
        let catalogue = self.hub.catalogue();
        let licence =
            |key: &str| catalogue.licences.get(key).map_or_else(|| key.to_owned(), |known| known.name.clone());
        let about = |name: &str| {
            let entry = catalogue.find(name)?;
            Some(Words { en: entry.summary.en.clone(), ko: entry.summary.ko.clone() })
        };
        let installed = self.hub.list().unwrap_or_default();
        let mut models: Vec<Shelved> = installed
            .iter()
            .filter_map(|model| {
                let manifest = &model.manifest;
                Some(Shelved {
                    bytes: Some(self.planned(model)?),
                    about: about(&manifest.name).unwrap_or_default(),
                    licence: manifest.licence.as_deref().map(licence),
                    is_here: true,
                    name: manifest.name.clone(),
                })
            })
            .collect();
        let is_away = |name: &str| !installed.iter().any(|model| model.manifest.name == name);
        models.extend(
            catalogue.models.iter().filter(|entry| entry.kind != Kind::Embedding && is_away(&entry.name)).map(
                |entry| Shelved {
                    name: entry.name.clone(),
                    about: about(&entry.name).unwrap_or_default(),
                    licence: Some(licence(&entry.licence)),
                    is_here: false,
                    bytes: entry.bytes.map(|bytes| (bytes as f64 * GUESS) as u64),
                },
            ),
        );
        models
    }

    fn open(&self, name: &str) -> Result<Service, ShelfError> {
        let installed = self.hub.list().unwrap_or_default().into_iter().find(|model| model.manifest.name == name);
        let Some(installed) = installed else { return Err(ShelfError::NotHere { name: name.to_owned() }) };
        Ok(Service::plan(vec![file(&installed)], &self.options())?.load(&mut |_, _, _| {})?)
    }

    fn plan_at(&self, path: &Path, name: &str) -> Result<Planned, ShelfError> {
        let file = ModelFile {
            name: name.to_owned(),
            path: path.to_owned(),
            adapters: Vec::new(),
            adapter_bytes: TUNED_BYTES,
        };
        Ok(Service::plan(vec![file], &self.options())?)
    }
}
