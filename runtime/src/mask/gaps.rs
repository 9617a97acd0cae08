//! Signed byte gaps: a list of plus and a list of minus weights for every row, in whole words.

use super::MaskError;
use super::row::toggle;

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
    /// The index before the next one; −1 at the beginning of a list.
    previous: u32,
}

impl<'a> GapRow<'a> {
    /// Takes one row off `bytes`; `None` where they end before it does.
    pub(super) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([p0, p1, m0, m1], rest) = bytes.split_first_chunk::<HEADER>()?;
        let (plus, rest) = list(rest, u16::from_le_bytes([*p0, *p1]))?;
        let (minus, rest) = list(rest, u16::from_le_bytes([*m0, *m1]))?;
        Some((Self { plus, minus, previous: u32::MAX }, rest))
    }

    /// Sets the bits of what is kept in `masks`, and of the minus list in `signs`, which are all 0. What
    /// stands in both lists cancels.
    pub(super) fn read(self, masks: &mut [u32], signs: &mut [u32]) {
        for (list, sign) in [(self.plus, 0), (self.minus, 1)] {
            let mut index = usize::MAX;
            for gap in list {
                index = index.wrapping_add((*gap).into());
                toggle(masks, signs, index, sign);
            }
        }
    }
}

/// Bytes of a list of `entries`: whole words, so that lists of an aligned section are aligned.
const fn list_bytes(entries: u16) -> usize {
    (entries as usize).next_multiple_of(4)
}

/// A list of `entries`, and the bytes behind it and what fills it up to whole words.
fn list(bytes: &[u8], entries: u16) -> Option<(&[u8], &[u8])> {
    let (words, rest) = bytes.split_at_checked(list_bytes(entries))?;
    Some((words.get(..entries.into())?, rest))
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

/// A function of its own, whose loops have the registers to themselves.
#[inline(never)]
pub(super) fn check(bytes: &[u8], rows: u32, inputs: u32) -> Result<(), MaskError> {
    let mut rest = bytes;
    for row in 0..rows {
        let truncated = MaskError::Truncated { row };
        let ([p0, p1, m0, m1], lists) = rest.split_first_chunk::<HEADER>().ok_or(truncated)?;
        let counts = [u16::from_le_bytes([*p0, *p1]), u16::from_le_bytes([*m0, *m1])];
        let found = u32::from(counts[0]) + u32::from(counts[1]);
        rest = lists;
        for entries in counts {
            let (list, after) = rest.split_at_checked(list_bytes(entries)).ok_or(truncated)?;
            check_list(list.as_chunks().0, entries, row, inputs)?;
            rest = after;
        }
        if found > inputs {
            return Err(MaskError::TooManyEntries { row, found, limit: inputs });
        }
    }
    let (found, unread) = (bytes.len() as u32, rest.len() as u32);
    match rest {
        [0, 0, 0, 0, 0, 0, 0, 0] => Ok(()),
        _ if rest.len() == END => Err(MaskError::Padding { row: rows }),
        _ => Err(MaskError::Length { found, expected: found - unread + END as u32 }),
    }
}

/// A list of `entries` in as few `words` as hold them, four entries at a time.
#[inline(always)]
fn check_list(words: &[[u8; 4]], entries: u16, row: u32, inputs: u32) -> Result<(), MaskError> {
    const LOW: u32 = 0x00ff_00ff;
    // Where a byte of `word` is 0, and maybe above, a bit is set.
    let zeros = |word: u32| word.wrapping_sub(0x0101_0101) & !word & 0x8080_8080;
    let sum_of = |word: u32| ((word & LOW) + (word >> 8 & LOW)).wrapping_mul(0x0001_0001) >> 16;
    // At most 65,535 bytes of 255: no overflow.
    let (mut sum, mut zero) = (0, 0);
    let (whole, last) = words.split_at_checked(usize::from(entries / 4)).unwrap_or_default();
    for word in whole {
        let word = u32::from_le_bytes(*word);
        zero |= zeros(word);
        sum += sum_of(word);
    }
    if let [word] = last {
        let (word, filling) = (u32::from_le_bytes(*word), u32::MAX << (8 * u32::from(entries % 4)));
        if word & filling != 0 {
            return Err(MaskError::Padding { row });
        }
        zero |= zeros(word | filling);
        sum += sum_of(word);
    }
    if zero != 0 {
        return Err(MaskError::ZeroGap { row });
    }
    // The last index is one less than the sum.
    if sum > inputs {
        return Err(MaskError::Outside { row });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_checked_to_its_last_byte() {
        for length in [1, 3, 4, 7, 255, 256, 257, 1000, 65_535] {
            for gap in [1, 127, 128, 255] {
                let mut list = std::vec![gap; length];
                list.resize(length.next_multiple_of(4), 0);
                let sum = length as u32 * u32::from(gap);
                let check =
                    |list: &[u8], inputs| check_list(list.as_chunks().0, length as u16, 3, inputs);
                assert_eq!(check(&list, sum), Ok(()));
                assert_eq!(check(&list, sum - 1), Err(MaskError::Outside { row: 3 }));
                for at in [0, 1, 2, 3, length / 2, length - 1, length, list.len() - 1] {
                    let Some(byte) = list.get_mut(at) else { continue };
                    let (before, error) = match at < length {
                        true => (core::mem::replace(byte, 0), MaskError::ZeroGap { row: 3 }),
                        false => (core::mem::replace(byte, 1), MaskError::Padding { row: 3 }),
                    };
                    assert_eq!(check(&list, sum), Err(error), "{at} of {length}");
                    list[at] = before;
                }
            }
        }
    }
}
