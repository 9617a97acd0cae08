//! Dense rows from signed positions, each an index into a table of the inputs and their negatives, up to
//! their activations.
//!
//! Whatever the bytes of a section are, nothing outside of it is read: a position is a byte, as tables
//! have 256 entries, and counts are added up and compared with what is there before rows are run.

use core::arch::naked_asm;
use core::mem::MaybeUninit;
use core::ptr::null;

use crate::epilogue::CHANNEL;
use crate::mask::positions::{BLOCK, Counts, GROUP, MOST, MOST_BLOCKS};

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
}

/// Where rows go.
pub(super) enum Rows<'a> {
    /// Their activations, 0 at least, by their epilogues, which are as many.
    Activations(&'a mut [u8], &'a [[u8; CHANNEL]]),
    /// Their sums.
    Sums(&'a mut [i32]),
}

impl<'a> Positions<'a> {
    /// For inputs `x`, as many as a row has; `None` where these are more than there are tables for.
    pub(super) fn new(
        tables: &'a mut Tables,
        x: &[u8],
        (counts, positions): (Counts<'a>, &'a [u8]),
    ) -> Option<Self> {
        Some(Self { tables: tables.fill(x)?, counts, positions })
    }

    /// All rows; `None` where the section ends before they do: those behind its end are as they were.
    pub(super) fn run(mut self, rows: Rows) -> Option<()> {
        // Whole groups.
        let groups = (AT_ONCE / GROUP).checked_div(self.tables.len()).unwrap_or(1);
        let at_once = (groups * GROUP).max(GROUP);
        // Of the blocks that are run at once, and behind them `END`.
        let mut now = [MaybeUninit::uninit(); AT_ONCE / GROUP + 1];
        match rows {
            Rows::Activations(to, epilogue) => {
                for (to, epilogue) in to.chunks_mut(at_once).zip(epilogue.chunks(at_once)) {
                    let rows = to.len().min(epilogue.len());
                    // SAFETY: there is room for so many rows, and as many epilogues.
                    unsafe { self.rows(&mut now, rows, to.as_mut_ptr(), epilogue.as_ptr())? };
                }
            }
            Rows::Sums(to) => {
                for to in to.chunks_mut(at_once) {
                    // SAFETY: there is room for so many rows.
                    unsafe { self.rows(&mut now, to.len(), to.as_mut_ptr().cast(), null())? };
                }
            }
        }
        Some(())
    }

    /// The next rows of at most [`AT_ONCE`] blocks, groups of them but for the last; `None` where the section
    /// ends before they do.
    ///
    /// # Safety
    /// `to` and `epilogue` are as [`routine`] has them for `rows` rows.
    unsafe fn rows(
        &mut self,
        now: &mut [MaybeUninit<[u32; 2]>; AT_ONCE / GROUP + 1],
        rows: usize,
        to: *mut u8,
        epilogue: *const [u8; CHANNEL],
    ) -> Option<()> {
        let blocks = rows * self.tables.len();
        let (total, last) = self.read(now.get_mut(..blocks.div_ceil(GROUP))?)?;
        // What the last group has behind the last block does not count.
        let unused = bytemuck::bytes_of(last).get(GROUP - blocks.wrapping_neg() % GROUP..)?;
        let total = total - unused.iter().map(|count| u32::from(*count)).sum::<u32>();
        let counts = now.as_mut_ptr().cast::<u8>();
        // SAFETY: there is room for a group behind those that were read.
        unsafe { counts.add(blocks).write(END) };
        let (positions, rest) = self.positions.split_at_checked(total as usize)?;
        let first = self.tables.as_ptr();
        let turn = 256 - ((self.tables.len() as i32) << 16);
        let simple = self.tables.len() == 1 && !epilogue.is_null();
        let simple = if simple { 0 } else { -1 };
        // SAFETY: there are the counts of the blocks of all rows, none of them `END`, which is behind
        // them; `positions` are as many as they add up to, and tables are filled. The caller knows of
        // the others.
        unsafe {
            routine(first, counts, positions.as_ptr(), to, turn, epilogue, simple);
        }
        self.positions = rest;
        Some(())
    }

