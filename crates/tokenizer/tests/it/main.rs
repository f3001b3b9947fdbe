//! Tokenizers of all families beside their references, on odd text, and on broken files.

mod decoding;
mod fixtures;
mod hostile;
mod long;
mod reference;
mod roles;
