//! Kernels in little flash for any weights over any layout: what the quick sets have no routine for is
//! left to these. A kept weight of ±1 and one of eight bits cost the same here.

mod add;
pub(super) mod pool;

use super::{BANDS, Convolution, Kernels, Placed, Sink, Source, Target};
use crate::epilogue::{Affine, Epilogue};
use crate::layer::{Add, Pool, Window};
use crate::mask::{Encoding, LayerWeights, Rows};
use crate::random::{WORD, input_at};

/// The sums in little flash.
#[derive(Clone, Copy, Debug)]
pub struct General;

impl Kernels for General {
    fn dense(
        weights: &LayerWeights,
        epilogue: &Epilogue,
        x: &[u8],
        mut target: Target,
        _: &mut [u32],
    ) {
        if weights.encoding != Encoding::SignedGaps {
            return dense(weights, epilogue, x, target);
        }
        let mut rows = weights.rows();
        let mut output = 0;
        while let Some(row) = rows.next_row() {
            let input = |index: u32| x.get(index as usize).map_or(0, |byte| i32::from(*byte));
            let sum = row.map(|(index, weight)| weight * input(index)).sum();
            target.write(output, epilogue.row(output), sum);
            output += 1;
        }
    }

    fn conv2d(conv: &mut Convolution, x: Source, mut y: Sink, scratch: &mut [u32]) {
        conv2d(conv, &x, &mut y, scratch);
    }

    fn pool(pool: &Pool, memory: &mut [u8], x: Placed, y: Placed) {
        pool::pool(pool, memory, x, y);
    }

    fn add(add: &Add, memory: &mut [u8], left: Placed, right: Placed, y: Placed) {
        add::add(add, memory, left, right, y);
    }
}

/// Mask words of a row that a dense layer reads at once.
const BLOCK: usize = 8;

/// A dense layer of any encoding but signed gaps.
#[inline(never)]
pub(super) fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], mut target: Target) {
    let mut rows = weights.rows();
    let words = weights.weights.words() as usize;
    for output in 0..weights.weights.rows as usize {
        let mut sum = 0;
        for first in (0..words).step_by(BLOCK) {
            let (mut masks, mut signs) = ([0; BLOCK], [0; BLOCK]);
            let count = (words - first).min(BLOCK);
            let masks = masks.get_mut(..count).unwrap_or_default();
            let signs = signs.get_mut(..count).unwrap_or_default();
            rows.read_words(first as u32, masks, signs);
            let x = x.get(first * WORD..).unwrap_or_default();
            each_kept(&rows, first, masks, signs, |input, weight| {
                sum += weight * x.get(input).map_or(0, |byte| i32::from(*byte));
            });
        }
        rows.end_row();
        target.write(output, epilogue.row(output), sum);
    }
}

/// Calls `each` with the inputs that `masks` keep, words from `first` on, and their weights. Inputs are
/// counted from the first word.
#[inline(always)]
fn each_kept(
    rows: &Rows,
    first: usize,
    masks: &[u32],
    signs: &[u32],
    mut each: impl FnMut(usize, i32),
) {
    for (word, (mask, signs)) in masks.iter().zip(signs).enumerate() {
        let mut mask = *mask;
        while mask != 0 {
            let bit = mask.trailing_zeros();
            mask &= mask - 1;
            let input = word * WORD + input_at(bit) as usize;
            let weight = rows.weight((first * WORD + input) as u32, signs >> bit & 1 == 1);
            each(input, weight);
        }
    }
}

/// Makes the channels of `y`: a row of weights becomes a list of offsets, which runs over the map.
#[inline(never)]
pub(super) fn conv2d(conv: &mut Convolution, x: &Source, y: &mut Sink, scratch: &mut [u32]) {
    let inputs = x.planes.channels * conv.window.area() as usize;
    let words = inputs.div_ceil(WORD);
    let Some((masks, rest)) = scratch.split_at_mut_checked(words) else { return };
    let Some((signs, taps)) = rest.split_at_mut_checked(words) else { return };
    for done in 0..y.planes.channels {
        conv.rows.read_words(0, masks, signs);
        channel(conv, masks, signs, taps, done, x, y);
        conv.rows.end_row();
    }
}

/// Makes a channel of `y` from the mask and sign words of its row, which stands next in the rows where
/// weights are others than ±1.
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
    let taps = list_taps(conv.rows, conv.window, x, masks, signs, taps);
    let affine = conv.epilogue.row(conv.first + channel);
    sum_taps(taps, conv.window, affine, conv.low, x, y, channel);
}

/// Lists the kept weights of a row in `taps`: a weight in the low byte, its offset in the 24 bits above,
/// enough for [`super::MAX_STORAGE`].
fn list_taps<'t>(
    rows: &Rows,
    window: &Window,
    x: &Source,
    masks: &[u32],
    signs: &[u32],
    taps: &'t mut [u32],
) -> &'t [u32] {
    let width = usize::from(window.kernel[1]).max(1);
    let area = window.area().max(1) as usize;
    let mut count = 0;
    each_kept(rows, 0, masks, signs, |input, weight| {
        let (channel, tap) = (input / area, input % area);
        let tap = x.planes.tap(window.padding[1].into(), tap / width, tap % width);
        if let Some(entry) = taps.get_mut(count) {
            *entry = ((channel * x.planes.plane() + tap) << 8) as u32 | u32::from(weight as u8);
            count += 1;
        }
    });
    taps.get(..count).unwrap_or_default()
}

/// Makes a channel from its taps: four outputs at a time where their windows begin side by side.
fn sum_taps(
    taps: &[u32],
    window: &Window,
    affine: Affine,
    low: u8,
    x: &Source,
    y: &mut Sink,
    channel: usize,
) {
    let [down, right] = window.stride.map(usize::from);
    let [top, left, ..] = window.padding.map(usize::from);
    let first = x.planes.corner(top, left).unwrap_or(0);
    let right = if x.planes.split { 1 } else { right };
    let bands = y.planes.bands.max(1);
    let four = bands == usize::from(BANDS) || right == 1;
    for row in 0..y.planes.rows() {
        let start = first + row * down * x.planes.stride();
        let outputs = y.planes.row_mut(y.bytes, channel, row);
        let mut done = 0;
        while done < outputs.len() {
            // The last four may begin within those before: they then write the same bytes again.
            let at = if four && outputs.len() >= 4 { done.min(outputs.len() - 4) } else { done };
            let column =
                if bands == 1 { at * right } else { at / bands * right * bands + at % bands };
            let x = x.bytes.get(start + column..).unwrap_or_default();
            let outputs = outputs.get_mut(at..).unwrap_or_default();
            done = match outputs.first_chunk_mut::<4>() {
                Some(outputs) if four => {
                    *outputs = sums::<4>(taps, x).map(|sum| affine.activation(sum, low));
                    at + 4
                }
                _ => {
                    let [sum] = sums::<1>(taps, x);
                    if let Some(output) = outputs.first_mut() {
                        *output = affine.activation(sum, low);
                    }
                    at + 1
                }
            };
        }
    }
}

/// The sums of outputs side by side, the window of the first at the first byte of `x`.
#[inline(always)]
fn sums<const OUTPUTS: usize>(taps: &[u32], x: &[u8]) -> [i32; OUTPUTS] {
    let mut sums = [0; OUTPUTS];
    for tap in taps {
        let (offset, weight) = ((tap >> 8) as usize, i32::from(*tap as i8));
        let values = x.get(offset..).and_then(|rest| rest.first_chunk::<OUTPUTS>());
        if let Some(values) = values {
            sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += weight * i32::from(*x));
        }
    }
    sums
}
