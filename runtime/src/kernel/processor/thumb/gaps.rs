//! Dense rows from signed byte gaps, six cycles an entry on a Cortex-M0+.

use core::arch::naked_asm;

use crate::mask::{Encoding, LayerWeights};

/// One entry: the next index, and its input.
macro_rules! entry {
    ($at:literal) => {
        concat!(
            "ldrb r3, [r0, #",
            $at,
            "]\n",
            "adds r4, r4, r3\n",
            "ldrb r3, [r4]\n",
            "adds r5, r5, r3\n",
        )
    };
}

/// Bytes of the instructions of an entry, as a power of two.
macro_rules! entry_log2 {
    () => {
        "3"
    };
}

/// The rows of a section of signed gaps, one after the other.
pub(in crate::kernel) struct Lists<'a> {
    section: &'a [u8],
    x: &'a [u8],
    /// Rows that are left.
    rows: usize,
}

impl<'a> Lists<'a> {
    /// `None` where the mask is another one, or inputs are missing.
    pub(in crate::kernel) fn new(layer: &LayerWeights<'a>, x: &'a [u8]) -> Option<Self> {
        let weights = layer.weights();
        let (Encoding::SignedGaps, section) = layer.mask() else { return None };
        let lists = Self { section, x, rows: weights.rows as usize };
        (x.len() >= weights.inputs as usize).then_some(lists)
    }

    /// The sums of the next rows.
    pub(in crate::kernel) fn sums(&mut self, sums: &mut [i32]) {
        let count = sums.len().min(self.rows);
        let room = sums.get_mut(..count).unwrap_or_default().as_mut_ptr_range();
        if count == 0 {
            return;
        }
        self.rows -= count;
        let start = self.section.as_ptr();
        // SAFETY: the form of `LayerWeights` was checked: its rows are whole and name inputs of the
        // layer only, of which `x` has all.
        let next = unsafe { rows(start, self.x.as_ptr().wrapping_sub(1), room.start, room.end) };
        self.section = self.section.get(next.addr() - start.addr()..).unwrap_or_default();
    }
}

/// Writes the sums of rows until the end of the sums; gives where the next row begins.
///
/// # Safety
/// `section` points at the rows of a section that was checked, for at least as many rows as there is
/// room for sums (one at least); `before` points one byte before its inputs.
#[unsafe(naked)]
unsafe extern "C" fn rows(
    section: *const u8,
    before: *const u8,
    sums: *mut i32,
    sums_end: *mut i32,
) -> *const u8 {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "push {{r4, r5}}",
        "mov r8, r1",
        "mov r9, r3",
        "mov r7, r2",
        // A row: r0 gaps, r1 and r6 the counts, r5 sum, r7 sums, r8 before the inputs.
        "2:",
        "ldrb r1, [r0]",
        "ldrb r2, [r0, #1]",
        "lsls r2, r2, #8",
        "adds r1, r1, r2",
        "ldrb r6, [r0, #2]",
        "ldrb r2, [r0, #3]",
        "lsls r2, r2, #8",
        "adds r6, r6, r2",
        "adds r0, #4",
        "movs r5, #0",
        "bl 3f",
        // The plus inputs are taken off the minus inputs, and the difference is turned round.
        "rsbs r5, r5, #0",
        "mov r1, r6",
        "bl 3f",
        "rsbs r5, r5, #0",
        "stmia r7!, {{r5}}",
        "cmp r7, r9",
        "bne 2b",
        "pop {{r4, r5}}",
        "mov r8, r4",
        "mov r9, r5",
        "pop {{r4-r7, pc}}",
        // Adds a list of r1 entries: sixteen at a time, the first time as many as are left over.
        "3:",
        "mov r4, r8",
        "adds r1, r0, r1",
        "subs r2, r0, r1",
        "beq 5f",
        "lsls r2, r2, #28",
        "lsrs r2, r2, #28",
        "mov r12, r2",
        "subs r0, r0, r2",
        concat!("lsls r2, r2, #", entry_log2!()),
        // To the entry that far behind the next instruction but one.
        "add pc, r2",
        "nop",
        "4:",
        entry!("0"),
        entry!("1"),
        entry!("2"),
        entry!("3"),
        entry!("4"),
        entry!("5"),
        entry!("6"),
        entry!("7"),
        entry!("8"),
        entry!("9"),
        entry!("10"),
        entry!("11"),
        entry!("12"),
        entry!("13"),
        entry!("14"),
        entry!("15"),
        "adds r0, #16",
        "cmp r0, r1",
        "bne 4b",
        // What fills the list up to whole words.
        "mov r2, r12",
        "lsls r2, r2, #30",
        "lsrs r2, r2, #30",
        "adds r0, r0, r2",
        "5:",
        "bx lr",
    )
}
