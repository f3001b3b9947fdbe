//! Working memory of a thread, kept between calls.

use std::cell::RefCell;

/// Elements in a cache line.
const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "read through pointers")] [f32; LINE]);

thread_local! {
    /// Of an item of work on this thread.
    static WORK: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    /// Of partial results that the threads of a region leave to its caller.
    static PARTIAL: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` with `len` elements of this thread's working memory, which begin at a cache line and hold what the last
/// body left there. Memory is allocated only when a body asks for more than any before it.
pub(super) fn with_work<T>(len: usize, body: impl FnOnce(&mut [f32]) -> T) -> T {
    WORK.with_borrow_mut(|lines| body(elements(lines, len)))
}

/// [`with_work`] with memory for partial results.
pub(super) fn with_partial<T>(len: usize, body: impl FnOnce(&mut [f32]) -> T) -> T {
    PARTIAL.with_borrow_mut(|lines| body(elements(lines, len)))
}

fn elements(lines: &mut Vec<Line>, len: usize) -> &mut [f32] {
    let needed = len.div_ceil(LINE);
    if lines.len() < needed {
        lines.resize(needed, Line([0.0; LINE]));
    }
    // SAFETY: the vector holds `lines.len() * LINE` initialised elements without padding between them.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), len) }
}

/// The next `len` elements of `rest`, rounded up to whole cache lines.
pub(super) fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let whole = std::mem::take(rest);
    let (part, others) = whole.split_at_mut(padded(len));
    *rest = others;
    part
}

/// What [`take`] uses up for `len` elements.
pub(super) const fn padded(len: usize) -> usize {
    len.next_multiple_of(LINE)
}
