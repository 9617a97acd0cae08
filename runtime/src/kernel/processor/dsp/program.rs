//! Kept weights of two channels as a program for [`super::tiles`].
//!
//! The channels share what both keep: with A the taps of equal signs, B those of opposite signs (as
//! the first has them), C and D those of one channel only, the sums are A + B + C and A − B + D. Each
//! of these groups is a list of pairs of a plus and a minus tap, and what is left over of one sign,
//! which counts as plus: a group may be computed with the opposite sign.

use super::channels::MOST;
use super::tiles::{END, SINGLE, Then};
use crate::random::{WORD, bit_of};

/// Words of the end of a list.
const TAIL: usize = 3;

/// Mask and sign words of a row.
#[derive(Clone, Copy)]
pub(super) struct Bits<'s> {
    pub masks: &'s [u32],
    pub signs: &'s [u32],
}

impl Bits<'_> {
    /// Mask and signs, word by word.
    fn pairs(self) -> impl Iterator<Item = (u32, u32)> {
        self.masks.iter().zip(self.signs).map(|(mask, signs)| (*mask, *signs))
    }
}

/// Where a program begins, and what its sums are.
#[derive(Clone, Copy)]
pub(super) struct Program {
    pub start: *const u32,
    /// Whether the sums that it ends with first are those of the second channel.
    pub swapped: bool,
    /// Whether the sums that it ends with first, and last, have the opposite sign.
    pub negated: [bool; 2],
}

/// The lists of a group: pairs of a plus and a minus tap, then what is left over.
struct Group {
    start: *const u32,
    /// Where the end of the list of pairs is written.
    pairs_end: *mut u32,
    /// What is left over, with room for the end of its list behind.
    rest: *mut u32,
    rest_len: usize,
    /// Taps of plus and minus.
    counts: [usize; 2],
    /// Whether plus and minus changed places.
    turned: bool,
    /// Whether minus is left over: the sums so far change their signs before it is added as plus.
    negate: bool,
}

impl Group {
    /// Writes the ends of the lists.
    ///
    /// # Safety
    /// The lists are complete.
    unsafe fn end(&self, then: Then, next: *const u32) {
        // SAFETY: both ends have their room, see `Writer::group`.
        unsafe {
            match (self.rest_len, self.negate) {
                (0, _) => write(self.pairs_end, 0, then as u32, next),
                (1, false) => write(self.pairs_end, *self.rest, then as u32 + SINGLE, next),
                (len, negate) => {
                    let odd = len % 2;
                    let tap = if odd == 1 { *self.rest } else { 0 };
                    let then = then as u32 + if odd == 1 { SINGLE } else { 0 };
                    write(self.rest.add(len), tap, then, next);
                    let add = if negate { Then::NegateAndAdd } else { Then::Add };
                    // A single tap stands before the pairs.
                    write(self.pairs_end, 0, add as u32, self.rest.add(odd));
                }
            }
        }
    }
}

/// The end of a list.
///
/// # Safety
/// [`TAIL`] words are writable.
unsafe fn write(end: *mut u32, tap: u32, then: u32, next: *const u32) {
    // SAFETY: the caller's.
    unsafe {
        *end = END | tap;
        *end.add(1) = then;
        *end.add(2) = next as u32;
    }
}

/// Writes programs to a piece of memory.
pub(super) struct Writer<'s> {
    /// Offset of the input at each bit, from the highest of the first word down, or in the order of the
    /// inputs.
    table: &'s [u16],
    front: *mut u32,
    back: *mut u32,
    memory: core::marker::PhantomData<&'s mut [u32]>,
}

impl<'s> Writer<'s> {
    pub(super) fn new(table: &'s [u16], memory: &'s mut [u32]) -> Self {
        let range = memory.as_mut_ptr_range();
        Self { table, front: range.start, back: range.end, memory: core::marker::PhantomData }
    }

    /// Lists of the taps that `split` gives for each mask word, plus and minus; with `any_sign` turned
    /// so that nothing of minus is left over. `None` where a sign has too many, or where memory ends.
    #[inline(always)]
    fn group(&mut self, any_sign: bool, split: impl Iterator<Item = (u32, u32)>) -> Option<Group> {
        // Plus taps at even places, minus taps at odd ones.
        let (mut plus, mut minus) = (self.front, self.front.wrapping_add(1));
        let free = self.free();
        for ((mut one, mut other), table) in split.zip(self.table.chunks_exact(WORD)) {
            let most = self.len(plus).max(self.len(minus)) + WORD;
            if most > MOST + WORD || 2 * most + TAIL > free {
                return None;
            }
            let table = table.as_ptr();
            // SAFETY: the table has 32 entries for the word, and there is room for as many taps of
            // either sign.
            unsafe {
                while one != 0 {
                    let at = one.leading_zeros();
                    one &= !(1 << 31 >> at);
                    *plus = u32::from(*table.add(at as usize));
                    plus = plus.add(2);
                }
                while other != 0 {
                    let at = other.leading_zeros();
                    other &= !(1 << 31 >> at);
                    *minus = u32::from(*table.add(at as usize));
                    minus = minus.add(2);
                }
            }
        }
        // SAFETY: the taps were written from the front on.
        unsafe { self.sort(any_sign, plus, minus) }
    }

