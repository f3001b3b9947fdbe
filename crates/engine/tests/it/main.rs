//! Integration tests of the engine: scheduling over a toy model, chat templates, and generation with real ones.

mod chat;
mod toy;
mod worker;
