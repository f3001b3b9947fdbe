//! How much a template may make, and how much it may look at.
//!
//! Fuel counts instructions, but one instruction can double a string; forty of them fill any memory. So everything
//! that a template makes is charged by its size, everything it compares or searches is charged as work, and every
//! value it builds is measured: depth and size are bounded, which also bounds the recursion of printing, comparing
//! and dropping it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::TemplateError;

/// Lists and maps inside one another.
pub(super) const MAX_DEPTH: usize = 100;
/// Elements and nested values of one value.
const MAX_NODES: u64 = 1_000_000;
/// What an element of a list or map costs, in bytes.
const NODE_BYTES: u64 = 32;
/// Elements visited, and sixteenths of bytes compared.
const MAX_WORK: u64 = 50_000_000;

/// Counts down during one rendering.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_limit: u64,
    bytes_left: AtomicU64,
    work_left: AtomicU64,
    /// The first reason to stop, which explains the error better than the place where it surfaced.
    stopped: Mutex<Option<TemplateError>>,
}

impl Budget {
    pub(super) fn new(bytes_limit: u64) -> Self {
        Self {
            bytes_limit,
            bytes_left: AtomicU64::new(bytes_limit),
            work_left: AtomicU64::new(MAX_WORK),
            stopped: Mutex::new(None),
        }
    }

    /// Remembers why the rendering ends and makes the error that ends it.
    pub(super) fn stop(&self, reason: TemplateError) -> Error {
        let error = Error::new(ErrorKind::InvalidOperation, reason.to_string());
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        error
    }

    pub(super) fn reason(&self) -> Option<TemplateError> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(from: &AtomicU64, amount: u64) -> bool {
        // One thread renders, so a load and a store are enough.
        let left = from.load(Ordering::Relaxed).checked_sub(amount);
        from.store(left.unwrap_or(0), Ordering::Relaxed);
        left.is_some()
    }

    /// Charges for `bytes` of new text.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Error> {
        if Self::take(&self.bytes_left, bytes as u64) {
            return Ok(());
        }
        Err(self.stop(TemplateError::Exceeded { what: "bytes", limit: self.bytes_limit }))
    }

    /// Charges for a walk over `amount` elements.
    pub(super) fn work(&self, amount: u64) -> Result<(), Error> {
        if Self::take(&self.work_left, amount) {
            return Ok(());
        }
        Err(self.stop(TemplateError::Exceeded { what: "elements visited", limit: MAX_WORK }))
    }

    /// Charges for reading a value once: comparing, searching or printing it.
    pub(super) fn touch(&self, value: &Value) -> Result<(), Error> {
        let size = self.measure(value)?;
        self.work(size.nodes + size.bytes / 16)
    }

    /// Charges for a value that was just made, and makes sure that it is of reasonable size and depth.
    pub(super) fn made(&self, value: Value) -> Result<Value, Error> {
        let size = self.measure(&value)?;
        self.work(size.nodes)?;
        // The elements themselves are shared with where they came from.
        let own = value.as_str().map_or(value.len().unwrap_or(0) as u64 * NODE_BYTES, |text| text.len() as u64);
        self.charge(usize::try_from(own).unwrap_or(usize::MAX))?;
        Ok(value)
    }

    /// The size of everything inside a value.
    fn measure(&self, value: &Value) -> Result<Size, Error> {
        let mut size = Size::default();
        self.visit(value, 0, &mut size)?;
        Ok(size)
    }

    fn visit(&self, value: &Value, depth: usize, size: &mut Size) -> Result<(), Error> {
        size.nodes += 1;
        if size.nodes > MAX_NODES {
            return Err(self.stop(TemplateError::Exceeded { what: "elements in a value", limit: MAX_NODES }));
        }
        if depth > MAX_DEPTH {
            return Err(self.stop(TemplateError::Exceeded { what: "nested values", limit: MAX_DEPTH as u64 }));
        }
        match value.kind() {
            ValueKind::String => size.bytes += value.as_str().map_or(0, str::len) as u64,
            ValueKind::Seq | ValueKind::Iterable => {
                for item in value.try_iter()?.checked() {
                    self.visit(&item?, depth + 1, size)?;
                }
            }
            ValueKind::Map => {
                for key in value.try_iter()?.checked() {
                    let key = key?;
                    let item = value.get_item(&key)?;
                    self.visit(&key, depth + 1, size)?;
                    self.visit(&item, depth + 1, size)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The text of a value, as Jinja prints it, not charged yet.
    pub(super) fn text(&self, value: &Value) -> Result<String, Error> {
        if let Some(text) = value.as_str() {
            return Ok(text.to_owned());
        }
        let mut out = Bounded { budget: self, text: String::new() };
        self.touch(value)?;
        fmt::Write::write_fmt(&mut out, format_args!("{value}")).map_err(|_| self.too_long())?;
        Ok(out.text)
    }

    /// Checks that `bytes` of new text could still be charged.
    pub(super) fn room(&self, bytes: usize) -> Result<(), Error> {
        if bytes as u64 <= self.bytes_left.load(Ordering::Relaxed) { Ok(()) } else { Err(self.too_long()) }
    }

    fn too_long(&self) -> Error {
        self.stop(TemplateError::Exceeded { what: "bytes", limit: self.bytes_limit })
    }
}

#[derive(Debug, Default)]
struct Size {
    nodes: u64,
    bytes: u64,
}

/// A string that refuses to grow beyond what is left.
struct Bounded<'a> {
    budget: &'a Budget,
    text: String,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if (self.text.len() + text.len()) as u64 > self.budget.bytes_left.load(Ordering::Relaxed) {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}
