//! A persistent thread pool whose dispatch costs well under a microsecond.
//!
//! Decoding one token runs hundreds of short parallel regions, so a fork-join pool that parks its threads between
//! regions would cost more than the work. Here the workers spin on an epoch counter while work keeps coming and
//! park after a while without it, so that an idle program uses no processor time.
//!
//! ```
//! use std::sync::atomic::{AtomicUsize, Ordering};
//! let pool = saem_kernels::ThreadPool::new(2).unwrap();
//! let sum = AtomicUsize::new(0);
//! pool.run(|thread| { sum.fetch_add(thread.index + 1, Ordering::Relaxed); });
//! assert_eq!(sum.into_inner(), 1 + 2);
//! ```

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::KernelError;

/// Turns of the wait loop before a worker parks: about a millisecond, longer than any gap inside a forward pass.
const SPINS_BEFORE_PARK: u32 = 40_000;

/// The part of a parallel region that a thread plays.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// 0 is the caller.
    pub index: usize,
    /// Threads in the region.
    pub count: usize,
}

impl Thread {
    /// This thread's share of `items`, in multiples of `align` (the last share may be shorter).
    ///
    /// Shares depend on the counts alone; operations must not let them change a result.
    #[must_use]
    pub fn share(self, items: usize, align: usize) -> Range<usize> {
        let units = items.div_ceil(align);
        let start = units * self.index / self.count * align;
        let end = units * (self.index + 1) / self.count * align;
        start.min(items)..end.min(items)
    }
}

type Job = *const (dyn Fn(Thread) + Sync);

struct Shared {
    /// Raised by one for each region; workers wait for it to change.
    epoch: AtomicUsize,
    /// Workers that have not finished the current region.
    running: AtomicUsize,
    /// Workers that are parked or about to be.
    parked: AtomicUsize,
    stop: AtomicBool,
    panicked: AtomicBool,
    job: UnsafeCell<Option<Job>>,
}

// SAFETY: `job` is written by the caller of `run` only while no worker is inside a region, and read by workers only
// after they have seen the epoch change that follows the write (release/acquire); the pointee is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the raw pointer is never dereferenced outside the region that set it.
unsafe impl Send for Shared {}

/// A fixed set of threads that run one closure at a time, together with the caller.
#[derive(Debug)]
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One region at a time.
    region: Mutex<()>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl ThreadPool {
    /// Starts a pool in which `threads` threads work, the caller included.
    ///
    /// # Errors
    /// [`KernelError::Threads`] where `threads` is 0 or the system refuses to start them.
    pub fn new(threads: usize) -> Result<Self, KernelError> {
        if threads == 0 {
            return Err(KernelError::Threads { threads, reason: "at least one is needed".into() });
        }
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            job: UnsafeCell::new(None),
        });
        let mut pool = Self { shared, workers: Vec::with_capacity(threads - 1), region: Mutex::new(()) };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new()
                .name(format!("saem-compute-{index}"))
                .spawn(move || work(&shared, Thread { index, count: threads }))
                .map_err(|error| KernelError::Threads { threads, reason: error.to_string() })?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Threads that work in a region, the caller included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `job` once on every thread and returns when all have finished.
    ///
    /// Must not be called from inside a region of the same pool.
    ///
    /// # Panics
    /// If `job` panics on any thread; the pool stays usable.
    pub fn run<F: Fn(Thread) + Sync>(&self, job: F) {
        let caller = Thread { index: 0, count: self.threads() };
        if self.workers.is_empty() {
            return job(caller);
        }
        let _region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        let job: &(dyn Fn(Thread) + Sync) = &job;
        // SAFETY: only the lifetime changes. The pointer is used by workers between the epoch change below and the
        // moment `running` reaches zero, and this function does not return (or unwind) before that.
        let job: Job = unsafe { std::mem::transmute(job) };
        // SAFETY: no worker is inside a region (`running` is zero), so none reads `job` now.
        unsafe { *shared.job.get() = Some(job) };
        shared.running.store(self.workers.len(), Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::SeqCst);
        if shared.parked.load(Ordering::SeqCst) > 0 {
            for worker in &self.workers {
                worker.thread().unpark();
            }
        }
        // SAFETY: the pointee is the closure above, alive until this function returns.
        let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(caller) }));
        let mut spins = 0_u32;
        while shared.running.load(Ordering::Acquire) != 0 {
            wait(&mut spins);
        }
        let worker_panicked = shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(payload) = result {
            resume_unwind(payload);
        }
        if worker_panicked {
            resume_unwind(Box::new("a compute thread panicked"));
        }
    }

    /// Splits `0..items` into one range a thread (multiples of `align`) and runs `job` on each that is not empty.
    pub fn split<F: Fn(Range<usize>) + Sync>(&self, items: usize, align: usize, job: F) {
        if items <= align {
            if items > 0 {
                job(0..items);
            }
            return;
        }
        self.run(|thread| {
            let range = thread.share(items, align);
            if !range.is_empty() {
                job(range);
            }
        });
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its jobs, so joining cannot fail.
            let _ = worker.join();
        }
    }
}

