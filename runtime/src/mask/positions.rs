//! Signed positions: the kept weights of short rows, a byte each, and half a byte for their count.

use super::MaskError;
use super::row::toggle;

/// Most inputs of a row: a position has seven bits.
pub(super) const MAX_INPUTS: u32 = 128;

/// Rows whose counts share a word.
pub(crate) const GROUP: usize = 8;

/// Half a byte that says that the count stands elsewhere, in a byte of its own.
pub(super) const ELSEWHERE: u8 = 15;

/// How many weights each row keeps.
#[derive(Clone, Debug)]
pub(crate) struct Counts<'a> {
    groups: &'a [[u8; GROUP / 2]],
    /// What is behind the groups: at the end, from the last byte on, the counts that stand elsewhere.
    rest: &'a [u8],
    base: u8,
}

impl<'a> Counts<'a> {
    /// Those of a section, and its positions. Nothing where it is too short.
    pub(crate) fn new(section: &'a [u8], rows: u32, base: u8) -> (Self, &'a [u8]) {
        let bytes = GROUP / 2 * (rows as usize).div_ceil(GROUP);
        let (groups, rest) = section.split_at_checked(bytes).unwrap_or_default();
        (Self { groups: groups.as_chunks().0, rest, base }, rest)
    }

    /// The next group, a byte each from the lowest on; behind the last row anything.
    #[inline(always)]
    pub(crate) fn next_group(&mut self) -> Option<[u32; 2]> {
        const HALVES: u32 = 0x0f0f_0f0f;
        const ONES: u32 = 0x0101_0101;
        let (group, groups) = self.groups.split_first()?;
        self.groups = groups;
        let halves = u32::from_le_bytes(*group);
        let halves = [halves & HALVES, halves >> 4 & HALVES];
        let base = u32::from(self.base) * ONES;
        Some(halves.map(|halves| match (halves + ONES) & !HALVES {
            0 => halves.wrapping_add(base),
            _ => self.read_elsewhere(halves),
        }))
    }

    /// The counts of four rows, some of which stand elsewhere.
    #[inline(never)]
    fn read_elsewhere(&mut self, halves: u32) -> u32 {
        u32::from_le_bytes(halves.to_le_bytes().map(|half| self.count(half)))
    }

    /// The count that half a byte says, those before it having been asked for.
    fn count(&mut self, half: u8) -> u8 {
        if half != ELSEWHERE {
            return half.wrapping_add(self.base);
        }
        let (last, rest) = self.rest.split_last().unwrap_or((&0, &[]));
        self.rest = rest;
        *last
    }
}

/// The rows of a section.
#[derive(Clone, Debug)]
pub(super) struct Lists<'a> {
    counts: Counts<'a>,
    row: usize,
    positions: &'a [u8],
}

impl<'a> Lists<'a> {
    pub(super) fn new(section: &'a [u8], rows: u32, base: u8) -> Self {
        let (counts, positions) = Counts::new(section, rows, base);
        Self { counts, row: 0, positions }
    }

    /// Halves from the next row's on, a byte each from the lowest on, up to the end of its group; `None`
    /// behind the last group.
    fn halves(&self) -> Option<u64> {
        const HALVES: u32 = 0x0f0f_0f0f;
        let group = u32::from_le_bytes(*self.counts.groups.get(self.row / GROUP)?);
        let halves = u64::from(group & HALVES) | u64::from(group >> 4 & HALVES) << 32;
        Some(halves >> (8 * (self.row % GROUP)))
    }

    /// The positions from the next row on, and the counts of some rows, one at least.
    #[cfg(seedmask_dsp)]
    pub(super) fn ahead(&self) -> Option<(&'a [u8], [u8; GROUP], usize)> {
        let mut counts = self.counts.clone();
        let some = self.halves()?.to_le_bytes().map(|half| counts.count(half));
        Some((self.positions, some, GROUP - self.row % GROUP))
    }

    /// Leaves out `rows` of those; the others' positions are the last `left` bytes.
    #[cfg(seedmask_dsp)]
    pub(super) fn skip(&mut self, rows: usize, left: usize) {
        for half in self.halves().unwrap_or(0).to_le_bytes().into_iter().take(rows) {
            self.counts.count(half);
        }
        self.row += rows;
        let read = self.positions.len().saturating_sub(left);
        self.positions = self.positions.get(read..).unwrap_or_default();
    }

