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

use super::channels::{Channels, next_epilogue, next_program};
use super::outputs::{quick_activations, scaled, steep_activations};

/// Marks the first word of the end of a list. Addresses of the input stay below it.
pub(super) const END: u32 = 1 << 31;

/// Added to a [`Then`] where the end of the list holds a tap.
pub(super) const SINGLE: u32 = 6;

/// What becomes of the sums at the end of a list.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Then {
    /// They are the last channel's outputs.
    Last = 0,
    /// A list of two plus taps each adds to them.
    Add = 1,
    /// The same after they changed their signs.
    NegateAndAdd = 2,
    /// They are put aside, and the next group begins with zeros.
    PutAside = 3,
    /// What was put aside is added to them, and they are taken off what was put aside.
    AddAndSubtract = 4,
    /// They are the first channel's outputs; the next group adds to what was put aside.
    First = 5,
}

/// Epilogue and place of one output channel.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Channel {
    pub scale: i32,
    pub shift: i32,
    pub rule: i32,
    /// The first output.
    pub y: *mut u8,
}

impl Channel {
    /// The epilogue of sums of the opposite sign.
    #[inline(always)]
    pub(super) fn negate_if(&mut self, negated: bool) {
        if negated {
            self.scale = -self.scale;
        }
    }
}

/// A [`Channel::rule`]: `((sum·scale >> 16) + shift) >> 16`, not below 0.
pub(super) const QUICK: i32 = 0;

/// A [`Channel::rule`]: the same, but not below the smallest output.
pub(super) const QUICK_ABOVE: i32 = i32::MIN;

/// A [`Channel::rule`]: `((sum·scale >> 16) + shift) >> 12`, for steep slopes. Smaller ones are
/// `(sum·scale + shift) >> rule`, as [`crate::epilogue::Narrow`] has it.
pub(super) const STEEP: i32 = 32;

/// Bytes of the input under a tile: words lie side by side, or there is another behind each.
pub(super) const STEPS: [usize; 2] = [16, 32];

/// Tiles side by side in some rows. The assembly knows the order of the fields.
#[repr(C)]
pub(super) struct Tiles {
    /// The first list.
    pub program: *const u32,
    /// Where a row of tiles ends in the input, if they are 16 bytes apart, else 0.
    pub x_end: usize,
    /// One of [`STEPS`].
    pub step: usize,
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
    /// Where the window of the first output begins.
    pub x: *const u8,
    /// Where a row of tiles ends in the input, if they are 32 bytes apart.
    pub wide_end: usize,
    /// Whether more tiles follow behind these in memory, for [`Channels`].
    pub more: usize,
}

/// Bytes of [`Tiles`].
const TILES: usize = size_of::<Tiles>();

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

/// Entries of a loop over them.
#[cfg(not(seedmask_small))]
macro_rules! entries {
    ($($part:literal),+) => {
        concat!(entry!($($part),+), entry!($($part),+))
    };
}

/// Entries of a loop over them.
#[cfg(seedmask_small)]
macro_rules! entries {
    ($($part:literal),+) => {
        entry!($($part),+)
    };
}

/// The sums of a plus and a minus tap of four bytes each, at `$at` bytes behind their first.
macro_rules! first_taps {
    ($at:literal, $e:literal, $o:literal) => {
        concat!(
            "ldr r12, [r2, #",
            $at,
            "]\n",
            "ldr lr, [r3, #",
            $at,
            "]\n",
            "usub8 r12, r12, lr\n",
            "sxtb16 ",
            $e,
            ", r12\n",
            "sxtb16 ",
            $o,
            ", r12, ror #8\n",
        )
    };
}

/// The entry that sums begin with.
macro_rules! first_entry {
    ($a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "ldrd r2, r3, [r0], #8\n",
            "adds r2, r2, r1\n",
            "bmi 7f\n",
            "add r3, r3, r1\n",
            first_taps!($a, "r4", "r5"),
            first_taps!($b, "r6", "r7"),
            first_taps!($c, "r8", "r9"),
            first_taps!($d, "r10", "r11"),
        )
    };
}

