//! Dense rows from signed positions, each an index into a table of the inputs and their negatives.
//!
//! Whatever the bytes of a section are, nothing outside of it is read: a position is a byte, as tables
//! have 256 entries, and counts are added up and compared with what is there before rows are run.

use core::arch::naked_asm;
use core::mem::MaybeUninit;

use crate::mask::positions::{BLOCK, Counts, GROUP, MOST_BLOCKS};

/// Blocks whose counts are read at a time.
const AT_ONCE: usize = 16 * GROUP;

/// The inputs of a block, then their negatives, four to a word.
type Table = [[MaybeUninit<u32>; BLOCK / 4]; 2];

/// Room for the tables of the longest row.
pub(super) struct Tables([Table; MOST_BLOCKS]);

impl Tables {
    pub(super) const fn new() -> Self {
        Self([[[MaybeUninit::uninit(); BLOCK / 4]; 2]; MOST_BLOCKS])
    }

    /// Fills one for each block of `x`; `None` where that is none or more than there is room for.
    fn fill(&mut self, x: &[u8]) -> Option<&[Table]> {
        let tables = self.0.get_mut(..x.len().div_ceil(BLOCK))?;
        tables.iter_mut().zip(x.chunks(BLOCK)).for_each(|(table, x)| fill(table, x));
        (!tables.is_empty()).then_some(tables)
    }
}

/// Rows of signed positions.
pub(super) struct Positions<'a> {
    /// One for each block of a row, one at least.
    tables: &'a [Table],
    counts: Counts<'a>,
    positions: &'a [u8],
    /// Of the blocks that are run at once, and behind them [`END`].
    now: [[u32; 2]; AT_ONCE / GROUP + 1],
}

impl<'a> Positions<'a> {
    /// For inputs `x`, as many as a row has; `None` where these are more than there are tables for.
    pub(super) fn new(
        tables: &'a mut Tables,
        x: &[u8],
        (counts, positions): (Counts<'a>, &'a [u8]),
    ) -> Option<Self> {
        let now = [[0; 2]; AT_ONCE / GROUP + 1];
        Some(Self { tables: tables.fill(x)?, counts, positions, now })
    }

    /// The sums of the next rows, a multiple of [`GROUP`] but for the last ones.
    pub(super) fn next(&mut self, sums: &mut [i32]) {
        // Whole groups.
        let groups = (AT_ONCE / GROUP).checked_div(self.tables.len()).unwrap_or(1);
        for sums in sums.chunks_mut((groups * GROUP).max(GROUP)) {
            if self.next_rows(sums).is_none() {
                sums.fill(0);
            }
        }
    }

    /// The sums of at most [`AT_ONCE`] blocks, groups of them but for the last; `None` where the section
    /// ends before they do.
    fn next_rows(&mut self, sums: &mut [i32]) -> Option<()> {
        let blocks = sums.len() * self.tables.len();
        let total = self.counts.read(self.now.get_mut(..blocks.div_ceil(GROUP))?)?;
        let total = (total & 0xffff) + (total >> 16);
        let (counts, behind) =
            bytemuck::bytes_of_mut(&mut self.now).split_at_mut_checked(blocks)?;
        // What the last group has behind the last block does not count.
        let unused = behind.get(..blocks.wrapping_neg() % GROUP)?;
        let total = total - unused.iter().map(|count| u32::from(*count)).sum::<u32>();
        *behind.first_mut()? = END;
        let (positions, rest) = self.positions.split_at_checked(total as usize)?;
        let (first, last) = (self.tables.first()?, self.tables.last()?);
        // SAFETY: there are the counts of the blocks of all rows of `sums`, none of them `END`, which is
        // behind them; `positions` are as many as they add up to, and tables are filled.
        unsafe {
            routine(first, counts.as_ptr(), positions.as_ptr(), sums.as_mut_ptr(), last);
        }
        self.positions = rest;
        Some(())
    }
}

/// Stands behind the last count, and is none.
const END: u8 = 255;

/// Fills a table with a block of inputs, and zeros behind the last.
fn fill(table: &mut Table, x: &[u8]) {
    let Some(x) = x.first_chunk() else {
        let mut whole = [0; BLOCK];
        whole.iter_mut().zip(x).for_each(|(to, from)| *to = *from);
        return fill_whole(table, &whole);
    };
    fill_whole(table, x);
}

fn fill_whole([plus, minus]: &mut Table, x: &[u8; BLOCK]) {
    const SIGNS: u32 = 0x8080_8080;
    for ((plus, minus), x) in plus.iter_mut().zip(minus).zip(x.as_chunks().0) {
        let x = u32::from_le_bytes(*x);
        plus.write(x);
        minus.write(SIGNS.wrapping_sub(x) ^ SIGNS);
    }
}