    /// The positions of the next row; `None` where the section ends before it does.
    pub(super) fn next(&mut self) -> Option<PositionRow<'a>> {
        let half = self.halves()? as u8;
        self.row += 1;
        let count = self.counts.count(half);
        let (positions, rest) = self.positions.split_at_checked(count.into())?;
        self.positions = rest;
        Some(PositionRow { positions })
    }
}

/// One row: a byte for each weight, its input in the lower seven bits, 1 in the eighth for −1.
#[derive(Clone, Debug)]
pub struct PositionRow<'a> {
    /// In the order of the inputs.
    pub positions: &'a [u8],
}

impl PositionRow<'_> {
    /// Sets the bits of what is kept in `masks`, and of weights −1 in `signs`, which are all 0.
    pub(super) fn read(self, masks: &mut [u32], signs: &mut [u32]) {
        for position in self.positions {
            toggle(masks, signs, usize::from(position % 128), u32::from(position / 128));
        }
    }
}

impl Iterator for PositionRow<'_> {
    type Item = (u32, i32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (position, rest) = self.positions.split_first()?;
        self.positions = rest;
        let weight = if *position < 128 { 1 } else { -1 };
        Some((u32::from(position % 128), weight))
    }
}

/// What kernels rely on: no row is longer than the inputs, and all lie within the section. What they list
/// may be anything.
#[inline(never)]
pub(super) fn check_counts(
    bytes: &[u8],
    rows: u32,
    inputs: u32,
    base: u8,
) -> Result<(), MaskError> {
    if inputs > MAX_INPUTS {
        return Err(MaskError::Inputs { found: inputs, limit: MAX_INPUTS });
    }
    let (mut counts, positions) = Counts::new(bytes, rows, base);
    let (mut row, mut left) = (0, positions.len() as u32);
    while row < rows {
        let group = counts.next_group().ok_or(MaskError::Truncated { row })?;
        for count in group.map(u32::to_le_bytes).as_flattened().iter().take((rows - row) as usize) {
            let found = u32::from(*count);
            if found > inputs {
                return Err(MaskError::TooManyEntries { row, found, limit: inputs });
            }
            left = left.checked_sub(found).ok_or(MaskError::Truncated { row })?;
            row += 1;
        }
    }
    Ok(())
}

/// Checks what [`check_counts`] leaves. A function of its own, whose loops have the registers to themselves.
#[inline(never)]
pub(super) fn check(bytes: &[u8], rows: u32, inputs: u32, base: u8) -> Result<(), MaskError> {
    let (mut counts, mut positions) = Counts::new(bytes, rows, base);
    let mut row = 0;
    while let Some(group) = counts.next_group() {
        for count in group.map(u32::to_le_bytes).as_flattened().iter().copied() {
            if row == rows {
                break;
            }
            let (list, rest) =
                positions.split_at_checked(count.into()).ok_or(MaskError::Truncated { row })?;
            let mut next = 0;
            for position in list {
                let input = u32::from(position % 128);
                if input < next {
                    return Err(MaskError::Order { row });
                }
                next = input + 1;
            }
            if next > inputs {
                return Err(MaskError::Outside { row });
            }
            positions = rest;
            row += 1;
        }
    }
    if row < rows {
        return Err(MaskError::Truncated { row });
    }
    if unused_halves(bytes, rows) {
        return Err(MaskError::Padding { row: rows });
    }
    // Behind the positions are the counts that stand elsewhere, and nothing else.
    let taken = Counts::new(bytes, rows, base).1.len() - counts.rest.len();
    match (bytes.len() - positions.len() + taken, bytes.len()) {
        (expected, found) if expected == found => Ok(()),
        (expected, found) => {
            Err(MaskError::Length { found: found as u32, expected: expected as u32 })
        }
    }
}

/// Whether halves behind the last row's are not 0.
fn unused_halves(bytes: &[u8], rows: u32) -> bool {
    let used = (rows as usize - 1) % GROUP + 1;
    let last = (rows as usize - 1) / GROUP * (GROUP / 2);
    let Some(group) = bytes.get(last..).and_then(<[u8]>::first_chunk::<4>) else { return false };
    let half = |row: usize| group.get(row % 4).map_or(0, |byte| byte >> (row / 4 * 4) & 15);
    (used..GROUP).any(|row| half(row) != 0)
}
