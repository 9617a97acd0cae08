//! Kernels in little flash for any weights over any layout: what the quick sets have no routine for is
//! left to these. A kept weight of ±1 and one of eight bits cost the same here.

mod add;
pub(super) mod pool;

use super::{BANDS, Convolution, Kernels, Placed, Planes, Sink, Source, Target};
use crate::epilogue::Epilogue;
use crate::family::MAPS;
use crate::layer::{Add, Pool, Window};
use crate::mask::{LayerWeights, Visit};

/// Outputs that are summed at once.
const OUTPUTS: usize = 4;

/// Weights whose sums of activations fit in 16 bits.
const LARGEST: u32 = 258;

/// The sums in little flash.
#[derive(Clone, Copy, Debug)]
pub struct General;

impl Kernels for General {
    fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], target: Target) {
        dense(weights, epilogue, x, target);
    }

    fn conv2d(conv: &mut Convolution, x: Source, mut y: Sink, scratch: &mut [u32]) {
        conv2d(conv, &x, &mut y, scratch);
    }

    fn pool(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed) {
        pool::pool(pool, memory, x, y);
    }

    fn add(add: &Add, memory: &mut [u8], left: &Placed, right: &Placed, y: &Placed) {
        add::add(add, memory, left, right, y);
    }
}

#[inline(never)]
pub(super) fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], mut target: Target) {
    let mut rows = weights.rows();
    for output in 0..weights.weights.rows as usize {
        let mut kept = Kept::Inputs { x, sum: 0 };
        rows.visit(&mut kept);
        if let Kept::Inputs { sum, .. } = kept {
            target.write(output, epilogue.row(output), sum);
        }
    }
}

/// Makes the channels of `y`: a row of weights becomes a list of offsets, which runs over the map.
#[inline(never)]
pub(super) fn conv2d(conv: &mut Convolution, x: &Source, y: &mut Sink, scratch: &mut [u32]) {
    for channel in 0..y.planes.channels {
        let mut kept = Kept::taps(conv, x, scratch);
        conv.rows.visit(&mut kept);
        kept.sum(conv, x, y, channel);
    }
}

/// Makes a channel of `y` from the mask and sign words of its row, which stands next in the rows where
/// weights are others than ±1.
#[cfg(seedmask_dsp)]
#[inline(never)]
pub(super) fn channel(
    conv: &Convolution,
    masks: &[u32],
    signs: &[u32],
    taps: &mut [u32],
    channel: usize,
    x: &Source,
    y: &mut Sink,
) {
    let mut kept = Kept::taps(conv, x, taps);
    conv.rows.visit_words(0, masks, signs, &mut kept);
    kept.sum(conv, x, y, channel);
}

/// What becomes of the kept weights of a row: one type, so that what walks over rows is there once.
enum Kept<'t> {
    /// The sum of their inputs, of a dense layer.
    Inputs { x: &'t [u8], sum: i32 },
    /// A list, of a convolution.
    Taps(Taps<'t>),
}

impl<'t> Kept<'t> {
    fn taps(conv: &Convolution<'_, 't>, x: &'t Source, taps: &'t mut [u32]) -> Self {
        Self::Taps(Taps { window: conv.window, x: &x.planes, taps, count: 0 })
    }

    /// Makes a channel of a list.
    fn sum(&self, conv: &Convolution, x: &Source, y: &mut Sink, channel: usize) {
        if let Self::Taps(taps) = self {
            taps.sum(conv, x, y, channel);
        }
    }
}

impl Visit for Kept<'_> {
    #[cfg_attr(not(seedmask_small), inline(always))]
    fn visit(&mut self, input: usize, weight: i32) {
        match self {
            Self::Inputs { x, sum } => {
                *sum += weight * x.get(input).map_or(0, |byte| i32::from(*byte));
            }
            Self::Taps(taps) if MAPS => taps.push(input, weight),
            Self::Taps(_) => (),
        }
    }
}

/// The kept weights of a row: a weight in the low byte, its offset in the 24 bits above, enough for
/// [`super::MAX_STORAGE`].
struct Taps<'t> {
    window: &'t Window,
    x: &'t Planes,
    taps: &'t mut [u32],
    count: usize,
}

impl Taps<'_> {
    fn push(&mut self, input: usize, weight: i32) {
        let width = usize::from(self.window.kernel[1]).max(1);
        let area = self.window.area().max(1) as usize;
        let (channel, tap) = (input / area, input % area);
        let tap = self.x.tap(self.window.padding[1].into(), tap / width, tap % width);
        if let Some(entry) = self.taps.get_mut(self.count) {
            // Lists that were not checked may say any input.
            let offset = channel.wrapping_mul(self.x.plane()).wrapping_add(tap);
            *entry = (offset << 8) as u32 | u32::from(weight as u8);
            self.count += 1;
        }
    }

    /// Makes a channel: four outputs at a time where their windows begin side by side.
    #[inline(never)]
    fn sum(&self, conv: &Convolution, x: &Source, y: &mut Sink, channel: usize) {
        let affine = conv.epilogue.row(conv.first + channel);
        // Without a long multiplication the rule of 32 bits takes a fraction, if no sum is too large for it.
        let all =
            self.taps.iter().take(self.count).map(|tap| u32::from((*tap as i8).unsigned_abs()));
        let narrow = match cfg!(seedmask_thumb) {
            true if all.sum::<u32>() <= LARGEST => affine.narrow(),
            _ => None,
        };
        let [down, right] = self.window.stride.map(usize::from);
        let [top, left, ..] = self.window.padding.map(usize::from);
        let first = x.planes.corner(top, left).unwrap_or(0);
        // A split map has the columns of windows that step by two side by side.
        let right = if x.planes.split { 1 } else { right };
        let beside = y.planes.bands == usize::from(BANDS) || right == 1;
        for row in 0..y.planes.rows() {
            let start = first + row * down * x.planes.stride();
            let outputs = y.planes.row_mut(y.bytes, channel, row);
            let step = if beside && outputs.len() >= OUTPUTS { OUTPUTS } else { 1 };
            let mut done = 0;
            while done < outputs.len() {
                // The last four may begin within those before: they then write the same bytes again.
                let at = done.min(outputs.len() - step);
                let x = x.bytes.get(start + at * right..).unwrap_or_default();
                let sums = match step {
                    1 => [self.sums::<1>(x)[0], 0, 0, 0],
                    _ => self.sums(x),
                };
                let outputs = outputs.get_mut(at..).unwrap_or_default();
                for (output, sum) in outputs.iter_mut().zip(sums).take(step) {
                    *output = match narrow {
                        Some(narrow) => narrow.activation(sum, conv.low),
                        None => affine.activation(sum, conv.low),
                    };
                }
                done = at + step;
            }
        }
    }

    /// The sums of outputs side by side, the window of the first at the first byte of `x`.
    #[inline(always)]
    fn sums<const COUNT: usize>(&self, x: &[u8]) -> [i32; COUNT] {
        let mut sums = [0; COUNT];
        for tap in self.taps.iter().take(self.count) {
            let (offset, weight) = ((tap >> 8) as usize, i32::from(*tap as i8));
            if let Some(values) = x.get(offset..).and_then(|x| x.first_chunk::<COUNT>()) {
                sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += weight * i32::from(*x));
            }
        }
        sums
    }
}
