//! A row of a convolution as lists of offsets into the input.

use core::mem::MaybeUninit;

use crate::kernel::Planes;
use crate::layer::{Source, Window};
use crate::mask::{GapRow, RiceRow, Row, Rows, WordRow};
use crate::random::{WORD, bit_of};

/// Most inputs of a row that has lists: 512 channels under 3×3. Whole blocks.
pub(super) const MOST_INPUTS: usize = 4608;

/// Mask words of the longest row.
const WORDS: usize = MOST_INPUTS / WORD;

/// Mask bits that are looked at in one go.
const BLOCK: usize = 2 * WORD;

/// Offsets that are written at once, whether there are as many or not.
const AT_ONCE: usize = 4;

/// Most sum of magnitudes of a list whose sums fit 16 bits: 258·127 < 2¹⁵.
pub(super) const MOST_NARROW: usize = 258;

/// Magnitudes, each with lists of its own.
pub(super) const LEVELS: [i32; 3] = [4, 2, 1];

/// The lists of rows, one row at a time. All offsets are at most `reach`, the largest of the window.
pub(super) struct Lists<'p> {
    planes: &'p Planes,
    window: &'p Window,
    table: Table,
    /// Sign words of a row.
    signs: [u32; WORDS],
    plus: List,
    minus: List,
    /// The first of [`LEVELS`] that the weights have.
    largest: usize,
}

impl<'p> Lists<'p> {
    /// Lists for `window` over maps like `planes`.
    pub(super) fn new(planes: &'p Planes, window: &'p Window) -> Self {
        let (plus, minus) = (List::new(), List::new());
        Self { planes, window, table: Table::new(), signs: [0; WORDS], plus, minus, largest: 0 }
    }

    /// Reads the next row, whose weights are no stored ones; `None` after the last. Inputs beyond
    /// [`MOST_INPUTS`] are left out.
    #[inline(always)]
    pub(super) fn read(&mut self, rows: &mut Rows) -> Option<()> {
        let Self { table, signs, plus, minus, .. } = self;
        if rows.are_codes() {
            table.fill(self.planes, self.window, Order::Inputs);
            self.largest = LEVELS.len() - 1;
            let inputs = self.planes.channels * self.window.area() as usize;
            return codes(rows, inputs, table, signs, [plus, minus]).then_some(());
        }
        let mut row = rows.next_row_inline()?;
        match row {
            Row::Words(_) => table.fill(self.planes, self.window, Order::Bits),
            Row::Rice(_) | Row::Gaps(_) | Row::Positions(_) => {
                table.fill(self.planes, self.window, Order::Inputs)
            }
        }
        plus.clear();
        minus.clear();
        self.largest = match row.source() {
            Source::SeededMagnitudes => 0,
            Source::SeededSigns | Source::StoredInt8 => LEVELS.len() - 1,
        };
        for (at, &level) in LEVELS.iter().enumerate().skip(self.largest) {
            match &mut row {
                Row::Words(row) => words(row, level, table, plus, minus),
                Row::Gaps(row) => gaps(row, table, plus, minus),
                Row::Positions(row) => row.for_each(|(input, weight)| {
                    let list = if weight > 0 { &mut *plus } else { &mut *minus };
                    list.push(table.at(input));
                }),
                Row::Rice(row) => coded_level(row, level, table, plus, minus),
            }
            for list in [&mut *plus, &mut *minus] {
                list.ends[at..].fill(list.count);
            }
        }
        rows.resume(row);
        Some(())
    }

    /// Offsets of the weights plus and minus `LEVELS[level]`.
    #[inline(always)]
    pub(super) fn level(&self, level: usize) -> [&[u32]; 2] {
        [self.plus.level(level), self.minus.level(level)]
    }

    /// The first level that may have weights.
    #[inline(always)]
    pub(super) fn largest(&self) -> usize {
        self.largest
    }

