//! Signed byte gaps: a list of plus and a list of minus weights for every row.

use super::MaskError;

/// Bytes of a row's two counts.
const HEADER: usize = 4;

/// One row: distances from index to index, beginning at −1, in two lists.
#[derive(Clone, Debug)]
pub struct GapRow<'a> {
    /// Distances between the weights +1.
    pub plus: &'a [u8],
    /// Distances between the weights −1.
    pub minus: &'a [u8],
    /// The index before the next one; −1 at the beginning of a list.
    previous: u32,
}

impl<'a> GapRow<'a> {
    /// Takes one row off `bytes`; `None` where they end before it does.
    pub(super) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([p0, p1, m0, m1], rest) = bytes.split_first_chunk::<HEADER>()?;
        let (plus, rest) = rest.split_at_checked(u16::from_le_bytes([*p0, *p1]).into())?;
        let (minus, rest) = rest.split_at_checked(u16::from_le_bytes([*m0, *m1]).into())?;
        Some((Self { plus, minus, previous: u32::MAX }, rest))
    }
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
    if rest.is_empty() {
        return Ok(());
    }
    let (found, unread) = (bytes.len() as u32, rest.len() as u32);
    Err(MaskError::Length { found, expected: found - unread })
}
