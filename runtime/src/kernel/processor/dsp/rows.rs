//! Copies of maps row by row, and into even and odd columns.

use core::arch::naked_asm;

use super::holds;
use crate::kernel::{Placed, Planes, copy};

/// As [`crate::kernel::Kernels::relayout`].
pub(super) fn relayout(memory: &mut [u8], x: Placed, y: Placed) {
    let (from, to) = (&x.planes, &y.planes);
    let [x_end, y_end] = [x, y].map(|map| map.start + map.planes.len());
    let alike = (from.width, from.height, from.channels) == (to.width, to.height, to.channels)
        && from.bands == 1
        && to.bands == 1
        && !from.split
        && (x_end <= y.start || y_end <= x.start)
        && holds(memory, &x)
        && (holds(memory, &y) || y_end <= memory.len());
    if !alike {
        return copy::relayout(memory, x, y);
    }
    for channel in 0..to.channels {
        let base = memory.as_mut_ptr();
        // SAFETY: both maps lie in memory, and share no byte.
        unsafe {
            let target = base.add(y.start + channel * to.plane());
            copy_plane(base.add(x.row_start(channel, 0)), from, target, to);
        }
    }
}

/// Copies a plain plane to another, or to a split one, without its halo. `from` is the first element,
/// `to` the first byte of the halo above the other.
///
/// # Safety
/// Both planes lie in memory, and share no byte.
pub(super) unsafe fn copy_plane(from: *const u8, x: &Planes, to: *mut u8, y: &Planes) {
    let (width, rows) = (x.width, x.height);
    let (from_stride, to_stride) = (x.stride(), y.stride());
    // SAFETY: the caller's.
    unsafe {
        let to = to.add(y.row_start(0, 0));
        if y.split {
            // The first column is an even or an odd one of the row with its halo.
            let half = to_stride / 2;
            let [first, second] = [y.pad, y.pad + 1].map(|at| to.add(at % 2 * half + at / 2));
            // Four columns at a time, an even count of them; then single ones.
            let even = width & !1;
            if even >= 4 {
                deal_rows(from, first, even, rows, from_stride, to_stride, second);
            }
            let dealt = if even >= 4 { even } else { 0 };
            for row in 0..rows {
                for column in dealt..width {
                    let target = if column % 2 == 0 { first } else { second };
                    *target.add(row * to_stride + column / 2) =
                        *from.add(row * from_stride + column);
                }
            }
        } else if width >= 4 {
            copy_rows(from, to, width, rows, from_stride, to_stride);
        } else {
            for row in 0..rows {
                for column in 0..width {
                    *to.add(row * to_stride + column) = *from.add(row * from_stride + column);
                }
            }
        }
    }
}

/// Copies rows of `width` bytes, at least 4, four bytes at a time; the last four may lie partly in those
/// before.
///
/// # Safety
/// At least one row; all rows can be read and written.
#[unsafe(naked)]
unsafe extern "C" fn copy_rows(
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