/// A slice whose disjoint parts are written by several threads of a region.
#[derive(Debug)]
pub(crate) struct SharedSlice<'a, T> {
    start: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `range`, whose callers promise disjoint parts.
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}

impl<'a, T> SharedSlice<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), lifetime: PhantomData }
    }

    /// The first element, for strided access under the same promise as [`Self::range`].
    pub(crate) fn start(&self) -> *mut T {
        self.start
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// No other part that is alive may overlap it.
    ///
    /// # Panics
    /// If the range is not within the slice.
    #[allow(clippy::mut_from_ref, reason = "that is its purpose")]
    pub(crate) unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "a part must lie within the slice");
        // SAFETY: within the slice (checked above) and disjoint from other parts (the caller's promise).
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

fn work(shared: &Shared, thread: Thread) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while shared.epoch.load(Ordering::Acquire) == seen {
            if spins < SPINS_BEFORE_PARK {
                wait(&mut spins);
            } else {
                shared.parked.fetch_add(1, Ordering::SeqCst);
                // The order (announce, look again, park) pairs with the caller's (raise epoch, look at `parked`).
                if shared.epoch.load(Ordering::SeqCst) == seen {
                    std::thread::park();
                }
                shared.parked.fetch_sub(1, Ordering::SeqCst);
            }
        }
        seen = seen.wrapping_add(1);
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        // SAFETY: the epoch changed after `job` was set, and the caller waits for `running` before it goes on.
        let job = unsafe { *shared.job.get() };
        if let Some(job) = job {
            // SAFETY: as above, the closure lives until `running` is zero.
            if catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(thread) })).is_err() {
                shared.panicked.store(true, Ordering::Relaxed);
            }
        }
        shared.running.fetch_sub(1, Ordering::Release);
    }
}

/// One turn of a wait loop; lets another thread run now and then, for machines with fewer processors than threads.
fn wait(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(1 << 12) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything_once() {
        for count in 1..5 {
            for items in [0, 1, 15, 16, 17, 100] {
                let mut covered = 0;
                for index in 0..count {
                    let range = Thread { index, count }.share(items, 16);
                    assert_eq!(range.start, covered.min(items));
                    covered = range.end.max(covered);
                }
                assert_eq!(covered, items);
            }
        }
    }

    #[test]
    fn many_regions_after_parking() {
        let pool = ThreadPool::new(3).unwrap();
        for round in 0..2_000 {
            let sum = AtomicUsize::new(0);
            pool.run(|thread| {
                sum.fetch_add(thread.index, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 3);
            if round % 500 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(30));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        let pool = ThreadPool::new(2).unwrap();
        for bad in 0..2 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(|thread| assert!(thread.index != bad, "on purpose"));
            }));
            assert!(result.is_err());
        }
        pool.run(|_| {});
    }

    #[test]
    fn no_threads_is_an_error() {
        assert!(ThreadPool::new(0).is_err());
    }
}