    /// Whether the sums of the row fit 16 bits.
    pub(super) fn is_narrow(&self) -> bool {
        self.plus.total() <= MOST_NARROW && self.minus.total() <= MOST_NARROW
    }
}

/// Adds the kept weights ±`level` of a row that has mask words.
#[inline(always)]
fn words(row: &WordRow, level: i32, table: &Table, plus: &mut List, minus: &mut List) {
    let filled = table.filled();
    let (mut masks, mut signs) = ([0; WORDS], [0; WORDS]);
    let words = (filled.len() / WORD).min(WORDS);
    let (masks, signs) = (&mut masks[..words], &mut signs[..words]);
    row.fill(0, level, masks, signs);
    let pairs = masks.as_chunks::<2>().0.iter().zip(signs.as_chunks::<2>().0);
    for (block, (masks, signs)) in filled.as_chunks::<BLOCK>().0.iter().zip(pairs) {
        let [masks, signs] =
            [masks, signs].map(|words| u64::from(words[0]) | u64::from(words[1]) << WORD);
        plus.push_bits(masks & !signs, block);
        minus.push_bits(masks & signs, block);
    }
}

/// Makes the lists of the next row of Rice codes of ±1; `false` after the last. A function of its own,
/// whose loop has the registers to itself.
#[inline(never)]
fn codes(
    rows: &mut Rows,
    inputs: usize,
    table: &Table,
    signs: &mut [u32; WORDS],
    [plus, minus]: [&mut List; 2],
) -> bool {
    let filled = table.filled();
    let signs = &mut signs[..(filled.len() / WORD).min(WORDS)];
    let Some((reader, start)) = rows.next_codes(signs, 0) else { return false };
    // First what is kept, then where it goes: one loop for both would want more registers.
    let mut kept = [const { MaybeUninit::<u16>::uninit() }; MOST_INPUTS];
    let mut count = 0;
    reader.visit(start.saturating_add(inputs as u32), |flat| {
        if let Some(slot) = kept.get_mut(count) {
            slot.write(flat.wrapping_sub(start) as u16);
            count += 1;
        }
    });
    // SAFETY: as many were written.
    let kept = unsafe { kept[..count].assume_init_ref() };
    let mut counts = [0; 2];
    for input in kept {
        let input = usize::from(*input);
        if let (Some(offset), Some(signs)) = (filled.get(input), signs.get(input / WORD)) {
            let is_minus = (signs >> bit_of(input % WORD) & 1) as usize;
            // Into both lists: which one counts cannot be foreseen.
            // SAFETY: no list has more offsets than inputs were kept, for which it has room.
            unsafe {
                *plus.slots.get_unchecked_mut(counts[0]) = *offset;
                *minus.slots.get_unchecked_mut(counts[1]) = *offset;
            }
            counts = [counts[0] + (is_minus ^ 1), counts[1] + is_minus];
        }
    }
    for (list, count) in [plus, minus].into_iter().zip(counts) {
        (list.count, list.ends) = (count, [0, 0, count]);
    }
    true
}

/// Adds the kept weights ±`level` of a row of Rice codes, and reads it to its end with the last level.
fn coded_level(row: &mut RiceRow, level: i32, table: &Table, plus: &mut List, minus: &mut List) {
    let mut pass = row.clone();
    pass.visit(|(input, weight)| match weight.abs() == level {
        true if weight > 0 => plus.push(table.at(input)),
        true => minus.push(table.at(input)),
        false => {}
    });
    if level == 1 {
        *row = pass;
    }
}

fn gaps(row: &GapRow, table: &Table, plus: &mut List, minus: &mut List) {
    for (gaps, list) in [(row.plus, plus), (row.minus, minus)] {
        let mut input = u32::MAX;
        for gap in gaps {
            input = input.wrapping_add((*gap).into());
            list.push(table.at(input));
        }
    }
}

/// An offset, or what nobody reads.
type Slot = MaybeUninit<u32>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Of the inputs.
    Inputs,
    /// Of their bits in mask words.
    Bits,
}

