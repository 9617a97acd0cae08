//! Sums of sixteen neighbouring outputs at a time, for one output channel or two.
//!
//! The kept weights are a *program* in memory: lists of offsets, two at a time, each list with an
//! end that says what becomes of the sums so far. Activations have seven bits, so the difference of
//! two fits a signed byte and their sum an unsigned one: two loads, `USUB8` and two `SXTAB16` make
//! eight products of a plus and a minus tap, and `UXTAB16` those of two plus taps.
//!
//! | word of an entry | two taps | end of a list |
//! |---|---|---|
//! | first | offset | [`END`], and the offset of a last single tap if there is one |
//! | second | offset | [`Then`], plus [`SINGLE`] if there is a last single tap |
//! | third | – | address of the next list, unless the program ends |
//!
//! A group of lists begins with pairs of a plus and a minus tap; pairs of plus taps may follow.

use core::arch::naked_asm;

/// Marks the first word of the end of a list. Addresses of the input stay below it.
pub(super) const END: u32 = 1 << 31;

/// Added to a [`Then`] where the end of the list holds a tap.
pub(super) const SINGLE: u32 = 6;

/// What becomes of the sums at the end of a list.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Then {
    /// A list of two plus taps each adds to them.
    Add = 0,
    /// The same after they changed their signs.
    NegateAndAdd = 1,
    /// They are put aside, and the next group begins with zeros.
    PutAside = 2,
    /// What was put aside is added to them, and they are taken off what was put aside.
    AddAndSubtract = 3,
    /// They are the first channel's outputs; the next group adds to what was put aside.
    First = 4,
    /// They are the last channel's outputs.
    Last = 5,
}

/// Epilogue and place of one output channel.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Channel {
    /// `(sum·scale + shift) >> right`, as [`crate::epilogue::Narrow`] has it; with a `right` of 0
    /// `((sum·scale >> 16) + shift) >> 16`, which is quicker.
    pub scale: i32,
    pub shift: i32,
    pub right: u32,
    /// The first output.
    pub y: *mut u8,
}

/// Tiles side by side in some rows.
#[repr(C)]
pub(super) struct Tiles {
    /// The first list.
    pub program: *const u32,
    /// Where the window of the first output begins.
    pub x: *const u8,
    /// `x_row` behind `x`.
    pub x_end: *const u8,
    /// Bytes of a row of tiles in the input: whole tiles.
    pub x_row: usize,
    /// From the end of a row of tiles to the beginning of the next.
    pub x_skip: usize,
    /// The same in the outputs.
    pub y_skip: usize,
    /// Rows of tiles, at least 1.
    pub rows: usize,
    /// The smallest output in every byte.
    pub low: u32,
    /// Read by programs with [`Then::First`] only.
    pub first: Channel,
    pub last: Channel,
}

/// Two taps of four bytes each, at `$at` bytes behind their first, joined by `$join`; `$extend` adds
/// bytes 0 and 2 to `$e`, 1 and 3 to `$o`.
macro_rules! two_taps {
    ($join:literal, $extend:literal, $at:literal, $e:literal, $o:literal) => {
        concat!(
            "ldr r12, [r2, #",
            $at,
            "]\n",
            "ldr lr, [r3, #",
            $at,
            "]\n",
            $join,
            " r12, r12, lr\n",
            $extend,
            " ",
            $e,
            ", ",
            $e,
            ", r12\n",
            $extend,
            " ",
            $o,
            ", ",
            $o,
            ", r12, ror #8\n",
        )
    };
}

