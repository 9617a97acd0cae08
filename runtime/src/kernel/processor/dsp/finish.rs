//! What follows the sums of dense rows: scale, shift, rounding, clamping, and the store.

use core::arch::naked_asm;

use crate::epilogue::CHANNEL;

/// [`crate::epilogue::Affine::activation`] of `sums` of less than 24 bits, with scale and shift as they
/// are stored.
pub(super) fn activations(
    epilogue: &[[u8; CHANNEL]],
    sums: &[i32],
    low: u8,
    activations: &mut [u8],
) {
    let rows = sums.len().min(epilogue.len()).min(activations.len());
    if rows == 0 {
        return;
    }
    // SAFETY: all three have as many rows.
    unsafe { to_activations(sums.as_ptr(), epilogue.as_ptr(), activations.as_mut_ptr(), rows) };
    raise(activations, low);
}

/// Makes of activations below `low` that.
pub(super) fn raise(activations: &mut [u8], low: u8) {
    if low > 0 {
        activations.iter_mut().for_each(|activation| *activation = (*activation).max(low));
    }
}

/// [`crate::epilogue::Affine::logit`] of `sums` of less than 24 bits, in their place.
pub(super) fn logits(epilogue: &[[u8; CHANNEL]], sums: &mut [i32]) {
    let rows = sums.len().min(epilogue.len());
    if rows > 0 {
        // SAFETY: both have as many rows.
        unsafe { to_logits(sums.as_mut_ptr(), epilogue.as_ptr(), rows) };
    }
}

/// `sum·S + B` in r5 and r8: r0 and r1 are where sum, and scale and shift stand, and move on. r11 is 1,
/// r12 0, lr 1 in both halves. It uses r4 to r9.
macro_rules! affine {
    () => {
        concat!(
            "ldr r4, [r0], #4\n",
            "ldr r9, [r1], #4\n",
            // Both f16 at once, without their signs, which are in the flags.
            "sadd16 r5, r9, r9\n",
            // Exponents less one, not below 0, are powers of two; what is left are fractions, with
            // their hidden bit where the exponent is not 0. All of it is doubled.
            "lsrs r6, r5, #11\n",
            "and r6, r6, #0x001f001f\n",
            "uqsub16 r6, r6, lr\n",
            "sub r5, r5, r6, lsl #11\n",
            // Negated where the sign says so.
            "qsub16 r7, r12, r5\n",
            "sel r5, r5, r7\n",
            // S, then B as a product with a power of two, then sum·S + B.
            "sbfx r7, r5, #1, #15\n",
            "lsls r7, r6\n",
            "asrs r5, r5, #17\n",
            "lsrs r6, r6, #16\n",
            "lsl r6, r11, r6\n",
            "smull r5, r8, r5, r6\n",
            "smlal r5, r8, r4, r7\n",
        )
    };
}

/// A row, whose activation goes where r2 is, which moves on.
macro_rules! row {
    () => {
        concat!(
            affine!(),
            // A bit more than the activation has, then that bit rounds.
            "lsrs r5, r5, #23\n",
            "orr r5, r5, r8, lsl #9\n",
            "adds r5, #1\n",
            "usat r5, #7, r5, asr #1\n",
            "strb r5, [r2], #1\n",
        )
    };
}

/// # Safety
/// Sums, scales and shifts, and room for activations are those of `rows` rows, one at least.
#[unsafe(naked)]
unsafe extern "C" fn to_activations(
    sums: *const i32,
    epilogue: *const [u8; CHANNEL],
    activations: *mut u8,
    rows: usize,
) {
    naked_asm!(
        cpu!(),
        "push {{r4-r9, r11, lr}}",
        "mov lr, #0x00010001",
        "mov r11, #1",
        "mov r12, #0",
        "lsrs r3, r3, #1",
        "bcs 3f",
        "subs r3, #1",
        // Two rows.
        ".p2align 2",
        "2:",
        row!(),
        // The first of an odd count.
        "3:",
        row!(),
        "subs r3, #1",
        "bpl 2b",
        "pop {{r4-r9, r11, pc}}",
    )
}

/// # Safety
/// Sums, and scales and shifts are those of `rows` rows, one at least.
#[unsafe(naked)]
unsafe extern "C" fn to_logits(sums: *mut i32, epilogue: *const [u8; CHANNEL], rows: usize) {
    naked_asm!(
        cpu!(),
        "push {{r4-r9, r11, lr}}",
        "mov lr, #0x00010001",
        "mov r11, #1",
        "mov r12, #0",
        ".p2align 2",
        "2:",
        affine!(),
        // What is shifted out of reach must be copies of the sign.
        "lsrs r5, r5, #8",
        "orr r5, r5, r8, lsl #24",
        "asr r8, r8, #8",
        "cmp r8, r5, asr #31",
        "mvn r6, #0x80000000",
        "it ne",
        "eorne r5, r6, r8, asr #31",
        "str r5, [r0, #-4]",
        "subs r2, #1",
        "bne 2b",
        "pop {{r4-r9, r11, pc}}",
    )
}