/// The offset of every input from the corner of its window.
struct Table {
    slots: [Slot; MOST_INPUTS],
    /// How the slots are ordered, once they are filled.
    order: Option<Order>,
    /// Slots that were written: whole blocks.
    filled: usize,
}

impl Table {
    fn new() -> Self {
        Self { slots: [const { Slot::uninit() }; MOST_INPUTS], order: None, filled: 0 }
    }

    fn fill(&mut self, planes: &Planes, window: &Window, order: Order) {
        if self.order == Some(order) {
            return;
        }
        let area = window.area() as usize;
        let inputs = (planes.channels * area).min(MOST_INPUTS);
        let filled = inputs.next_multiple_of(BLOCK);
        self.slots.iter_mut().take(filled).for_each(|slot| *slot = Slot::new(0));
        let (plane, left) = (planes.plane(), window.padding[1].into());
        let width = usize::from(window.kernel[1]).max(1);
        // Taps by taps: one channel after the other.
        for tap in 0..area {
            let mut offset = planes.tap(left, tap / width, tap % width) as u32;
            for input in (tap..inputs).step_by(area) {
                let slot = match order {
                    Order::Inputs => input,
                    Order::Bits => input / WORD * WORD + bit_of(input % WORD) as usize,
                };
                self.slots[slot] = Slot::new(offset);
                offset += plane as u32;
            }
        }
        (self.order, self.filled) = (Some(order), filled);
    }

    /// Slots that hold offsets; those of no input hold 0.
    #[inline(always)]
    fn filled(&self) -> &[Slot] {
        self.slots.get(..self.filled).unwrap_or(&[])
    }

    /// The offset of `input`; 0 beyond the last.
    #[inline(always)]
    fn at(&self, input: u32) -> Slot {
        self.filled().get(input as usize).copied().unwrap_or(Slot::new(0))
    }
}

/// Offsets of one sign, magnitude by magnitude.
struct List {
    slots: [Slot; MOST_INPUTS + AT_ONCE],
    count: usize,
    /// The count after each of [`LEVELS`].
    ends: [usize; LEVELS.len()],
}

impl List {
    fn new() -> Self {
        let slots = [const { Slot::uninit() }; MOST_INPUTS + AT_ONCE];
        Self { slots, count: 0, ends: [0; LEVELS.len()] }
    }

    fn clear(&mut self) {
        (self.count, self.ends) = (0, [0; LEVELS.len()]);
    }

    #[inline(always)]
    fn push(&mut self, offset: Slot) {
        if let Some(slot) = self.slots.get_mut(self.count) {
            *slot = offset;
            self.count += 1;
        }
    }

    /// Adds the offsets in `table` that `bits` names, which must all be filled.
    #[inline(always)]
    fn push_bits(&mut self, mut bits: u64, table: &[Slot; BLOCK]) {
        let end = self.count + bits.count_ones() as usize;
        let mut at = self.count;
        while at < end {
            let Some(slots) = self.slots.get_mut(at..at + AT_ONCE) else { return };
            for slot in slots {
                // Behind the last bit: any slot, overwritten or never read.
                *slot = table[bits.trailing_zeros() as usize % BLOCK];
                bits &= bits.wrapping_sub(1);
            }
            at += AT_ONCE;
        }
        self.count = end;
    }

    #[inline(always)]
    fn level(&self, level: usize) -> &[u32] {
        let start = if level == 0 { 0 } else { self.ends[level - 1] };
        let slots = self.slots.get(start..self.ends[level]).unwrap_or(&[]);
        // SAFETY: `ends` are counts of slots that `push` and `push_bits` wrote, and these are given
        // nothing but filled slots of a table.
        unsafe { slots.assume_init_ref() }
    }

    /// Sum of the magnitudes.
    fn total(&self) -> usize {
        let [four, two, one] = self.ends;
        4 * four + 2 * (two - four) + (one - two)
    }
}
