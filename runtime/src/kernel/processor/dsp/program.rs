//! Kept weights of a channel, or of two, as a program for [`super::tiles`].
//!
//! Two channels share what both keep: with A the taps of equal signs, B those of opposite signs (as
//! the first has them), C and D those of one channel only, the sums are A + B + C and A − B + D. A
//! list of plus taps and one of minus taps grow toward each other in what is left of the memory, so
//! one pass over the mask words serves two lists.

use super::tiles::{END, SINGLE, Then};
use crate::mask::Row;
use crate::random::{WORD, bit_of};

/// Words of the end of a list.
const TAIL: usize = 3;

/// Most kept weights of one sign: their sum must fit 16 bits.
pub(super) const MOST: usize = 258;

/// Mask and sign words of a row.
#[derive(Clone, Copy)]
pub(super) struct Bits<'s> {
    pub masks: &'s [u32],
    pub signs: &'s [u32],
}

impl<'s> Bits<'s> {
    /// Reads `row` to its end; `None` where its weights are not ±1 from the seed. `words` holds twice
    /// the mask words of a row.
    pub(super) fn read(row: &mut Row, words: &'s mut [u32]) -> Option<Self> {
        let (masks, signs) = words.split_at_mut_checked(words.len() / 2)?;
        let drawn = row.read_mask(masks)?;
        (0..).zip(signs.iter_mut()).for_each(|(word, signs)| *signs = drawn.word(word));
        Some(Self { masks, signs })
    }

    /// Mask and signs, word by word.
    fn pairs(self) -> impl Iterator<Item = (u32, u32)> {
        self.masks.iter().zip(self.signs).map(|(mask, signs)| (*mask, *signs))
    }
}

/// How many inputs both rows keep.
pub(super) fn shared(first: Bits, last: Bits) -> usize {
    first.masks.iter().zip(last.masks).map(|(a, b)| (a & b).count_ones() as usize).sum()
}

/// Where a program begins, and the sign of its sums.
#[derive(Clone, Copy)]
pub(super) struct Program {
    pub start: *const u32,
    /// Whether the sums come with the opposite sign.
    pub negated: bool,
}

/// A list, and where its end is written.
struct List {
    start: *mut u32,
    len: usize,
}

impl List {
    /// Writes the end of the list, and gives its beginning.
    ///
    /// # Safety
    /// [`TAIL`] words behind the list are writable and its own.
    unsafe fn end(&self, then: Then, next: *const u32) -> *const u32 {
        // A single tap is the first of a list that grew from the back and the last of the other; to
        // this end they are the same: one of an odd count.
        unsafe {
            let end = self.start.add(self.len);
            let odd = self.len % 2 == 1;
            let (start, tap, tail) = match odd {
                false => (self.start, 0, end),
                // The pairs begin behind the first tap.
                true => (self.start.add(1), *self.start, end),
            };
            *tail = END | tap;
            *tail.add(1) = then as u32 + if odd { SINGLE } else { 0 };
            *tail.add(2) = next as u32;
            start
        }
    }
}

/// Writes programs to a piece of memory.
pub(super) struct Writer<'s> {
    /// Offset of the input at each bit, from the highest of the first word down.
    table: &'s [u16],
    front: *mut u32,
    back: *mut u32,
}

impl<'s> Writer<'s> {
    /// `None` where `memory` cannot hold a program of `inputs` taps.
    pub(super) fn new(table: &'s [u16], memory: &'s mut [u32], inputs: usize) -> Option<Self> {
        let memory = memory.get_mut(..inputs + 8 * TAIL)?;
        let range = memory.as_mut_ptr_range();
        Some(Self { table, front: range.start, back: range.end })
    }

