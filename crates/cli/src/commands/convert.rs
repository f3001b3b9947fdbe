//! `saem convert` and `saem merge`.

use std::path::Path;

use saem_formats::{DataType, Source};
use saem_kernels::ThreadPool;
use saem_model::{Conversion, ModelError};

use crate::arguments::{Convert, Merge};
use crate::failure::{Failure, bytes};
use crate::language::Language;
use crate::progress::{Progress, Unit};
use crate::{models, output, resolve};

/// What writes a model, telling how far it is.
type Write<'a> = dyn Fn(&Source, &ThreadPool, &mut dyn FnMut(u64, u64)) -> Result<Conversion, ModelError> + 'a;

/// Writes a model in another format or quantisation.
pub(crate) fn convert(arguments: &Convert, language: Language) -> anyhow::Result<()> {
    let Convert { model, output, quantize, force, accept_licence } = arguments;
    let data_type = quantize.as_deref().and_then(DataType::from_name);
    write(model, *accept_licence, output, *force, language, &|source, pool, progress| {
        saem_model::convert(source, output, data_type, pool, progress)
    })
}

/// Writes a model with an adapter in its weights.
pub(crate) fn merge(arguments: &Merge, language: Language) -> anyhow::Result<()> {
    let Merge { model, adapter, output, quantize, force, accept_licence } = arguments;
    // Floats hold the sum exactly as it was tuned.
    let data_type = quantize.as_deref().and_then(DataType::from_name).unwrap_or(DataType::F32);
    write(model, *accept_licence, output, *force, language, &|source, pool, progress| {
        saem_model::merge(source, adapter, output, Some(data_type), pool, progress)
    })
}

fn write(
    model: &str,
    accept_licence: bool,
    target: &Path,
    force: bool,
    language: Language,
    write: &Write<'_>,
) -> anyhow::Result<()> {
    let shown = target.display().to_string();
    if target.exists() && !force {
        return Err(Failure::new(language.output_exists(&shown)).hint(language.output_exists_hint()).into());
    }
    let chosen = models::find_or_pull(&models::hub()?, model, accept_licence, language)?;
    let source = Source::open(&chosen.path)?;
    let pool = ThreadPool::new(resolve::available_threads())?;
    let mut progress = Progress::new(language, language.converting(), Unit::Bytes, None);
    let conversion = write(&source, &pool, &mut |done, total| progress.set_of(done, total))?;
    drop(progress);
    for warning in &conversion.warnings {
        output::note(&language.reason(warning));
    }
    output::note(&language.converted(&shown, &bytes(source.weight_bytes()), &bytes(conversion.bytes)));
    Ok(())
}
