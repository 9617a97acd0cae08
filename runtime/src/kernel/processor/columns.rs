//! Rows of convolutions over banded maps: pairs of taps over two columns of words at a time. In plain
//! Rust, and in the instructions that every Cortex-M has: the compiler uses seven registers there and
//! keeps the sums in memory, the routine keeps them in all thirteen.

#[cfg(seedmask_thumb)]
use core::arch::naked_asm;

#[cfg(seedmask_thumb)]
use super::thumb::{high_to_low, low_to_high};
use crate::epilogue::Narrow;
#[cfg(not(seedmask_thumb))]
use crate::kernel::words::Lanes;

/// Taps of one sign: offsets in bytes, multiples of 4, none beyond the limit.
pub(crate) struct Pairs<'s> {
    /// Two offsets each.
    pairs: &'s [u32],
    /// What is left over.
    single: Option<u32>,
    limit: u32,
}

impl<'s> Pairs<'s> {
    /// Packs `offsets`; what is beyond `limit`, at most 65,535, is cut off.
    pub(crate) fn new(offsets: &'s mut [u32], limit: usize) -> Self {
        let limit = limit as u32 & 0xfffc;
        let (cut, count) = (|offset: u32| offset.min(limit) & !3, offsets.len() / 2);
        let single = offsets.last().copied().filter(|_| offsets.len() % 2 == 1).map(cut);
        for at in 0..count {
            let pair = offsets.get(2 * at).zip(offsets.get(2 * at + 1));
            let pair = pair.map(|(one, two)| cut(*one) | cut(*two) << 16);
            if let (Some(entry), Some(pair)) = (offsets.get_mut(at), pair) {
                *entry = pair;
            }
        }
        Self { pairs: offsets.get(..count).unwrap_or_default(), single, limit }
    }
}

/// Where a row of outputs goes.
pub(crate) struct Outputs<'o> {
    /// From the first column's first lane on.
    pub(crate) bytes: &'o mut [u8],
    /// At least two, or nothing is written.
    pub(crate) columns: usize,
    /// Bytes from column to column.
    pub(crate) column_step: usize,
    /// Bytes from lane to lane.
    pub(crate) lane_step: usize,
    /// Whether the last lane has no output.
    pub(crate) ragged: bool,
}

impl Outputs<'_> {
    /// Whether all outputs lie in the bytes.
    fn fit(&self) -> bool {
        let lanes = if self.ragged { 2 } else { 3 };
        let last = self.columns.saturating_sub(1).saturating_mul(self.column_step);
        last.saturating_add(lanes * self.lane_step) < self.bytes.len()
    }
}

/// One row of outputs, of minus and plus taps, through the epilogue: columns of windows that are `STEP`
/// words apart, 1 or 2, the first of which begins at the first word. `x` holds all that is under them,
/// or nothing is written. No sum passes 16 bits.
pub(crate) fn line<const STEP: usize>(
    lists: &[Pairs; 2],
    x: &[u32],
    outputs: &mut Outputs,
    narrow: Narrow,
    low: u8,
) {
    let Some(last) = outputs.columns.checked_sub(2).filter(|_| outputs.fit()) else { return };
    let reach = lists.iter().map(|list| list.limit as usize / 4).fold(0, usize::max);
    let Some(x) = x.get(..last * STEP + reach + STEP + 1) else { return };
    columns::<STEP>(lists, x, outputs, narrow, low);
}

/// [`line`], which has seen that `x` is long enough.
#[cfg(not(seedmask_thumb))]
fn columns<const STEP: usize>(
    lists: &[Pairs; 2],
    x: &[u32],
    outputs: &mut Outputs,
    narrow: Narrow,
    low: u8,
) {
    let lanes = if outputs.ragged { 3 } else { 4 };
    let mut done = 0;
    while done < outputs.columns {
        // The last tile may begin within the one before: it then writes the same bytes again.
        let at = done.min(outputs.columns - 2);
        let sums = sums::<STEP>(lists, x.get(at * STEP..).unwrap_or_default());
        for (column, sums) in (at..).zip(sums) {
            let start = column * outputs.column_step;
            let bytes = outputs.bytes.get_mut(start..).unwrap_or_default();
            let bytes = bytes.iter_mut().step_by(outputs.lane_step.max(1)).take(lanes);
            bytes.zip(activations(sums, narrow, low)).for_each(|(to, value)| *to = value);
        }
        done = at + 2;
    }
}

/// Sums of two columns: the plus taps less the minus taps. Lanes wrap.
#[cfg(not(seedmask_thumb))]
#[inline(never)]
fn sums<const STEP: usize>(lists: &[Pairs; 2], x: &[u32]) -> [Lanes; 2] {
    let (mut one, mut two) = (Lanes::default(), Lanes::default());
    // One look at the length for both loads.
    let columns = |offset: u32| {
        let at = (offset & 0xffff) as usize / 4;
        x.get(at..at + STEP + 1).map(|words| (words[0], words[STEP]))
    };
    for list in lists {
        // What was added before were the minus taps.
        (one, two) = (one.negated(), two.negated());
        for pair in list.pairs {
            if let (Some(left), Some(right)) = (columns(*pair), columns(*pair >> 16)) {
                one.add(left.0.wrapping_add(right.0));
                two.add(left.1.wrapping_add(right.1));
            }
        }
        if let Some((first, second)) = list.single.and_then(columns) {
            one.add(first);
            two.add(second);
        }
    }
    [one, two]
}

