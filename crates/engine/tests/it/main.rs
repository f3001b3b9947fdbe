//! Integration tests of the engine: scheduling over a toy model, chat templates, and generation with real ones.
#![allow(clippy::unwrap_used, reason = "a failing helper is a failing test")]

mod adapters;
mod chat;
mod constraint;
mod fairness;
mod families;
mod keep;
mod models;
mod prefix;
mod schemas;
mod speculation;
mod tools;
mod toy;
mod worker;
