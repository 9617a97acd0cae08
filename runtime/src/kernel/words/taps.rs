//! A row of a convolution as lists of offsets into the input, built once a row in scratch.

use crate::family::Family;
use crate::kernel::Planes;
use crate::layer::{Source, Window};
use crate::mask::{Row, Rows};

/// Division of numbers below 2¹⁶ by one number, without a division: one multiplication and a
/// correction.
#[derive(Clone, Copy)]
struct Divisor {
    value: u32,
    /// `floor(2¹⁶ / value)`: the quotient is exact or one too small.
    reciprocal: u32,
}

impl Divisor {
    fn new(value: u32) -> Self {
        let value = value.max(1);
        Self { value, reciprocal: (1 << 16) / value }
    }

    /// Quotient and remainder.
    #[inline(always)]
    fn divide(self, number: u32) -> (u32, u32) {
        let quotient = number.wrapping_mul(self.reciprocal) >> 16;
        let rest = number.wrapping_sub(quotient.wrapping_mul(self.value));
        if rest >= self.value { (quotient + 1, rest - self.value) } else { (quotient, rest) }
    }
}

/// From an input of a row to its offset from the upper left corner of the window.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    area: Divisor,
    width: Divisor,
    planes: Planes,
    plane: u32,
    left: usize,
}

impl Geometry {
    pub(super) fn new(planes: &Planes, window: &Window) -> Self {
        Self {
            area: Divisor::new(window.area()),
            width: Divisor::new(window.kernel[1].into()),
            planes: *planes,
            plane: planes.plane() as u32,
            left: window.padding[1].into(),
        }
    }

    #[inline(always)]
    fn offset(&self, input: u32) -> u32 {
        let (channel, tap) = self.area.divide(input);
        let (y, x) = self.width.divide(tap);
        let tap = self.planes.tap(self.left, y as usize, x as usize) as u32;
        channel.wrapping_mul(self.plane).wrapping_add(tap)
    }
}

/// Magnitudes of seeded weights, each with lists of its own.
pub(super) const LEVELS: [i32; LEVEL_COUNT] = {
    let (all, mut levels, mut level) = ([1, 2, 4], [0; LEVEL_COUNT], 0);
    while level < LEVEL_COUNT {
        levels[level] = all[level];
        level += 1;
    }
    levels
};

const LEVEL_COUNT: usize = if Family::Magnitudes.is_linked() { 3 } else { 1 };

/// The kept weights of one row.
pub(super) enum Taps<'s> {
    /// Offsets of plus and minus weights for each of [`LEVELS`].
    Signed([(&'s [u32], &'s [u32]); LEVEL_COUNT]),
    /// Any `i8` weight in the low byte, its offset in the 24 bits above: enough for
    /// [`crate::kernel::MAX_STORAGE`].
    Stored(&'s [u32]),
}

impl<'s> Taps<'s> {
    /// Reads `row` of `rows`. Plus lists grow from the front of `scratch`, minus lists from its
    /// back; a row has no more entries than `scratch` has words.
    pub(super) fn read<'a>(
        rows: &mut Rows<'a>,
        row: Row<'a>,
        geometry: &Geometry,
        scratch: &'s mut [u32],
    ) -> Self {
        match row.source() {
            Source::SeededMagnitudes if Family::Magnitudes.is_linked() => {
                Self::signed(rows, row, geometry, scratch, LEVEL_COUNT)
            }
            Source::StoredInt8 if Family::Stored.is_linked() => {
                Self::stored(rows, row, geometry, scratch)
            }
            _ => Self::signed(rows, row, geometry, scratch, 1),
        }
    }

    fn signed<'a>(
        rows: &mut Rows<'a>,
        row: Row<'a>,
        geometry: &Geometry,
        scratch: &'s mut [u32],
        levels: usize,
    ) -> Self {
        let mut free = scratch;
        let mut lists: [(&[u32], &[u32]); LEVEL_COUNT] = Default::default();
        for (list, level) in lists.iter_mut().zip(LEVELS).take(levels) {
            let (mut front, mut back) = (0, free.len());
            let mut pass = row.clone();
            for (input, weight) in pass.by_ref() {
                if weight.abs() != level || front == back {
                    continue;
                }
                let slot = if weight > 0 { front } else { back - 1 };
                if let Some(entry) = free.get_mut(slot) {
                    *entry = geometry.offset(input);
                }
                if weight > 0 { front += 1 } else { back -= 1 }
            }
            rows.resume(pass);
            let all = core::mem::take(&mut free);
            let (all, minus) = all.split_at_mut_checked(back).unwrap_or_default();
            let (plus, rest) = all.split_at_mut_checked(front).unwrap_or_default();
            *list = (plus, minus);
            free = rest;
        }
        Self::Signed(lists)
    }

    fn stored<'a>(
        rows: &mut Rows<'a>,
        mut row: Row<'a>,
        geometry: &Geometry,
        scratch: &'s mut [u32],
    ) -> Self {
        let mut count = 0;
        for (entry, (input, weight)) in scratch.iter_mut().zip(row.by_ref()) {
            *entry = geometry.offset(input) << 8 | u32::from(weight as u8);
            count += 1;
        }
        rows.resume(row);
        Self::Stored(scratch.get(..count).unwrap_or(&[]))
    }
}

/// Offset and weight of an entry of [`Taps::Stored`].
#[inline(always)]
pub(super) fn unpack(entry: u32) -> (u32, i32) {
    (entry >> 8, i32::from(entry as u8 as i8))
}
