//! Memory for large buffers: reserved once, and handed out in pieces.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::MmapMut;

use crate::KernelError;

/// Bytes of a cache line, where every block begins.
const LINE: usize = 64;

/// Zeroed memory that is reserved once and handed out in blocks, none of it twice.
///
/// One that counts has no memory, and its blocks are empty: so the code that takes blocks also says how large an arena it
/// needs ([`Arena::count`], [`Arena::fitting`]).
///
/// Memory that is never touched is not taken, but for what shares a large page with some that is. Large pages are asked for:
/// products read and write columns of matrices whose rows are pages apart, and their addresses are found faster.
#[derive(Debug)]
pub struct Arena {
    memory: Option<Arc<Memory>>,
    used: usize,
}

#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    /// Holds what `start` points to.
    map: MmapMut,
}

// SAFETY: the memory belongs to the map, which may go to other threads; it is reached through blocks alone, of which no two
// overlap.
unsafe impl Send for Memory {}
// SAFETY: as above: nothing is read or written through a shared reference.
unsafe impl Sync for Memory {}

/// Numbers of which any bits are one, zeros among them.
pub trait Number: Copy + fmt::Debug + Send + Sync + sealed::Sealed + 'static {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for u8 {}
}

impl Number for f32 {}
impl Number for u8 {}

impl Arena {
    /// An arena of so many bytes.
    ///
    /// # Errors
    /// [`KernelError::Memory`] where the system refuses them.
    pub fn new(bytes: usize) -> Result<Self, KernelError> {
        let refused = |error: std::io::Error| KernelError::Memory { bytes, reason: error.to_string() };
        // A mapping cannot be empty.
        let mut map = MmapMut::map_anon(bytes.max(1)).map_err(refused)?;
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        linux::ask_for_large_pages(&map);
        // A mapping's address is not null.
        let start = NonNull::new(map.as_mut_ptr()).unwrap_or(NonNull::dangling());
        Ok(Self { memory: Some(Arc::new(Memory { start, map })), used: 0 })
    }

    /// Bytes of what `take` takes.
    pub fn count<T>(take: impl FnOnce(&mut Self) -> T) -> usize {
        let mut counting = Self { memory: None, used: 0 };
        take(&mut counting);
        counting.used
    }

    /// What `take` takes, of an arena of just that size: it is called twice, the first time to count.
    ///
    /// # Errors
    /// As [`Arena::new`].
    pub fn fitting<T>(mut take: impl FnMut(&mut Self) -> T) -> Result<T, KernelError> {
        let bytes = Self::count(&mut take);
        Ok(take(&mut Self::new(bytes)?))
    }

    /// Whether it only counts.
    #[must_use]
    pub fn is_counting(&self) -> bool {
        self.memory.is_none()
    }

    /// So many zeros; none where the arena only counts.
    ///
    /// # Panics
    /// If there is less left. The arena was then not made as large as the same calls count.
    pub fn take<T: Number>(&mut self, len: usize) -> Block<T> {
        let start = self.used;
        // What no number of bytes can say is more than there is.
        let end = len.checked_mul(size_of::<T>()).and_then(|bytes| start.checked_add(bytes));
        self.used = end.and_then(|end| end.checked_next_multiple_of(LINE)).unwrap_or(usize::MAX);
        let Some(memory) = &self.memory else { return Block::default() };
        let size = memory.map.len();
        assert!(self.used <= size, "an arena of {size} bytes has no {len} numbers left after {start}");
        // SAFETY: the bytes from `start` on lie within the map, as was just checked; they begin a cache line, which suits
        // any number.
        let start = unsafe { memory.start.add(start) }.cast();
        Block { start, len, _memory: Some(memory.clone()), _owns: PhantomData }
    }
}

/// Numbers in an [`Arena`], which nobody else has. The arena's memory goes when its last block does.
pub struct Block<T> {
    start: NonNull<T>,
    len: usize,
    _memory: Option<Arc<Memory>>,
    _owns: PhantomData<T>,
}

// SAFETY: a block is all that reaches its numbers, as a vector of them would be.
unsafe impl<T: Number> Send for Block<T> {}
// SAFETY: as above.
unsafe impl<T: Number> Sync for Block<T> {}

impl<T> Default for Block<T> {
    fn default() -> Self {
        Self { start: NonNull::dangling(), len: 0, _memory: None, _owns: PhantomData }
    }
}

impl<T: Number> Deref for Block<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the numbers lie within memory that the block keeps, were zeros at first, and are reached through it alone.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Number> DerefMut for Block<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the block is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Number> fmt::Debug for Block<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Block({})", self.len)
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use std::arch::asm;

    /// Bytes of a large page.
    const PAGE: usize = 2 << 20;

    /// `madvise(MADV_HUGEPAGE)` for the whole pages within a buffer. It is a hint: whatever comes back is as good.
    pub(super) fn ask_for_large_pages(bytes: &[u8]) {
        const MADVISE: usize = 28;
        const HUGE_PAGE: usize = 14;
        let range = bytes.as_ptr_range();
        let start = range.start.addr().next_multiple_of(PAGE);
        let end = range.end.addr() / PAGE * PAGE;
        if start >= end {
            return;
        }
        // SAFETY: the call changes how memory is mapped and nothing of what is in it; rax, rcx and r11 are the registers
        // that `syscall` clobbers.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") MADVISE => _,
                in("rdi") start,
                in("rsi") end - start,
                in("rdx") HUGE_PAGE,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(arena: &mut Arena) -> (Block<f32>, Block<u8>, Block<f32>) {
        (arena.take(100_003), arena.take(7), arena.take(3 << 20))
    }

    #[test]
    fn blocks_are_zeros_apart_from_each_other_and_outlive_the_arena() {
        let counted = Arena::count(|arena| {
            let nothing = take(arena);
            assert!(nothing.0.is_empty() && nothing.1.is_empty() && nothing.2.is_empty() && arena.is_counting());
        });
        assert_eq!(counted, 400_064 + 64 + (12 << 20));
        let (mut a, mut b, mut c) = Arena::fitting(take).unwrap();
        assert_eq!((a.len(), b.len(), c.len()), (100_003, 7, 3 << 20));
        for block in [&a, &c] {
            assert!(block.as_ptr().addr().is_multiple_of(LINE) && block.iter().all(|value| *value == 0.0));
        }
        assert!(b.iter().all(|value| *value == 0));
        a.fill(1.0);
        b.fill(2);
        std::thread::scope(|scope| scope.spawn(|| c.fill(3.0)).join().unwrap());
        assert!(a.iter().all(|value| *value == 1.0) && b.iter().all(|value| *value == 2));
        drop((a, b));
        assert!(c.iter().all(|value| *value == 3.0));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert!(matches!(Arena::new(1 << 60), Err(KernelError::Memory { bytes, .. }) if bytes == 1 << 60));
        // Their bytes are beyond what can be counted.
        for len in [usize::MAX, usize::MAX / 4, usize::MAX / 4 + 2, 1 << 62] {
            assert!(Arena::fitting(|arena| (arena.take::<f32>(len), arena.take::<f32>(3))).is_err(), "{len}");
        }
        let mut empty = Arena::new(0).unwrap();
        assert!(empty.take::<f32>(0).is_empty());
        let mut small = Arena::new(64).unwrap();
        let _all: Block<f32> = small.take(16);
        let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| small.take::<u8>(1)));
        assert!(again.is_err());
    }
}
