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

/// Words for the taps of a mask word in either list.
const ROOM: usize = 2 * WORD;

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

/// Which inputs of a row, beside another one, are a group's, and their signs.
struct Choice {
    /// All bits where the other row must not keep them.
    absent: u32,
    /// All bits where signs must be equal, if they matter.
    equal: u32,
    /// All bits where signs do not matter.
    any: u32,
    /// All bits where signs are the opposite.
    turn: u32,
}

/// What became of a group.
struct Group {
    /// Taps of the sign that has more.
    most: usize,
    /// Whether that is minus: the group is computed with the opposite sign.
    minus: bool,
}

/// Writes the end of a list, and gives where the address of the next one stands in it.
///
/// # Safety
/// [`TAIL`] words are writable.
unsafe fn write(end: *mut u32, tap: u32, then: u32, next: *const u32) -> *mut u32 {
    // SAFETY: the caller's.
    unsafe {
        *end = END | tap;
        *end.add(1) = then;
        *end.add(2) = next as u32;
        end.add(2)
    }
}

/// Writes a program to a piece of memory.
pub(super) struct Writer<'s> {
    /// Offset of the input at each bit, from the highest of the first word down.
    table: &'s [u16],
    front: *mut u32,
    back: *mut u32,
    /// Where the address of the next group is to be written.
    link: *mut u32,
}

impl<'s> Writer<'s> {
    /// `None` where `memory` is too short.
    pub(super) fn new(table: &'s [u16], memory: &'s mut [u32]) -> Option<Self> {
        let (link, memory) = memory.split_first_mut()?;
        let range = memory.as_mut_ptr_range();
        Some(Self { table, front: range.start, back: range.end, link })
    }

    /// Words that are not written yet.
    fn free(&self) -> usize {
        (self.back as usize).wrapping_sub(self.front as usize) / 4
    }

    /// Writes what `choice` takes of a row beside another one: pairs of a plus and a minus tap, then what is
    /// left over of one sign, which counts as plus. If that is minus, plus and minus change places in a
    /// `first` group; in another one the sums so far change their signs. `None` where memory ends.
    #[cfg_attr(not(seedmask_small), inline(always))]
    #[cfg_attr(seedmask_small, inline(never))]
    fn group(
        &mut self,
        [row, other]: [Bits; 2],
        choice: &Choice,
        first: bool,
        then: Then,
    ) -> Option<Group> {
        let &Choice { absent, equal, any, turn } = choice;
        let mut start = self.front;
        // Plus taps at even places, minus taps at odd ones.
        let mut ends = [start, start.wrapping_add(1)];
        let limit = self.back.wrapping_sub(ROOM);
        if self.free() < ROOM {
            return None;
        }
        let words = row.pairs().zip(other.pairs()).zip(self.table.as_chunks::<WORD>().0);
        for (((m, s), (n, t)), table) in words {
            let (taps, signs) = (m & (n ^ absent) & (s ^ t ^ equal | any), s ^ turn);
            if ends.iter().any(|end| *end > limit) {
                return None;
            }
            for (end, mut taps) in ends.iter_mut().zip([taps & !signs, taps & signs]) {
                while taps != 0 {
                    let at = taps.leading_zeros();
                    taps &= !(1 << 31 >> at);
                    // SAFETY: the table has 32 entries for the word, and there is room for as many taps
                    // of either sign.
                    unsafe {
                        **end = u32::from(*table.get_unchecked(at as usize));
                        *end = end.add(2);
                    }
                }
            }
        }
        let len = |end: *mut u32| (end as usize).wrapping_sub(start as usize) / 8;
        let counts = ends.map(len);
        let (pairs, most) = (counts[0].min(counts[1]), counts[0].max(counts[1]));
        let (rest_len, minus) = (most - pairs, counts[1] > counts[0]);
        if 2 * most + 1 + rest_len + 2 * TAIL > self.free() {
            return None;
        }
        // SAFETY: there is room for the pairs and the end of their list, and behind all taps for what
        // is left over and the end of that.
        unsafe {
            let mut pairs_end = start.add(2 * pairs);
            let mut from = if minus { pairs_end.add(1) } else { pairs_end };
            let rest = self.back.sub(rest_len + TAIL);
            for at in 0..rest_len {
                *rest.add(at) = *from;
                from = from.add(2);
            }
            if minus && first {
                // Every minus tap is followed by a plus tap where the first of them is the last.
                *pairs_end = *start;
                (start, pairs_end) = (start.add(1), pairs_end.add(1));
            }
            *self.link = start as u32;
            (self.front, self.back) = (pairs_end.add(TAIL), rest);
            let (then, negate) = (then as u32, minus && !first);
            self.link = match rest_len {
                0 => write(pairs_end, 0, then, core::ptr::null()),
                1 if !negate => write(pairs_end, *rest, then + SINGLE, core::ptr::null()),
                _ => {
                    // A single tap stands before the pairs.
                    let odd = rest_len % 2;
                    let add = if negate { Then::NegateAndAdd } else { Then::Add };
                    write(pairs_end, 0, add as u32, rest.add(odd));
                    let (tap, then) = if odd == 1 { (*rest, then + SINGLE) } else { (0, then) };
                    write(rest.add(rest_len), tap, then, core::ptr::null())
                }
            };
        }
        Some(Group { most, minus })
    }

    /// The program of two channels; `None` where sums may pass 16 bits, or where memory ends.
    pub(super) fn two(mut self, first: Bits, last: Bits) -> Option<Program> {
        const ALL: u32 = u32::MAX;
        let start = self.link.cast_const();
        let rows = [first, last];
        let equal = Choice { absent: 0, equal: ALL, any: 0, turn: 0 };
        let a = self.group(rows, &equal, true, Then::PutAside)?;
        let opposite = Choice { equal: 0, ..equal };
        let b = self.group(rows, &opposite, true, Then::AddAndSubtract)?;
        // ±A ± B and ±A ∓ B: of equal signs it is the first channel that goes on.
        let swapped = a.minus != b.minus;
        let rows = if swapped { [last, first] } else { rows };
        // Further taps add to ±A, so theirs are the signs of that.
        let own = Choice { absent: ALL, equal: 0, any: ALL, turn: if a.minus { ALL } else { 0 } };
        let c = self.group(rows, &own, false, Then::First)?;
        let d = self.group([rows[1], rows[0]], &own, false, Then::Last)?;
        if a.most + b.most + c.most.max(d.most) > MOST {
            return None;
        }
        // SAFETY: the link to the first group was written.
        let start = unsafe { *start } as *const u32;
        Some(Program { start, swapped, negated: [&c, &d].map(|group| a.minus ^ group.minus) })
    }
}

/// Where the offset of `input` stands in a table: the places of a word's bits, from the highest down.
pub(super) const fn table_at(input: usize) -> usize {
    input / WORD * WORD + 31 - bit_of(input % WORD) as usize
}
