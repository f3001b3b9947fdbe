//! The encoder from outside.
//!
//! `parity`, `korean` and part of `batches` need the real model: `$SAEM_TEST_MODELS` is a folder in which
//! `use-multilingual` holds `weights.npz` and `sp.model`. `korean` also needs the test part of KorSTS, whose path
//! `$SAEM_KORSTS` gives. What is missing is said, and the test returns.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod batches;
mod hostile;
mod korean;
mod parity;
mod reference;
mod toy;

use std::path::PathBuf;
use std::sync::OnceLock;

use saem_encoder::SentenceEncoder;

/// Where the real model lies, or a note that it does not.
fn real_model() -> Option<PathBuf> {
    let folder = std::env::var_os("SAEM_TEST_MODELS").map(PathBuf::from);
    let path = folder.map(|folder| folder.join("use-multilingual")).filter(|path| path.exists());
    if path.is_none() {
        println!("skipped: needs use-multilingual (set SAEM_TEST_MODELS to a folder that has it)");
    }
    path
}

/// The real model, opened once.
fn real() -> Option<&'static SentenceEncoder> {
    static ENCODER: OnceLock<Option<SentenceEncoder>> = OnceLock::new();
    ENCODER.get_or_init(|| Some(SentenceEncoder::open(&real_model()?, 2).unwrap())).as_ref()
}
