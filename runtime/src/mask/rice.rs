//! Golomb-Rice codes of the gaps between kept weights (Golomb, "Run-length encodings", 1966; Rice
//! and Plaunt, 1971): within 3 % of the entropy of a random mask below density ½.

use super::MaskError;
use super::values::Values;

/// Bytes of the count that a section begins with.
pub(super) const HEADER: usize = 4;

/// Reads a section code by code: stands at one kept weight, knows nothing of rows.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes up to where the window ends.
    pub(crate) next: usize,
    /// The bits before that that are not used, the next one lowest.
    pub(crate) window: u32,
    pub(crate) bits: u32,
    pub(crate) parameter: u32,
    /// Flat index of the kept weight that the reader stands at; [`NONE_LEFT`] behind the last.
    pub(crate) flat: u32,
}

/// Where a [`Reader`] stands.
#[cfg(seedmask_dsp)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    next: usize,
    window: u32,
    bits: u32,
    flat: u32,
}

/// Outside of every row.
const NONE_LEFT: u32 = u32::MAX;

impl<'a> Reader<'a> {
    /// A reader at the first kept weight; one with nothing left where `bytes` are no section.
    pub(super) fn new(bytes: &'a [u8], parameter: u8) -> Self {
        // The count says nothing that the stream does not: what is left of its last byte is no code.
        let bytes = bytes.get(HEADER..).unwrap_or_default();
        let parameter = u32::from(parameter.min(super::MAX_RICE_PARAMETER));
        let reader = Self { bytes, next: 0, window: 0, bits: 0, parameter, flat: 0 };
        let (reader, gap) = reader.late_gap();
        Self { flat: gap.unwrap_or(NONE_LEFT), ..reader }
    }

    /// The kept weight that the reader stands at; `None` after the last.
    #[inline(always)]
    fn peek(&self) -> Option<u32> {
        (self.flat != NONE_LEFT).then_some(self.flat)
    }

    /// Where the reader stands, for [`Reader::go_back`].
    #[cfg(seedmask_dsp)]
    pub(crate) fn place(&self) -> Place {
        Place { next: self.next, window: self.window, bits: self.bits, flat: self.flat }
    }

    /// Goes back to a place.
    #[cfg(seedmask_dsp)]
    pub(super) fn go_back(&mut self, place: Place) {
        (self.next, self.window) = (place.next, place.window);
        (self.bits, self.flat) = (place.bits, place.flat);
    }

    /// Goes on to the next kept weight.
    #[inline(always)]
    pub(crate) fn advance(&mut self) {
        let gap = self.gap();
        self.go_on(gap);
    }

    /// The same behind a code that surely does not lie in the window whole.
    #[cfg(seedmask_dsp)]
    pub(crate) fn advance_beyond_window(&mut self) {
        let (reader, gap) = self.clone().late_gap();
        *self = reader;
        self.go_on(gap);
    }

    /// Goes on by what a code says.
    #[inline(always)]
    fn go_on(&mut self, gap: Option<u32>) {
        self.flat = match gap {
            Some(gap) => self.flat.saturating_add(gap).saturating_add(1),
            None => NONE_LEFT,
        };
    }

    /// Calls `each` with the flat indices of the kept weights before `end`.
    #[inline(always)]
    pub(crate) fn visit(&mut self, end: u32, mut each: impl FnMut(u32)) {
        // By value: the loop can then keep the reader in registers.
        let mut reader = self.clone();
        while reader.flat < end {
            each(reader.flat);
            reader.advance();
        }
        *self = reader;
    }

    /// Fills the window, with at least 25 bits where there are as many.
    #[cfg_attr(not(seedmask_small), inline(always))]
    #[cfg_attr(seedmask_small, inline(never))]
    fn refill(&mut self) {
        let from = self.next.saturating_sub(self.bits.div_ceil(8) as usize);
        let used = self.bits.wrapping_neg() % 8;
        let rest = self.bytes.get(from..).unwrap_or_default();
        let (word, len) = match rest.first_chunk() {
            Some(word) => (u32::from_le_bytes(*word), 4),
            None => {
                let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
                (word, rest.len())
            }
        };
        self.window = word >> used;
        self.bits = (8 * len as u32).saturating_sub(used);
        self.next = from + len;
    }