/// An entry of two taps; leaves the loop at the end of a list.
macro_rules! entry {
    ($join:literal, $extend:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "ldrd r2, r3, [r0], #8\n",
            "adds r2, r2, r1\n",
            "bmi 9f\n",
            "add r3, r3, r1\n",
            two_taps!($join, $extend, $a, "r4", "r5"),
            two_taps!($join, $extend, $b, "r6", "r7"),
            "ldr r12, [r2, #",
            $c,
            "]\n",
            "ldr lr, [r3, #",
            $c,
            "]\n",
            "ldr r2, [r2, #",
            $d,
            "]\n",
            "ldr r3, [r3, #",
            $d,
            "]\n",
            $join,
            " r12, r12, lr\n",
            $join,
            " r2, r2, r3\n",
            $extend,
            " r8, r8, r12\n",
            $extend,
            " r9, r9, r12, ror #8\n",
            $extend,
            " r10, r10, r2\n",
            $extend,
            " r11, r11, r2, ror #8\n",
        )
    };
}

/// Four outputs from the sums `$e` (0 and 2) and `$o` (1 and 3) into `$e`: r0 scale, r1 shift, r2
/// right.
macro_rules! activations {
    ($e:literal, $o:literal) => {
        concat!(
            "smlabb r3, ",
            $e,
            ", r0, r1\n",
            "smlatb ",
            $e,
            ", ",
            $e,
            ", r0, r1\n",
            "smlabb r12, ",
            $o,
            ", r0, r1\n",
            "smlatb ",
            $o,
            ", ",
            $o,
            ", r0, r1\n",
            "asr r3, r3, r2\n",
            "asr ",
            $e,
            ", ",
            $e,
            ", r2\n",
            "asr r12, r12, r2\n",
            "asr ",
            $o,
            ", ",
            $o,
            ", r2\n",
            "usat r3, #7, r3\n",
            "usat ",
            $e,
            ", #7, ",
            $e,
            "\n",
            "usat r12, #7, r12\n",
            "usat ",
            $o,
            ", #7, ",
            $o,
            "\n",
            "orr ",
            $e,
            ", r3, ",
            $e,
            ", lsl #16\n",
            "orr ",
            $o,
            ", r12, ",
            $o,
            ", lsl #16\n",
            "orr ",
            $e,
            ", ",
            $e,
            ", ",
            $o,
            ", lsl #8\n",
        )
    };
}

/// The same where right is 0.
macro_rules! quick_activations {
    ($e:literal, $o:literal) => {
        concat!(
            "smlawb r3, r0, ",
            $e,
            ", r1\n",
            "smlawt ",
            $e,
            ", r0, ",
            $e,
            ", r1\n",
            "smlawb r12, r0, ",
            $o,
            ", r1\n",
            "smlawt ",
            $o,
            ", r0, ",
            $o,
            ", r1\n",
            "pkhtb ",
            $e,
            ", ",
            $e,
            ", r3, asr #16\n",
            "pkhtb ",
            $o,
            ", ",
            $o,
            ", r12, asr #16\n",
            "usat16 ",
            $e,
            ", #7, ",
            $e,
            "\n",
            "usat16 ",
            $o,
            ", #7, ",
            $o,
            "\n",
            "orr ",
            $e,
            ", ",
            $e,
            ", ",
            $o,
            ", lsl #8\n",
        )
    };
}

