//! Dense rows from mask words: four inputs at a time, about 4.1 cycles an input on a Cortex-M0+.
//!
//! Kept inputs are added as x where the weight is plus and as 127 − x where it is minus, in two words of
//! 16-bit lanes; how many were minus is counted in bytes, and 127 taken off for each.

use core::arch::naked_asm;

use crate::kernel::words::{BLOCK, WORDS};

/// The lowest bit of each byte.
const ONES: u32 = 0x0101_0101;

/// `Σ ±x` of the inputs in `blocks` that mask words keep, beside which there are sign words: as many of
/// them as blocks.
pub(in crate::kernel) fn sum(words: &[[u32; WORDS]; 2], blocks: &[[u32; BLOCK]]) -> i32 {
    // Counts of minus weights fill bytes, which those of 31 words do not pass.
    const { assert!(WORDS == 16) };
    let Some(masks) = words[0].get(..blocks.len()).filter(|masks| !masks.is_empty()) else {
        return 0;
    };
    // SAFETY: there is a block for every mask word, and at least one.
    unsafe { sum_words(blocks.as_ptr(), words, masks.as_ptr_range().end, ONES) }
}

/// Four inputs, as they are added, to `$to`: r0 inputs, r1 mask, r2 minus, r4 temporary, r5 127, r7 ones, r11
/// count of minus.
macro_rules! four {
    ($to:literal, $shift:literal, $by:literal) => {
        concat!(
            "ldmia r0!, {{",
            $to,
            "}}\n",
            $shift,
            " r4, r1, #",
            $by,
            "\n",
            "ands r4, r7\n",
            "muls r4, r5\n",
            "ands ",
            $to,
            ", r4\n",
            $shift,
            " r4, r2, #",
            $by,
            "\n",
            "ands r4, r7\n",
            "add r11, r4\n",
            "muls r4, r5\n",
            "eors ",
            $to,
            ", r4\n",
        )
    };
}

/// Eight inputs, in pairs of at most 254, to the lanes: r8 all bytes, r9 the odd ones, r10 bytes 0 and 2
/// of a word.
macro_rules! eight {
    ($first:literal, $shift:literal, $second:literal) => {
        concat!(
            four!("r3", "lsrs", $first),
            four!("r6", $shift, $second),
            "adds r3, r3, r6\n",
            "add r8, r3\n",
            "lsrs r3, r3, #8\n",
            "mov r4, r10\n",
            "ands r3, r4\n",
            "add r9, r3\n",
        )
    };
}

/// See [`sum`].
///
/// # Safety
/// At least one mask of `words` lies before `end`, and `blocks` holds as many blocks; `ones` is
/// [`ONES`].
#[unsafe(naked)]
unsafe extern "C" fn sum_words(
    blocks: *const [u32; BLOCK],
    words: *const [[u32; WORDS]; 2],
    end: *const u32,
    ones: u32,
) -> i32 {
    naked_asm!(
        "push {{r4-r7, lr}}",
        high_to_low!(),
        "push {{r2, r4-r7}}",
        "mov r7, r3",
        "mov r12, r1",
        // Bytes 0 and 2.
        "movs r3, #255",
        "lsls r4, r3, #16",
        "orrs r4, r3",
        "mov r10, r4",
        "movs r5, #127",
        "movs r3, #0",
        "mov r8, r3",
        "mov r9, r3",
        "mov r11, r3",
        "2:",
        "mov r3, r12",
        "ldmia r3!, {{r1}}",
        "mov r12, r3",
        // The sign word, 16 words behind the mask.
        "ldr r2, [r3, #60]",
        "ands r2, r1",
        eight!("7", "lsrs", "6"),
        eight!("5", "lsrs", "4"),
        eight!("3", "lsrs", "2"),
        // There is no shift to the right by 0.
        eight!("1", "lsls", "0"),
        "ldr r3, [sp]",
        "cmp r3, r12",
        "beq 3f",
        "b 2b",
        "3:",
        // The even bytes are all less the odd ones; then both halves of either.
        "mov r1, r9",
        "mov r0, r8",
        "lsls r2, r1, #8",
        "subs r0, r0, r2",
        "lsrs r2, r0, #16",
        "uxth r0, r0",
        "adds r0, r0, r2",
        "lsrs r2, r1, #16",
        "uxth r1, r1",
        "adds r0, r0, r1",
        "adds r0, r0, r2",
        // 127 for each minus weight.
        "mov r1, r11",
        "lsrs r2, r1, #8",
        "mov r3, r10",
        "ands r1, r3",
        "ands r2, r3",
        "adds r1, r1, r2",
        "lsrs r2, r1, #16",
        "adds r1, r1, r2",
        "uxth r1, r1",
        "adds r0, r0, r1",
        "lsls r1, r1, #7",
        "subs r0, r0, r1",
        "pop {{r2, r4-r7}}",
        low_to_high!(),
        "pop {{r4-r7, pc}}",
    )
}
