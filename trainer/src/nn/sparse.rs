//! Convolutions of which few weights are not 0, on one block of images: every kept weight adds its
//! input to the sum, wherever the window is. The gradient of the input is such a convolution too,
//! of the output's gradient with the kernels turned round.
//!
//! The inputs of some output rows are copied with their padding into a cache-sized chunk, in which
//! a tap of the window is the same distance away for every pixel. Inputs on the device's grid are
//! copied as 16-bit integers: their sums are exact, and a register holds twice as many.

use std::ops::Range;

use super::conv2d::Conv2d;
use super::matrix::Scratch;
use super::{LANES, MAX_BYTE, Shape};
use crate::vectorised::vectorised;

/// Bytes of a chunk: what a cache holds.
const CHUNK: usize = 1 << 18;
/// Bytes of one pixel in a chunk: a register.
const PIXEL: usize = 32;
/// Lanes of a pixel that a register holds in single precision.
const WIDTH: usize = PIXEL / size_of::<f32>();
/// Numbers of pixels whose sums are held in registers together.
const STRIPS: [usize; 6] = [14, 8, 7, 4, 2, 1];

/// The kept weights of a convolution, by output channel.
#[derive(Debug, Default)]
pub struct Sparse {
    place: Option<Place>,
    /// Where the taps of each channel begin: of weight 1, of -1, of any other; the next channel's
    /// follow.
    starts: Vec<[usize; 3]>,
    /// Pixels of a chunk from a window's corner to the tap.
    taps: Vec<u32>,
    /// The weights of the same taps.
    weights: Vec<f32>,
    /// Whether the sums of inputs on the grid fit 16 bits.
    fits: bool,
}

/// What is read and given, and where.
#[derive(Debug, Clone, Copy)]
struct Place {
    input: Shape,
    output: Shape,
    kernel: [usize; 2],
    stride: usize,
    /// Rows above and columns left that are 0.
    padding: [usize; 2],
}

impl Place {
    /// Columns of a chunk.
    fn columns(&self) -> usize {
        (self.output.width - 1) * self.stride + self.kernel[1]
    }

    /// Output rows of a chunk, and how many rows of inputs it holds.
    fn chunk_rows(&self) -> [usize; 2] {
        let row = self.input.channels * self.columns() * PIXEL;
        let fitting = (CHUNK / row).saturating_sub(self.kernel[0]) / self.stride + 1;
        // Chunks of equal size.
        let rows = self.output.height.div_ceil(self.output.height.div_ceil(fitting));
        [rows, (rows - 1) * self.stride + self.kernel[0]]
    }
}

/// Whether convolutions of this kind can be done this way: forward, and for the input's gradient.
pub fn applies(conv: &Conv2d, lanes: usize) -> [bool; 2] {
    let window = conv.window;
    let forward = lanes == LANES && window.stride[0] == window.stride[1] && window.stride[0] <= 2;
    let within = (0..2).all(|side| window.padding[side] < window.kernel[side]);
    [forward, forward && window.stride[0] == 1 && within]
}

impl Sparse {
    /// Takes the weights that are not 0 of `matrix`, `[output channel][input channel][ky][kx]`.
    pub fn prepare_forward(&mut self, conv: &Conv2d, matrix: &[f32]) {
        let [height, width] = conv.window.kernel.map(usize::from);
        let area = height * width;
        self.begin(Place {
            input: conv.input,
            output: conv.output,
            kernel: [height, width],
            stride: usize::from(conv.window.stride[0]),
            padding: [conv.window.padding[0], conv.window.padding[1]].map(usize::from),
        });
        for row in matrix.chunks_exact(conv.fan_in()) {
            self.add_channel(row.chunks_exact(area), |tap| tap);
        }
    }

