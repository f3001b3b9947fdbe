//! A model whose answers are known: to a conversation it says "가 나", to a text that ends in a letter the rest of the
//! alphabet. Its tokens are single bytes, so that a syllable takes three.

use std::path::{Path, PathBuf};

use crate::toy;

/// What it says to a conversation.
pub(crate) const SAYS: &str = "가 나";

/// Writes the model and returns its path.
pub(crate) fn reciter(directory: &Path) -> PathBuf {
    toy::reciting(directory, after)
}

/// What follows a token: the bytes of [`SAYS`] one after the other, in which none comes twice.
fn after(token: usize) -> usize {
    let says = SAYS.as_bytes();
    let Ok(byte) = u8::try_from(token) else { return toy::after(token) };
    if byte == b'\n' {
        return usize::from(says[0]);
    }
    match says.iter().position(|said| *said == byte) {
        Some(place) => says.get(place + 1).map_or(toy::END, |next| usize::from(*next)),
        None => toy::after(token),
    }
}
