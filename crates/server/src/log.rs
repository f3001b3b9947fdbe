//! The log: one line of JSON for each response and for each request that the engine took.
//!
//! What people write and what models answer is not in it, at any level: ids, names of routes and models, counts and
//! times only.

use std::io::{self, IsTerminal as _, stderr};

use saem_store::mask_personal_data;
use tracing::level_filters::LevelFilter;

use crate::service::{Finished, Recorder};

/// Starts the log on standard error: JSON, or lines for people where standard error is a terminal. `level` is `off`,
/// `error`, `warn`, `info` or `debug`; anything else means `info`. A second call changes nothing.
pub fn start(level: &str) {
    let level = level.parse::<LevelFilter>().unwrap_or(LevelFilter::INFO);
    let log = tracing_subscriber::fmt().with_writer(|| Masked).with_max_level(level).with_target(false);
    let started = if stderr().is_terminal() {
        log.compact().with_ansi(false).try_init()
    } else {
        log.json().flatten_event(true).try_init()
    };
    // Somebody else's log is as good.
    drop(started);
}

/// Standard error without personal data. No text of a user is logged on purpose; an error's words may hold a piece of
/// one by accident, and so may an id that a client chose.
#[derive(Clone, Copy, Debug)]
struct Masked;

impl io::Write for Masked {
    /// Takes the whole line at once, as the log hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        stderr().lock().write_all(mask_personal_data(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().lock().flush()
    }
}

/// Writes how requests end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogRecorder;

impl Recorder for LogRecorder {
    fn finished(&self, finished: &Finished<'_>) {
        let millis = |time: std::time::Duration| time.as_millis() as u64;
        tracing::info!(
            id = finished.caller.request_id.as_str(),
            model = finished.model,
            outcome = finished.outcome.as_str(),
            prompt_tokens = finished.usage.prompt_tokens,
            cached_tokens = finished.usage.cached_tokens,
            completion_tokens = finished.usage.completion_tokens,
            queue_millis = finished.timings.map(|timings| millis(timings.queued)),
            first_token_millis = finished.timings.map(|timings| millis(timings.to_first_token())),
            millis = millis(finished.elapsed),
            "generated"
        );
    }
}