    /// The same for the gradient of the input, which it gives from that of the output.
    pub fn prepare_backward(&mut self, conv: &Conv2d, matrix: &[f32]) {
        let [height, width] = conv.window.kernel.map(usize::from);
        let (area, fan_in) = (height * width, conv.fan_in());
        let [top, left] = [conv.window.padding[0], conv.window.padding[1]].map(usize::from);
        self.begin(Place {
            input: conv.output,
            output: conv.input,
            kernel: [height, width],
            stride: 1,
            padding: [height - 1 - top, width - 1 - left],
        });
        for channel in 0..conv.input.channels {
            let kernels = matrix.chunks_exact(fan_in).map(|row| &row[channel * area..][..area]);
            self.add_channel(kernels, |tap| area - 1 - tap);
        }
    }

    fn begin(&mut self, place: Place) {
        self.place = Some(place);
        self.starts.clear();
        self.taps.clear();
        self.weights.clear();
        self.fits = true;
    }

    /// Adds the taps of an output channel: a kernel for each channel it reads, in which tap number
    /// `tap` stands at `position(tap)` of the window.
    fn add_channel<'a>(
        &mut self,
        kernels: impl Iterator<Item = &'a [f32]> + Clone,
        position: impl Fn(usize) -> usize,
    ) {
        let place = self.place.expect("begun");
        let (rows, columns) = (place.chunk_rows()[1], place.columns());
        let (mut start, mut sum) = ([0; 3], 0.0);
        for (sort, start) in start.iter_mut().enumerate() {
            *start = self.taps.len();
            for (channel, kernel) in kernels.clone().enumerate() {
                for (tap, &weight) in kernel.iter().enumerate() {
                    if weight == 0.0 || sort != sort_of(weight) {
                        continue;
                    }
                    let position = position(tap);
                    let (ky, kx) = (position / place.kernel[1], position % place.kernel[1]);
                    self.taps.push(((channel * rows + ky) * columns + kx) as u32);
                    self.weights.push(weight);
                    sum += weight.abs();
                }
            }
        }
        self.fits &= sum * MAX_BYTE <= f32::from(i16::MAX);
        self.starts.push(start);
    }

    /// The taps of an output channel by sort, and the weights of the last sort.
    fn channel(&self, channel: usize) -> ([&[u32]; 3], &[f32]) {
        let [plus, minus, other] = self.starts[channel];
        let end = self.starts.get(channel + 1).map_or(self.taps.len(), |next| next[0]);
        let taps = [&self.taps[plus..minus], &self.taps[minus..other], &self.taps[other..end]];
        (taps, &self.weights[other..end])
    }

    /// The convolution of one block of images. `steps` is how many steps of the grid of `input`
    /// are in 1.0, where it is on a grid.
    pub fn run(&self, steps: Option<f32>, input: &[f32], output: &mut [f32], scratch: &Scratch) {
        let place = self.place.expect("prepared");
        let [chunk_rows, rows] = place.chunk_rows();
        let pixels = place.input.channels * rows * place.columns();
        scratch.with(pixels * PIXEL / size_of::<f32>(), |chunk| {
            for first in (0..place.output.height).step_by(chunk_rows) {
                let rows = chunk_rows.min(place.output.height - first);
                match steps {
                    Some(steps) if self.fits => {
                        let chunk = bytemuck::cast_slice_mut(chunk);
                        copy_integers(&place, steps, input, first, chunk);
                        sum_integers(self, 1.0 / steps, chunk, first..first + rows, output);
                    }
                    _ => {
                        for part in 0..LANES / WIDTH {
                            copy_numbers(&place, part, input, first, chunk);
                            sum_numbers(self, part, chunk, first..first + rows, output);
                        }
                    }
                }
            }
        });
    }
}

/// 0 for a weight of 1, 1 for -1, 2 for any other.
fn sort_of(weight: f32) -> usize {
    match weight {
        1.0 => 0,
        -1.0 => 1,
        _ => 2,
    }
}

