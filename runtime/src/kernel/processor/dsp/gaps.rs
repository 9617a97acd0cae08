//! Dense rows from signed byte gaps: eight inputs are gathered at a time.
//!
//! A list is filled up to whole words with gaps of 0, which load its last input again; what that adds
//! is taken off at the end of the list. `UMAAL` with a factor of 1 adds two inputs to a sum.

use core::arch::naked_asm;

use super::finish::{self, Outputs};

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

/// Eight gaps: the last input goes to r12.
macro_rules! eight {
    () => {
        concat!(
            "ldr r12, [r0], #4\n",
            "ldr lr, [r0], #4\n",
            addresses!("r11", "r12", "r4", "r5", "r6", "r7"),
            addresses!("r7", "lr", "r8", "r9", "r10", "r11"),
            "ldrb r4, [r4]\n",
            "ldrb r5, [r5]\n",
            "ldrb r6, [r6]\n",
            "ldrb r7, [r7]\n",
            "ldrb r8, [r8]\n",
            "ldrb r9, [r9]\n",
            "ldrb r10, [r10]\n",
            "ldrb r12, [r11]\n",
            "umaal r3, r4, r5, r1\n",
            "umaal r3, r6, r7, r1\n",
            "umaal r3, r8, r9, r1\n",
            "umaal r3, r10, r12, r1\n",
        )
    };
}

/// One list: adds its inputs to r3. r0 points at it, r1 is 1, r2 has the count of entries.
macro_rules! list {
    ($eights:literal, $end:literal) => {
        concat!(
            "ldr r11, [sp, #12]\n",
            // Eight for two words of gaps, four for another, and three less the filling.
            "adds r2, #3\n",
            "lsls r4, r2, #30\n",
            "bcc ",
            $eights,
            "f\n",
            "ldr r12, [r0], #4\n",
            addresses!("r11", "r12", "r4", "r5", "r6", "r11"),
            "ldrb r4, [r4]\n",
            "ldrb r5, [r5]\n",
            "ldrb r6, [r6]\n",
            "ldrb r12, [r11]\n",
            "umaal r3, r4, r5, r1\n",
            "umaal r3, r6, r12, r1\n",
            $eights,
            ":\n",
            "subs r2, #16\n",
            "bmi 8f\n",
            ".p2align 2\n",
            "9:\n",
            eight!(),
            eight!(),
            "subs r2, #16\n",
            "bpl 9b\n",
            "8:\n",
            // One more, or none.
            "adds r2, #8\n",
            "bmi ",
            $end,
            "f\n",
            eight!(),
            $end,
            ":\n",
            // How often the last input was added in vain.
            "mvn r2, r2\n",
            "and r2, r2, #3\n",
            "mls r3, r12, r2, r3\n",
        )
    };
}

/// Makes the outputs of rows.
///
/// # Safety
/// `section` points at the rows of a section that was checked, for as many rows as there are outputs;
/// `before` points one byte before its inputs. The pointers of `outputs` are valid for all rows.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn rows(section: *const u8, before: *const u8, outputs: &Outputs) {
    naked_asm!(
        cpu!(),
        "push {{r4-r11, lr}}",
        // sp: outputs, before, the row's counts
        "sub sp, #20",
        "ldm r2, {{r10, r11, r12}}",
        "str r1, [sp, #12]",
        "mov r1, #1",
        // A row.
        "2:",
        "stm sp, {{r10, r11, r12}}",
        "ldr r2, [r0], #4",
        "mov r3, #0",
        "str r2, [sp, #16]",
        "uxth r2, r2",
        list!("3", "4"),
        // The negative of plus, then of the sum, then the sum.
        "ldrh r2, [sp, #18]",
        "rsb r3, r3, #0",
        list!("5", "6"),
        "rsb r3, r3, #0",
        "ldm sp, {{r10, r11, r12}}",
        "bl {finish}",
        "subs r12, #0x100",
        "bhs 2b",
        "add sp, #20",
        "pop {{r4-r11, pc}}",
        finish = sym finish::routine,
    )
}
