//! `saem serve`.

mod shelf;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use saem_encoder::SentenceEncoder;
use saem_engine::{EngineOptions, Plan};
use saem_server::service::{AdapterFile, Embedder, ModelFile, Service, ServiceOptions};
use saem_server::{Access, App, ModelNames, Settings, http, log, published_bytes, router};
use saem_store::Store;

use crate::arguments::Serve;
use crate::failure::{Failure, bytes};
use crate::language::Language;
use crate::output::note;
use crate::progress::{Progress, Unit};
use crate::{models, records, resolve};

use shelf::Shelf;

/// Threads that move bytes; those that compute belong to the models.
const RUNTIME_THREADS: usize = 2;
/// Threads that render templates and cut texts into tokens.
const TEXT_THREADS: usize = 4;

/// Bytes for adapters that are tuned while a model is served.
const TUNED_BYTES: u64 = 128 << 20;
/// Requests that may wait for each model; one more is told to come back later.
const WAITING: usize = 256;

/// Loads models and serves them until it is stopped.
pub(crate) fn run(arguments: &Serve, language: Language) -> anyhow::Result<()> {
    let mut settings = settings(arguments, language)?;
    let mut options = options(arguments, language)?;
    let (encoders, mut files): (Vec<_>, Vec<_>) =
        files(arguments, language)?.into_iter().partition(|file| SentenceEncoder::is_at(&file.path));
    for text in &arguments.adapters {
        add_adapter(text, &mut files, language)?;
    }
    settings.clova_models = clova_models(&std::env::var("SAEM_CLOVA_MODELS").unwrap_or_default(), &files, language)?;
    log::start(&std::env::var("SAEM_LOG").unwrap_or_default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .max_blocking_threads(TEXT_THREADS)
        .enable_all()
        .build()?;
    let location = records::location()?;
    let store = Arc::new(runtime.block_on(Store::open(location))?);
    let access = Access::new(Arc::clone(&store));
    if let Some(home) = &settings.home {
        for file in &mut files {
            file.adapter_bytes += runtime.block_on(published_bytes(&store, home, &file.name));
        }
    }
    // Strangers may knock once there is a key to ask them for.
    settings.public = runtime.block_on(access.may_be_public())?;
    // A port that is taken is better known before the models are read.
    let running = runtime.block_on(http::bind(&settings))?;
    let (embedders, encoder_bytes) = embedders(&encoders, arguments, language)?;
    if let Some(memory) = &mut options.memory {
        *memory = memory.saturating_sub(encoder_bytes);
    }
    let planned = Service::plan(files, &options)?;
    let total = planned.plans().map(|(_, plan)| plan.total_bytes()).sum::<u64>() + encoder_bytes;
    for (file, plan) in planned.plans() {
        note(&plan_line(&file.name, plan, language));
    }
    if planned.plans().count() + encoders.len() > 1 {
        note(&language.serve_total(&bytes(total)));
    }
    let mut progress: Option<(String, Progress)> = None;
    let service = planned.load(&mut |name, done, total| {
        if progress.as_ref().is_none_or(|(shown, _)| shown != name) {
            progress = Some((name.to_owned(), Progress::new(language, language.loading(name), Unit::Bytes, None)));
        }
        if let Some((_, progress)) = &mut progress {
            progress.set_of(done, total);
        }
    })?;
    drop(progress);
    let service = service.with_embedders(embedders).with_shelf(Arc::new(Shelf::new(models::hub()?, options)));
    let url = format!("http://{}", running.address());
    note(&language.serving(&url));
    note(&language.serve_studio(&url));
    let app = App::with_access(service, settings, Vec::new(), access);
    runtime.block_on(async {
        #[cfg(unix)]
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let mut asked = false;
        let stop = async || {
            #[cfg(unix)]
            let terminated = terminate.recv();
            #[cfg(not(unix))]
            let terminated = std::future::pending::<()>();
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated => {}
            }
            if !asked {
                asked = true;
                note(&language.serve_draining());
            }
        };
        http::serve(running, app.clone(), router(app.clone()), stop).await;
        if let Err(error) = app.service().keep().await {
            note(&language.serve_not_kept(&error.to_string()));
        }
        // What the last requests left behind.
        store.close().await?;
        anyhow::Ok(())
    })
}

fn settings(arguments: &Serve, language: Language) -> anyhow::Result<Settings> {
    let host = if arguments.host == "localhost" { "127.0.0.1" } else { &arguments.host };
    let address: IpAddr = host
        .parse()
        .map_err(|_| Failure::usage(language.no_address(&arguments.host)).hint(language.no_address_hint()))?;
    let address = SocketAddr::new(address, arguments.port);
    if arguments.waiting_per_key == Some(0) {
        return Err(Failure::usage(language.at_least_one("--waiting-per-key")).into());
    }
    let (hosts, waiting_per_key) = (arguments.allow_host.clone(), arguments.waiting_per_key);
    let (home, program) = (Some(models::hub()?.home().to_owned()), std::env::current_exe().ok());
    Ok(Settings { address, hosts, waiting_per_key, home, program, ..Settings::default() })
}