/// A number that is added up.
trait Number: Copy + Default {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn plus_product(self, weight: f32, other: Self) -> Self;
}

impl Number for i16 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline(always)]
    fn plus_product(self, weight: f32, other: Self) -> Self {
        self.wrapping_add(other.wrapping_mul(weight as i16))
    }
}

impl Number for f32 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self - other
    }

    #[inline(always)]
    fn plus_product(self, weight: f32, other: Self) -> Self {
        self + weight * other
    }
}

vectorised! {
    /// Copies the inputs of the output rows from `first` on, as steps of the grid.
    fn copy_integers(place: &Place, steps: f32, input: &[f32], first: usize, chunk: &mut [i16]) {
        copy::<i16, LANES>(place, input, first, chunk, |from, to| {
            for (to, from) in to.iter_mut().zip(from) {
                // SAFETY: inputs are -64..=127 steps; half a step is added to round.
                let byte: i32 = unsafe { (from * steps + 128.5).to_int_unchecked() };
                *to = (byte - 128) as i16;
            }
        });
    }

    /// Copies the inputs of the output rows from `first` on: those of some lanes.
    fn copy_numbers(place: &Place, part: usize, input: &[f32], first: usize, chunk: &mut [f32]) {
        copy::<f32, WIDTH>(place, input, first, chunk, |from, to| {
            to.copy_from_slice(&from[part * WIDTH..][..WIDTH]);
        });
    }

    /// Output rows from a chunk of integers, which are worth `unit` each.
    fn sum_integers(
        sparse: &Sparse,
        unit: f32,
        chunk: &[i16],
        rows: Range<usize>,
        output: &mut [f32],
    ) {
        sums::<i16, LANES>(sparse, chunk, rows, output, |sums, to| {
            to.iter_mut().zip(sums).for_each(|(to, &sum)| *to = f32::from(sum) * unit);
        });
    }

    /// Output rows from a chunk of numbers: those of some lanes.
    fn sum_numbers(
        sparse: &Sparse,
        part: usize,
        chunk: &[f32],
        rows: Range<usize>,
        output: &mut [f32],
    ) {
        sums::<f32, WIDTH>(sparse, chunk, rows, output, |sums, to| {
            to[part * WIDTH..][..WIDTH].copy_from_slice(sums);
        });
    }
}

/// Calls `pixel` for every pixel of the inputs of the output rows from `first` on, and writes 0
/// for those in the padding.
#[inline(always)]
fn copy<T: Number, const W: usize>(
    place: &Place,
    input: &[f32],
    first: usize,
    chunk: &mut [T],
    pixel: impl Fn(&[f32; LANES], &mut [T; W]),
) {
    let (rows, columns) = (place.chunk_rows()[1], place.columns());
    let Shape { channels, height, width } = place.input;
    let [top, left] = place.padding;
    let (input, _) = input.as_chunks::<LANES>();
    let (chunk, _) = chunk.as_chunks_mut::<W>();
    let seen = width.min(columns - left);
    for channel in 0..channels {
        for row in 0..rows {
            let to = &mut chunk[(channel * rows + row) * columns..][..columns];
            let y = (first * place.stride + row).wrapping_sub(top);
            if y >= height {
                to.fill([T::default(); W]);
                continue;
            }
            to[..left].fill([T::default(); W]);
            to[left + seen..].fill([T::default(); W]);
            let from = &input[(channel * height + y) * width..][..seen];
            from.iter().zip(&mut to[left..]).for_each(|(from, to)| pixel(from, to));
        }
    }
}

