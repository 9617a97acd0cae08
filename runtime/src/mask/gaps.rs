//! Signed byte gaps: a list of plus and a list of minus weights for every row, in whole words.

use super::MaskError;

/// Bytes of a row's two counts.
const HEADER: usize = 4;

/// Bytes of 0 behind the last row, so that kernels may load two words ahead.
pub(super) const END: usize = 8;

/// One row: distances from index to index, beginning at −1, in two lists.
#[derive(Clone, Debug)]
pub struct GapRow<'a> {
    /// Distances between the weights +1.
    pub plus: &'a [u8],
    /// Distances between the weights −1.
    pub minus: &'a [u8],
    /// What fills up both lists.
    filling: [&'a [u8]; 2],
    /// The index before the next one; −1 at the beginning of a list.
    previous: u32,
}

impl<'a> GapRow<'a> {
    /// Takes one row off `bytes`; `None` where they end before it does.
    pub(super) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([p0, p1, m0, m1], rest) = bytes.split_first_chunk::<HEADER>()?;
        let (plus, after_plus, rest) = list(rest, u16::from_le_bytes([*p0, *p1]))?;
        let (minus, after_minus, rest) = list(rest, u16::from_le_bytes([*m0, *m1]))?;
        let filling = [after_plus, after_minus];
        Some((Self { plus, minus, filling, previous: u32::MAX }, rest))
    }
}

/// Bytes of a list of `entries`: whole words, so that lists of an aligned section are aligned.
const fn list_bytes(entries: u16) -> usize {
    (entries as usize).next_multiple_of(4)
}

/// A list of `entries`, what fills it up to whole words, and the bytes behind.
fn list(bytes: &[u8], entries: u16) -> Option<(&[u8], &[u8], &[u8])> {
    let (words, rest) = bytes.split_at_checked(list_bytes(entries))?;
    let (list, filling) = words.split_at_checked(entries.into())?;
    Some((list, filling, rest))
}

impl Iterator for GapRow<'_> {
    type Item = (u32, i32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some((gap, rest)) = self.plus.split_first() {
            self.plus = rest;
            let index = self.previous.wrapping_add((*gap).into());
            self.previous = if rest.is_empty() { u32::MAX } else { index };
            return Some((index, 1));
        }
        let (gap, rest) = self.minus.split_first()?;
        self.minus = rest;
        self.previous = self.previous.wrapping_add((*gap).into());
        Some((self.previous, -1))
    }
}

pub(super) fn check(bytes: &[u8], rows: u32, inputs: u32) -> Result<(), MaskError> {
    let mut rest = bytes;
    for row in 0..rows {
        let (lists, after) = GapRow::split(rest).ok_or(MaskError::Truncated { row })?;
        let found = (lists.plus.len() + lists.minus.len()) as u32;
        if found > inputs {
            return Err(MaskError::TooManyEntries { row, found, limit: inputs });
        }
        if lists.filling.into_iter().flatten().any(|byte| *byte != 0) {
            return Err(MaskError::Padding { row });
        }
        for list in [lists.plus, lists.minus] {
            if list.contains(&0) {
                return Err(MaskError::ZeroGap { row });
            }
            // At most 65,535 bytes of 255: no overflow. The last index is one less than the sum.
            if list.iter().map(|gap| u32::from(*gap)).sum::<u32>() > inputs {
                return Err(MaskError::Outside { row });
            }
        }
        rest = after;
    }
    let (found, unread) = (bytes.len() as u32, rest.len() as u32);
    match rest {
        [0, 0, 0, 0, 0, 0, 0, 0] => Ok(()),
        _ if rest.len() == END => Err(MaskError::Padding { row: rows }),
        _ => Err(MaskError::Length { found, expected: found - unread + END as u32 }),
    }
}
