//! The right reader for a path, and an error that helps where there is none.

use std::fs;

use saem_formats::{FormatError, Lookalike, Source};

use crate::samples;

#[test]
fn the_kind_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    assert!(matches!(Source::open(directory.path()), Err(FormatError::NoModel { .. })));
    assert!(matches!(Source::open(path("none.gguf")), Err(FormatError::NotFound { .. })));

    fs::write(path("config.json"), "{}").unwrap();
    match Source::open(directory.path()) {
        Err(FormatError::MissingFile { file, .. }) => assert_eq!(file, "model.safetensors"),
        other => panic!("{other:?}"),
    }

    fs::write(path("a.gguf"), samples::rich_gguf(3)).unwrap();
    fs::write(path("blob"), samples::rich_gguf(3)).unwrap();
    for name in ["", "a.gguf", "blob", "config.json"] {
        let source = Source::open(path(name)).unwrap();
        assert!(matches!(source, Source::Gguf(_)), "{name}");
        assert!(source.weight_bytes() > 0);
    }
    fs::write(path("b.GGUF"), samples::rich_gguf(3)).unwrap();
    match Source::open(directory.path()) {
        Err(FormatError::SeveralModels { files, .. }) => assert_eq!(files, ["a.gguf", "b.GGUF"]),
        other => panic!("{other:?}"),
    }

    fs::write(path("model.safetensors"), samples::rich_safetensors()).unwrap();
    fs::write(path("sha256-of-weights"), samples::rich_safetensors()).unwrap();
    for name in ["", "model.safetensors", "config.json", "sha256-of-weights"] {
        let source = Source::open(path(name)).unwrap();
        assert!(matches!(source, Source::HuggingFace(_)), "{name}");
        assert!(source.path().starts_with(directory.path()));
    }
}

#[test]
fn what_is_no_model_is_described() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.bin");
    fs::write(&path, b"PK\x03\x04pytorch").unwrap();
    let error = Source::open(&path).unwrap_err();
    assert!(matches!(error, FormatError::UnknownFormat { lookalike: Some(Lookalike::Zip), .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "{} is not a model that Saem reads (GGUF or safetensors); it looks like a zip archive or PyTorch checkpoint \
             (convert it to safetensors)",
            path.display()
        )
    );
}
