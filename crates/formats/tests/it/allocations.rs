//! Counts what a piece of code allocates, so that "no large allocation" is a figure and not a hope.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread holds now, and the most that it held since [`peak_of`] began. Tests run side by side, so the
    /// counters are per thread.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(change: isize) {
    // The counters are gone while a thread ends; nothing is measured then.
    let _ = HELD.try_with(|held| {
        let now = held.get() + change;
        held.set(now);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; the counters neither allocate nor panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the pointer came from `System` through this allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Old and new block may exist side by side.
        count(new_size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the pointer came from `System` through this allocator.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Runs `work` and returns the most bytes that it held at one time beyond what was held before.
pub(crate) fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

#[test]
fn a_large_allocation_is_seen() {
    let (vector, peak) = peak_of(|| vec![0_u8; 3 << 20]);
    assert_eq!(vector.len(), 3 << 20);
    assert!((3 << 20..4 << 20).contains(&peak), "{peak}");
    let ((), small) = peak_of(|| drop(vec![0_u8; 100]));
    assert!(small < 1000, "{small}");
}
