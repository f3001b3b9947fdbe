//! The store on a real database: SQLite, or Postgres where `DATABASE_URL` names a server; the same tests on both.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod apps;
mod audit;
mod batches;
mod crash;
mod datasets;
mod keys;
mod limits;
mod open;
mod password;
mod projects;
mod tunings;
mod usage;
mod world;
