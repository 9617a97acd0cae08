//! Rows of bytes to every fourth byte, five cycles each on a Cortex-M0+.

use core::arch::naked_asm;

use crate::kernel::words::Rows;

/// Copies `rows` of `from` to every fourth byte of `to`; nothing where either is too short.
pub(in crate::kernel) fn spread(from: &[u8], to: &mut [u8], rows: &Rows) {
    let before = |stride: usize| rows.count.checked_sub(1).map(|rows| rows * stride);
    let (Some(read), Some(written)) = (before(rows.from_stride), before(rows.to_stride)) else {
        return;
    };
    let fits = rows.width > 0
        && read + rows.width <= from.len()
        && written + 4 * rows.width <= to.len() + 3
        && rows.from_stride >= rows.width
        && rows.to_stride >= 4 * rows.width;
    if fits {
        let skips = [rows.from_stride - rows.width, rows.to_stride - 4 * rows.width];
        // SAFETY: all rows lie within the bytes, as just compared; there is one at least, and a byte in it.
        unsafe { spread_rows(from.as_ptr(), to.as_mut_ptr(), rows, &skips) };
    }
}

/// See [`spread`].
///
/// # Safety
/// There are `count` rows of `width` bytes, at least one of either, the next one behind as many bytes as
/// `skips` says of both sides.
#[unsafe(naked)]
unsafe extern "C" fn spread_rows(
    from: *const u8,
    to: *mut u8,
    rows: *const Rows,
    skips: *const [usize; 2],
) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "ldr r6, [r3]",
        "ldr r7, [r3, #4]",
        "mov r12, r7",
        "ldr r7, [r2]",
        "ldr r5, [r2, #4]",
        // A row: r0 from, r1 to, r2 bytes left less 4, r5 width, r6 and r12 skips, r7 rows.
        "2:",
        "subs r2, r5, #4",
        "blo 4f",
        "3:",
        "ldrb r3, [r0]",
        "strb r3, [r1]",
        "ldrb r3, [r0, #1]",
        "strb r3, [r1, #4]",
        "ldrb r3, [r0, #2]",
        "strb r3, [r1, #8]",
        "ldrb r3, [r0, #3]",
        "strb r3, [r1, #12]",
        "adds r0, #4",
        "adds r1, #16",
        "subs r2, #4",
        "bhs 3b",
        "4:",
        "adds r2, #4",
        "beq 6f",
        "5:",
        "ldrb r3, [r0]",
        "strb r3, [r1]",
        "adds r0, #1",
        "adds r1, #4",
        "subs r2, #1",
        "bne 5b",
        "6:",
        "adds r0, r0, r6",
        "add r1, r12",
        "subs r7, #1",
        "bne 2b",
        "pop {{r4-r7, pc}}",
    )
}
