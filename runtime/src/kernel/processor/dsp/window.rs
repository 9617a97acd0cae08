//! Sums under the window of one channel, eight outputs at a time: four columns of two rows.
//!
//! A list of taps is a chain of [`Entry`]s: each gives two offsets and the code that adds what lies
//! there, and that code loads the next entry and jumps. Activations have seven bits, so the
//! difference of two fits a signed byte and their sum an unsigned one: a pair of taps takes one
//! extension to 16 bits. The last entry leads to the epilogue and stands right before the [`Run`].
//! A single tap needs no list.

use core::arch::naked_asm;

/// Two taps, or the end of the list.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Entry {
    /// Offsets from the window's beginning: plus and minus, or both plus; of the end a last plus if
    /// its code adds one.
    pub taps: [u32; 2],
    /// Where the code begins: one of [`Handlers`].
    pub then: usize,
}

/// Where the code for each kind of entry begins.
#[repr(C)]
pub(super) struct Handlers {
    /// A plus and a minus tap.
    pub unlike: usize,
    /// Two plus taps.
    pub alike: usize,
    /// The same as the first of a list, which needs no sums before.
    pub first_unlike: usize,
    pub first_alike: usize,
    /// The end of a list, or that and a last tap.
    pub end: usize,
    pub single: usize,
}

/// Tiles one below the other, column after column; the assembly knows the order of the fields.
#[repr(C)]
pub(super) struct Run {
    /// 0: outputs are `((sum·scale >> 16) + shift) >> 11`, at least 0. 1: they are
    /// `(sum·exact_scale + exact_shift) >> 24`, at least `low`.
    pub exact: u32,
    /// Bytes from a tile's first row of outputs to its second; the next tile is twice as far.
    pub y_below: usize,
    /// Bytes from a tile's first windows to the next's.
    pub x_step: usize,
    /// The first entry, which is one of those before this; null for a single tap, plus, at the
    /// beginning of each window.
    pub list: *const Entry,
    /// `x` of the tile behind a column's last. Moved on.
    pub x_end: *const u8,
    /// The first windows of both rows.
    pub x: *const u8,
    pub x_below: *const u8,
    pub scale: i32,
    pub shift: i32,
    /// The first output.
    pub y: *mut u8,
    /// Columns behind the first four, which may be negative. Counted down; the last four may lie
    /// partly in the ones before.
    pub left: i32,
    /// Bytes over all steps of a column.
    pub x_back: usize,
    pub y_back: usize,
    pub low: u32,
    pub exact_scale: i32,
    /// Lower half first.
    pub exact_shift: [u32; 2],
}

/// Where the parts of [`run`] begin.
pub(super) fn handlers() -> &'static Handlers {
    // SAFETY: asked for nothing, it gives its table.
    unsafe { &*run(core::ptr::null_mut()) }
}

/// Both words of two taps joined by `$join`, and added by `$extend`.
macro_rules! pair {
    ($join:literal, $even:literal, $odd:literal, $below_even:literal, $below_odd:literal) => {
        concat!(
            "ldr r12, [r1, r2]\n",
            "ldr lr, [r1, r3]\n",
            "ldr r2, [r8, r2]\n",
            "ldr r3, [r8, r3]\n",
            $join,
            " r12, r12, lr\n",
            $join,
            " r2, r2, r3\n",
            $even,
            ", r12\n",
            $odd,
            ", r12, ror #8\n",
            $below_even,
            ", r2\n",
            $below_odd,
            ", r2, ror #8\n",
            "ldm r0!, {{r2, r3, pc}}\n",
        )
    };
}

/// Both outputs of the sums `$s` into its halves: r9 scale, r10 shift.
macro_rules! activations {
    ($s:literal) => {
        concat!(
            "smlawb lr, r9, ",
            $s,
            ", r10\n",
            "smlawt ",
            $s,
            ", r9, ",
            $s,
            ", r10\n",
            "usat lr, #7, lr, asr #11\n",
            "usat ",
            $s,
            ", #7, ",
            $s,
            ", asr #11\n",
            "orr ",
            $s,
            ", lr, ",
            $s,
            ", lsl #16\n",
        )
    };
}

