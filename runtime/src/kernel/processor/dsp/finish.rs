//! What follows the sum of a dense row: scale, shift, rounding, clamping, and the store.

use core::arch::naked_asm;

use crate::epilogue::{CHANNEL, Epilogue};
use crate::kernel::Target;

/// Where the outputs of a layer's rows go; the assembly knows the order of the fields.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Outputs {
    /// The next output: a byte, or four for a logit.
    y: *mut u8,
    /// Scale and shift of the next row.
    epilogue: *const u8,
    /// Rows to come without the next one, from bit 8 on; below it the
    /// smallest output, or [`LOGITS`].
    state: u32,
}

/// Outputs are logits.
const LOGITS: u32 = 0x80;

impl Outputs {
    /// `None` where there is no room for all rows, or a scale and shift is missing.
    pub(super) fn new(rows: usize, epilogue: &Epilogue, target: &mut Target) -> Option<Self> {
        let (y, room, kind) = match target {
            Target::Activations { low, bytes } => {
                (bytes.as_mut_ptr(), bytes.len(), u32::from((*low).min(127)))
            }
            Target::Logits(logits) => (logits.as_mut_ptr().cast(), logits.len(), LOGITS),
        };
        let outputs = Self { y, epilogue: epilogue.as_bytes().as_ptr(), state: kind };
        (epilogue.as_bytes().len() >= CHANNEL * rows && room >= rows).then_some(outputs)
    }

    /// Where two rows' sums go as they are.
    pub(super) fn sums(sums: &mut [i32; 2]) -> Self {
        // A scale of 2⁻¹⁶ and a shift of 0.
        const SUMS: [u8; 2 * CHANNEL] = [0, 1, 0, 0, 0, 1, 0, 0];
        let state = LOGITS | 1 << 8;
        Self { y: sums.as_mut_ptr().cast(), epilogue: SUMS.as_ptr(), state }
    }

    /// Says how many rows come next, 1 or more.
    pub(super) fn expect(&mut self, rows: usize) {
        self.state = self.state & 0xff | ((rows - 1) << 8) as u32;
    }
}

/// [`crate::epilogue::Affine::activation`] or `logit` of the sum in r3, which has less than 24 bits;
/// r9 has scale and shift, `$one` 1, r10 and r12 are of [`Outputs`]; r10 moves on. It uses r4 to r8.
macro_rules! finish {
    ($one:literal, $logit:literal, $end:literal) => {
        concat!(
            "mov r4, #0x00010001\n",
            // Both f16 at once. Exponents less one, not below 0, are powers of two; what is left are
            // fractions, with their hidden bit where the exponent is not 0.
            "bic r5, r9, #0x80008000\n",
            "lsr r6, r5, #10\n",
            "and r6, r6, #0x001f001f\n",
            "uqsub16 r6, r6, r4\n",
            "sub r5, r5, r6, lsl #10\n",
            // Negated where the sign says so.
            "mvn r7, r5\n",
            "uadd16 r7, r7, r4\n",
            "sadd16 r4, r9, r9\n",
            "sel r5, r5, r7\n",
            // S, then B as a product with a power of two, then sum·S + B.
            "sxth r7, r5\n",
            "lsl r7, r7, r6\n",
            "asr r5, r5, #16\n",
            "lsr r6, r6, #16\n",
            "lsl r8, ",
            $one,
            ", r6\n",
            "smull r4, r5, r5, r8\n",
            "smlal r4, r5, r3, r7\n",
            "tst r12, #0x80\n",
            "bne ",
            $logit,
            "f\n",
            // A bit more than the activation has, then that bit rounds.
            "lsr r4, r4, #23\n",
            "orr r4, r4, r5, lsl #9\n",
            "add r4, r4, #1\n",
            "usat r4, #7, r4, asr #1\n",
            "usub8 r5, r4, r12\n",
            "sel r4, r4, r12\n",
            "strb r4, [r10], #1\n",
            $end,
            // What is shifted out of reach must be copies of the sign.
            $logit,
            ":\n",
            "lsr r4, r4, #8\n",
            "orr r4, r4, r5, lsl #24\n",
            "asr r5, r5, #8\n",
            "cmp r5, r4, asr #31\n",
            "mvn r8, #0x80000000\n",
            "it ne\n",
            "eorne r4, r8, r5, asr #31\n",
            "str r4, [r10], #4\n",
            $end,
        )
    };
}
pub(super) use finish;

/// [`finish!`] as a routine of its own, for `BL`; r11 is of [`Outputs`] too. It uses r4 to r9.
///
/// # Safety
/// Only for assembly that knows its registers.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn routine() {
    naked_asm!(cpu!(), "ldr r9, [r11], #4", "mov r8, #1", finish!("r8", "2", "bx lr\n"))
}
