//! Dense rows from signed positions, each an index into a table of the inputs and their negatives.

use core::arch::naked_asm;
use core::mem::MaybeUninit;

use super::finish::{Outputs, finish};
use crate::mask::{COUNTS, Counts};

/// Rows whose counts are read at a time.
const ROWS: usize = 16 * COUNTS;

/// Makes the outputs of `rows` rows of `inputs` inputs.
///
/// # Safety
/// `counts` and `positions` are those of a section that was checked, for a layer of this shape; `x` has
/// all inputs, and whole words of them; the pointers of `outputs` are valid for all rows.
pub(super) unsafe fn rows(
    mut counts: Counts,
    positions: &[u8],
    x: &[u8],
    [rows, inputs]: [usize; 2],
    mut outputs: Outputs,
) {
    // The inputs, then their negatives.
    let mut table = [MaybeUninit::<u32>::uninit(); 2 * INPUTS / 4];
    // SAFETY: as for this function.
    unsafe { fill(x.as_ptr(), table.as_mut_ptr().cast(), inputs.div_ceil(4)) };
    let mut positions = positions.as_ptr();
    let mut block = [MaybeUninit::<[u32; 2]>::uninit(); ROWS / COUNTS];
    for first in (0..rows).step_by(ROWS) {
        for (to, group) in block.iter_mut().zip(core::iter::from_fn(|| counts.next_group())) {
            to.write(group);
        }
        outputs.expect((rows - first).min(ROWS));
        // SAFETY: as for this function; `block` holds the counts of the rows that are expected, and
        // `table` what positions of the layer's inputs name.
        positions = unsafe {
            block_of_rows(table.as_ptr().cast(), block.as_ptr().cast(), positions, &mut outputs)
        };
    }
}

/// Most inputs of a row.
const INPUTS: usize = 128;

/// Writes `words` words of inputs, one at least, to the first half of a table, and their negatives to the
/// second.
///
/// # Safety
/// `x` has as many words, and each half of `table` room for them.
#[unsafe(naked)]
unsafe extern "C" fn fill(x: *const u8, table: *mut u32, words: usize) {
    naked_asm!(
        cpu!(),
        "mov r3, #0x80808080",
        "2:",
        "ldr r12, [r0], #4",
        "str r12, [r1], #4",
        "sub r12, r3, r12",
        "eor r12, r12, r3",
        "subs r2, #1",
        "str r12, [r1, #124]",
        "bne 2b",
        "bx lr",
    )
}

/// Four positions, `$at` bytes behind r2: adds their inputs to r3.
macro_rules! four {
    ($a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "ldrb r4, [r2, #",
            $a,
            "]\n",
            "ldrb r5, [r2, #",
            $b,
            "]\n",
            "ldrb r6, [r2, #",
            $c,
            "]\n",
            "ldrb r7, [r2, #",
            $d,
            "]\n",
            "ldrsb r4, [r0, r4]\n",
            "ldrsb r5, [r0, r5]\n",
            "ldrsb r6, [r0, r6]\n",
            "ldrsb r7, [r0, r7]\n",
            "umaal r3, r4, r5, lr\n",
            "umaal r3, r6, r7, lr\n",
        )
    };
}

/// Makes the outputs that are expected; gives where the next row's positions begin.
///
/// # Safety
/// `table` has 256 entries; `counts` and `positions` are those of the rows; the pointers of `outputs`
/// are valid for them.
#[unsafe(naked)]
unsafe extern "C" fn block_of_rows(
    table: *const i8,
    counts: *const u8,
    positions: *const u8,
    outputs: &mut Outputs,
) -> *const u8 {
    naked_asm!(
        cpu!(),
        "push {{r3-r11, lr}}",
        "ldm r3, {{r10, r11, r12}}",
        // UMAAL with a factor of 1 adds two inputs.
        "mov lr, #1",
        // A row: one of an odd count, two of what is no multiple of four, then fours.
        "2:",
        "ldrb r8, [r1], #1",
        "ldr r9, [r11], #4",
        "mov r3, #0",
        "lsls r4, r8, #31",
        "bpl 3f",
        "ldrb r3, [r2], #1",
        "ldrsb r3, [r0, r3]",
        "3:",
        "bcc 4f",
        "ldrb r4, [r2]",
        "ldrb r5, [r2, #1]",
        "ldrsb r4, [r0, r4]",
        "ldrsb r5, [r0, r5]",
        "adds r2, #2",
        "umaal r3, r4, r5, lr",
        "4:",
        "lsr r4, r8, #2",
        "tbb [pc, r4]",
        "5:",
        ".byte (28f - 5b) / 2, (27f - 5b) / 2, (26f - 5b) / 2, (25f - 5b) / 2",
        ".byte (24f - 5b) / 2, (23f - 5b) / 2, (22f - 5b) / 2, (21f - 5b) / 2, (20f - 5b) / 2",
        ".rept 25",
        ".byte (9f - 5b) / 2",
        ".endr",
        // More than 32.
        "9:",
        four!(0, 1, 2, 3),
        "adds r2, #4",
        "subs r8, #4",
        "b 4b",
        "20:",
        four!(28, 29, 30, 31),
        "21:",
        four!(24, 25, 26, 27),
        "22:",
        four!(20, 21, 22, 23),
        "23:",
        four!(16, 17, 18, 19),
        "24:",
        four!(12, 13, 14, 15),
        "25:",
        four!(8, 9, 10, 11),
        "26:",
        four!(4, 5, 6, 7),
        "27:",
        four!(0, 1, 2, 3),
        "28:",
        "bic r8, r8, #3",
        "add r2, r8",
        finish!("lr", "7", "subs r12, #0x100\nbhs 2b\nb 8f\n"),
        "8:",
        "pop {{r3}}",
        "stm r3, {{r10, r11, r12}}",
        "mov r0, r2",
        "pop {{r4-r11, pc}}",
    )
}