    /// Reads the counts of groups, one at least, a byte of at most [`MOST`] for each block; behind the last
    /// block anything. Gives what all add up to, and the last group; `None` where the section is too short.
    fn read<'t>(&mut self, to: &'t mut [MaybeUninit<[u32; 2]>]) -> Option<(u32, &'t [u32; 2])> {
        let (groups, base, rest) = self.counts.next(to.len())?;
        let end = rest.as_ptr_range();
        let mut from = Reading { groups: groups.as_ptr(), first: end.start, behind: end.end };
        let bounds = to.as_mut_ptr_range();
        if to.is_empty() {
            return None;
        }
        let base = u32::from(base) * 0x0101_0101;
        // SAFETY: there are as many groups as `to` has room for, one at least.
        let total = unsafe { read(&mut from, bounds.start.cast(), bounds.end.cast(), base) };
        self.counts.leave(from.behind.addr() - from.first.addr());
        // SAFETY: all groups were written.
        Some((total, unsafe { to.last()?.assume_init_ref() }))
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
        // SAFETY: a word of the table. Volatile, as plain stores of what was loaded become a call that takes
        // longer than all of this.
        unsafe { plus.as_mut_ptr().write_volatile(x) };
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

/// What counts are read from.
#[repr(C)]
struct Reading {
    groups: *const [u8; GROUP / 2],
    /// Those that stand elsewhere, from the last one on.
    first: *const u8,
    behind: *const u8,
}

/// Reads counts from `to` to `end`, those of one group at least; gives what they add up to. What there is too
/// little of elsewhere is 0.
///
/// # Safety
/// There are as many groups, and what stands elsewhere can be read.
#[unsafe(naked)]
unsafe extern "C" fn read(
    from: &mut Reading,
    to: *mut [u32; 2],
    end: *mut [u32; 2],
    base: u32,
) -> u32 {
    naked_asm!(
        cpu!(),
        "push {{r0, r4-r11, lr}}",
        "ldm r0, {{r4, r8, r9}}",
        "mov r11, #0x0f0f0f0f",
        "mov r12, #0",
        "mov lr, #0",
        ".p2align 2",
        "2:",
        "ldr r5, [r4], #4",
        // Halves of which all bits are 1.
        "and r6, r5, r5, lsr #1",
        "and r6, r6, r6, lsr #2",
        "ands r10, r6, #0x11111111",
        "and r6, r11, r5, lsr #4",
        "and r5, r5, r11",
        "add.w r6, r6, r3",
        "add.w r5, r5, r3",
        "bne 4f",
        "3:",
        "usada8 r12, r5, lr, r12",
        "usada8 r12, r6, lr, r12",
        "str r5, [r1], #8",
        "str r6, [r1, #-4]",
        "cmp r1, r2",
        "bne 2b",
        "pop {{r0}}",
        "str r9, [r0, #8]",
        "mov r0, r12",
        "pop {{r4-r11, pc}}",
        // Some stand elsewhere: of the first four, then of the others.
        "4:",
        "strd r5, r6, [r1]",
        "and r7, r10, #0x01010101",
        "eor r10, r10, r7",
        "mov r5, r1",
        "5:",
        "cbz r7, 6f",
        "rbit r6, r7",
        "clz r6, r6",
        "sub r0, r7, #1",
        "ands r7, r0",
        "lsrs r6, r6, #3",
        "movs r0, #0",
        "cmp r9, r8",
        "it hi",
        "ldrbhi r0, [r9, #-1]!",
        "cmp r0, #{most}",
        "it hi",
        "movhi r0, #{most}",
        "strb r0, [r5, r6]",
        "b 5b",
        "6:",
        "lsrs r7, r10, #4",
        "mov r10, #0",
        "add r5, #4",
        "bne 5b",
        "ldrd r5, r6, [r1]",
        "b 3b",
        most = const MOST,
    )
}

/// Runs rows, until a count is [`END`].
///
/// # Safety
/// There are as many tables from `first` on as `turn` says, which is 256 less 2¹⁶ for each; `counts` are
/// those of the blocks of all rows, and `END` behind them; `positions` as many as they add up to. `to` has
/// room for the sums of all rows, or where there are epilogues, of all rows, for their activations.
/// `simple` is 0 where there are these and one table, else −1.
#[unsafe(naked)]
unsafe extern "C" fn routine(
    first: *const Table,
    counts: *const u8,
    positions: *const u8,
    to: *mut u8,
    turn: i32,
    epilogue: *const [u8; CHANNEL],
    simple: i32,
) {
    naked_asm!(
        cpu!(),
        "push {{r0, r4-r11, lr}}",
        "ldr r11, [sp, #44]",
        "ldr r5, [sp, #48]",
        "mov r10, r3",
        "ldr r8, [sp, #40]",
        "mov r12, #0x00010001",
        "mov lr, #1",
        "mov r3, #0",
        "adr r9, 5f",
        "ldrb r4, [r1], #1",
        // N, and so it stays: what is not simple.
        "cmp r5, #0",
        "usat r5, #5, r4",
        "ldr pc, [r9, r5, lsl #2]",
        // By the count: a whole block of up to 19, or eights of more until it is.
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
        "ldrsb r4, [r0, r4]",
        "add r3, r4",
        "bpl 50f",
        "b 7f",
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
        "ldrsb r5, [r0, r5]",
        "ldrsb r4, [r0, r4]",
        "umaal r3, r5, r4, lr",
        "bpl 50f",
        "b 7f",
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
        "ldrsb r5, [r0, r5]",
        "ldrsb r6, [r0, r6]",
        "ldrsb r4, [r0, r4]",
        "umaal r3, r5, r6, lr",
        "add r3, r4",
        "bpl 50f",
        "b 7f",
        "14:",
        four!(),
        "13:",
        four!(),
        "12:",
        four!(),
        "11:",
        four!(),
        "10:",
        "bmi.w 7f",
        // The activation of a row, as `finish` makes it, but twice of it in the upper word of the sum:
        // 2⁹ times all. The next count is in r4.
        ".p2align 2",
        "50:",
        "ldr r5, [r11], #4",
        "ldrb r4, [r1], #1",
        "sadd16 r5, r5, r5",
        "lsr.w r6, r5, #11",
        "and r6, r6, #0x001f001f",
        "uqsub16 r6, r6, r12",
        "sub r5, r5, r6, lsl #11",
        // The lower half is 1 too much, which the next shift drops.
        "qsub16 r7, lr, r5",
        "sel r5, r5, r7",
        "sbfx r7, r5, #1, #15",
        "lsl.w r7, r7, r6",
        "lsl.w r3, r3, #9",
        "smull r3, r7, r3, r7",
        "smultb r5, r5, r8",
        "lsr.w r6, r6, #16",
        "lsl.w r6, lr, r6",
        "smlal r3, r7, r5, r6",
        "add.w r7, r7, #1",
        "usat r7, #7, r7, asr #1",
        "usat r5, #5, r4",
        "strb r7, [r10], #1",
        "mov.w r3, #0",
        "ldr pc, [r9, r5, lsl #2]",
        // More than 19, or the end.
        "6:",
        "eor r5, r4, #255",
        "cbnz r5, 8f",
        "pop {{r0, r4-r11, pc}}",
        "8:",
        "sub r12, r4, #20",
        "8:",
        four!(),
        four!(),
        "subs r12, #8",
        "bpl 8b",
        "ldr r5, [sp, #48]",
        "add r4, r12, #20",
        "mov r12, #0x00010001",
        "cmp r5, #0",
        "ldr pc, [r9, r4, lsl #2]",
        // What is not simple: a block of several, the last one or not, or a sum.
        "7:",
        "ldrb r4, [r1], #1",
        "adds r8, r8, #0x10000",
        "bpl 9f",
        "usat r5, #5, r4",
        "add r0, r0, #{table}",
        "ldr pc, [r9, r5, lsl #2]",
        "9:",
        "ldr r0, [sp]",
        "ldr r8, [sp, #40]",
        "cmp r11, #0",
        "beq 9f",
        "sub r1, #1",
        "mvns r5, #0",
        "b 50b",
        "9:",
        "str r3, [r10], #4",
        "mvns r5, #0",
        "usat r5, #5, r4",
        "mov r3, #0",
        "ldr pc, [r9, r5, lsl #2]",
        table = const size_of::<Table>(),
    )
}
