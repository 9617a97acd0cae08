//! Dense rows from a mask bit a weight: two rows at once, four inputs to an instruction.
//!
//! A byte of `b` is 128 where the sign of its input is −1, else 0. `UADD8 m, m, m` moves the next
//! four mask bits into the flags, `SEL t, x, b` keeps `x` or masks it with `b` itself, and
//! `USADA8 sum, t, b` adds |t − b|: `x` for a kept plus, 128 − `x` for a kept minus, nothing where it
//! is masked. What is too much, 128 for each kept minus, is taken off at the end.

use core::arch::naked_asm;

use crate::random::Generator;

/// What [`pairs`] reads, and where it stands; the assembly knows the order of the fields.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Pairs {
    /// The inputs: whole blocks of 32, at a multiple of 4.
    pub(super) x: *const u8,
    /// Mask words a row: blocks of inputs.
    pub(super) words: u32,
    /// Where an odd count of blocks ends with one that is not half used: not 0.
    pub(super) long_tail: u32,
    /// The mask words of the next pair, word by word for both rows.
    pub(super) masks: *const u8,
    /// How many kept weights of the next rows are −1: a little-endian `u16` each.
    pub(super) counts: *const u8,
    /// Room for the next sums.
    pub(super) sums: *mut i32,
    /// Pairs to come, one at least.
    pub(super) pairs: u32,
    /// The generator's counter at the first word of the next pair, less the address of the inputs
    /// in blocks.
    pub(super) counter: u32,
    /// The generator's key.
    pub(super) key: u32,
}

impl Pairs {
    /// The counter where the next pair's first generator word has `index`.
    pub(super) fn counter_at(&self, generator: &Generator, index: u32) -> u32 {
        let block = self.x.addr() as u32 >> 5;
        generator.parts().0.wrapping_add(index).wrapping_sub(block)
    }
}

/// One row's part of a step: `$x` four inputs, `$m` the mask, `$a` the sum, `$s` how the word of
/// signs is turned.
macro_rules! row {
    ($x:literal, $m:literal, $a:literal, $s:literal) => {
        concat!(
            "and r12, r3, r6",
            $s,
            "\n",
            "uadd8 ",
            $m,
            ", ",
            $m,
            ", ",
            $m,
            "\n",
            "sel lr, ",
            $x,
            ", r12\n",
            "usada8 ",
            $a,
            ", lr, r12, ",
            $a,
            "\n",
        )
    };
}

/// Four inputs of both rows. The odd row's signs are the even row's, rotated by 12 bits.
macro_rules! step {
    ($x:literal, $even:literal, $odd:literal) => {
        concat!(row!($x, "r4", "r8", $even), row!($x, "r5", "r9", $odd))
    };
}

/// The first 16 inputs of a block. r0 the inputs, r3 0x80808080, r4 and r5 masks, r6 signs, r8 and r9
/// sums, r2, r7, r10 and r11 inputs, r12 and lr the work of a step.
macro_rules! first_half {
    () => {
        concat!(
            "ldm r0!, {{r2, r7, r10, r11}}\n",
            step!("r2", "", ", ror #20"),
            step!("r7", ", lsl #1", ", ror #19"),
            step!("r10", ", lsl #2", ", ror #18"),
            step!("r11", ", lsl #3", ", ror #17"),
        )
    };
}

/// The last 16.
macro_rules! last_half {
    () => {
        concat!(
            "ldm r0!, {{r2, r7, r10, r11}}\n",
            step!("r2", ", lsl #4", ", ror #16"),
            step!("r7", ", lsl #5", ", ror #15"),
            step!("r10", ", lsl #6", ", ror #14"),
            step!("r11", ", lsl #7", ", ror #13"),
        )
    };
}

/// A block whose mask words come next.
macro_rules! block {
    () => {
        concat!("ldr r5, [r1, #4]\n", "ldr r4, [r1], #8\n", first_half!(), last_half!())
    };
}