/// A routine whose tiles read words at `$a`, `$b`, `$c` and `$d` for four outputs each, and lie
/// `$step` bytes apart.
macro_rules! routine {
    ($name:ident, $a:literal, $b:literal, $c:literal, $d:literal, $step:literal) => {
        /// Runs the program over all tiles.
        ///
        /// # Safety
        /// The program is one that `program::Writer` wrote, its offsets keep every tile inside of
        /// readable memory below [`END`], and the outputs of all tiles inside of writable memory.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(tiles: *const Tiles) {
            naked_asm!(
                cpu!(),
                // The stack: 0 program, 4 x, 8 x_end, 12 x_row, 16 x_skip, 20 y_skip, 24 rows,
                // 28 low, 32 first, 48 last, 64 sums put aside, 96 the channel at work, 100 the
                // list behind the first channel's.
                cpu!(),
                "push {{r4-r11, lr}}",
                "sub sp, sp, #104",
                "mov r12, sp",
                "ldm r0!, {{r1-r8}}",
                "stm r12!, {{r1-r8}}",
                "ldm r0!, {{r1-r8}}",
                "stm r12!, {{r1-r8}}",
                ".balign 4",
                // A tile: r0 program, r1 x, r4 to r11 sums.
                "1:",
                "ldrd r0, r1, [sp]",
                "movs r4, #0",
                "movs r5, #0",
                "movs r6, #0",
                "movs r7, #0",
                "mov r8, #0",
                "mov r9, #0",
                "mov r10, #0",
                "mov r11, #0",
                ".balign 4",
                "2:",
                entry!("usub8", "sxtab16", $a, $b, $c, $d),
                entry!("usub8", "sxtab16", $a, $b, $c, $d),
                entry!("usub8", "sxtab16", $a, $b, $c, $d),
                entry!("usub8", "sxtab16", $a, $b, $c, $d),
                "b 2b",
                // Then::NegateAndAdd
                "21:",
                "movs r2, #0",
                "ssub16 r4, r2, r4",
                "ssub16 r5, r2, r5",
                "ssub16 r6, r2, r6",
                "ssub16 r7, r2, r7",
                "ssub16 r8, r2, r8",
                "ssub16 r9, r2, r9",
                "ssub16 r10, r2, r10",
                "ssub16 r11, r2, r11",
                // Then::Add
                "20:",
                "ldr r0, [r0]",
                ".balign 4",
                "3:",
                entry!("add", "uxtab16", $a, $b, $c, $d),
                entry!("add", "uxtab16", $a, $b, $c, $d),
                "b 3b",
                // A last tap, then what the list would do without it.
                "26:",
                "bic r2, r2, #0x80000000",
                concat!("ldr r12, [r2, #", $a, "]"),
                concat!("ldr lr, [r2, #", $b, "]"),
                "uxtab16 r4, r4, r12",
                "uxtab16 r5, r5, r12, ror #8",
                "uxtab16 r6, r6, lr",
                "uxtab16 r7, r7, lr, ror #8",
                concat!("ldr r12, [r2, #", $c, "]"),
                concat!("ldr lr, [r2, #", $d, "]"),
                "uxtab16 r8, r8, r12",
                "uxtab16 r9, r9, r12, ror #8",
                "uxtab16 r10, r10, lr",
                "uxtab16 r11, r11, lr, ror #8",
                "subs r3, r3, #6",
                // The end of a list: r3 says what now.
                "9:",
                "cmp r3, #5",
                "beq 25f",
                "bhi 26b",
                "tbb [pc, r3]",
                "19:",
                ".byte (18f - 19b) / 2, (17f - 19b) / 2, (22f - 19b) / 2, (23f - 19b) / 2",
                ".byte (24f - 19b) / 2, 0",
                "18:",
                "b 20b",
                "17:",
                "b 21b",
                // Then::PutAside
                "22:",
                "ldr r0, [r0]",
                "add r12, sp, #64",
                "stm r12, {{r4-r11}}",
                "movs r4, #0",
                "movs r5, #0",
                "movs r6, #0",
                "movs r7, #0",
                "mov r8, #0",
                "mov r9, #0",
                "mov r10, #0",
                "mov r11, #0",
                "b 2b",
                // Then::First
                "24:",
                "add lr, sp, #32",
                "ldr r3, [r0]",
                "str r3, [sp, #100]",
                "b 27f",
                // Then::Last
                "25:",
                "add lr, sp, #48",
                "b 27f",
                // Then::AddAndSubtract
                "23:",
                "ldr r0, [r0]",
                "ldrd r2, r3, [sp, #64]",
                "ssub16 r2, r2, r4",
                "ssub16 r3, r3, r5",
                "strd r2, r3, [sp, #64]",
                "sadd16 r4, r4, r4",
                "sadd16 r5, r5, r5",
                "sadd16 r4, r4, r2",
                "sadd16 r5, r5, r3",
                "ldrd r2, r3, [sp, #72]",
                "ssub16 r2, r2, r6",
                "ssub16 r3, r3, r7",
                "strd r2, r3, [sp, #72]",
                "sadd16 r6, r6, r6",
                "sadd16 r7, r7, r7",
                "sadd16 r6, r6, r2",
                "sadd16 r7, r7, r3",
                "ldrd r2, r3, [sp, #80]",
                "ssub16 r2, r2, r8",
                "ssub16 r3, r3, r9",
                "strd r2, r3, [sp, #80]",
                "sadd16 r8, r8, r8",
                "sadd16 r9, r9, r9",
                "sadd16 r8, r8, r2",
                "sadd16 r9, r9, r3",
                "ldrd r2, r3, [sp, #88]",
                "ssub16 r2, r2, r10",
                "ssub16 r3, r3, r11",
                "strd r2, r3, [sp, #88]",
                "sadd16 r10, r10, r10",
                "sadd16 r11, r11, r11",
                "sadd16 r10, r10, r2",
                "sadd16 r11, r11, r3",
                "b 2b",
                // The outputs of the channel at lr.
                "27:",
                "str lr, [sp, #96]",
                "ldm lr, {{r0, r1, r2}}",
                "cmp r2, #0",
                "beq 31f",
                activations!("r4", "r5"),
                activations!("r6", "r7"),
                activations!("r8", "r9"),
                activations!("r10", "r11"),
                "b 32f",
                "31:",
                quick_activations!("r4", "r5"),
                quick_activations!("r6", "r7"),
                quick_activations!("r8", "r9"),
                quick_activations!("r10", "r11"),
                "32:",
                "ldr r3, [sp, #28]",
                "cbz r3, 28f",
                "uqsub8 r4, r4, r3",
                "uqsub8 r6, r6, r3",
                "uqsub8 r8, r8, r3",
                "uqsub8 r10, r10, r3",
                "add r4, r4, r3",
                "add r6, r6, r3",
                "add r8, r8, r3",
                "add r10, r10, r3",
                "28:",
                "ldr lr, [sp, #96]",
                "add r3, sp, #48",
                "ldr r12, [lr, #12]",
                "cmp lr, r3",
                "str r4, [r12]",
                "str r6, [r12, #4]",
                "str r8, [r12, #8]",
                "str r10, [r12, #12]",
                "add r12, r12, #16",
                "str r12, [lr, #12]",
                "beq 29f",
                // The second channel goes on with what was put aside.
                "ldr r0, [sp, #100]",
                "ldr r1, [sp, #4]",
                "add r12, sp, #64",
                "ldm r12, {{r4-r11}}",
                "b 2b",
                // The next tile.
                "29:",
                "ldrd r1, r2, [sp, #4]",
                concat!("add r1, r1, #", $step),
                "str r1, [sp, #4]",
                "cmp r1, r2",
                "bne 1b",
                // The next row.
                "ldr r3, [sp, #24]",
                "subs r3, r3, #1",
                "beq 30f",
                "str r3, [sp, #24]",
                "ldrd r2, r3, [sp, #12]",
                "add r1, r1, r3",
                "add r2, r2, r1",
                "strd r1, r2, [sp, #4]",
                "ldr r3, [sp, #20]",
                "ldr r12, [sp, #44]",
                "ldr lr, [sp, #60]",
                "add r12, r12, r3",
                "add lr, lr, r3",
                "str r12, [sp, #44]",
                "str lr, [sp, #60]",
                "b 1b",
                "30:",
                "add sp, sp, #104",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

// A word of the input under a word of outputs, and every other word.
routine!(every_word, "0", "4", "8", "12", "16");
routine!(every_other_word, "0", "8", "16", "24", "32");
