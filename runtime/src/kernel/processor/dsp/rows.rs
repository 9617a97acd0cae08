//! Copies of maps row by row, and into even and odd columns.

use core::arch::naked_asm;

use super::holds;
use crate::kernel::{Placed, Planes, copy};

/// As [`crate::kernel::Kernels::relayout`].
pub(super) fn relayout(memory: &mut [u8], x: &Placed, y: &Placed) {
    let (from, to) = (&x.planes, &y.planes);
    let [x_end, y_end] = [x, y].map(|map| map.start + map.planes.len());
    let alike = (from.width, from.height, from.channels) == (to.width, to.height, to.channels)
        && from.bands == 1
        && to.bands == 1
        && !from.split
        && (x_end <= y.start || y_end <= x.start)
        && holds(memory, x)
        && holds(memory, y);
    if !alike {
        return copy::relayout(memory, x, y);
    }
    let copy = PlaneCopy::new(from, to);
    let base = memory.as_mut_ptr();
    for channel in 0..to.channels {
        // SAFETY: both maps lie in memory, and share no byte.
        unsafe {
            let target = base.add(y.start + channel * to.plane());
            copy.plane(base.add(x.row_start(channel, 0)), target);
        }
    }
}

/// How a plain plane is copied to another, or to a split one, without its halo.
#[derive(Clone, Copy)]
pub(super) struct PlaneCopy {
    from_stride: usize,
    to_stride: usize,
    /// Where the first row lies in the source.
    from_first: usize,
    /// Where the first columns lie in the target, of even and odd ones if it is split.
    first: usize,
    second: Option<usize>,
    width: usize,
    rows: usize,
}

impl PlaneCopy {
    pub(super) fn new(x: &Planes, y: &Planes) -> Self {
        let (start, half) = (y.row_start(0, 0), y.stride() / 2);
        // The first column is an even or an odd one of the row with its halo.
        let [first, second] = [y.pad, y.pad + 1].map(|at| start + at % 2 * half + at / 2);
        Self {
            from_stride: x.stride(),
            to_stride: y.stride(),
            from_first: 0,
            first: if y.split { first } else { start },
            second: y.split.then_some(second),
            width: x.width,
            rows: x.height,
        }
    }

    /// Every other row, from `first` (0 or 1) on; where planes have one row, that one.
    pub(super) fn every_other(&self, first: usize) -> Self {
        let rows = self.rows.saturating_sub(first).div_ceil(2).max(1);
        let skipped = if self.rows > 1 { first } else { 0 };
        let Self { from_stride, to_stride, .. } = *self;
        Self {
            from_stride: 2 * from_stride,
            to_stride: 2 * to_stride,
            from_first: skipped * from_stride,
            first: self.first + skipped * to_stride,
            second: self.second.map(|second| second + skipped * to_stride),
            width: self.width,
            rows,
        }
    }

