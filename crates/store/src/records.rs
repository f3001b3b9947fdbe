//! What requests leave behind, gathered in memory and written in batches beside them.
//!
//! A request must not wait for a disk, and its records must not be lost. So they are added to sums and lists here,
//! which takes a lock for some nanoseconds; one task writes them in one transaction, about once a second; what could
//! not be written is put back and tried again; and closing the store writes the rest. The lists are bounded by
//! [`Store::backlog`]: a server that lets nobody in while it is long does not outrun its own log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::audit::{self, Entry};
use crate::calls::{self, Recorded};
use crate::database::Database;
use crate::error::Result;
use crate::limits::{self, Buckets};
use crate::usage::{self, Used, UsedBy};
use crate::{Store, clock, keys, text};

/// How long records are gathered.
const INTERVAL: Duration = Duration::from_secs(1);
/// Rows of the audit log that are written at once, even before the interval is over.
const BATCH: usize = 256;
/// Calls of apps that may wait to be written.
const MOST_CALLS: usize = 1_000;

/// Records on their way.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pending: Mutex<Pending>,
    /// Wakes the writer before its interval is over.
    wake: Notify,
    /// One batch at a time, so that rows of the log keep their order.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Pending {
    /// Ordered, so that replicas lock rows in one order.
    usage: BTreeMap<(String, UsedBy), Used>,
    used: BTreeMap<String, i64>,
    settled: BTreeMap<String, i64>,
    audit: VecDeque<Entry>,
    calls: Vec<Recorded>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.usage.is_empty()
            && self.used.is_empty()
            && self.settled.is_empty()
            && self.audit.is_empty()
            && self.calls.is_empty()
    }
}

impl Records {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Every change is complete in itself, so a panic elsewhere leaves nothing half-done.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn usage(&self, by: UsedBy, used: Used, at: i64) {
        // An instant that is no date cannot come from a clock.
        let day = clock::day(at).unwrap_or_default();
        let by = UsedBy {
            tenant: text::line(&by.tenant),
            key: text::line(&by.key),
            app: text::line(&by.app),
            model: text::line(&by.model),
        };
        *self.pending().usage.entry((day, by)).or_default() += used;
    }

    pub(crate) fn used(&self, key: &str, at: i64) {
        let mut pending = self.pending();
        match pending.used.get_mut(key) {
            Some(last) => *last = at.max(*last),
            None => drop(pending.used.insert(key.to_owned(), at)),
        }
    }

    pub(crate) fn settle(&self, lineage: String, more: i64) {
        let mut pending = self.pending();
        let sum = pending.settled.entry(lineage).or_default();
        *sum = sum.saturating_add(more);
    }

    fn audit(&self, entry: Entry) {
        let mut pending = self.pending();
        pending.audit.push_back(entry);
        if pending.audit.len() >= BATCH {
            self.wake.notify_one();
        }
    }

    /// A call that is to be kept; where writing fails for long, the latest are not.
    pub(crate) fn call(&self, call: Recorded) {
        let mut pending = self.pending();
        if pending.calls.len() < MOST_CALLS {
            pending.calls.push(call);
        }
    }

    /// Puts a batch back that could not be written, before what has come since.
    fn put_back(&self, batch: Pending) {
        let mut pending = self.pending();
        for (key, used) in batch.usage {
            *pending.usage.entry(key).or_default() += used;
        }
        for (key, at) in batch.used {
            let last = pending.used.entry(key).or_insert(at);
            *last = at.max(*last);
        }
        for (lineage, more) in batch.settled {
            *pending.settled.entry(lineage).or_default() += more;
        }
        let since = std::mem::replace(&mut pending.calls, batch.calls);
        pending.calls.extend(since);
        for entry in batch.audit.into_iter().rev() {
            pending.audit.push_front(entry);
        }
    }
}

impl Store {
    /// Adds a row to the audit log with the next batch; see [`Store::append_audit`] for rows that must be there first.
    pub fn record_audit(&self, entry: Entry) {
        self.records.audit(entry);
    }

    /// Rows of the audit log that are not written yet.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.records.pending().audit.len()
    }

    /// Writes everything that requests have left behind until now.
    ///
    /// # Errors
    ///
    /// What the database reports; then nothing is lost and the next batch holds it. A commit whose answer was lost on
    /// the way is counted again.
    pub async fn flush(&self) -> Result<()> {
        flush(&self.database, &self.records, &self.buckets).await
    }

    /// Writes the rest and closes the database.
    ///
    /// # Errors
    ///
    /// What the database reports after three attempts.
    pub async fn close(&self) -> Result<()> {
        {
            // Not while it commits: a batch whose commit was not waited for would be written again.
            let _turn = self.records.writing.lock().await;
            if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
                writer.abort();
            }
        }
        let mut written = self.flush().await;
        for pause in [Duration::from_millis(200), INTERVAL] {
            if written.is_ok() {
                break;
            }
            tokio::time::sleep(pause).await;
            written = self.flush().await;
        }
        self.database.pool.close().await;
        written
    }
}

/// Writes a batch now and then for as long as the store lives.
pub(crate) async fn write_batches(database: Weak<Database>, records: Arc<Records>, buckets: Arc<Buckets>) {
    loop {
        // Woken or not, there may be something to write.
        let _ = tokio::time::timeout(INTERVAL, records.wake.notified()).await;
        let Some(database) = database.upgrade() else { return };
        if flush(&database, &records, &buckets).await.is_err() {
            // The batch is back in its place. The server sees the backlog grow and says so.
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Puts its batch back unless it was written: also where the task is dropped between two statements.
struct Batch<'a> {
    records: &'a Records,
    buckets: &'a Buckets,
    pending: Option<(Pending, Vec<(String, limits::Limit, crate::bucket::Bucket)>)>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some((pending, changed)) = self.pending.take() {
            self.records.put_back(pending);
            self.buckets.mark(changed);
        }
    }
}

async fn flush(database: &Database, records: &Records, buckets: &Buckets) -> Result<()> {
    let _turn = records.writing.lock().await;
    let pending = std::mem::take(&mut *records.pending());
    let changed = buckets.changed();
    if pending.is_empty() && changed.is_empty() {
        return Ok(());
    }
    let usage: Vec<_> = pending.usage.iter().map(|(key, used)| (key.clone(), *used)).collect();
    let used: Vec<_> = pending.used.iter().map(|(key, at)| (key.clone(), *at)).collect();
    let settled: Vec<_> = pending.settled.iter().map(|(lineage, more)| (lineage.clone(), *more)).collect();
    let entries: Vec<_> = pending.audit.iter().cloned().collect();
    let kept = pending.calls.clone();
    let mut batch = Batch { records, buckets, pending: Some((pending, changed.clone())) };
    let mut write = database.write().await?;
    usage::write(database, &mut write.transaction, &usage).await?;
    keys::write_used(database, &mut write.transaction, &used).await?;
    limits::write_buckets(database, &mut write.transaction, &changed).await?;
    limits::write_settled(database, &mut write.transaction, &settled).await?;
    calls::write(database, &mut write.transaction, &kept).await?;
    audit::append(database, &mut write.transaction, &entries).await?;
    database.commit(write).await?;
    batch.pending = None;
    Ok(())
}