/// Makes the outputs of all tiles. Of null: gives its [`Handlers`].
///
/// # Safety
/// The entries before `run` are a list as `list` says, whose taps lead from every window of the tiles to
/// four readable bytes; four outputs of each row are writable.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn run(run: *mut Run) -> *const Handlers {
    naked_asm!(
        cpu!(),
        "cmp r0, #0",
        "bne.w 1f",
        "adr.w r0, 9f",
        "bx lr",
        // The handlers.
        "10:",
        pair!("usub8", "sxtab16 r4, r4", "sxtab16 r5, r5", "sxtab16 r6, r6", "sxtab16 r7, r7"),
        "11:",
        pair!("add", "uxtab16 r4, r4", "uxtab16 r5, r5", "uxtab16 r6, r6", "uxtab16 r7, r7"),
        "12:",
        pair!("usub8", "sxtb16 r4", "sxtb16 r5", "sxtb16 r6", "sxtb16 r7"),
        "13:",
        pair!("add", "uxtb16 r4", "uxtb16 r5", "uxtb16 r6", "uxtb16 r7"),
        "15:",
        "ldr r12, [r1, r2]",
        "ldr r2, [r8, r2]",
        "uxtab16 r4, r4, r12",
        "uxtab16 r5, r5, r12, ror #8",
        "uxtab16 r6, r6, r2",
        "uxtab16 r7, r7, r2, ror #8",
        // The end: r2 exact, r3 y_below, r12 x_step; r0 is where r1 will be.
        "14:",
        "ldm r0!, {{r2, r3, r12}}",
        "add r0, r1, r12",
        "b 5f",
        // r0 list, r1 windows of the first row, r8 of the second, r4 to r7 sums, r9 scale, r10 shift,
        // r11 outputs; on the stack the run.
        "1:",
        "push {{r0, r4-r11, lr}}",
        "add r12, r0, #20",
        "ldm r12, {{r1, r8, r9, r10, r11}}",
        "ldr r0, [r0, #12]",
        "2:",
        "cbz r0, 3f",
        "ldm r0!, {{r2, r3, pc}}",
        // A single tap: r0 where r1 will be at the end.
        "3:",
        "ldr r12, [sp]",
        "ldr r0, [r12, #16]",
        "ldm r12, {{r2, r3, r12}}",
        ".balign 4",
        "4:",
        "ldr r5, [r1]",
        "ldr r7, [r8]",
        "uxtb16 r4, r5",
        "uxtb16 r5, r5, ror #8",
        "uxtb16 r6, r7",
        "uxtb16 r7, r7, ror #8",
        // The epilogue.
        "5:",
        "cbnz r2, 7f",
        activations!("r4"),
        activations!("r5"),
        activations!("r6"),
        activations!("r7"),
        "6:",
        "orr r4, r4, r5, lsl #8",
        "orr r6, r6, r7, lsl #8",
        "str r4, [r11]",
        "str r6, [r11, r3]",
        "add r1, r1, r12",
        "add r8, r8, r12",
        "add r11, r11, r3, lsl #1",
        "cmp r1, r0",
        "bne 4b",
        // The next tile of a list, or the next columns.
        "ldr r4, [sp]",
        "ldrd r0, r5, [r4, #12]",
        "cmp r1, r5",
        "beq 8f",
        "ldm r0!, {{r2, r3, pc}}",
        // Any scale and lowest output: r1 sums, r4 and r5 one of them, r6 and r7 the product, r8
        // scale, r9 and r10 shift, r11 lowest output.
        "7:",
        "push {{r0-r3, r8-r12}}",
        "ldr r0, [sp, #36]",
        "push {{r4-r7}}",
        "add r0, r0, #52",
        "ldm r0, {{r2, r8, r9, r10}}",
        "mov r11, r2",
        "mov r1, sp",
        "movs r2, #4",
        "71:",
        "ldr r4, [r1]",
        "asrs r5, r4, #16",
        "sxth r4, r4",
        "mov r6, r9",
        "mov r7, r10",
        "smlal r6, r7, r4, r8",
        "lsrs r6, r6, #24",
        "orr r6, r6, r7, lsl #8",
        "usat r4, #7, r6",
        "mov r6, r9",
        "mov r7, r10",
        "smlal r6, r7, r5, r8",
        "lsrs r6, r6, #24",
        "orr r6, r6, r7, lsl #8",
        "usat r5, #7, r6",
        "cmp r4, r11",
        "it lt",
        "movlt r4, r11",
        "cmp r5, r11",
        "it lt",
        "movlt r5, r11",
        "orr r4, r4, r5, lsl #16",
        "str r4, [r1], #4",
        "subs r2, #1",
        "bne 71b",
        "pop {{r4-r7}}",
        "pop {{r0-r3, r8-r12}}",
        "b 6b",
        // The next columns, and the end.
        "8:",
        "ldr r2, [r4, #40]",
        "cmp r2, #0",
        "ble 81f",
        "movs r3, #4",
        "cmp r2, #4",
        "it lt",
        "movlt r3, r2",
        "subs r2, r2, r3",
        "str r2, [r4, #40]",
        "add r5, r5, r3",
        "str r5, [r4, #16]",
        "ldrd r5, r7, [r4, #44]",
        "subs r5, r3, r5",
        "subs r7, r3, r7",
        "add r1, r1, r5",
        "add r8, r8, r5",
        "add r11, r11, r7",
        "b 2b",
        "81:",
        "pop {{r0, r4-r11, pc}}",
        ".balign 4",
        "9:",
        ".word 10b + 1, 11b + 1, 12b + 1, 13b + 1, 14b + 1, 15b + 1",
    )
}
