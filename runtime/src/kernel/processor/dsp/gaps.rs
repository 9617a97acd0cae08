//! Dense rows from signed byte gaps: four inputs are gathered at a time.
//!
//! A list is filled up to whole words with gaps of 0, which load its last input again; what that adds
//! is taken off at the end of the list. `UMAAL` with a factor of 1 adds two inputs to a sum.

use core::arch::naked_asm;

/// Four gaps, in r9, which the next four replace: adds their inputs to r3. r7 is the address that gaps
/// begin at, r8 gets the last input.
macro_rules! four {
    () => {
        concat!(
            "uxtab r4, r7, r9\n",
            "uxtab r5, r4, r9, ror #8\n",
            "uxtab r6, r5, r9, ror #16\n",
            "uxtab r7, r6, r9, ror #24\n",
            "ldrb r4, [r4]\n",
            "ldrb r5, [r5]\n",
            "ldrb r6, [r6]\n",
            "ldrb r8, [r7]\n",
            "ldr r9, [r0], #4\n",
            "umaal r3, r4, r5, r1\n",
            "umaal r3, r6, r8, r1\n",
        )
    };
}

/// Writes the sums of `rows` rows, one at least; gives where the next row begins.
///
/// # Safety
/// `section` points at that many rows of a section that was checked; `before` points one byte before its
/// inputs. `sums` has room for all rows.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn rows(
    section: *const u8,
    before: *const u8,
    sums: *mut i32,
    rows: usize,
) -> *const u8 {
    naked_asm!(
        cpu!(),
        "push {{r4-r10, lr}}",
        "mov r10, r2",
        "mov r12, r3",
        "mov lr, r1",
        "mov r1, #1",
        "ldr r2, [r0], #4",
        // A row: its counts are in r2, plus below minus.
        "2:",
        "ldr r9, [r0], #4",
        "mov r3, #0",
        // A list, of which r9 has the first word.
        "3:",
        "mov r7, lr",
        "uxth r4, r2",
        "cmp r4, #40",
        "bhi 9f",
        "4:",
        // By the count: words of gaps still to come, none to ten.
        "tbb [pc, r4]",
        "5:",
        ".byte (30f - 5b) / 2",
        ".byte (29f - 5b) / 2, (29f - 5b) / 2, (29f - 5b) / 2, (29f - 5b) / 2",
        ".byte (28f - 5b) / 2, (28f - 5b) / 2, (28f - 5b) / 2, (28f - 5b) / 2",
        ".byte (27f - 5b) / 2, (27f - 5b) / 2, (27f - 5b) / 2, (27f - 5b) / 2",
        ".byte (26f - 5b) / 2, (26f - 5b) / 2, (26f - 5b) / 2, (26f - 5b) / 2",
        ".byte (25f - 5b) / 2, (25f - 5b) / 2, (25f - 5b) / 2, (25f - 5b) / 2",
        ".byte (24f - 5b) / 2, (24f - 5b) / 2, (24f - 5b) / 2, (24f - 5b) / 2",
        ".byte (23f - 5b) / 2, (23f - 5b) / 2, (23f - 5b) / 2, (23f - 5b) / 2",
        ".byte (22f - 5b) / 2, (22f - 5b) / 2, (22f - 5b) / 2, (22f - 5b) / 2",
        ".byte (21f - 5b) / 2, (21f - 5b) / 2, (21f - 5b) / 2, (21f - 5b) / 2",
        ".byte (20f - 5b) / 2, (20f - 5b) / 2, (20f - 5b) / 2, (20f - 5b) / 2, 0",
        "20:",
        four!(),
        "21:",
        four!(),
        "22:",
        four!(),
        "23:",
        four!(),
        "24:",
        four!(),
        "25:",
        four!(),
        "26:",
        four!(),
        "27:",
        four!(),
        "28:",
        four!(),
        "29:",
        four!(),
        "30:",
        // What the filling added. The sum is turned twice, so that minus is taken off.
        "rsb r4, r2, #0",
        "and r4, r4, #3",
        "smulbb r4, r8, r4",
        "sub r3, r4, r3",
        "lsr r2, r2, #16",
        // Bit 31 is set between the lists.
        "eors r12, r12, #0x80000000",
        "bmi 3b",
        "str r3, [r10], #4",
        // The next row's counts were loaded ahead.
        "mov r2, r9",
        "subs r12, #1",
        "bne 2b",
        "subs r0, #4",
        "pop {{r4-r10, pc}}",
        // More than the ten words above.
        ".p2align 2",
        "9:",
        four!(),
        four!(),
        "sub r2, #8",
        "uxth r4, r2",
        "cmp r4, #40",
        "bhi 9b",
        "b 4b",
    )
}