/// The sums of a column, of 16 bits with a sign, through the epilogue.
#[cfg(not(seedmask_thumb))]
#[inline(always)]
fn activations(lanes: Lanes, narrow: Narrow, low: u8) -> [u8; 4] {
    let even = lanes.all.wrapping_sub(lanes.high << 8);
    let lower = |lanes: u32| narrow.activation((lanes as i16).into(), low);
    // A lower lane below zero took one off the upper.
    let upper = |lanes: u32| narrow.activation(lanes.wrapping_add(0x8000) as i32 >> 16, low);
    [lower(even), lower(lanes.high), upper(even), upper(lanes.high)]
}

/// [`line`], which has seen that `x` is long enough.
#[cfg(seedmask_thumb)]
fn columns<const STEP: usize>(
    lists: &[Pairs; 2],
    x: &[u32],
    outputs: &mut Outputs,
    narrow: Narrow,
    low: u8,
) {
    let (column, lane) = (outputs.column_step, outputs.lane_step);
    let mut tiles = Tiles {
        lists: [&lists[0], &lists[1]].map(|list| {
            let ends = list.pairs.as_ptr_range();
            let single = list.single.map_or(-1, |offset| offset as i32);
            List { start: ends.start, end: ends.end, single }
        }),
        x: x.as_ptr(),
        step: 8 * STEP,
        y: outputs.bytes.as_mut_ptr(),
        count: outputs.columns / 2,
        even: crate::kernel::words::EVEN,
        scale: narrow.scale,
        shift: narrow.shift,
        right: narrow.right,
        low: low.into(),
        column,
        upper_even: 2 * lane,
        upper_odd: if outputs.ragged { 0 } else { 2 * lane },
        back: lane.wrapping_sub(column),
    };
    // SAFETY: there are two columns at least. `Pairs::new` cut offsets off at the limit and made them
    // multiples of 4, and `line` saw that `x` has a word there and one `STEP` further for the
    // last two columns, and with them for all, and that all outputs lie in `bytes`.
    unsafe {
        tiles.run::<STEP>();
        if outputs.columns % 2 == 1 {
            // The last tile begins within the one before: it writes the same bytes again.
            let last = outputs.columns - 2;
            tiles.x = x.as_ptr().add(last * STEP);
            tiles.y = outputs.bytes.as_mut_ptr().add(last * column);
            tiles.count = 1;
            tiles.run::<STEP>();
        }
    }
}

/// [`Pairs`] as the assembly reads them.
#[cfg(seedmask_thumb)]
#[repr(C)]
struct List {
    start: *const u32,
    end: *const u32,
    /// −1 where there is none.
    single: i32,
}

/// Tiles of two columns; the assembly knows the order of the fields.
#[cfg(seedmask_thumb)]
#[repr(C)]
struct Tiles {
    /// Minus and plus taps.
    lists: [List; 2],
    /// The first column.
    x: *const u32,
    /// Bytes from tile to tile.
    step: usize,
    /// The first output of the first lane.
    y: *mut u8,
    /// Tiles, at least 1.
    count: usize,
    /// Bytes 0 and 2 of a word.
    even: u32,
    /// [`Narrow`].
    scale: i32,
    shift: i32,
    right: u32,
    /// The smallest output.
    low: u32,
    /// Bytes from column to column.
    column: usize,
    /// Bytes from the outputs of lane 0 to those of lane 2.
    upper_even: usize,
    /// Bytes from the outputs of lane 1 to those of lane 3; 0 where these are none, and then
    /// overwritten.
    upper_odd: usize,
    /// Bytes from the second column in lane 0 to the first in lane 1.
    back: usize,
}

#[cfg(seedmask_thumb)]
impl Tiles {
    /// # Safety
    /// As that of the routines, for columns `STEP` words apart.
    unsafe fn run<const STEP: usize>(&mut self) {
        // SAFETY: the caller's.
        unsafe { if STEP == 1 { every_word(self) } else { every_other_word(self) } }
    }
}

/// Adds the words of two columns in r7 and r6 to their sums.
#[cfg(seedmask_thumb)]
macro_rules! add_columns {
    () => {
        concat!(
            "add r8, r7\n",
            "lsrs r7, r7, #8\n",
            "ands r7, r2\n",
            "adds r3, r3, r7\n",
            "add r9, r6\n",
            "lsrs r6, r6, #8\n",
            "ands r6, r2\n",
            "adds r4, r4, r6\n",
        )
    };
}