/// What was put aside at `$at` is added to two sums, and they are taken off it.
macro_rules! aside {
    ($at:literal, $a:literal, $b:literal) => {
        concat!(
            "ldrd r2, r3, [sp, #",
            $at,
            "]\n",
            "ssub16 r2, r2, ",
            $a,
            "\n",
            "ssub16 r3, r3, ",
            $b,
            "\n",
            "strd r2, r3, [sp, #",
            $at,
            "]\n",
            "sadd16 ",
            $a,
            ", ",
            $a,
            ", ",
            $a,
            "\n",
            "sadd16 ",
            $b,
            ", ",
            $b,
            ", ",
            $b,
            "\n",
            "sadd16 ",
            $a,
            ", ",
            $a,
            ", r2\n",
            "sadd16 ",
            $b,
            ", ",
            $b,
            ", r3\n",
        )
    };
}

/// Runs the program over all tiles; or those of `channels`, if that is not null, for which the tiles have
/// no program, and as their outputs the offset from a plane.
///
/// # Safety
/// The program is one that `program::Writer` wrote, its offsets (or those of the table of `channels`)
/// keep every tile inside of readable memory below [`END`], and the outputs of all tiles inside of
/// writable memory. All bytes of lists can be read, and all of the program's memory written.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn run(tiles: *const Tiles, channels: *mut Channels) {
    naked_asm!(
        cpu!(),
        // The stack: 0 program, 4 x_end, 8 step, 12 x_row, 16 x_skip, 20 y_skip, 24 rows, 28 low,
        // 32 first, 48 last, 64 sums put aside, 96 the list behind the first channel's, 100 wide_end,
        // 104 x for a while, 108 sums for a while, 140 channels, 144 tiles, 148 plane of outputs,
        // 152 all tiles.
        "push {{r4-r11, lr}}",
        "sub sp, sp, #156",
        "str r1, [sp, #140]",
        "str r0, [sp, #152]",
        "cmp r1, #0",
        "bne.w 40f",
        "mov r12, sp",
        "ldm r0!, {{r1-r8}}",
        "stm r12!, {{r1-r8}}",
        "ldm r0!, {{r1-r8}}",
        "stm r12!, {{r1-r8}}",
        "ldrd r1, r2, [r0]",
        "str r2, [sp, #100]",
        "ldr r0, [sp]",
        "ldr r3, [sp, #8]",
        "cmp r3, #16",
        "bne 4f",
        ".balign 4",
        // A tile: r0 program, r1 x, r4 to r11 sums.
        "1:",
        first_entry!("0", "4", "8", "12"),
        ".balign 4",
        "2:",
        entries!("usub8", "sxtab16", "0", "4", "8", "12"),
        entries!("usub8", "sxtab16", "0", "4", "8", "12"),
        "b 2b",
        ".balign 4",
        "3:",
        entries!("add", "uxtab16", "0", "4", "8", "12"),
        "b 3b",
        // The same of every other word.
        ".balign 4",
        "4:",
        first_entry!("0", "8", "16", "24"),
        ".balign 4",
        "5:",
        entries!("usub8", "sxtab16", "0", "8", "16", "24"),
        "b 5b",
        ".balign 4",
        "6:",
        entry!("add", "uxtab16", "0", "8", "16", "24"),
        "b 6b",
        // A first list without pairs: nothing but one tap, or any other.
        "7:",
        "cmp r3, #6",
        "bne 8f",
        "bic r2, r2, #0x80000000",
        "ldr r12, [sp, #8]",
        "ldr r4, [r2]",
        "lsr r12, r12, #2",
        "ldr r6, [r2, r12]",
        "add r2, r2, r12, lsl #1",
        "ldr r8, [r2]",
        "ldr r10, [r2, r12]",
        "uxtb16 r5, r4, ror #8",
        "uxtb16 r4, r4",
        "uxtb16 r7, r6, ror #8",
        "uxtb16 r6, r6",
        "uxtb16 r9, r8, ror #8",
        "uxtb16 r8, r8",
        "uxtb16 r11, r10, ror #8",
        "uxtb16 r10, r10",
        "add lr, sp, #48",
        "b 34f",
        "8:",
        "movs r4, #0",
        "movs r5, #0",
        "movs r6, #0",
        "movs r7, #0",
        "mov r8, r4",
        "mov r9, r4",
        "mov r10, r4",
        "mov r11, r4",
        // The end of a list: r3 says what now.
        "9:",
        "add lr, sp, #48",
        "cmp r3, #0",
        "bne 18f",
        // The outputs of the channel at lr. Overflow is clear, and the carry set for Then::Last.
        "34:",
        "ldm lr, {{r0, r2, r3}}",
        "tst r3, r3",
        "bgt 31f",
        quick_activations!("r4", "r5"),
        quick_activations!("r6", "r7"),
        quick_activations!("r8", "r9"),
        quick_activations!("r10", "r11"),
        "bmi 33f",
        "32:",
        "ldr r12, [lr, #12]",
        "str r4, [r12], #16",
        "str r6, [r12, #-12]",
        "str r8, [r12, #-8]",
        "str r10, [r12, #-4]",
        "str r12, [lr, #12]",
        "bcc 28f",
        // The next tile.
        "ldm sp, {{r0, r2, r3}}",
        "add r1, r1, r3",
        "cmp r1, r2",
        "blo 1b",
        "cbnz r2, 35f",
        "ldr r2, [sp, #100]",
        "cmp r1, r2",
        "blo 4b",
        // The next row.
        "35:",
        "ldrd r2, r12, [sp, #20]",
        "subs r12, r12, #1",
        "beq 30f",
        "str r12, [sp, #24]",
        "ldr r12, [sp, #44]",
        "ldr lr, [sp, #60]",
        "add r12, r12, r2",
        "add lr, lr, r2",
        "str r12, [sp, #44]",
        "str lr, [sp, #60]",
        "ldrd r2, r12, [sp, #12]",
        "add r1, r1, r12",
        "add r2, r2, r1",
        "cmp r3, #16",
        "itt eq",
        "streq r2, [sp, #4]",
        "beq 1b",
        "str r2, [sp, #100]",
        "b 4b",
        // All tiles are made. Another block of them, or the next channel.
        "30:",
        "ldr r11, [sp, #140]",
        "cmp r11, #0",
        "beq 39f",
        "ldr r0, [sp, #144]",
        "ldr r2, [r0, #72]",
        "adds r0, #{tiles}",
        "cmp r2, #0",
        "bne 63f",
        "40:",
        next_epilogue!(),
        next_program!(),
        "ldr r0, [sp, #152]",
        // The tiles at r0, of the channel's plane.
        "63:",
        "str r0, [sp, #144]",
        "add r1, r0, #4",
        "add r12, sp, #4",
        "ldm r1, {{r2-r8}}",
        "stm r12, {{r2-r8}}",
        "ldr r2, [sp, #148]",
        "ldr r4, [r0, #60]",
        "ldrd r1, r5, [r0, #64]",
        "add r2, r2, r4",
        "ldr r0, [sp]",
        "str r2, [sp, #60]",
        "str r5, [sp, #100]",
        "cmp r3, #16",
        "beq 1b",
        "b 4b",
        "39:",
        "add sp, sp, #156",
        "pop {{r4-r11, pc}}",
        // The first channel's outputs are made: the second one goes on with what was put aside.
        "28:",
        "ldr r0, [sp, #96]",
        "add r12, sp, #64",
        "ldm r12, {{r4-r11}}",
        // Goes on with pairs of a plus and a minus tap.
        "29:",
        "ldr r3, [sp, #8]",
        "cmp r3, #16",
        "beq 2b",
        "b 5b",
        // What the end of a list says, other than Then::Last.
        "18:",
        "tbb [pc, r3]",
        "19:",
        ".byte 0, (20f - 19b) / 2, (21f - 19b) / 2, (22f - 19b) / 2, (23f - 19b) / 2",
        ".byte (24f - 19b) / 2, (26f - 19b) / 2, (26f - 19b) / 2, (26f - 19b) / 2",
        ".byte (26f - 19b) / 2, (26f - 19b) / 2, (26f - 19b) / 2",
        // A last tap, then what the list would do without it.
        "26:",
        "bic r2, r2, #0x80000000",
        "ldr r12, [sp, #8]",
        "ldr lr, [r2]",
        "lsr r12, r12, #2",
        "uxtab16 r4, r4, lr",
        "uxtab16 r5, r5, lr, ror #8",
        "ldr lr, [r2, r12]",
        "add r2, r2, r12, lsl #1",
        "uxtab16 r6, r6, lr",
        "uxtab16 r7, r7, lr, ror #8",
        "ldr lr, [r2]",
        "ldr r2, [r2, r12]",
        "uxtab16 r8, r8, lr",
        "uxtab16 r9, r9, lr, ror #8",
        "uxtab16 r10, r10, r2",
        "uxtab16 r11, r11, r2, ror #8",
        "add lr, sp, #48",
        "subs r3, r3, #6",
        "beq 34b",
        "b 18b",
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
        "ldr r3, [sp, #8]",
        "ldr r0, [r0]",
        "cmp r3, #16",
        "beq 3b",
        "b 6b",
        // Then::First
        "24:",
        "ldr r2, [r0]",
        "add lr, sp, #32",
        "str r2, [sp, #96]",
        // No carry.
        "cmp r3, #6",
        "b 34b",
        // Then::PutAside
        "22:",
        "ldr r0, [r0]",
        "add r12, sp, #64",
        "stm r12, {{r4-r11}}",
        "movs r4, #0",
        "movs r5, #0",
        "movs r6, #0",
        "movs r7, #0",
        "mov r8, r4",
        "mov r9, r4",
        "mov r10, r4",
        "mov r11, r4",
        "b 29b",
        // Then::AddAndSubtract
        "23:",
        "ldr r0, [r0]",
        aside!("64", "r4", "r5"),
        aside!("72", "r6", "r7"),
        aside!("80", "r8", "r9"),
        aside!("88", "r10", "r11"),
        "b 29b",
        // Other rules, then the smallest output.
        "31:",
        "tst r3, #32",
        "beq 36f",
        steep_activations!("r4", "r5"),
        steep_activations!("r6", "r7"),
        steep_activations!("r8", "r9"),
        steep_activations!("r10", "r11"),
        "33:",
        "ldr r3, [sp, #28]",
        "uqsub8 r4, r4, r3",
        "uqsub8 r6, r6, r3",
        "uqsub8 r8, r8, r3",
        "uqsub8 r10, r10, r3",
        "add r4, r4, r3",
        "add r6, r6, r3",
        "add r8, r8, r3",
        "add r10, r10, r3",
        "b 32b",
        // A rule of 1 to 31, which few channels have: four outputs at a time, by way of the stack.
        "36:",
        "str r1, [sp, #104]",
        "add r12, sp, #108",
        "stm r12, {{r4-r11}}",
        "movs r1, #4",
        "37:",
        "ldrd r4, r5, [r12]",
        "smlabb r6, r4, r0, r2",
        "smlatb r7, r4, r0, r2",
        "smlabb r8, r5, r0, r2",
        "smlatb r9, r5, r0, r2",
        "asr r6, r6, r3",
        "asr r7, r7, r3",
        "asr r8, r8, r3",
        "asr r9, r9, r3",
        "usat r6, #7, r6",
        "usat r7, #7, r7",
        "usat r8, #7, r8",
        "usat r9, #7, r9",
        "orr r6, r6, r7, lsl #16",
        "orr r8, r8, r9, lsl #16",
        "orr r6, r6, r8, lsl #8",
        "str r6, [r12], #8",
        "sub r1, r1, #1",
        "cbz r1, 38f",
        "b 37b",
        "38:",
        "ldr r4, [sp, #108]",
        "ldr r6, [sp, #116]",
        "ldr r8, [sp, #124]",
        "ldr r10, [sp, #132]",
        "ldr r1, [sp, #104]",
        "b 33b",
        tiles = const TILES,
    )
}
