//! Real models, where `$SAEM_TEST_MODELS` names a folder that holds them.

use std::path::PathBuf;

use saem_formats::gguf::Gguf;

use crate::allocations::peak_of;

/// File, architecture, keys, tensors, tokens and the sum of the tensors' bytes, as gguf-py reads them.
const MODELS: [(&str, &str, usize, usize, usize, u64); 4] = [
    ("smollm2-135m.gguf", "llama", 33, 272, 49_152, 96_576_768),
    ("gemma3-270m.gguf", "gemma3", 33, 236, 262_144, 246_587_904),
    ("qwen0.5b.gguf", "qwen2", 26, 291, 151_936, 485_452_288),
    ("qwen1.5b.gguf", "qwen2", 26, 339, 151_936, 1_111_370_240),
];

/// The folder with the models, or `None` with a line that says so.
fn models() -> Option<PathBuf> {
    let folder = std::env::var_os("SAEM_TEST_MODELS").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: real models (set SAEM_TEST_MODELS)");
    }
    folder
}

#[test]
fn real_models_open() {
    let Some(folder) = models() else { return };
    for (file, architecture, keys, tensors, tokens, weight_bytes) in MODELS {
        let path = folder.join(file);
        if !path.exists() {
            println!("skipped: {} is not there", path.display());
            continue;
        }
        let start = std::time::Instant::now();
        let (model, peak) = peak_of(|| Gguf::open(path).unwrap());
        println!("{file}: opened in {:?}, {peak} bytes allocated", start.elapsed());
        let metadata = model.metadata();
        assert_eq!(metadata.str("general.architecture"), Some(architecture), "{file}");
        assert_eq!((metadata.len(), model.tensors().len()), (keys, tensors), "{file}");
        let vocabulary = metadata.array("tokenizer.ggml.tokens").unwrap();
        assert_eq!(vocabulary.len(), tokens, "{file}");
        assert_eq!(vocabulary.strings().unwrap().count(), tokens, "{file}");
        assert_eq!(model.weight_bytes(), weight_bytes, "{file}");
        assert_eq!(model.files().len(), 1);
        // The vocabulary stays in the map: what is allocated is the table of some hundred tensors.
        assert!(peak < 200_000, "{file}: {peak}");
    }
}
