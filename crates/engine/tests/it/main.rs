//! Integration tests of the engine: scheduling over a toy model, chat templates, and generation with real ones.

mod chat;
mod families;
mod models;
mod toy;
mod worker;
