//! Kernels for every 32-bit core without an extension of its own: four bytes at a time in one register,
//! summed in two 16-bit lanes. No CLZ, division, float or 64-bit multiplication in an inner loop.
//!
//! `dense` sums rows of ±1 weights, `banded` runs convolutions of such over words of four outputs,
//! `depthwise` brings channels to that form, `pool` pools. What is left goes to [`General`].

mod banded;
mod dense;
mod depthwise;
mod pool;

use super::{Channelwise, Convolution, General, Kernels, Placed, Sink, Source, Target};
use crate::epilogue::Epilogue;
use crate::family::Family;
use crate::layer::{Add, Pool};
use crate::mask::LayerWeights;
use crate::random::WORD;

/// The sums, for every 32-bit core.
#[derive(Clone, Copy, Debug)]
pub struct Words;

/// Mask words that a dense row takes at a time.
pub(super) const WORDS: usize = 16;

/// Words of inputs beside a mask word.
pub(super) const BLOCK: usize = WORD / 4;

/// Rows of bytes that are copied to every fourth byte.
#[repr(C)]
pub(super) struct Rows {
    pub(super) count: usize,
    /// Bytes of a row.
    pub(super) width: usize,
    /// Bytes from row to row where they are read.
    pub(super) from_stride: usize,
    /// The same where they are written.
    pub(super) to_stride: usize,
}

/// Bytes 0 and 2 of a word: two 16-bit lanes.
pub(super) const EVEN: u32 = 0x00ff_00ff;

impl Kernels for Words {
    fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], target: Target) {
        dense::dense(weights, epilogue, x, target);
    }

    #[inline(never)]
    fn conv2d(conv: &mut Convolution, x: Source, mut y: Sink, scratch: &mut [u32]) {
        if !banded::windows(conv, &x, &mut y, scratch) {
            General::conv2d(conv, x, y, scratch);
        }
    }

    fn depthwise(conv: &mut Convolution, memory: &mut [u8], maps: &Channelwise) -> Option<()> {
        if Family::Depthwise.is_linked() && depthwise::channels(conv, memory, maps)? {
            return Some(());
        }
        General::depthwise(conv, memory, maps)
    }

    fn pool(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed) {
        pool::pool(pool, memory, x, y);
    }

    fn add(add: &Add, memory: &mut [u8], left: &Placed, right: &Placed, y: &Placed) {
        General::add(add, memory, left, right, y);
    }
}

/// Two 16-bit lanes for each pair of bytes. `all` sums whole words and wraps, `high` bytes 1 and 3;
/// what `high` carried into `all` is taken off at the end. No lane may pass 65,535: that is 516
/// activations of 127, of which each added byte may hold two.
#[cfg(not(seedmask_thumb))]
#[derive(Clone, Copy, Default)]
pub(super) struct Lanes {
    pub(super) all: u32,
    pub(super) high: u32,
}

#[cfg(not(seedmask_thumb))]
impl Lanes {
    #[inline(always)]
    pub(super) fn add(&mut self, bytes: u32) {
        self.all = self.all.wrapping_add(bytes);
        self.high = self.high.wrapping_add(bytes >> 8 & EVEN);
    }

    /// The same with the opposite sign; only for lanes that wrap.
    #[inline(always)]
    pub(super) fn negated(self) -> Self {
        Self { all: self.all.wrapping_neg(), high: self.high.wrapping_neg() }
    }

    /// The sum of all bytes.
    #[inline(always)]
    fn total(self) -> i32 {
        let low = self.all.wrapping_sub(self.high << 8);
        [low & 0xffff, self.high & 0xffff, low >> 16, self.high >> 16].iter().sum::<u32>() as i32
    }
}
