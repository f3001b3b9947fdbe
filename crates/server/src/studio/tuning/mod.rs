//! Tunings: a model that is served learns from a dataset, and the result is served beside it.
//!
//! A [`task`] says what is tuned on what; its [`folder`] holds the rows, the recipe and what the run writes. The
//! [`tuner`] runs one at a time in a process of its own; [`routes`] start, stop and tell of them, and publish the result;
//! [`compare`] asks base and tuned model the same rows.

pub(crate) mod compare;
mod folder;
pub(crate) mod publish;
pub(crate) mod routes;
mod task;
pub(crate) mod tuner;

pub use publish::published_bytes;
