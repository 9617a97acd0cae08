//! The plain truth: one obvious loop nest a layer, with the kept weights read one by one and every
//! tap tested by its coordinates. For tests, and to read first.

use super::{Kernels, Sink, Source, Target};
use crate::epilogue::{Affine, Epilogue};
use crate::layer::{Pool, PoolKind, Window};
use crate::mask::LayerWeights;

/// The sums, written for reading.
#[derive(Clone, Copy, Debug)]
pub struct Reference;

impl Source<'_> {
    /// The activation at `(channel, y, x)`; `None` outside of the map.
    fn at(&self, channel: usize, y: i32, x: i32) -> Option<u8> {
        let inside = |at: i32, size: usize| usize::try_from(at).ok().filter(|at| *at < size);
        let index = self.planes.index(
            channel,
            inside(y, self.planes.height)?,
            inside(x, self.planes.width)?,
        );
        self.bytes.get(index).copied()
    }

    fn zero_point(&self) -> i32 {
        self.planes.zero_point.into()
    }
}

/// Where the window of output `(row, column)` begins in the input, before padding is cut off.
fn corner(window: &Window, row: usize, column: usize) -> (i32, i32) {
    let [top, left, ..] = window.padding.map(i32::from);
    let [down, right] = window.stride.map(i32::from);
    (row as i32 * down - top, column as i32 * right - left)
}

impl Kernels for Reference {
    fn dense(
        weights: &LayerWeights,
        epilogue: &Epilogue,
        x: &[u8],
        mut target: Target,
        _: &mut [u32],
    ) {
        let mut rows = weights.rows();
        let mut output = 0;
        while let Some(row) = rows.next_row() {
            let sum = row
                .map(|(input, weight)| {
                    weight * i32::from(x.get(input as usize).copied().unwrap_or(0))
                })
                .sum();
            target.write(output, epilogue.row(output), sum);
            output += 1;
        }
    }

    fn conv2d(
        weights: &LayerWeights,
        epilogue: &Epilogue,
        low: u8,
        window: &Window,
        x: Source,
        y: Sink,
        _: &mut [u32],
    ) {
        let area = window.area().max(1);
        windows(weights, epilogue, low, window, x, y, |_, input| (input / area, input % area));
    }

    fn depthwise(
        weights: &LayerWeights,
        epilogue: &Epilogue,
        low: u8,
        window: &Window,
        x: Source,
        y: Sink,
        _: &mut [u32],
    ) {
        windows(weights, epilogue, low, window, x, y, |output, tap| (output, tap));
    }

    fn pool(pool: &Pool, x: Source, y: Sink) {
        for channel in 0..y.planes.channels {
            for row in 0..y.planes.height {
                let outputs = y.planes.row_mut(y.bytes, channel, row);
                for (column, output) in outputs.iter_mut().enumerate() {
                    *output = pooled(pool, &x, channel, row, column);
                }
            }
        }
    }
}

/// Convolutions of both kinds. `locate(output channel, input of the row)` gives the input channel
/// and the tap under the window.
fn windows(
    weights: &LayerWeights,
    epilogue: &Epilogue,
    low: u8,
    window: &Window,
    x: Source,
    y: Sink,
    locate: impl Fn(u32, u32) -> (u32, u32),
) {
    let kernel_width = u32::from(window.kernel[1]).max(1);
    let mut rows = weights.rows();
    let mut channel = 0;
    while let Some(weights) = rows.next_row() {
        let affine = epilogue.row(channel);
        for row in 0..y.planes.height {
            let outputs = y.planes.row_mut(y.bytes, channel, row);
            for (column, output) in outputs.iter_mut().enumerate() {
                let (top, left) = corner(window, row, column);
                let tap = |(input, weight): (u32, i32)| {
                    let (source, tap) = locate(channel as u32, input);
                    let (ky, kx) = ((tap / kernel_width) as i32, (tap % kernel_width) as i32);
                    let value = x.at(source as usize, top + ky, left + kx);
                    weight * value.map_or(x.zero_point(), i32::from)
                };
                *output = affine.activation(weights.clone().map(tap).sum(), low);
            }
        }
        channel += 1;
    }
}

fn pooled(pool: &Pool, x: &Source, channel: usize, row: usize, column: usize) -> u8 {
    let [height, width] = pool.window.kernel.map(i32::from);
    let (top, left) = corner(&pool.window, row, column);
    let taps = (0..height).flat_map(|ky| (0..width).map(move |kx| (top + ky, left + kx)));
    let values = taps.map(|(y, x_)| x.at(channel, y, x_));
    match pool.kind {
        PoolKind::Max => values.flatten().max().unwrap_or(0),
        PoolKind::Average => {
            let sum = values.map(|value| value.map_or(x.zero_point(), i32::from)).sum();
            average(sum, pool.window.area())
        }
    }
}

/// `(sum·M + 2²³) >> 24`, at most 127: a sum of `area` activations fits in 32 bits throughout.
pub(super) fn average(sum: i32, area: u32) -> u8 {
    let product = (sum as u32).wrapping_mul(Pool::reciprocal(area.max(1)));
    (product.wrapping_add(1 << 23) >> 24) as u8
}

impl Target<'_> {
    /// Puts `sum` through the epilogue of `output`.
    #[inline(always)]
    pub(super) fn write(&mut self, output: usize, affine: Affine, sum: i32) {
        match self {
            Target::Activations { low, bytes } => {
                if let Some(byte) = bytes.get_mut(output) {
                    *byte = affine.activation(sum, *low);
                }
            }
            Target::Logits(logits) => {
                if let Some(logit) = logits.get_mut(output) {
                    *logit = affine.logit(sum);
                }
            }
        }
    }
}
