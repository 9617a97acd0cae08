//! Channels of a convolution one after the other: the kept weights of each become a program for
//! [`super::tiles`], which runs it over the map and comes back for the next one.
//!
//! Plus taps are written at even places and minus taps at odd ones, so that pairs stand side by side. If
//! there are more of minus, the first plus tap moves behind the last one, and the program begins a
//! word later: every minus tap is then followed by a plus tap, and the sums have the opposite sign.
//! What is left over of one sign goes to a list of its own.

/// Channels whose weights are signed lists, or one whose taps are written already. The assembly knows
/// the order of the fields.
#[repr(C)]
pub(super) struct Channels {
    /// The next row of a section; or the end of the plus taps.
    pub lists: *const u8,
    /// The section's end; or the end of the minus taps.
    pub end: *const u8,
    /// Counts of positions, a byte a row; or [`GAPS`] or [`WRITTEN`].
    pub counts: *const u8,
    /// Channels to be made. Counted down; what is left at the end has no program of this kind, or no
    /// room for it.
    pub left: usize,
    /// Offset of each input; for positions of 128.
    pub table: *const u16,
    /// Inputs of a row of gaps.
    pub inputs: usize,
    /// Memory for programs, and most taps of a sign for which it has room.
    pub program: *mut u32,
    pub most: usize,
    /// Scale and shift of the channels, two f16 each; null if they are those below.
    pub affine: *const u8,
    /// Bytes from a channel's outputs to the next one's.
    pub plane: usize,
    /// The rule of [`super::tiles::QUICK`] or `QUICK_ABOVE`; or that of the scale and shift below.
    pub rule: i32,
    /// The plane of the next channel.
    pub y: *mut u8,
    pub scale: i32,
    pub shift: i32,
}

/// [`Channels::counts`] of gaps.
pub(super) const GAPS: *const u8 = core::ptr::without_provenance(0);

/// [`Channels::counts`] where the taps of a single channel are written.
pub(super) const WRITTEN: *const u8 = core::ptr::without_provenance(1);

/// Most kept weights of one sign: their sum must fit 16 bits.
pub(super) const MOST: usize = 258;

// What the assembly takes for an address is no count.
const _: () = assert!(MOST < 260);

/// Words beside the taps of a program, and more than lists may take beyond their ends while they are
/// read.
pub(super) const BESIDE: usize = 16;

/// The next channel's epilogue, to `last` of the tiles on the stack. Goes to 39 behind the last channel,
/// and where there is no rule.
macro_rules! next_epilogue {
    () => {
        concat!(
            "ldr r11, [sp, #140]\n",
            "ldr r1, [r11, #12]\n",
            "ldr r0, [r11, #32]\n",
            "cmp r1, #0\n",
            "beq.w 39f\n",
            "cmp r0, #0\n",
            "beq 60f\n",
            "ldr r0, [r0]\n",
            // Scale: r2 · 2^r1.
            "ubfx r1, r0, #10, #5\n",
            "ubfx r2, r0, #0, #10\n",
            "subs r1, r1, #1\n",
            "ite mi\n",
            "movmi r1, #0\n",
            "orrpl r2, r2, #0x400\n",
            "lsls r3, r0, #16\n",
            "it mi\n",
            "rsbmi r2, r2, #0\n",
            // Shift: r5 · 2^r4.
            "ubfx r4, r0, #26, #5\n",
            "ubfx r5, r0, #16, #10\n",
            "subs r4, r4, #1\n",
            "ite mi\n",
            "movmi r4, #0\n",
            "orrpl r5, r5, #0x400\n",
            "cmp r0, #0\n",
            "it mi\n",
            "rsbmi r5, r5, #0\n",
            "cmp r4, #27\n",
            "bhi.w 39f\n",
            "cmp r1, #13\n",
            "bhs 57f\n",
            // Below ½: exact if no bit of one of them is cut off.
            "cmp r1, #8\n",
            "it lo\n",
            "cmplo r4, #8\n",
            "blo.w 39f\n",
            "adds r1, r1, #8\n",
            "mov r3, #0x8000\n",
            "subs r4, r4, #8\n",
            "ldr r0, [r11, #40]\n",
            "b 58f\n",
            // Below 8.
            "57:\n",
            "cmp r1, #16\n",
            "bhi.w 39f\n",
            "adds r1, r1, #4\n",
            "mov r3, #0x800\n",
            "movs r0, #32\n",
            "subs r4, r4, #12\n",
            "58:\n",
            "itee pl\n",
            "lslpl r5, r5, r4\n",
            "rsbmi r4, r4, #0\n",
            "asrmi r5, r5, r4\n",
            "add r5, r5, r3\n",
            "lsl r2, r2, r1\n",
            "b 61f\n",
            "60:\n",
            "ldrd r2, r5, [r11, #48]\n",
            "ldr r0, [r11, #40]\n",
            "61:\n",
            "strd r2, r5, [sp, #48]\n",
            "str r0, [sp, #56]\n",
        )
    };
}

