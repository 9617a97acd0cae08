//! Dense rows from signed byte gaps: eight inputs are gathered at a time.
//!
//! A list is filled up to whole words with gaps of 0, which load its last input again; what that adds
//! is taken off at the end of the list.

use core::arch::naked_asm;

/// Four addresses from one word of gaps (`$w`), after address `$from`.
macro_rules! addresses {
    ($from:literal, $w:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "uxtab ",
            $a,
            ", ",
            $from,
            ", ",
            $w,
            "\n",
            "uxtab ",
            $b,
            ", ",
            $a,
            ", ",
            $w,
            ", ror #8\n",
            "uxtab ",
            $c,
            ", ",
            $b,
            ", ",
            $w,
            ", ror #16\n",
            "uxtab ",
            $d,
            ", ",
            $c,
            ", ",
            $w,
            ", ror #24\n",
        )
    };
}

/// Eight gaps: the two words in r12 and lr, which the next two replace.
macro_rules! eight {
    ($add:literal) => {
        concat!(
            addresses!("r11", "r12", "r4", "r5", "r6", "r7"),
            addresses!("r7", "lr", "r8", "r9", "r10", "r11"),
            "ldrb r4, [r4]\n",
            "ldrb r5, [r5]\n",
            "ldrb r6, [r6]\n",
            "ldrb r7, [r7]\n",
            "ldrb r8, [r8]\n",
            "ldrb r9, [r9]\n",
            "ldrb r10, [r10]\n",
            "ldrb r1, [r11]\n",
            "ldr r12, [r0], #4\n",
            "ldr lr, [r0], #4\n",
            $add,
            " r3, r4\n",
            $add,
            " r3, r5\n",
            $add,
            " r3, r6\n",
            $add,
            " r3, r7\n",
            $add,
            " r3, r8\n",
            $add,
            " r3, r9\n",
            $add,
            " r3, r10\n",
            $add,
            " r3, r1\n",
        )
    };
}

/// One list: `$add` (add or sub) its inputs to r3. r2 has the count of entries, r12 and lr the next
/// two words, r0 points behind these. Leaves the input loaded last in r1 and in r2 how often it was
/// loaded in vain.
macro_rules! list {
    ($add:literal, $eights:literal, $end:literal) => {
        concat!(
            "ldr r11, [sp, #8]\n",
            // Eight for two words of gaps, four for another, and three less the filling.
            "adds r2, #3\n",
            "lsls r4, r2, #30\n",
            "bcc ",
            $eights,
            "f\n",
            addresses!("r11", "r12", "r4", "r5", "r6", "r11"),
            "ldrb r4, [r4]\n",
            "ldrb r5, [r5]\n",
            "ldrb r6, [r6]\n",
            "ldrb r1, [r11]\n",
            "mov r12, lr\n",
            "ldr lr, [r0], #4\n",
            $add,
            " r3, r4\n",
            $add,
            " r3, r5\n",
            $add,
            " r3, r6\n",
            $add,
            " r3, r1\n",
            $eights,
            ":\n",
            "subs r2, #16\n",
            "bmi 8f\n",
            ".p2align 2\n",
            "9:\n",
            eight!($add),
            eight!($add),
            "subs r2, #16\n",
            "bpl 9b\n",
            "8:\n",
            // One more, or none.
            "adds r2, #8\n",
            "bmi ",
            $end,
            "f\n",
            eight!($add),
            $end,
            ":\n",
            "mvn r2, r2\n",
            "and r2, r2, #3\n",
        )
    };
}

/// Writes the sums of rows until the end of the sums; gives where the next row begins.
///
/// # Safety
/// `section` points at the rows of a section that was checked, for at least as many rows as there is
/// room for sums (one at least); `before` points one byte before its inputs.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn sums(
    section: *const u8,
    before: *const u8,
    sums: *mut i32,
    sums_end: *mut i32,
) -> *const u8 {
    naked_asm!(
        cpu!(),
        "push {{r4-r11, lr}}",
        // sp: sums, their end, before, the row's counts
        "sub sp, #20",
        "strd r2, r3, [sp]",
        "str r1, [sp, #8]",
        "ldr r12, [r0], #4",
        "ldr lr, [r0], #4",
        // A row: its counts are in r12, the word after them in lr.
        "2:",
        "str r12, [sp, #12]",
        "uxth r2, r12",
        "mov r12, lr",
        "mov r3, #0",
        "ldr lr, [r0], #4",
        list!("add", "3", "4"),
        "mls r3, r1, r2, r3",
        "ldrh r2, [sp, #14]",
        list!("sub", "5", "6"),
        "mla r3, r1, r2, r3",
        "ldrd r4, r5, [sp]",
        "str r3, [r4], #4",
        "str r4, [sp]",
        "cmp r4, r5",
        "bne 2b",
        // Two words were loaded ahead.
        "sub r0, #8",
        "add sp, #20",
        "pop {{r4-r11, pc}}",
    )
}