    /// Lists of the taps that `split` gives for each mask word: those for the one list and those for
    /// the other.
    ///
    /// # Safety
    /// Over all calls, no input is given twice, and there are at most four calls.
    unsafe fn lists(&mut self, split: impl Iterator<Item = (u32, u32)>) -> [List; 2] {
        // SAFETY: `new` saw room for every input once and for eight ends; `chunks` are whole, so
        // that every bit has its entry in the table.
        unsafe {
            let (start, end) = (self.front, self.back.sub(TAIL));
            let (mut front, mut back) = (start, end);
            for ((mut plus, mut minus), table) in split.zip(self.table.chunks_exact(WORD)) {
                let table = table.as_ptr();
                while plus != 0 {
                    let at = plus.leading_zeros();
                    *front = u32::from(*table.add(at as usize));
                    front = front.add(1);
                    plus &= !(1 << 31 >> at);
                }
                while minus != 0 {
                    let at = minus.leading_zeros();
                    back = back.sub(1);
                    *back = u32::from(*table.add(at as usize));
                    minus &= !(1 << 31 >> at);
                }
            }
            let one = List { start, len: front.offset_from(start) as usize };
            let other = List { start: back, len: end.offset_from(back) as usize };
            (self.front, self.back) = (front.add(TAIL), back);
            [one, other]
        }
    }

    /// The program of one channel; `None` where its sums may pass 16 bits.
    pub(super) fn one(mut self, bits: Bits) -> Option<Program> {
        let split = bits.pairs().map(|(mask, signs)| (mask & !signs, mask & signs));
        // SAFETY: each input is in one of the lists, once; the ends go where `lists` left room.
        unsafe {
            let [plus, minus] = self.lists(split);
            if plus.len > MOST || minus.len > MOST {
                return None;
            }
            let (start, negated) = match (plus.len, minus.len) {
                (_, 0) => (plus.end(Then::Last, core::ptr::null()), false),
                (0, _) => (minus.end(Then::Last, core::ptr::null()), true),
                _ => {
                    let minus = minus.end(Then::Last, core::ptr::null());
                    (plus.end(Then::Negate, minus), true)
                }
            };
            Some(Program { start, negated })
        }
    }

    /// The program of two channels; `None` where their sums may pass 16 bits.
    pub(super) fn two(mut self, first: Bits, last: Bits) -> Option<Program> {
        let words = || first.pairs().zip(last.pairs());
        let signed = |taps: u32, signs: u32| (taps & !signs, taps & signs);
        // SAFETY: each input is in one of the eight lists, once; the ends go where `lists` left room.
        unsafe {
            let [equal_plus, equal_minus] =
                self.lists(words().map(|((m, s), (n, t))| signed(m & n & !(s ^ t), s)));
            let [other_plus, other_minus] =
                self.lists(words().map(|((m, s), (n, t))| signed(m & n & (s ^ t), s)));
            let [first_plus, first_minus] =
                self.lists(words().map(|((m, s), (n, _))| signed(m & !n, s)));
            let [last_plus, last_minus] =
                self.lists(words().map(|((m, _), (n, t))| signed(n & !m, t)));
            let counts = [
                equal_plus.len + other_plus.len + first_plus.len,
                equal_minus.len + other_minus.len + first_minus.len,
                equal_plus.len + other_minus.len + last_plus.len,
                equal_minus.len + other_plus.len + last_minus.len,
            ];
            if counts.iter().any(|count| *count > MOST) {
                return None;
            }
            // From the last list to the first, as each end names the next. Sums are negated in
            // between, and the last time by their epilogue.
            let next = last_minus.end(Then::Last, core::ptr::null());
            let next = last_plus.end(Then::Negate, next);
            let next = first_minus.end(Then::First, next);
            let next = first_plus.end(Then::Negate, next);
            let next = other_plus.end(Then::AddAndSubtract, next);
            let next = other_minus.end(Then::Negate, next);
            let next = equal_plus.end(Then::PutAside, next);
            let start = equal_minus.end(Then::Negate, next);
            Some(Program { start, negated: true })
        }
    }
}

/// Where the offset of `input` stands in a table: the places of a word's bits, from the highest down.
pub(super) const fn table_at(input: usize) -> usize {
    input / WORD * WORD + 31 - bit_of(input % WORD) as usize
}
