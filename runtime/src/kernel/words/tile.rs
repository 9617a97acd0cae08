//! Sums of some neighbouring outputs of a row at once.
//!
//! A tile is a block of words, read whole at each tap, so that one look at the lists serves all of
//! its outputs. Blocks are built from pairs of blocks rather than arrays: nothing is left of them
//! after inlining, even where the compiler is told to save space and unrolls no loop.

use super::taps::{LEVELS, Taps, unpack};
use super::{EVEN, FLUSH, Lanes};
use crate::family::Family;

/// Four bytes, or two blocks of as many bytes each.
pub(super) trait Block: Copy {
    /// Bytes of the block.
    const BYTES: usize;
    /// A sum for each byte.
    type Sums: Copy + Default;
    /// Sums for bytes 0, 1, 2 and 3 of each word.
    type AllLanes: Copy + Default;
    /// Sums for bytes 0 and 2 of each word.
    type EvenLanes: Copy + Default;

    /// The first bytes of `bytes`; `None` where there are not enough.
    fn load(bytes: &[u8]) -> Option<Self>;
    /// Adds byte by byte: none may pass 255.
    fn plus(self, other: Self) -> Self;
    /// Adds every byte to its lane.
    fn add_all(self, lanes: &mut Self::AllLanes);
    /// Adds bytes 0 and 2 of every word to their lanes.
    fn add_even(self, lanes: &mut Self::EvenLanes);
    /// Adds `weight` times each byte to its sum.
    fn multiply(self, weight: i32, sums: &mut Self::Sums);
    /// Adds `weight` times each lane to its sum.
    fn flush_all(lanes: Self::AllLanes, weight: i32, sums: &mut Self::Sums);
    /// Adds `weight` times each lane to the sums of bytes 0 and 2.
    fn flush_even(lanes: Self::EvenLanes, weight: i32, sums: &mut Self::Sums);
    /// Calls `each` with the sums of every byte, or of every other, in their order.
    fn for_each(sums: &Self::Sums, every_other: bool, each: &mut impl FnMut(i32));
}

impl Block for u32 {
    const BYTES: usize = 4;
    type Sums = [i32; 4];
    type AllLanes = Lanes;
    type EvenLanes = u32;

    #[inline(always)]
    fn load(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn add_all(self, lanes: &mut Lanes) {
        lanes.add(self);
    }

    #[inline(always)]
    fn add_even(self, lanes: &mut u32) {
        *lanes = lanes.wrapping_add(self & EVEN);
    }

    #[inline(always)]
    fn multiply(self, weight: i32, [a, b, c, d]: &mut [i32; 4]) {
        *a += weight * (self & 0xff) as i32;
        *b += weight * (self >> 8 & 0xff) as i32;
        *c += weight * (self >> 16 & 0xff) as i32;
        *d += weight * (self >> 24) as i32;
    }

    #[inline(always)]
    fn flush_all(lanes: Lanes, weight: i32, [a, b, c, d]: &mut [i32; 4]) {
        let lanes = lanes.sums();
        *a += weight * lanes[0];
        *b += weight * lanes[1];
        *c += weight * lanes[2];
        *d += weight * lanes[3];
    }

    #[inline(always)]
    fn flush_even(lanes: u32, weight: i32, [a, _, c, _]: &mut [i32; 4]) {
        *a += weight * (lanes & 0xffff) as i32;
        *c += weight * (lanes >> 16) as i32;
    }

    #[inline(always)]
    fn for_each(&[a, b, c, d]: &[i32; 4], every_other: bool, each: &mut impl FnMut(i32)) {
        if every_other {
            [a, c].into_iter().for_each(each);
        } else {
            [a, b, c, d].into_iter().for_each(each);
        }
    }
}

impl<B: Block> Block for (B, B) {
    const BYTES: usize = 2 * B::BYTES;
    type Sums = (B::Sums, B::Sums);
    type AllLanes = (B::AllLanes, B::AllLanes);
    type EvenLanes = (B::EvenLanes, B::EvenLanes);

    #[inline(always)]
    fn load(bytes: &[u8]) -> Option<Self> {
        let (first, second) = bytes.split_at_checked(B::BYTES)?;
        Some((B::load(first)?, B::load(second)?))
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        (self.0.plus(other.0), self.1.plus(other.1))
    }

    #[inline(always)]
    fn add_all(self, lanes: &mut Self::AllLanes) {
        self.0.add_all(&mut lanes.0);
        self.1.add_all(&mut lanes.1);
    }

    #[inline(always)]
    fn add_even(self, lanes: &mut Self::EvenLanes) {
        self.0.add_even(&mut lanes.0);
        self.1.add_even(&mut lanes.1);
    }

    #[inline(always)]
    fn multiply(self, weight: i32, sums: &mut Self::Sums) {
        self.0.multiply(weight, &mut sums.0);
        self.1.multiply(weight, &mut sums.1);
    }