/// The output rows `rows` of every channel; `store` puts the sums of a pixel to its lanes.
#[inline(always)]
fn sums<T: Number, const W: usize>(
    sparse: &Sparse,
    chunk: &[T],
    rows: Range<usize>,
    output: &mut [f32],
    store: impl Fn(&[T; W], &mut [f32; LANES]),
) {
    let place = sparse.place.expect("prepared");
    let Shape { channels, height, width } = place.output;
    let (chunk, _) = chunk.as_chunks::<W>();
    let (output, _) = output.as_chunks_mut::<LANES>();
    // Pixels are summed again where strips overlap; a strip costs about three pixels by itself.
    let cost = |strip: &usize| width.div_ceil(*strip) * (strip + 3);
    let strip = STRIPS.into_iter().filter(|&strip| strip <= width).min_by_key(cost).unwrap_or(1);
    for (row, y) in rows.enumerate() {
        // All channels of a strip of pixels, as they read the same inputs. The last strip overlaps
        // the one before.
        for x in (0..width.div_ceil(strip)).map(|index| (index * strip).min(width - strip)) {
            let chunk = &chunk[(row * place.columns() + x) * place.stride..];
            for channel in 0..channels {
                let taps = sparse.channel(channel);
                let to = &mut output[(channel * height + y) * width + x..];
                match (strip, place.stride) {
                    (14, 1) => strip_sums::<T, W, 14, 1>(taps, chunk, to, &store),
                    (14, _) => strip_sums::<T, W, 14, 2>(taps, chunk, to, &store),
                    (8, 1) => strip_sums::<T, W, 8, 1>(taps, chunk, to, &store),
                    (8, _) => strip_sums::<T, W, 8, 2>(taps, chunk, to, &store),
                    (7, 1) => strip_sums::<T, W, 7, 1>(taps, chunk, to, &store),
                    (7, _) => strip_sums::<T, W, 7, 2>(taps, chunk, to, &store),
                    (4, 1) => strip_sums::<T, W, 4, 1>(taps, chunk, to, &store),
                    (4, _) => strip_sums::<T, W, 4, 2>(taps, chunk, to, &store),
                    (2, 1) => strip_sums::<T, W, 2, 1>(taps, chunk, to, &store),
                    (2, _) => strip_sums::<T, W, 2, 2>(taps, chunk, to, &store),
                    (_, _) => strip_sums::<T, W, 1, 1>(taps, chunk, to, &store),
                }
            }
        }
    }
}

/// `P` neighbouring pixels of one output channel, whose windows are `S` apart in the chunk.
#[inline(always)]
fn strip_sums<T: Number, const W: usize, const P: usize, const S: usize>(
    ([plus, minus, other], weights): ([&[u32]; 3], &[f32]),
    chunk: &[[T; W]],
    output: &mut [[f32; LANES]],
    store: &impl Fn(&[T; W], &mut [f32; LANES]),
) {
    let mut sums = [[T::default(); W]; P];
    // Every tap lies within the chunk. Passing over one that does not, rather than panicking, lets
    // the sums stay in registers.
    let window = |tap: u32| chunk.get(tap as usize..tap as usize + (P - 1) * S + 1);
    for window in plus.iter().filter_map(|&tap| window(tap)) {
        for pixel in 0..P {
            sums[pixel] = each(sums[pixel], window[pixel * S], T::plus);
        }
    }
    for window in minus.iter().filter_map(|&tap| window(tap)) {
        for pixel in 0..P {
            sums[pixel] = each(sums[pixel], window[pixel * S], T::minus);
        }
    }
    for (&tap, &weight) in other.iter().zip(weights) {
        let Some(window) = window(tap) else { continue };
        for pixel in 0..P {
            sums[pixel] =
                each(sums[pixel], window[pixel * S], |sum, x| sum.plus_product(weight, x));
        }
    }
    let output = &mut output[..P];
    for pixel in 0..P {
        store(&sums[pixel], &mut output[pixel]);
    }
}

#[inline(always)]
fn each<T: Copy, const W: usize>(mut a: [T; W], b: [T; W], apply: impl Fn(T, T) -> T) -> [T; W] {
    for lane in 0..W {
        a[lane] = apply(a[lane], b[lane]);
    }
    a
}