    /// Weights skipped before the next kept one; `None` where the bytes end within a code.
    #[inline(always)]
    fn gap(&mut self) -> Option<u32> {
        if let Some(gap) = self.gap_in_window() {
            return Some(gap);
        }
        if !cfg!(seedmask_small) {
            self.refill();
            if let Some(gap) = self.gap_in_window() {
                return Some(gap);
            }
        }
        // By value: a loop can then keep the reader in registers.
        let (reader, gap) = self.clone().late_gap();
        *self = reader;
        gap
    }

    /// A code that does not lie in the window whole, and the reader after it.
    #[inline(never)]
    fn late_gap(mut self) -> (Self, Option<u32>) {
        self.refill();
        let gap = self.gap_in_window().or_else(|| self.long_gap());
        (self, gap)
    }

    /// The same where the code lies in the window whole.
    #[inline(always)]
    fn gap_in_window(&mut self) -> Option<u32> {
        let zeros = self.window.trailing_zeros();
        let used = zeros + 1 + self.parameter;
        if used > self.bits {
            return None;
        }
        let rest = self.window >> zeros >> 1;
        self.window = rest >> self.parameter;
        self.bits -= used;
        Some(zeros << self.parameter | rest & self.low_bits())
    }

    #[inline(always)]
    fn low_bits(&self) -> u32 {
        (1 << self.parameter) - 1
    }

    /// A code that goes on beyond the window.
    fn long_gap(&mut self) -> Option<u32> {
        let quotient = self.long_quotient()?;
        self.refill();
        let low = self.window & self.low_bits();
        self.bits = self.bits.checked_sub(self.parameter)?;
        self.window >>= self.parameter;
        Some(quotient.min(u32::MAX >> self.parameter) << self.parameter | low)
    }

    fn long_quotient(&mut self) -> Option<u32> {
        let mut quotient = 0_u32;
        while self.window == 0 {
            if self.bits == 0 {
                return None;
            }
            quotient = quotient.saturating_add(self.bits);
            self.bits = 0;
            self.refill();
        }
        let zeros = self.window.trailing_zeros();
        self.window = self.window >> zeros >> 1;
        self.bits = self.bits.checked_sub(zeros + 1)?;
        Some(quotient.saturating_add(zeros))
    }
}

/// One row of Rice gaps.
#[derive(Clone, Debug)]
pub struct RiceRow<'a> {
    pub(super) reader: Reader<'a>,
    /// Flat indices of the row's first weight and of the next row's.
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) values: Values<'a>,
}

impl RiceRow<'_> {
    /// Reads on without looking at weights until the next row begins.
    pub(super) fn skip(reader: &mut Reader, start: u32) {
        while reader.peek().is_some_and(|flat| flat < start) {
            reader.advance();
        }
    }

    /// Calls `each` with the kept weights that are left; faster than one call for each.
    #[cfg(seedmask_vectors)]
    #[inline(always)]
    pub(crate) fn visit(&mut self, mut each: impl FnMut((u32, i32))) {
        let (start, mut values) = (self.start, self.values.clone());
        self.reader.visit(self.end, |flat| {
            let index = flat.wrapping_sub(start);
            each((index, values.weight(index)));
        });
    }

    #[inline(always)]
    fn step(&mut self) -> Option<(u32, i32)> {
        let flat = self.reader.peek().filter(|flat| *flat < self.end)?;
        self.reader.advance();
        let index = flat.wrapping_sub(self.start);
        Some((index, self.values.weight(index)))
    }
}

impl Iterator for RiceRow<'_> {
    type Item = (u32, i32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.step()
    }
}

