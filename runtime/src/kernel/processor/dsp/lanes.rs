//! Dense rows from a mask bit a weight: two rows at once, four inputs to an instruction.
//!
//! A byte of `b` is 128 where the sign of its input is −1, else 0. `UADD8 m, m, m` moves the next
//! four mask bits into the flags, `SEL t, x, b` keeps `x` or masks it with `b` itself, and
//! `USADA8 sum, t, b` adds |t − b|: `x` for a kept plus, 128 − `x` for a kept minus, nothing where it
//! is masked. What is too much, 128 for each kept minus, is known beforehand.

use core::arch::naked_asm;

/// What [`sums`] reads, and where it stands; the assembly knows the order of the fields.
#[repr(C)]
pub(super) struct Pairs {
    /// The inputs: whole blocks of 32, at a multiple of 4.
    pub(super) x: *const u8,
    /// End of the inputs that are looked at.
    pub(super) x_end: *const u8,
    /// The mask words of the next pair, word by word for both rows.
    pub(super) masks: *const u8,
    /// The generator's counter at the first word of the next pair, less the address of the inputs
    /// in blocks.
    pub(super) counter: u32,
    /// The generator's key.
    pub(super) key: u32,
    /// Mask words a row.
    pub(super) words: u32,
    /// Where the sums of the next pair go.
    pub(super) sums: *mut i32,
    /// End of the sums.
    pub(super) sums_end: *mut i32,
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

/// 32 inputs of both rows; the signs are in r6. r0 x, r1 masks, r3 0x80808080, r4 and r5 masks, r8
/// and r9 sums, r7, r10 and r11 inputs, r12 and lr the work of a step.
macro_rules! word {
    () => {
        concat!(
            "ldr r5, [r1, #4]\n",
            "ldr r4, [r1], #8\n",
            "ldm r0!, {{r7, r10, r11}}\n",
            step!("r7", "", ", ror #20"),
            step!("r10", ", lsl #1", ", ror #19"),
            step!("r11", ", lsl #2", ", ror #18"),
            "ldm r0!, {{r7, r10, r11}}\n",
            step!("r7", ", lsl #3", ", ror #17"),
            step!("r10", ", lsl #4", ", ror #16"),
            step!("r11", ", lsl #5", ", ror #15"),
            "ldm r0!, {{r7, r10}}\n",
            step!("r7", ", lsl #6", ", ror #14"),
            step!("r10", ", lsl #7", ", ror #13"),
        )
    };
}

/// The generator's words for this block (r6) and the next (r7, put on the stack). The counter runs
/// with the address of the inputs.
macro_rules! two_words_of_signs {
    () => {
        concat!(
            // counter, key, both factors
            "ldm sp, {{r7, r10, r11, r12}}\n",
            "add r6, r7, r0, lsr #5\n",
            "add r7, r6, #1\n",
            "eor r6, r6, r6, lsr #16\n",
            "eor r7, r7, r7, lsr #16\n",
            "mul r6, r6, r11\n",
            "mul r7, r7, r11\n",
            "eor r6, r6, r10\n",
            "eor r7, r7, r10\n",
            "eor r6, r6, r6, lsr #15\n",
            "eor r7, r7, r7, lsr #15\n",
            "mul r6, r6, r12\n",
            "mul r7, r7, r12\n",
            "eor r6, r6, r6, lsr #16\n",
            "eor r7, r7, r7, lsr #16\n",
        )
    };
}

/// Writes `Σ |t − b|` of two rows after the other until the end of the sums, and moves masks, counter
/// and sums on.
///
/// # Safety
/// The pointers of `pairs` are valid for what their fields say: inputs up to their end, mask words and
/// sums of all pairs. `x_end − x` is `32 · words`, `words` is not 0, and the room for sums is that of one
/// or more pairs.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn sums(pairs: &mut Pairs) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        // sp: counter, key, factors, the next block's signs, pairs
        "sub sp, #28",
        "str r0, [sp, #20]",
        "movw r6, #0x352d",
        "movt r6, #0x7feb",
        "movw r7, #0xa68b",
        "movt r7, #0x846c",
        "strd r6, r7, [sp, #8]",
        "ldr r1, [r0, #8]",
        "ldrd r4, r5, [r0, #12]",
        "strd r4, r5, [sp]",
        "mov r3, #0x80808080",
        // A pair of rows.
        "2:",
        "ldr r12, [sp, #20]",
        "ldrd r0, r2, [r12]",
        "ldr r4, [r12, #20]",
        "mov r8, #0",
        "mov r9, #0",
        "lsls r4, r4, #31",
        "beq 3f",
        // An odd count of blocks: the first one is run as the second of two.
        "sub r0, #32",
        two_words_of_signs!(),
        "add r0, #32",
        "mov r6, r7",
        "b 4f",
        // Two blocks.
        ".p2align 2",
        "3:",
        two_words_of_signs!(),
        "str r7, [sp, #16]",
        word!(),
        "ldr r6, [sp, #16]",
        "4:",
        word!(),
        "cmp r0, r2",
        "bne 3b",
        // The next pair's counter, sums.
        "ldr r12, [sp, #20]",
        "ldr r4, [r12, #20]",
        "ldr r5, [sp]",
        "ldrd r6, r7, [r12, #24]",
        "add r5, r5, r4",
        "str r5, [sp]",
        "strd r8, r9, [r6], #8",
        "str r6, [r12, #24]",
        "cmp r6, r7",
        "bne 2b",
        "str r1, [r12, #8]",
        "str r5, [r12, #12]",
        "add sp, #28",
        "pop {{r4-r11, pc}}",
    )
}