    /// Words that are not written yet.
    fn free(&self) -> usize {
        (self.back as usize).wrapping_sub(self.front as usize) / 4
    }

    /// Taps of a list from the front on that ends at `end`.
    fn len(&self, end: *const u32) -> usize {
        (end as usize).wrapping_sub(self.front as usize) / 8
    }

    /// The group of the taps from the front on, up to `plus` and `minus`.
    ///
    /// # Safety
    /// They are written: plus taps at even places, minus taps at odd ones.
    unsafe fn sort(
        &mut self,
        any_sign: bool,
        plus: *const u32,
        minus: *const u32,
    ) -> Option<Group> {
        let start = self.front;
        let counts = [self.len(plus), self.len(minus)];
        let (pairs, most) = (counts[0].min(counts[1]), counts[0].max(counts[1]));
        let rest_len = most - pairs;
        let minus = counts[1] > counts[0];
        if 2 * most + rest_len + 2 * TAIL > self.free() {
            return None;
        }
        // SAFETY: there is room for the pairs and the end of their list, and behind all taps for what
        // is left over and the end of that.
        unsafe {
            let pairs_end = start.add(2 * pairs);
            let mut from = if minus { pairs_end.add(1) } else { pairs_end };
            let rest = self.back.sub(rest_len + TAIL);
            for at in 0..rest_len {
                *rest.add(at) = *from;
                from = from.add(2);
            }
            let turned = any_sign && minus;
            if turned {
                for pair in 0..pairs {
                    core::ptr::swap(start.add(2 * pair), start.add(2 * pair + 1));
                }
            }
            (self.front, self.back) = (pairs_end.add(TAIL), rest);
            let negate = minus && !any_sign;
            Some(Group { start, pairs_end, rest, rest_len, counts, turned, negate })
        }
    }

    /// The program of two channels; `None` where sums may pass 16 bits, or where memory ends.
    pub(super) fn two(mut self, first: Bits, last: Bits) -> Option<Program> {
        let words = || first.pairs().zip(last.pairs());
        let equal = words().map(|((m, s), (n, t))| split(m & n & !(s ^ t), s));
        let a = self.group(true, equal)?;
        let opposite = words().map(|((m, s), (n, t))| split(m & n & (s ^ t), s));
        let b = self.group(true, opposite)?;
        // ±A ± B and ±A ∓ B: of equal signs it is the first channel that goes on.
        let swapped = a.turned != b.turned;
        // Further taps add to ±A, so theirs are the signs of that.
        let turn = if a.turned { u32::MAX } else { 0 };
        let of_first = || words().map(|((m, s), (n, _))| split(m & !n, s ^ turn));
        let of_last = || words().map(|((m, _), (n, t))| split(n & !m, t ^ turn));
        let (c, d) = if swapped {
            (self.group(false, of_last())?, self.group(false, of_first())?)
        } else {
            (self.group(false, of_first())?, self.group(false, of_last())?)
        };
        let [[ap, am], [bp, bm]] = [a.counts, b.counts];
        let [own, other] = [&c, &d].map(|group| group.counts.into_iter().max().unwrap_or(0));
        if ap.max(am) + bp.max(bm) + own.max(other) > MOST {
            return None;
        }
        let negated = [&c, &d].map(|group| a.turned ^ group.negate);
        // SAFETY: the groups are complete.
        unsafe {
            a.end(Then::PutAside, b.start);
            b.end(Then::AddAndSubtract, c.start);
            c.end(Then::First, d.start);
            d.end(Then::Last, core::ptr::null());
        }
        Some(Program { start: a.start, swapped, negated })
    }
}

/// Plus and minus taps.
fn split(taps: u32, signs: u32) -> (u32, u32) {
    (taps & !signs, taps & signs)
}

/// Where the offset of `input` stands in a table: the places of a word's bits, from the highest down.
pub(super) const fn table_at(input: usize) -> usize {
    input / WORD * WORD + 31 - bit_of(input % WORD) as usize
}
