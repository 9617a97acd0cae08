//! The epilogue of dense layers, 64 bits wide, from shifts and products of 32: about 80 cycles a row.

use core::arch::naked_asm;

use crate::epilogue::{CHANNEL, HALF};

/// Replaces sums by what [`crate::epilogue::Affine::activation`] clamps, `(sum·S + B + 2²³) >> 24`.
pub(in crate::kernel) fn activations(channels: &[[u8; CHANNEL]], sums: &mut [i32]) {
    rows(channels, sums, &Rule { half: HALF as u32, right: 24 });
}

/// Replaces sums by [`crate::epilogue::Affine::logit`].
pub(in crate::kernel) fn logits(channels: &[[u8; CHANNEL]], sums: &mut [i32]) {
    rows(channels, sums, &Rule { half: 0, right: 8 });
}

/// What is added to a sum in units of 2⁻²⁴, and how far it is then shifted right.
#[repr(C)]
struct Rule {
    half: u32,
    right: u32,
}

fn rows(channels: &[[u8; CHANNEL]], sums: &mut [i32], rule: &Rule) {
    let count = channels.len().min(sums.len());
    let sums = sums.get_mut(..count).unwrap_or_default().as_mut_ptr_range();
    if count > 0 {
        // SAFETY: there is a channel for each sum, and one at least.
        unsafe { apply(channels.as_ptr(), sums.start, sums.end, rule) };
    }
}

/// Of the f16 in r3 the significant bits with their sign to r4 and the power of two to r5; uses r6.
macro_rules! decode {
    () => {
        concat!(
            "lsls r4, r3, #22\n",
            "lsrs r4, r4, #22\n",
            "lsls r5, r3, #17\n",
            "lsrs r5, r5, #27\n",
            "beq 3f\n",
            "subs r5, #1\n",
            "movs r6, #1\n",
            "lsls r6, r6, #10\n",
            "orrs r4, r6\n",
            "3:\n",
            "lsls r3, r3, #17\n",
            "bcc 4f\n",
            "rsbs r4, r4, #0\n",
            "4:\n",
        )
    };
}

/// Puts every sum through its channel's epilogue, saturated to 32 bits.
///
/// # Safety
/// Sums are readable and writable up to their end, one at least, and `channels` has as many.
#[unsafe(naked)]
unsafe extern "C" fn apply(
    channels: *const [u8; CHANNEL],
    sums: *mut i32,
    end: *mut i32,
    rule: *const Rule,
) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        high_to_low!(),
        "push {{r4-r7}}",
        "mov r8, r2",
        "ldr r4, [r3]",
        "mov r9, r4",
        "ldr r4, [r3, #4]",
        "mov r10, r4",
        "movs r5, #32",
        "subs r5, r5, r4",
        "mov r11, r5",
        // A row: r0 channels, r1 sums, r8 their end, r9 half, r10 right, r11 the rest of a word.
        "2:",
        "ldr r2, [r1]",
        "ldrb r3, [r0, #1]",
        "ldrb r4, [r0]",
        "lsls r3, r3, #8",
        "orrs r3, r4",
        decode!(),
        // Times the scale, to r7 and r2: the upper bits and the lower 12 of the sum apart.
        "asrs r6, r2, #12",
        "muls r6, r4, r6",
        "lsls r2, r2, #20",
        "lsrs r2, r2, #20",
        "muls r2, r4, r2",
        "asrs r7, r6, #20",
        "lsls r6, r6, #12",
        "asrs r3, r2, #31",
        "adds r2, r2, r6",
        "adcs r7, r3",
        "lsls r7, r5",
        "lsrs r3, r2, #1",
        "movs r6, #31",
        "subs r6, r6, r5",
        "lsrs r3, r6",
        "orrs r7, r3",
        "lsls r2, r5",
        // The shift, to r3 and r4.
        "ldrb r3, [r0, #3]",
        "ldrb r4, [r0, #2]",
        "lsls r3, r3, #8",
        "orrs r3, r4",
        decode!(),
        "asrs r3, r4, #1",
        "movs r6, #31",
        "subs r6, r6, r5",
        "asrs r3, r6",
        "lsls r4, r5",
        "adds r2, r2, r4",
        "adcs r7, r3",
        "mov r4, r9",
        "movs r3, #0",
        "adds r2, r2, r4",
        "adcs r7, r3",
        // To the right; what is then beyond 32 bits must be copies of the sign.
        "mov r4, r10",
        "mov r5, r11",
        "lsrs r2, r4",
        "movs r3, r7",
        "lsls r3, r5",
        "orrs r2, r3",
        "asrs r7, r4",
        "asrs r3, r2, #31",
        "cmp r3, r7",
        "beq 5f",
        "asrs r7, r7, #31",
        "movs r2, #1",
        "lsls r2, r2, #31",
        "mvns r2, r2",
        "eors r2, r7",
        "5:",
        "stmia r1!, {{r2}}",
        "adds r0, #4",
        "cmp r1, r8",
        "bne 2b",
        "pop {{r4-r7}}",
        low_to_high!(),
        "pop {{r4-r7, pc}}",
    )
}