/// The next four positions: adds their inputs to r3.
macro_rules! four {
    () => {
        concat!(
            "ldrb r5, [r2, #1]\n",
            "ldrb r6, [r2, #2]\n",
            "ldrb r7, [r2, #3]\n",
            "ldrb r4, [r2], #4\n",
            "ldrsb r5, [r0, r5]\n",
            "ldrsb r6, [r0, r6]\n",
            "ldrsb r7, [r0, r7]\n",
            "ldrsb r4, [r0, r4]\n",
            // With a factor of 1 this adds two inputs.
            "umaal r3, r5, r6, lr\n",
            "umaal r3, r7, r4, lr\n",
        )
    };
}

/// Goes to the routine for the count that r4 has, 31 for larger ones.
macro_rules! go_on {
    () => {
        "ldr pc, [r9, r4, lsl #2]\n"
    };
}

/// The end of a block, whose rest of up to three positions `$tail` adds after the next count is in r8.
macro_rules! end {
    () => {
        concat!(
            // Flags are as they were when the first block began.
            "bmi 7f\n",
            "usat r4, #5, r8\n",
            "str r3, [r10], #4\n",
            "mov r3, #0\n",
            go_on!(),
        )
    };
}

/// Writes the sums of rows, until a count is [`END`].
///
/// # Safety
/// There are tables from `first` to `last`; `counts` are those of the blocks of all rows, and `END` behind
/// them; `positions` as many as they add up to; and `sums` has room for all rows.
#[unsafe(naked)]
unsafe extern "C" fn routine(
    first: *const Table,
    counts: *const u8,
    positions: *const u8,
    sums: *mut i32,
    last: *const Table,
) {
    naked_asm!(
        cpu!(),
        "push {{r4-r11, lr}}",
        "ldr r11, [sp, #36]",
        "mov r10, r3",
        "sub r12, r11, r0",
        "mov lr, #1",
        "mov r3, #0",
        "adr r9, 5f",
        "ldrb r8, [r1], #1",
        "usat r4, #5, r8",
        // N: there are more blocks in a row.
        "cmp r0, r11",
        go_on!(),
        // By the count: a whole block of up to 19, or 16 of more.
        ".p2align 2",
        "5:",
        ".word 10f + 1, 20f + 1, 30f + 1, 40f + 1",
        ".word 11f + 1, 21f + 1, 31f + 1, 41f + 1",
        ".word 12f + 1, 22f + 1, 32f + 1, 42f + 1",
        ".word 13f + 1, 23f + 1, 33f + 1, 43f + 1",
        ".word 14f + 1, 24f + 1, 34f + 1, 44f + 1",
        ".rept 12",
        ".word 6f + 1",
        ".endr",
        "14:",
        four!(),
        "13:",
        four!(),
        "12:",
        four!(),
        "11:",
        four!(),
        "10:",
        "ldrb r8, [r1], #1",
        end!(),
        "24:",
        four!(),
        "23:",
        four!(),
        "22:",
        four!(),
        "21:",
        four!(),
        "20:",
        "ldrb r4, [r2], #1",
        "ldrb r8, [r1], #1",
        "ldrsb r4, [r0, r4]",
        "add r3, r4",
        end!(),
        "34:",
        four!(),
        "33:",
        four!(),
        "32:",
        four!(),
        "31:",
        four!(),
        "30:",
        "ldrb r5, [r2, #1]",
        "ldrb r4, [r2], #2",
        "ldrb r8, [r1], #1",
        "ldrsb r5, [r0, r5]",
        "ldrsb r4, [r0, r4]",
        "umaal r3, r5, r4, lr",
        end!(),
        "44:",
        four!(),
        "43:",
        four!(),
        "42:",
        four!(),
        "41:",
        four!(),
        "40:",
        "ldrb r5, [r2, #1]",
        "ldrb r6, [r2, #2]",
        "ldrb r4, [r2], #3",
        "ldrb r8, [r1], #1",
        "ldrsb r5, [r0, r5]",
        "ldrsb r6, [r0, r6]",
        "ldrsb r4, [r0, r4]",
        "umaal r3, r5, r6, lr",
        "add r3, r4",
        end!(),
        // More than 19, or the end.
        "6:",
        "eor r5, r8, #255",
        "cbnz r5, 8f",
        "pop {{r4-r11, pc}}",
        "8:",
        four!(),
        four!(),
        four!(),
        four!(),
        "sub r8, r8, #16",
        "usat r4, #5, r8",
        go_on!(),
        // A block of several, the last one or not.
        "7:",
        "usat r4, #5, r8",
        "cmp r0, r11",
        "beq 9f",
        "add r0, r0, #{table}",
        go_on!(),
        "9:",
        "str r3, [r10], #4",
        "mov r3, #0",
        "sub r0, r11, r12",
        "cmp r0, r11",
        go_on!(),
        table = const size_of::<Table>(),
    )
}