/// The next channel's program; then the channel, which is that of r11, counts as made. Goes to 39 where
/// there is no room for it, or no list.
macro_rules! next_program {
    () => {
        concat!(
            "ldm r11, {{r0-r7}}\n",
            // r3 and r6 program, r4 table.
            "mov r3, r6\n",
            "add r10, r6, #4\n",
            "cmp r2, #1\n",
            "blo 43f\n",
            "beq 47f\n",
            // Positions: r0 to r9, r6 the next plus tap, r10 minus.
            "ldrb r8, [r2]\n",
            "add r9, r0, r8\n",
            "cmp r9, r1\n",
            "bhi.w 39f\n",
            "cmp r8, r7\n",
            "bhi.w 39f\n",
            "lsrs r8, r8, #1\n",
            "bcc 42f\n",
            "ldrb r1, [r0], #1\n",
            "and r5, r1, #127\n",
            "lsls r1, r1, #24\n",
            "ldrh r5, [r4, r5, lsl #1]\n",
            "ite mi\n",
            "strmi r5, [r10], #8\n",
            "strpl r5, [r6], #8\n",
            "42:\n",
            "cmp r8, #0\n",
            "beq 50f\n",
            "41:\n",
            "ldrb r1, [r0], #1\n",
            "ldrb r2, [r0], #1\n",
            "and r5, r1, #127\n",
            "and r7, r2, #127\n",
            "ldrh r5, [r4, r5, lsl #1]\n",
            "ldrh r7, [r4, r7, lsl #1]\n",
            "lsls r1, r1, #24\n",
            "ite mi\n",
            "strmi r5, [r10], #8\n",
            "strpl r5, [r6], #8\n",
            "lsls r2, r2, #24\n",
            "ite mi\n",
            "strmi r7, [r10], #8\n",
            "strpl r7, [r6], #8\n",
            "subs r8, r8, #1\n",
            "bne 41b\n",
            "b 50f\n",
            // Written taps.
            "47:\n",
            "mov r6, r0\n",
            "mov r10, r1\n",
            "b 50f\n",
            // Gaps: both counts, then the lists in whole words up to r9.
            "43:\n",
            "add r9, r0, #4\n",
            "cmp r9, r1\n",
            "bhi.w 39f\n",
            "ldr r8, [r0], #4\n",
            "lsr r10, r8, #16\n",
            "uxth r8, r8\n",
            "cmp r10, r7\n",
            "bhi.w 39f\n",
            "cmp r8, r7\n",
            "bhi.w 39f\n",
            "add r12, r8, #3\n",
            "add r2, r10, #3\n",
            "bic r12, r12, #3\n",
            "bic r2, r2, #3\n",
            "add r9, r9, r12\n",
            "add r9, r9, r2\n",
            "cmp r9, r1\n",
            "bhi.w 39f\n",
            // Gaps count from before the first input.
            "subs r4, r4, #2\n",
            "mov r7, r10\n",
            // A list of r8 gaps to r6; r7 the count of the other one, then the end of this.
            "44:\n",
            "mov r10, #0\n",
            "cmp r8, #0\n",
            "beq 46f\n",
            "ldr r12, [r0], #4\n",
            "tst r12, #255\n",
            "beq.w 39f\n",
            "45:\n",
            "uxtab r1, r10, r12\n",
            "uxtab r2, r1, r12, ror #8\n",
            "uxtab lr, r2, r12, ror #16\n",
            "uxtab r10, lr, r12, ror #24\n",
            "cmp r10, r5\n",
            "bhi.w 39f\n",
            "ldrh r1, [r4, r1, lsl #1]\n",
            "ldrh r2, [r4, r2, lsl #1]\n",
            "ldrh lr, [r4, lr, lsl #1]\n",
            "ldrh r12, [r4, r10, lsl #1]\n",
            "str r1, [r6], #32\n",
            "str r2, [r6, #-24]\n",
            "str lr, [r6, #-16]\n",
            "str r12, [r6, #-8]\n",
            "subs r8, r8, #4\n",
            "itt hi\n",
            "ldrhi r12, [r0], #4\n",
            "bhi 45b\n",
            // Less what filled up the last word.
            "add r6, r6, r8, lsl #3\n",
            "46:\n",
            // Counts are lower, and addresses behind a table and masks are not, even in memory from 0 on.
            "cmp r7, #260\n",
            "bhs 48f\n",
            "mov r8, r7\n",
            "mov r7, r6\n",
            "adds r6, r3, #4\n",
            "b 44b\n",
            "48:\n",
            "mov r10, r6\n",
            "mov r6, r7\n",
            // Taps end at r6 and r10. Ends of lists: r3 the first list, r6 the end of the pairs, r0 bytes
            // up to that of the longer list.
            "50:\n",
            "subs r0, r10, r6\n",
            "subs r0, r0, #4\n",
            "bgt 51f\n",
            "rsb r0, r0, #0\n",
            "sub r6, r10, #4\n",
            "b 52f\n",
            "51:\n",
            "ldr r1, [r3], #4\n",
            "ldr r2, [sp, #48]\n",
            "str r1, [r6], #4\n",
            "rsbs r2, r2, #0\n",
            "str r2, [sp, #48]\n",
            "52:\n",
            "mov r1, #0x80000000\n",
            "movs r2, #0\n",
            "cmp r0, #8\n",
            "blo 55f\n",
            "bne 53f\n",
            "ldr r4, [r6]\n",
            "movs r2, #6\n",
            "orrs r1, r4\n",
            "b 55f\n",
            // Several of one sign: the first of an odd number stands in the end of their list.
            "53:\n",
            "adds r4, r6, r0\n",
            "mov r5, r4\n",
            "mov r7, r6\n",
            "54:\n",
            "ldr r8, [r7], #8\n",
            "cmp r7, r4\n",
            "str r8, [r5], #4\n",
            "blo 54b\n",
            "tst r0, #8\n",
            "ittt ne\n",
            "ldrne r8, [r4], #4\n",
            "movne r2, #6\n",
            "orrne r1, r1, r8\n",
            "stm r5, {{r1, r2}}\n",
            "mov r1, #0x80000000\n",
            "movs r2, #1\n",
            "55:\n",
            "stm r6, {{r1, r2, r4}}\n",
            "str r3, [sp]\n",
            // Rows, counts and channels.
            "ldrd r0, r1, [r11, #8]\n",
            "cmp r0, #1\n",
            "it hi\n",
            "addhi r0, r0, #1\n",
            "subs r1, r1, #1\n",
            "str r9, [r11]\n",
            "strd r0, r1, [r11, #8]\n",
            "ldrd r0, r1, [r11, #32]\n",
            "ldr r4, [r11, #44]\n",
            "adds r0, r0, #4\n",
            "add r1, r1, r4\n",
            "str r0, [r11, #32]\n",
            "str r1, [r11, #44]\n",
            "str r4, [sp, #148]\n",
        )
    };
}

pub(super) use {next_epilogue, next_program};
