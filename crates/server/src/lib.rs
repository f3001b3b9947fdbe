//! Many clients, one engine per model: HTTP in front of [`saem_engine`].
//!
//! A developer points a client of OpenAI's or CLOVA Studio's API here and it works; an operator puts it on an office
//! machine and sleeps. Between the two lies little code, because each part does one thing:
//!
//! - [`service`] owns the models. Each has a thread of its own with a [`Worker`](saem_engine::Worker); handlers start
//!   requests and read events ([`Generation`](service::Generation)).
//! - [`http`] is the border: who may talk to the server at all, bodies of JSON, streams, sockets, health.
//! - [`openai`] and its neighbours are the APIs: types, their checks, and the translation in both directions.
//! - `studio` keeps what the pages for people who do not program work on, and renders it for a model.
//! - `pages` is Saem Studio, the page at `/`, as it was built beforehand.
//! - [`App`] is what all handlers share; [`router`] puts everything together.
//!
//! # The key decision: two worlds and a channel
//!
//! The engine computes without pause on threads that never wait for anybody; the runtime waits for everybody and never
//! computes. A request crosses once in each direction: in as tokens, out as owned events through a channel without a
//! bound, so that a slow reader costs its own memory (bounded by the tokens it asked for) and never the time of others.
//! Hanging up is dropping: the stream of events sets a flag, and the engine looks at it before each pass.
//!
//! # What can be relied on
//!
//! - Every response has an `x-request-id`; every error has a stable code and, where a field is to blame, its name.
//! - Unknown fields and values out of range are refused; nothing is silently ignored.
//! - A panic costs the requests of one pass, never the model; a handler's panic costs its response.
//! - Nothing is fetched from anywhere because a request says so.
//!
//! # Example
//!
//! ```no_run
//! use saem_server::service::{ModelFile, Service, ServiceOptions};
//! use saem_server::{App, Settings, http, router};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let models = vec![ModelFile { name: "tiny".into(), path: "tiny.gguf".into(), adapters: Vec::new(), adapter_bytes: 0 }];
//! let options = ServiceOptions { engine: Default::default(), memory: None, prompts: None };
//! let service = Service::plan(models, &options)?.load(&mut |_, _, _| {})?;
//! let app = App::new(service, Settings::default(), Vec::new());
//! let running = http::bind(app.settings()).await?;
//! println!("http://{}", running.address());
//! http::serve(running, app.clone(), router(app), async || std::future::pending().await).await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod access;
mod app;
mod caller;
mod clova;
mod error;
pub mod http;
pub mod log;
mod metrics;
pub mod nfc;
pub mod openai;
mod openapi;
mod pages;
mod routes;
pub mod service;
mod settings;
mod studio;

pub use access::Access;
pub use app::App;
pub use caller::{Caller, REQUEST_ID, RequestId};
pub use clova::ModelNames;
pub use error::{ApiError, ErrorBody, ErrorDetail};
pub use metrics::Metrics;
pub use openapi::document;
pub use routes::router;
pub use settings::Settings;
pub use studio::published_bytes;