/// Writes the sums of all pairs, and moves masks, counts and counter on.
///
/// # Safety
/// The pointers of `pairs` are valid for what their fields say: `words` blocks of inputs, one at least;
/// mask words, counts and room for the sums of all pairs.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn pairs(pairs: &mut Pairs) {
    naked_asm!(
        cpu!(),
        "push {{r4-r11, lr}}",
        // sp: the last two blocks, counter, key, factors, the second block's signs, pairs
        "sub sp, #28",
        "str r0, [sp, #24]",
        "movw r11, #0x352d",
        "movt r11, #0x7feb",
        "movw r12, #0xa68b",
        "movt r12, #0x846c",
        "ldrd r7, r10, [r0, #28]",
        "ldrd r2, r4, [r0]",
        "bic r4, r4, #1",
        "add r2, r2, r4, lsl #5",
        "sub r2, #64",
        "stm sp, {{r2, r7, r10, r11, r12}}",
        "mov r3, #0x80808080",
        "ldr r1, [r0, #12]",
        "ldr r2, [sp, #24]",
        // A pair of rows.
        "2:",
        "ldrd r0, r4, [r2]",
        "mov r8, #0",
        "mov r9, #0",
        "lsls r5, r4, #31",
        "beq 3f",
        // The last one of an odd count of blocks.
        "add r0, r0, r4, lsl #5",
        "add r4, r1, r4, lsl #3",
        "sub r0, #32",
        "ldr lr, [r2, #8]",
        "ldr r5, [r4, #-4]",
        "ldr r4, [r4, #-8]",
        "ldm sp, {{r2, r7, r10, r11, r12}}",
        "add r6, r7, r0, lsr #5",
        "eor r6, r6, r6, lsr #16",
        "mul r6, r6, r11",
        "eor r6, r6, r10",
        "eor r6, r6, r6, lsr #15",
        "mul r6, r6, r12",
        "eor r6, r6, r6, lsr #16",
        "cmp lr, #0",
        first_half!(),
        "beq 5f",
        last_half!(),
        "5:",
        "ldr r12, [sp, #24]",
        "ldrd r0, r4, [r12]",
        "cmp r4, #1",
        "beq 4f",
        // Two blocks.
        ".p2align 2",
        "3:",
        "ldm sp, {{r2, r7, r10, r11, r12}}",
        // The flags of this hold until the end of the second block.
        "cmp r0, r2",
        // The counter runs with the address of the inputs.
        "add r6, r7, r0, lsr #5",
        "add r7, r6, #1",
        "eor r6, r6, r6, lsr #16",
        "eor r7, r7, r7, lsr #16",
        "mul r6, r6, r11",
        "mul r7, r7, r11",
        "eor r6, r6, r10",
        "eor r7, r7, r10",
        "eor r6, r6, r6, lsr #15",
        "eor r7, r7, r7, lsr #15",
        "mul r6, r6, r12",
        "mul r7, r7, r12",
        "eor r6, r6, r6, lsr #16",
        "eor r7, r7, r7, lsr #16",
        "str r7, [sp, #20]",
        block!(),
        "ldr r6, [sp, #20]",
        block!(),
        "bne 3b",
        "4:",
        // What is too much; the next pair's masks, counter, counts and sums.
        "ldr r2, [sp, #24]",
        "ldr r7, [sp, #4]",
        "ldr r4, [r2, #4]",
        "ldr r12, [r2, #16]",
        "ldr r6, [r12], #4",
        "str r12, [r2, #16]",
        "lsls r5, r4, #31",
        "it ne",
        "addne r1, #8",
        "add r7, r7, r4",
        "str r7, [sp, #4]",
        "uxth r5, r6",
        "lsr r6, r6, #16",
        "sub r8, r8, r5, lsl #7",
        "sub r9, r9, r6, lsl #7",
        "ldr r10, [r2, #20]",
        "ldr r11, [r2, #24]",
        "str r8, [r10], #4",
        "str r9, [r10], #4",
        "subs r11, #1",
        "str r10, [r2, #20]",
        "str r11, [r2, #24]",
        "bne 2b",
        "str r1, [r2, #12]",
        "str r7, [r2, #28]",
        "add sp, #28",
        "pop {{r4-r11, pc}}",
    )
}
