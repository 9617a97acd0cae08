//! Sums of some neighbouring outputs of a row at once.
//!
//! A tile reads `4·W` bytes at each tap, so that one look at the lists serves them all.

use super::taps::{LEVELS, Taps, unpack};
use super::{EVEN, FLUSH, Lanes};

/// `W` words at `offset`; `None` where the input ends before them.
#[inline(always)]
fn load<const W: usize>(x: &[u8], offset: usize) -> Option<[u32; W]> {
    let bytes = x.get(offset..offset.wrapping_add(4 * W))?;
    let words: &[[u8; 4]; W] = bytes.as_chunks().0.try_into().ok()?;
    Some(words.map(u32::from_le_bytes))
}

/// Calls `add` with the words at each offset of `list`, of two offsets summed where there are two:
/// bytes of at most 254.
#[inline(always)]
fn each_word<const W: usize>(x: &[u8], list: &[u32], mut add: impl FnMut([u32; W])) {
    let (pairs, rest) = list.as_chunks::<2>();
    for &[first, second] in pairs {
        let words = (load::<W>(x, first as usize), load::<W>(x, second as usize));
        if let (Some(mut sum), Some(second)) = words {
            sum.iter_mut().zip(second).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
            add(sum);
        }
    }
    if let Some(words) = rest.first().and_then(|offset| load::<W>(x, *offset as usize)) {
        add(words);
    }
}

/// Adds `weight` times the sums under `list` to `4·W` outputs at stride 1.
#[inline(always)]
fn add_list<const W: usize>(x: &[u8], list: &[u32], weight: i32, sums: &mut [[i32; 4]; W]) {
    for part in list.chunks(FLUSH) {
        let mut lanes = [Lanes::default(); W];
        each_word::<W>(x, part, |words| {
            lanes.iter_mut().zip(words).for_each(|(lanes, word)| lanes.add(word));
        });
        for (sums, lanes) in sums.iter_mut().zip(lanes) {
            sums.iter_mut().zip(lanes.sums()).for_each(|(sum, lane)| *sum += weight * lane);
        }
    }
}

/// Adds `weight` times the sums under `list` to `2·W` outputs at stride 2: every other byte.
#[inline(always)]
fn add_list_by_two<const W: usize>(x: &[u8], list: &[u32], weight: i32, sums: &mut [[i32; 2]; W]) {
    for part in list.chunks(FLUSH) {
        let mut lanes = [0_u32; W];
        each_word::<W>(x, part, |words| {
            lanes.iter_mut().zip(words).for_each(|(lane, word)| *lane += word & EVEN);
        });
        for (sums, lanes) in sums.iter_mut().zip(lanes) {
            let lanes = [lanes & 0xffff, lanes >> 16];
            sums.iter_mut().zip(lanes).for_each(|(sum, lane)| *sum += weight * lane as i32);
        }
    }
}

/// `4·W` outputs at stride 1, the first one's window beginning at the first byte of `x`.
#[inline(never)]
pub(super) fn by_one<const W: usize>(x: &[u8], taps: &Taps) -> [[i32; 4]; W] {
    let mut sums = [[0; 4]; W];
    match taps {
        Taps::Signed(lists) => {
            for ((plus, minus), level) in lists.iter().zip(LEVELS) {
                add_list(x, plus, level, &mut sums);
                add_list(x, minus, -level, &mut sums);
            }
        }
        Taps::Stored(entries) => {
            for entry in entries.iter() {
                let (offset, weight) = unpack(*entry);
                let words = load::<W>(x, offset).unwrap_or([0; W]);
                for (sums, word) in sums.iter_mut().zip(words) {
                    let bytes = word.to_le_bytes();
                    sums.iter_mut().zip(bytes).for_each(|(sum, x)| *sum += weight * i32::from(x));
                }
            }
        }
    }
    sums
}

/// `2·W` outputs at stride 2, the first one's window beginning at the first byte of `x`.
#[inline(never)]
pub(super) fn by_two<const W: usize>(x: &[u8], taps: &Taps) -> [[i32; 2]; W] {
    let mut sums = [[0; 2]; W];
    match taps {
        Taps::Signed(lists) => {
            for ((plus, minus), level) in lists.iter().zip(LEVELS) {
                add_list_by_two(x, plus, level, &mut sums);
                add_list_by_two(x, minus, -level, &mut sums);
            }
        }
        Taps::Stored(entries) => {
            for entry in entries.iter() {
                let (offset, weight) = unpack(*entry);
                let words = load::<W>(x, offset).unwrap_or([0; W]);
                for (sums, word) in sums.iter_mut().zip(words) {
                    let lanes = [word & 0xff, word >> 16 & 0xff];
                    sums.iter_mut().zip(lanes).for_each(|(sum, x)| *sum += weight * x as i32);
                }
            }
        }
    }
    sums
}

/// One output, its window beginning at the first byte of `x`.
#[inline(never)]
pub(super) fn single(x: &[u8], taps: &Taps) -> i32 {
    let at = |offset: usize| x.get(offset).map_or(0, |byte| i32::from(*byte));
    let sum = |list: &[u32]| list.iter().map(|offset| at(*offset as usize)).sum::<i32>();
    match taps {
        Taps::Signed(lists) => lists
            .iter()
            .zip(LEVELS)
            .map(|((plus, minus), level)| level * (sum(plus) - sum(minus)))
            .sum(),
        Taps::Stored(entries) => entries
            .iter()
            .map(|entry| {
                let (offset, weight) = unpack(*entry);
                weight * at(offset)
            })
            .sum(),
    }
}