    /// Copies from the first element to the halo above the other.
    ///
    /// # Safety
    /// Both planes lie in memory, with a row at least, and share no byte.
    #[cfg_attr(not(seedmask_small), inline(always))]
    #[cfg_attr(seedmask_small, inline(never))]
    pub(super) unsafe fn plane(&self, from: *const u8, to: *mut u8) {
        let &Self { from_stride, to_stride, width, rows, .. } = self;
        // SAFETY: the caller's.
        unsafe {
            let from = from.add(self.from_first);
            let first = to.add(self.first);
            match self.second.map(|second| to.add(second)) {
                None if width > 1 => copy_rows(from, first, width, rows, from_stride, to_stride),
                Some(second) if width >= 4 => {
                    let even = width & !1;
                    deal_rows(from, first, even, rows, from_stride, to_stride, second);
                    if width > even {
                        let (from, to) = (from.add(even), first.add(even / 2));
                        copy_column(from, to, rows, from_stride, to_stride);
                    }
                }
                second => {
                    let targets = [first, second.unwrap_or(first)];
                    for column in 0..width {
                        let to = targets[column % 2].add(column / 2);
                        copy_column(from.add(column), to, rows, from_stride, to_stride);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As for [`copy_rows`], of a byte a row.
#[inline(never)]
unsafe fn copy_column(
    from: *const u8,
    to: *mut u8,
    rows: usize,
    from_stride: usize,
    to_stride: usize,
) {
    for row in 0..rows {
        // SAFETY: the caller's.
        unsafe { *to.add(row * to_stride) = *from.add(row * from_stride) }
    }
}

/// Copies rows of `width` bytes, at least 2, four bytes at a time; the last four may lie partly in those
/// before. Two at a time where there are no four.
///
/// # Safety
/// At least one row; all rows can be read and written.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn copy_rows(
    from: *const u8,
    to: *mut u8,
    width: usize,
    rows: usize,
    from_stride: usize,
    to_stride: usize,
) {
    naked_asm!(
        cpu!(),
        "push {{r4-r10, lr}}",
        "ldrd r8, r9, [sp, #32]",
        "subs r2, r2, #4",
        "bmi 8f",
        "cmp r2, #4",
        "bhi 2f",
        // Two words a row, or twice the same.
        "1:",
        "ldr r4, [r0]",
        "ldr r5, [r0, r2]",
        "add r0, r0, r8",
        "subs r3, r3, #1",
        "str r4, [r1]",
        "str r5, [r1, r2]",
        "add r1, r1, r9",
        "bne 1b",
        "pop {{r4-r10, pc}}",
        // Four words, single ones, and the last.
        "2:",
        "sub r8, r8, r2",
        "sub r9, r9, r2",
        "3:",
        "subs r12, r2, #16",
        "blo 5f",
        "4:",
        "ldr r4, [r0], #4",
        "ldr r5, [r0], #4",
        "ldr r6, [r0], #4",
        "ldr r7, [r0], #4",
        "str r4, [r1], #4",
        "str r5, [r1], #4",
        "str r6, [r1], #4",
        "str r7, [r1], #4",
        "subs r12, r12, #16",
        "bhs 4b",
        "5:",
        "adds r12, r12, #16",
        "beq 7f",
        "6:",
        "ldr r4, [r0], #4",
        "str r4, [r1], #4",
        "subs r12, r12, #4",
        "bhi 6b",
        // Less than a word was left, if the width is no multiple of it.
        "add r0, r0, r12",
        "add r1, r1, r12",
        "7:",
        "ldr r4, [r0]",
        "str r4, [r1]",
        "add r0, r0, r8",
        "add r1, r1, r9",
        "subs r3, r3, #1",
        "bne 3b",
        "pop {{r4-r10, pc}}",
        // Two halves of a word a row.
        "8:",
        "adds r2, r2, #2",
        "9:",
        "ldrh r4, [r0]",
        "ldrh r5, [r0, r2]",
        "add r0, r0, r8",
        "subs r3, r3, #1",
        "strh r4, [r1]",
        "strh r5, [r1, r2]",
        "add r1, r1, r9",
        "bne 9b",
        "pop {{r4-r10, pc}}",
    )
}

/// Deals rows of `width` bytes out to `first` (columns 0, 2, …) and `second`; the last four may lie
/// partly in those before.
///
/// # Safety
/// As for [`copy_rows`], with half a row for each target; `width` is even and at least 4.
#[unsafe(naked)]
unsafe extern "C" fn deal_rows(
    from: *const u8,
    first: *mut u8,
    width: usize,
    rows: usize,
    from_stride: usize,
    to_stride: usize,
    second: *mut u8,
) {
    naked_asm!(
        cpu!(),
        "push {{r4-r11, lr}}",
        // r10 second, r8 and r9 from the end of a row to the next.
        "ldrd r8, r9, [sp, #36]",
        "ldr r10, [sp, #44]",
        "sub r8, r8, r2",
        "sub r9, r9, r2, lsr #1",
        "3:",
        "subs r12, r2, #8",
        "blo 5f",
        "4:",
        "ldr r4, [r0], #4",
        "ldr r5, [r0], #4",
        // [0 1 2 3] and [4 5 6 7] to [0 1 4 5] and [2 3 6 7]
        "pkhbt r6, r4, r5, lsl #16",
        "pkhtb r7, r5, r4, asr #16",
        // to [0 2 4 6] and [1 3 5 7]
        "uxtb16 r4, r6",
        "uxtb16 r5, r7",
        "orr r4, r4, r5, lsl #8",
        "uxtb16 r6, r6, ror #8",
        "uxtb16 r7, r7, ror #8",
        "orr r6, r6, r7, lsl #8",
        "subs r12, r12, #8",
        "str r4, [r1], #4",
        "str r6, [r10], #4",
        "bhs 4b",
        "5:",
        "adds r12, r12, #8",
        "beq 7f",
        "6:",
        // Four columns; two of them once more where only two are left.
        "subs r12, r12, #4",
        "itttt lo",
        "sublo r0, r0, #2",
        "sublo r1, r1, #1",
        "sublo r10, r10, #1",
        "movlo r12, #0",
        "ldr r4, [r0], #4",
        "uxtb16 r5, r4",
        "uxtb16 r4, r4, ror #8",
        "orr r5, r5, r5, lsr #8",
        "orr r4, r4, r4, lsr #8",
        "strh r5, [r1], #2",
        "strh r4, [r10], #2",
        "cmp r12, #0",
        "bne 6b",
        "7:",
        "add r0, r0, r8",
        "add r1, r1, r9",
        "add r10, r10, r9",
        "subs r3, r3, #1",
        "bne 3b",
        "pop {{r4-r11, pc}}",
    )
}
