//! `saem convert`.

use saem_formats::{DataType, Source};
use saem_kernels::ThreadPool;

use crate::arguments::Convert;
use crate::failure::{Failure, bytes};
use crate::language::Language;
use crate::progress::{Progress, Unit};
use crate::{models, output, resolve};

/// Writes a model in another format or quantisation.
pub(crate) fn run(arguments: &Convert, language: Language) -> anyhow::Result<()> {
    let target = &arguments.output;
    let shown = target.display().to_string();
    if target.exists() && !arguments.force {
        return Err(Failure::new(language.output_exists(&shown)).hint(language.output_exists_hint()).into());
    }
    let hub = models::hub()?;
    let chosen = models::find_or_pull(&hub, &arguments.model, arguments.accept_licence, language)?;
    let source = Source::open(&chosen.path)?;
    let data_type = arguments.quantize.as_deref().and_then(DataType::from_name);
    let pool = ThreadPool::new(resolve::available_threads())?;
    let mut progress = Progress::new(language, language.converting(), Unit::Bytes, None);
    let conversion =
        saem_model::convert(&source, target, data_type, &pool, &mut |done, total| progress.set_of(done, total))?;
    drop(progress);
    for warning in &conversion.warnings {
        output::note(&language.reason(warning));
    }
    output::note(&language.converted(&shown, &bytes(source.weight_bytes()), &bytes(conversion.bytes)));
    Ok(())
}
