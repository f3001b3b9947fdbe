//! `saem pull`.

use saem_hub::Spec;
use serde_json::json;

use crate::arguments::Pull;
use crate::language::Language;
use crate::{models, output};

/// Downloads a model and tells where it is.
pub(crate) fn run(arguments: &Pull, language: Language) -> anyhow::Result<()> {
    let hub = models::hub()?;
    if let Ok(Spec::Path(_)) = Spec::parse(&arguments.model) {
        // A path is used where it lies; all there is to do is to see whether it exists.
        let path = hub.resolve(&arguments.model)?;
        output::note(&language.already_here(&arguments.model));
        return output::line(&format!("{}\n", path.display()));
    }
    let was_here = hub.installed(&arguments.model).ok().flatten().is_some();
    let installed = models::pull(&hub, &arguments.model, arguments.accept_licence, language)?;
    if arguments.json {
        let mut value = serde_json::to_value(&installed.manifest)?;
        value["path"] = json!(installed.path());
        return output::json(&value);
    }
    if was_here {
        output::note(&language.already_here(&installed.manifest.name));
    }
    output::line(&format!("{}\n", installed.path().display()))
}
