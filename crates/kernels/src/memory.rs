//! Memory for large buffers.

/// Zeros, in large pages where the system has them.
///
/// Products read and write columns of matrices whose rows are pages apart; with large pages their addresses are found
/// faster. Memory that is never touched is not taken either way, but for what shares a large page with some that is.
#[must_use]
pub fn zeros(len: usize) -> Vec<f32> {
    let values = vec![0.0; len];
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    linux::ask_for_large_pages(&values);
    values
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use std::arch::asm;

    /// Bytes of a large page.
    const PAGE: usize = 2 << 20;

    /// `madvise(MADV_HUGEPAGE)` for the whole pages within a buffer. It is a hint: whatever comes back is as good.
    pub(super) fn ask_for_large_pages(values: &[f32]) {
        const MADVISE: usize = 28;
        const HUGE_PAGE: usize = 14;
        let range = values.as_ptr_range();
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
    use super::zeros;

    #[test]
    fn large_buffers_are_zeros_that_can_be_written() {
        for len in [0, 1, 100_000, 3 << 20] {
            let mut values = zeros(len);
            assert!(values.len() == len && values.iter().all(|value| *value == 0.0));
            values.fill(1.0);
            assert!(values.iter().all(|value| *value == 1.0));
        }
    }
}