#[cfg(seedmask_thumb)]
macro_rules! routine {
    ($name:ident, $next:literal) => {
        /// Writes the outputs of all tiles, and moves `x`, `y` and `count` on.
        ///
        /// # Safety
        /// Lists are readable; every offset is a multiple of 4 that leads to two readable words in each
        /// tile, one from its first column and one from its second; the outputs are writable.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(tiles: *mut Tiles) {
            naked_asm!(
                "push {{r4-r7, lr}}",
                high_to_low!(),
                "push {{r4-r7}}",
                "mov r11, r0",
                // A tile: r0 list, r10 its end, r1 x, r2 even, r8 and r3 the first sums, r9 and r4 the
                // second, r11 the fields.
                "1:",
                "ldr r1, [r0, #24]",
                "ldr r2, [r0, #40]",
                "movs r3, #0",
                "movs r4, #0",
                "mov r8, r3",
                "mov r9, r3",
                "bl 2f",
                "rsbs r3, r3, #0",
                "rsbs r4, r4, #0",
                "mov r5, r8",
                "rsbs r5, r5, #0",
                "mov r8, r5",
                "mov r5, r9",
                "rsbs r5, r5, #0",
                "mov r9, r5",
                "mov r0, r11",
                "adds r0, #12",
                "bl 2f",
                // The epilogue: r0 right, r1 shift, r2 scale, r4 from lower to upper lanes, r7 outputs,
                // r10 low, r12 from column to column; sums of the even lanes go from r5, of the odd
                // ones from r3, those of the second column from r9 and r8.
                "mov r5, r8",
                "lsls r6, r3, #8",
                "subs r5, r5, r6",
                "mov r7, r9",
                "lsls r6, r4, #8",
                "subs r7, r7, r6",
                "mov r9, r7",
                "mov r8, r4",
                "mov r0, r11",
                "ldr r6, [r0, #60]",
                "mov r12, r6",
                "ldr r6, [r0, #56]",
                "mov r10, r6",
                "ldr r7, [r0, #32]",
                "ldr r4, [r0, #64]",
                "ldr r2, [r0, #44]",
                "ldr r1, [r0, #48]",
                "ldr r0, [r0, #52]",
                "bl 6f",
                "add r7, r12",
                "mov r5, r9",
                "bl 6f",
                "mov r6, r11",
                "ldr r4, [r6, #68]",
                "ldr r6, [r6, #72]",
                "adds r7, r7, r6",
                "mov r5, r3",
                "bl 6f",
                "add r7, r12",
                "mov r5, r8",
                "bl 6f",
                // The next tile.
                "mov r0, r11",
                "ldr r1, [r0, #32]",
                "add r1, r12",
                "add r1, r12",
                "str r1, [r0, #32]",
                "ldr r1, [r0, #24]",
                "ldr r2, [r0, #28]",
                "adds r1, r1, r2",
                "str r1, [r0, #24]",
                "ldr r1, [r0, #36]",
                "subs r1, #1",
                "str r1, [r0, #36]",
                "bne 1b",
                "pop {{r4-r7}}",
                low_to_high!(),
                "pop {{r4-r7, pc}}",
                // Adds a list: its single tap first.
                "2:",
                "ldr r5, [r0, #8]",
                "cmp r5, #0",
                "blt 4f",
                "adds r5, r5, r1",
                "ldr r7, [r5]",
                concat!("ldr r6, [r5, #", $next, "]"),
                add_columns!(),
                "4:",
                "ldr r5, [r0, #4]",
                "mov r10, r5",
                "ldr r0, [r0]",
                "cmp r0, r10",
                "beq 5f",
                "3:",
                "ldmia r0!, {{r5}}",
                "lsrs r6, r5, #16",
                "uxth r5, r5",
                "adds r5, r5, r1",
                "adds r6, r6, r1",
                "ldr r7, [r5]",
                concat!("ldr r5, [r5, #", $next, "]"),
                "mov r12, r5",
                "ldr r5, [r6]",
                "adds r7, r7, r5",
                concat!("ldr r6, [r6, #", $next, "]"),
                "add r6, r12",
                add_columns!(),
                "cmp r0, r10",
                "bne 3b",
                "5:",
                "bx lr",
                // Writes the outputs of both lanes of r5: the upper r4 behind r7, then the lower at r7.
                "6:",
                // A lower lane below zero took one off the upper.
                "movs r6, #1",
                "lsls r6, r6, #15",
                "adds r6, r6, r5",
                "asrs r6, r6, #16",
                "muls r6, r2, r6",
                "adds r6, r6, r1",
                "asrs r6, r0",
                "cmp r6, r10",
                "bge 7f",
                "mov r6, r10",
                "7:",
                "cmp r6, #127",
                "ble 8f",
                "movs r6, #127",
                "8:",
                "strb r6, [r7, r4]",
                "sxth r5, r5",
                "muls r5, r2, r5",
                "adds r5, r5, r1",
                "asrs r5, r0",
                "cmp r5, r10",
                "bge 9f",
                "mov r5, r10",
                "9:",
                "cmp r5, #127",
                "ble 11f",
                "movs r5, #127",
                "11:",
                "strb r5, [r7]",
                "bx lr",
            );
        }
    };
}

#[cfg(seedmask_thumb)]
routine!(every_word, "4");
#[cfg(seedmask_thumb)]
routine!(every_other_word, "8");
