//! `saem rm`.

use crate::arguments::Remove;
use crate::failure::bytes;
use crate::language::Language;
use crate::{models, output};

/// Deletes models; the first that cannot be deleted ends it.
pub(crate) fn run(arguments: &Remove, language: Language) -> anyhow::Result<()> {
    let hub = models::hub()?;
    for model in &arguments.models {
        let freed = hub.remove(model)?;
        output::note(&language.removed(model, &bytes(freed)));
    }
    Ok(())
}
