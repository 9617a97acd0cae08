//! The plain truth: one obvious loop nest a layer, with the kept weights read one by one and every
//! tap tested by its coordinates. For tests, and to read first.

use super::{Convolution, Kernels, Placed, Sink, Source, Target};
use crate::epilogue::{Affine, Epilogue};
use crate::layer::{Add, Pool, PoolKind, Window};
use crate::mask::LayerWeights;

/// The sums, written for reading.
#[derive(Clone, Copy, Debug)]
pub struct Reference;

impl Placed {
    /// The activation at `(channel, y, x)`; `None` outside of the map.
    fn at(&self, memory: &[u8], channel: usize, y: i32, x: i32) -> Option<u8> {
        let inside = |at: i32, size: usize| usize::try_from(at).ok().filter(|at| *at < size);
        let index = self.planes.index(
            channel,
            inside(y, self.planes.height)?,
            inside(x, self.planes.width)?,
        );
        memory.get(self.start + index).copied()
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
    fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], mut target: Target) {
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

    fn conv2d(conv: &mut Convolution, x: Source, y: Sink, _: &mut [u32]) {
        let (area, width) = (conv.window.area().max(1), u32::from(conv.window.kernel[1]).max(1));
        let input = Placed { planes: x.planes, start: 0 };
        for channel in 0..y.planes.channels {
            let Some(weights) = conv.rows.next_row() else { return };
            let affine = conv.epilogue.row(conv.first + channel);
            for_elements(y.planes.height, y.planes.width, |row, column| {
                let (top, left) = corner(conv.window, row, column);
                let tap = |(index, weight): (u32, i32)| {
                    let (source, tap) = (index / area, index % area);
                    let (ky, kx) = ((tap / width) as i32, (tap % width) as i32);
                    let value = input.at(x.bytes, source as usize, top + ky, left + kx);
                    weight * value.map_or(input.zero_point(), i32::from)
                };
                let sum = weights.clone().map(tap).sum();
                put(
                    y.bytes,
                    y.planes.index(channel, row, column),
                    affine.activation(sum, conv.low),
                );
            });
        }
    }

    fn pool(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed) {
        for channel in 0..y.planes.channels {
            for_elements(y.planes.height, y.planes.width, |row, column| {
                let output = pooled(pool, memory, x, channel, row, column);
                put(memory, y.start + y.planes.index(channel, row, column), output);
            });
        }
    }

    fn add(add: &Add, memory: &mut [u8], left: &Placed, right: &Placed, y: &Placed) {
        let Some((scales, shift)) = add.fixed_point() else { return };
        for channel in 0..y.planes.channels {
            for_elements(y.planes.height, y.planes.width, |row, column| {
                let term = |from: &Placed, scale: i32| {
                    let value = from.at(memory, channel, row as i32, column as i32).unwrap_or(0);
                    i64::from(value) * i64::from(scale)
                };
                let product = term(left, scales[0]) + term(right, scales[1]);
                let sum = Affine { scale: 0, shift }.after(product, add.low);
                put(memory, y.start + y.planes.index(channel, row, column), sum);
            });
        }
    }
}

/// Calls `each` with every row and column.
fn for_elements(height: usize, width: usize, mut each: impl FnMut(usize, usize)) {
    for row in 0..height {
        for column in 0..width {
            each(row, column);
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

fn pooled(pool: &Pool, memory: &[u8], x: &Placed, channel: usize, row: usize, column: usize) -> u8 {
    let [height, width] = pool.window.kernel.map(i32::from);
    let (top, left) = corner(&pool.window, row, column);
    let taps = (0..height).flat_map(|ky| (0..width).map(move |kx| (top + ky, left + kx)));
    let values = taps.map(|(row, column)| x.at(memory, channel, row, column));
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