/// Reads all codes: their weights must lie within the layer, and their bits fill the section.
/// A function of its own, whose loops have the registers to themselves.
#[inline(never)]
pub(super) fn check(bytes: &[u8], parameter: u8, rows: u32, inputs: u32) -> Result<(), MaskError> {
    let found = bytes.len() as u32;
    let (truncated, outside) =
        (MaskError::Truncated { row: rows }, MaskError::Outside { row: rows });
    let Some((count, stream)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(MaskError::Length { found, expected: HEADER as u32 });
    };
    let parameter = u32::from(parameter);
    let (low_bits, code_bits) = ((1 << parameter) - 1, 1 + parameter);
    // Bits of the first byte that are used: 0..=7.
    let (mut stream, mut used) = (stream, 0);
    // Every code takes at least a bit, so a count beyond the bits stops where they end.
    let mut left = u32::from_le_bytes(*count);
    // Weights behind the last kept one: indices only grow, so no other can be outside.
    let mut behind = rows * inputs;
    while left > 0 {
        let word = stream.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        let (mut window, bits) = (word >> used, 32 - used);
        let (before, mut unread, mut gaps) = (left, bits as i32, 0);
        // At most 32 codes: no overflow.
        while left > 0 {
            let zeros = window.trailing_zeros();
            let taken = (zeros + code_bits) as i32;
            unread -= taken;
            if unread < 0 {
                unread += taken;
                break;
            }
            let rest = window >> zeros;
            gaps += rest >> 1 & low_bits;
            window = rest >> code_bits;
            left -= 1;
        }
        let read = before - left;
        let (bytes, bits) = if read > 0 {
            let taken = bits - unread as u32;
            // What is neither a 1 nor a low bit is a 0.
            gaps += (taken - read * code_bits) << parameter;
            behind = behind.checked_sub(gaps + read).ok_or(outside)?;
            ((used + taken) as usize / 8, (used + taken) % 8)
        } else {
            let (gap, taken) = long_or_late(stream, used, parameter).ok_or(truncated)?;
            behind = behind.checked_sub(gap).and_then(|rest| rest.checked_sub(1)).ok_or(outside)?;
            left -= 1;
            let end = u64::from(used) + taken;
            ((end / 8) as usize, end as u32 % 8)
        };
        stream = stream.get(bytes..).unwrap_or_default();
        used = bits;
    }
    let (last, unread) = match stream.split_first() {
        Some((byte, rest)) if used > 0 => (byte >> used, rest),
        _ => (0, stream),
    };
    if !unread.is_empty() {
        return Err(MaskError::Length { found, expected: found - unread.len() as u32 });
    }
    if last != 0 {
        return Err(MaskError::Padding { row: rows });
    }
    Ok(())
}

/// The gap of a code that does not lie whole in the first four bytes of `stream`, of which `used` bits
/// were read, and its bits. `None` where the bytes end within it.
#[inline(never)]
fn long_or_late(stream: &[u8], used: u32, parameter: u32) -> Option<(u32, u64)> {
    let mut reader = Reader { bytes: stream, next: 0, window: 0, bits: 0, parameter, flat: 0 };
    reader.refill();
    reader.bits = reader.bits.checked_sub(used)?;
    reader.window >>= used;
    let unread = |reader: &Reader| 8 * (stream.len() - reader.next) as u64 + u64::from(reader.bits);
    let before = unread(&reader);
    let gap = reader.gap()?;
    Some((gap, before - unread(&reader)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same from the reader that kernels use.
    fn check_by_reader(bytes: &[u8], parameter: u8, weights: u32) -> bool {
        let mut reader = Reader::new(bytes, parameter);
        let mut count = 0;
        let mut read = (0, 0, 0);
        while let Some(flat) = reader.peek() {
            if flat >= weights {
                return false;
            }
            count += 1;
            read = (reader.next, reader.bits, reader.window);
            reader.advance();
        }
        // What stands behind the last code.
        let (next, bits, window) = read;
        let unread = 8 * (bytes.len().saturating_sub(HEADER) - next) as u32 + bits;
        bytes.starts_with(&u32::to_le_bytes(count)) && unread < 8 && window == 0
    }

    #[test]
    fn the_check_accepts_what_the_reader_reads_whole() {
        let random = crate::random::Generator::new(5, crate::random::Stream::Host(0));
        let (mut accepted, mut refused) = (0, 0);
        for sample in 0..20_000_u32 {
            let word = |index: u32| random.word(8 * sample + index);
            let parameter = (word(0) % 16) as u8;
            let length = word(1) % 12;
            let mut bytes = (word(2) % 24).to_le_bytes().to_vec();
            let stream = [word(3), word(4) & word(5), word(6) & word(7)];
            bytes.extend(stream.into_iter().flat_map(u32::to_le_bytes).take(length as usize));
            for count in 0..32_u32 {
                bytes[0] = count as u8;
                for weights in [40, 1000, 65_535] {
                    let found = check(&bytes, parameter, 1, weights).is_ok();
                    assert_eq!(found, check_by_reader(&bytes, parameter, weights), "{bytes:x?}");
                    if found { accepted += 1 } else { refused += 1 }
                }
            }
        }
        assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
    }
}