    #[inline(always)]
    fn flush_all(lanes: Self::AllLanes, weight: i32, sums: &mut Self::Sums) {
        B::flush_all(lanes.0, weight, &mut sums.0);
        B::flush_all(lanes.1, weight, &mut sums.1);
    }

    #[inline(always)]
    fn flush_even(lanes: Self::EvenLanes, weight: i32, sums: &mut Self::Sums) {
        B::flush_even(lanes.0, weight, &mut sums.0);
        B::flush_even(lanes.1, weight, &mut sums.1);
    }

    #[inline(always)]
    fn for_each(sums: &Self::Sums, every_other: bool, each: &mut impl FnMut(i32)) {
        B::for_each(&sums.0, every_other, each);
        B::for_each(&sums.1, every_other, each);
    }
}

/// The block at `offset`; `None` where the input ends before it does.
#[inline(always)]
fn load<B: Block>(x: &[u8], offset: u32) -> Option<B> {
    let offset = offset as usize;
    B::load(x.get(offset..offset.wrapping_add(B::BYTES))?)
}

/// Calls `add` with the block at each offset of `list`, of two offsets summed where there are two:
/// bytes of at most 254.
#[inline(always)]
fn each_block<B: Block>(x: &[u8], list: &[u32], mut add: impl FnMut(B)) {
    let (pairs, rest) = list.as_chunks::<2>();
    for &[first, second] in pairs {
        if let (Some(first), Some(second)) = (load::<B>(x, first), load::<B>(x, second)) {
            add(first.plus(second));
        }
    }
    if let Some(block) = rest.first().and_then(|offset| load::<B>(x, *offset)) {
        add(block);
    }
}

/// The sums of `B::BYTES` outputs at stride 1 (`every_other` false), or half as many at stride 2.
/// The window of the first output begins at the first byte of `x`.
#[inline(always)]
fn sums<B: Block>(x: &[u8], taps: &Taps, every_other: bool) -> B::Sums {
    let mut sums = B::Sums::default();
    match taps {
        Taps::Signed(lists) => {
            for ((plus, minus), level) in lists.iter().zip(LEVELS) {
                for (list, weight) in [(*plus, level), (*minus, -level)] {
                    for part in list.chunks(FLUSH) {
                        add_part::<B>(x, part, weight, every_other, &mut sums);
                    }
                }
            }
        }
        Taps::Stored(entries) if Family::Stored.is_linked() => {
            for entry in entries.iter() {
                let (offset, weight) = unpack(*entry);
                if let Some(block) = load::<B>(x, offset) {
                    block.multiply(weight, &mut sums);
                }
            }
        }
        Taps::Stored(_) => {}
    }
    sums
}

/// Adds `weight` times the sums under a list that fits the lanes.
#[inline(always)]
fn add_part<B: Block>(x: &[u8], list: &[u32], weight: i32, every_other: bool, sums: &mut B::Sums) {
    if every_other {
        let mut lanes = B::EvenLanes::default();
        each_block::<B>(x, list, |block| block.add_even(&mut lanes));
        B::flush_even(lanes, weight, sums);
    } else {
        let mut lanes = B::AllLanes::default();
        each_block::<B>(x, list, |block| block.add_all(&mut lanes));
        B::flush_all(lanes, weight, sums);
    }
}

/// Calls `each` with the sums of `B::BYTES` neighbouring outputs at stride 1.
#[inline(never)]
pub(super) fn by_one<B: Block>(x: &[u8], taps: &Taps, mut each: impl FnMut(i32)) {
    B::for_each(&sums::<B>(x, taps, false), false, &mut each);
}

/// Calls `each` with the sums of `B::BYTES / 2` neighbouring outputs at stride 2.
#[inline(never)]
pub(super) fn by_two<B: Block>(x: &[u8], taps: &Taps, mut each: impl FnMut(i32)) {
    B::for_each(&sums::<B>(x, taps, true), true, &mut each);
}

/// The sum of one output, its window beginning at the first byte of `x`.
#[inline(never)]
pub(super) fn single(x: &[u8], taps: &Taps) -> i32 {
    let at = |offset: u32| x.get(offset as usize).map_or(0, |byte| i32::from(*byte));
    let sum = |list: &[u32]| list.iter().map(|offset| at(*offset)).sum::<i32>();
    match taps {
        Taps::Signed(lists) => lists
            .iter()
            .zip(LEVELS)
            .map(|((plus, minus), level)| level * (sum(plus) - sum(minus)))
            .sum(),
        Taps::Stored(entries) if Family::Stored.is_linked() => entries
            .iter()
            .map(|entry| {
                let (offset, weight) = unpack(*entry);
                weight * at(offset)
            })
            .sum(),
        Taps::Stored(_) => 0,
    }
}
