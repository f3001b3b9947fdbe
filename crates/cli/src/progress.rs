//! Progress on standard error: a bar with rate and remaining time, where somebody looks at it.

use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::language::Language;

/// What is short needs no bar.
const PATIENCE: Duration = Duration::from_millis(400);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes of a file.
    Bytes,
    /// Tokens of a text.
    Tokens,
    /// Anything else.
    Steps,
}

/// A bar that appears once its work takes longer than a moment, and vanishes when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    language: Language,
    title: String,
    unit: Unit,
    total: Option<u64>,
    /// Where the work started, so that what was there before counts into the bar but not into the rate.
    first: Option<u64>,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar for `total` units, or a count without an end.
    pub(crate) fn new(language: Language, title: String, unit: Unit, total: Option<u64>) -> Self {
        Self { language, title, unit, total, first: None, begun: Instant::now(), bar: None }
    }

    /// Shows that `done` units are done.
    pub(crate) fn set(&mut self, done: u64) {
        self.first.get_or_insert(done);
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.begun.elapsed() >= PATIENCE {
            let bar = self.make();
            bar.set_position(done);
            self.bar = Some(bar);
        }
    }

    /// Sets both ends, for work whose size is known only while it runs.
    pub(crate) fn set_of(&mut self, done: u64, total: u64) {
        if self.total != Some(total) {
            self.total = Some(total);
            if let Some(bar) = &self.bar {
                bar.set_length(total);
            }
        }
        self.set(done);
    }

    /// Gives the bar another title.
    pub(crate) fn rename(&mut self, title: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(title.clone());
        }
        self.title = title;
    }

    /// Runs `say` without the bar in the way.
    pub(crate) fn suspend(&self, say: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    fn make(&self) -> ProgressBar {
        // A draw target that is no terminal shows nothing.
        let bar = ProgressBar::with_draw_target(self.total, ProgressDrawTarget::stderr());
        let (language, unit) = (self.language, self.unit);
        let (begun, first) = (self.begun, self.first.unwrap_or(0));
        let speed = move |state: &ProgressState| {
            state.pos().saturating_sub(first) as f64 / begun.elapsed().as_secs_f64().max(1e-3)
        };
        let amount = move |count: u64| match unit {
            Unit::Bytes => DecimalBytes(count).to_string(),
            Unit::Tokens | Unit::Steps => count.to_string(),
        };
        let template = match (self.total, unit) {
            // The title of training has a curve in it.
            (Some(_), Unit::Steps) => "{msg}  {bar:12}  {done} / {all}  {left}",
            (Some(_), _) => "{msg}  {bar:24}  {done} / {all}  {speed}  {left}",
            (None, _) => "{msg}  {spinner}  {done}  {speed}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style
            .progress_chars("█▉▊▋▌▍▎▏ ")
            .with_key("done", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&amount(state.pos()));
            })
            .with_key("all", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&amount(state.len().unwrap_or(0)));
            })
            .with_key("speed", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let rate = speed(state);
                let _ = match unit {
                    Unit::Bytes => write!(out, "{}/s", DecimalBytes(rate as u64)),
                    Unit::Tokens => write!(out, "{rate:.1} {}/s", language.tokens_unit()),
                    Unit::Steps => Ok(()),
                };
            })
            .with_key("left", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let rest = state.len().unwrap_or(0).saturating_sub(state.pos());
                let seconds = rest as f64 / speed(state).max(1e-9);
                if seconds.is_finite() && seconds < 360_000.0 {
                    let _ = out.write_str(&language.remaining(&duration(language, seconds.ceil() as u64)));
                }
            });
        bar.set_style(style);
        bar.set_message(self.title.clone());
        bar
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A time in the user's language.
pub(crate) fn duration(language: Language, seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => language.seconds(seconds),
        (0, minutes, seconds) => language.minutes(minutes, seconds),
        (hours, minutes, _) => language.hours(hours, minutes),
    }
}
