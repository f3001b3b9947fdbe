//! What all routes have in common: the border, bodies, streams, health, and the sockets below.

mod blocking;
mod body;
mod border;
pub(crate) mod health;
mod listen;
mod parts;
pub(crate) mod response;
mod sse;

pub(crate) use blocking::blocking;
pub use body::JsonBody;
pub(crate) use body::{parse, read_body};
pub(crate) use listen::Peer;
pub use listen::{Running, ServeError, bind, serve};
pub(crate) use parts::{PathId, PathVersion, QueryOf};
pub use response::json;
pub use sse::{Narrator, SseWriter, stream};

pub(crate) use border::{guard, name_of};
pub(crate) use health::routes as health_routes;