fn options(arguments: &Serve, language: Language) -> anyhow::Result<ServiceOptions> {
    if arguments.max_sequences == 0 {
        return Err(Failure::usage(language.at_least_one("--max-sequences")).into());
    }
    let engine = EngineOptions {
        max_sequences: arguments.max_sequences,
        max_waiting: WAITING,
        ..resolve::options(&arguments.load, language)?
    };
    let memory = match &arguments.memory {
        Some(text) => {
            Some(size(text).ok_or_else(|| Failure::usage(language.no_size(text)).hint(language.no_size_hint()))?)
        }
        None => None,
    };
    let prompts = match arguments.keep_prompts {
        true => Some(models::hub()?.home().join("prompts")),
        false => None,
    };
    Ok(ServiceOptions { engine, memory, prompts })
}

/// Which of the models answers for which of CLOVA Studio's: `NAME=MODEL`, several with commas between them.
fn clova_models(text: &str, files: &[ModelFile], language: Language) -> anyhow::Result<ModelNames> {
    let mut pairs = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let known = |(_, model): &(&str, &str)| {
            let is_adapter = |file: &ModelFile, name: &str| file.adapters.iter().any(|adapter| adapter.name == name);
            files.iter().any(|file| match model.strip_prefix(file.name.as_str()).map(|rest| rest.strip_prefix(':')) {
                Some(Some(adapter)) => is_adapter(file, adapter),
                Some(None) => file.name == *model,
                None => false,
            })
        };
        let Some((name, model)) = pair.split_once('=').filter(known) else {
            return Err(Failure::usage(language.no_clova_model(pair)).hint(language.no_clova_model_hint()).into());
        };
        pairs.push((name.to_owned(), model.to_owned()));
    }
    Ok(ModelNames::new(pairs))
}

/// The models, downloaded where they are not here.
fn files(arguments: &Serve, language: Language) -> anyhow::Result<Vec<ModelFile>> {
    let hub = models::hub()?;
    let names = match arguments.models.as_slice() {
        [] => {
            let variable = std::env::var("SAEM_MODEL").ok().filter(|name| !name.is_empty());
            vec![variable.unwrap_or_else(|| hub.catalogue().default.clone())]
        }
        names => names.to_vec(),
    };
    let file = |name: &String| {
        let chosen = models::find_or_pull(&hub, name, arguments.accept_licence, language)?;
        // Clients should not need to know where a file lies.
        let path = std::path::Path::new(name);
        let stem = path.file_stem().filter(|_| path.exists()).map(|stem| stem.to_string_lossy().into_owned());
        Ok(ModelFile {
            name: stem.unwrap_or(chosen.name),
            path: chosen.path,
            adapters: Vec::new(),
            adapter_bytes: TUNED_BYTES,
        })
    };
    names.iter().map(file).collect()
}

/// Gives a model the adapter of `[MODEL:]NAME=PATH`.
fn add_adapter(text: &str, files: &mut [ModelFile], language: Language) -> anyhow::Result<()> {
    let wrong = || Failure::usage(language.no_adapter(text)).hint(language.no_adapter_hint());
    let (name, path) =
        text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty()).ok_or_else(wrong)?;
    let (model, name) = match name.rsplit_once(':') {
        Some((model, name)) if !name.is_empty() => (files.iter_mut().find(|file| file.name == model), name),
        Some(_) => (None, name),
        None => (files.first_mut(), name),
    };
    let model = model.ok_or_else(wrong)?;
    model.adapters.push(AdapterFile { name: name.to_owned(), path: path.into() });
    Ok(())
}

/// Opens the sentence encoders, and says what they take.
fn embedders(files: &[ModelFile], arguments: &Serve, language: Language) -> anyhow::Result<(Vec<Embedder>, u64)> {
    let threads = arguments.load.threads.unwrap_or_else(resolve::available_threads);
    let mut total = 0;
    let mut embedders = Vec::with_capacity(files.len());
    for file in files {
        let progress = Progress::new(language, language.loading(&file.name), Unit::Bytes, None);
        let encoder = SentenceEncoder::open(&file.path, threads)?;
        drop(progress);
        total += encoder.byte_len() as u64;
        note(&language.serve_encoder(&file.name, &bytes(encoder.byte_len() as u64)));
        embedders.push(Embedder::new(file.name.clone(), encoder, WAITING));
    }
    Ok((embedders, total))
}

fn plan_line(name: &str, plan: &Plan, language: Language) -> String {
    let limits = &plan.limits;
    let tokens = plan.kv_blocks * saem_engine::blocks::BLOCK_TOKENS;
    language.serve_plan(
        name,
        &bytes(plan.total_bytes()),
        &bytes(plan.weight_bytes),
        &bytes(plan.kv_bytes),
        tokens,
        limits.max_sequences,
        limits.context,
        &bytes(plan.workspace_bytes),
    )
}

/// A number of bytes: `8GB`, `900 MiB`, `1.5g`, or without a unit.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim().to_ascii_lowercase();
    let (step, letters) = match unit.strip_suffix("ib") {
        Some(letters) => (1024.0_f64, letters),
        None => (1000.0, unit.strip_suffix('b').unwrap_or(&unit)),
    };
    let power = ["", "k", "m", "g", "t"].iter().position(|known| *known == letters)?;
    let bytes = number.parse::<f64>().ok()? * step.powi(i32::try_from(power).ok()?);
    (1.0..1e18).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_as_people_write_them() {
        assert_eq!(size("8GB"), Some(8_000_000_000));
        assert_eq!(size("900 MiB"), Some(900 << 20));
        assert_eq!(size("1.5g"), Some(1_500_000_000));
        assert_eq!(size("4096"), Some(4096));
        for bad in ["", "GB", "-1GB", "1 parsec", "0", "1e9", "inf"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
