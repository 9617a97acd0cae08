//! Convolution of any kernel, stride and padding, on one block of images: as matrix products on
//! unfolded windows (im2col), by Winograd's method, or weight by weight where few are kept,
//! whichever is fastest.

use seedmask::layer::Window;

use super::matrix::{Scratch, View, multiply};
use super::sparse::{self, Sparse};
use super::{Shape, winograd};

/// Shapes of one convolution. Weights are `[output channel][input channel][ky][kx]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    /// Shape of the input map.
    pub input: Shape,
    /// Shape of the output map.
    pub output: Shape,
    /// Kernel, stride and padding.
    pub window: Window,
}

/// The weights of a convolution as its passes want them.
#[derive(Debug, Default)]
pub struct Filters {
    /// For Winograd's method, if a pass uses it.
    winograd: Vec<f32>,
    /// Whether the forward pass goes weight by weight, and the input's gradient.
    weight_by_weight: [bool; 2],
    forward: Sparse,
    backward: Sparse,
}

/// The share of weights up to which going weight by weight is faster than Winograd's method:
/// forward and for the input's gradient.
const WINOGRAD_SHARE: [f32; 2] = [0.3, 0.2];
/// The same against products on unfolded windows.
const UNFOLDED_SHARE: [f32; 2] = [0.6, 0.5];

/// Numbers of an unfolded chunk of rows: what a cache holds.
const CHUNK: usize = 1 << 16;

impl Conv2d {
    /// Inputs of one output channel.
    pub fn fan_in(&self) -> usize {
        self.input.channels * self.window.area() as usize
    }

    /// Prepares the weights for the passes over blocks of `lanes` images.
    pub fn prepare(&self, lanes: usize, matrix: &[f32], filters: &mut Filters) {
        let kept = matrix.iter().filter(|&&weight| weight != 0.0).count();
        let by_winograd = winograd::applies(self, lanes);
        let [forward, backward] = if by_winograd { WINOGRAD_SHARE } else { UNFOLDED_SHARE };
        let [may_forward, may_backward] = sparse::applies(self, lanes);
        let few = |share: f32| kept as f32 <= share * matrix.len() as f32;
        filters.weight_by_weight = [may_forward && few(forward), may_backward && few(backward)];
        if filters.weight_by_weight[0] {
            filters.forward.prepare_forward(self, matrix);
        }
        if filters.weight_by_weight[1] {
            filters.backward.prepare_backward(self, matrix);
        }
        if by_winograd && filters.weight_by_weight != [true; 2] {
            winograd::transform_filters(matrix, &mut filters.winograd);
        }
    }

    /// `output = matrix ∗ input` for one block. `steps` is how many steps of the grid of `input`
    /// are in 1.0, where it is on a grid.
    #[allow(clippy::too_many_arguments)]
    pub fn forward(
        &self,
        lanes: usize,
        steps: Option<f32>,
        input: &[f32],
        (matrix, filters): (&[f32], &Filters),
        output: &mut [f32],
        scratch: &Scratch,
    ) {
        if filters.weight_by_weight[0] {
            return filters.forward.run(steps, input, output, scratch);
        }
        if winograd::applies(self, lanes) {
            return winograd::forward(self, input, &filters.winograd, output, scratch);
        }
        let k = self.fan_in();
        let row_step = self.output.pixels() * lanes;
        scratch.with(k * self.rows_per_chunk(lanes) * self.output.width * lanes, |unfolded| {
            for (first, rows) in self.chunks(lanes) {
                let columns = rows * self.output.width * lanes;
                self.unfold(lanes, input, first, rows, unfolded);
                multiply(
                    &mut output[first * self.output.width * lanes..],
                    row_step,
                    View::new(matrix, self.output.channels, k, k),
                    View::new(unfolded, k, columns, columns),
                    false,
                );
            }
        });
    }

    /// Gradients from `output_gradient` for one block: of the weights, and of the input where it
    /// is wanted.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        lanes: usize,
        input: &[f32],
        (matrix, filters): (&[f32], &Filters),
        output_gradient: &[f32],
        matrix_gradient: &mut [f32],
        mut input_gradient: Option<&mut [f32]>,
        scratch: &Scratch,
    ) {
        if let (Some(target), true) = (&mut input_gradient, filters.weight_by_weight[1]) {
            filters.backward.run(None, output_gradient, target, scratch);
            input_gradient = None;
        }
        if winograd::applies(self, lanes) {
            let target = input_gradient;
            return winograd::backward(
                self,
                input,
                &filters.winograd,
                output_gradient,
                matrix_gradient,
                target,
                scratch,
            );
        }
        let (channels, k) = (self.output.channels, self.fan_in());
        let row_step = self.output.pixels() * lanes;
        if let Some(gradient) = input_gradient.as_deref_mut() {
            gradient.fill(0.0);
        }
        scratch.with(k * self.rows_per_chunk(lanes) * self.output.width * lanes, |unfolded| {
            for (index, (first, rows)) in self.chunks(lanes).enumerate() {
                let columns = rows * self.output.width * lanes;
                let start = first * self.output.width * lanes;
                let gradient = View::new(&output_gradient[start..], channels, columns, row_step);
                self.unfold(lanes, input, first, rows, unfolded);
                let windows = View::new(unfolded, k, columns, columns).transposed();
                multiply(matrix_gradient, k, gradient, windows, index > 0);
                if let Some(target) = input_gradient.as_deref_mut() {
                    let weights = View::new(matrix, channels, k, k).transposed();
                    multiply(unfolded, columns, weights, gradient, false);
                    self.fold(lanes, unfolded, first, rows, target);
                }
            }
        });
    }

    /// Output rows that are unfolded together.
    fn rows_per_chunk(&self, lanes: usize) -> usize {
        let per_row = self.fan_in() * self.output.width * lanes;
        (CHUNK / per_row).clamp(1, self.output.height)
    }

    /// First row and number of rows of each chunk.
    fn chunks(&self, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
        let (height, rows) = (self.output.height, self.rows_per_chunk(lanes));
        (0..height).step_by(rows).map(move |first| (first, rows.min(height - first)))
    }

    /// Writes the windows of `rows` output rows from `first`: row (c, ky, kx), column (y, x, lane).
    fn unfold(&self, lanes: usize, input: &[f32], first: usize, rows: usize, unfolded: &mut [f32]) {
        let width = self.output.width * lanes;
        self.each_run(lanes, first, rows, |tap_row, y, run| {
            let target = &mut unfolded[(tap_row * rows + y) * width..][..width];
            let Some(Run { start, end, from, stride }) = run else {
                return target.fill(0.0);
            };
            target[..start].fill(0.0);
            target[end..].fill(0.0);
            if stride == lanes {
                target[start..end].copy_from_slice(&input[from..from + (end - start)]);
            } else {
                let pixels = target[start..end].chunks_exact_mut(lanes);
                for (index, pixel) in pixels.enumerate() {
                    pixel.copy_from_slice(&input[from + index * stride..][..lanes]);
                }
            }
        });
    }

    /// The transpose of `unfold`: adds every window's gradient to the pixels that it saw.
    fn fold(
        &self,
        lanes: usize,
        unfolded: &[f32],
        first: usize,
        rows: usize,
        gradient: &mut [f32],
    ) {
        let width = self.output.width * lanes;
        self.each_run(lanes, first, rows, |tap_row, y, run| {
            let Some(Run { start, end, from, stride }) = run else { return };
            let source = &unfolded[(tap_row * rows + y) * width..][start..end];
            for (index, pixel) in source.chunks_exact(lanes).enumerate() {
                let target = &mut gradient[from + index * stride..][..lanes];
                target.iter_mut().zip(pixel).for_each(|(target, value)| *target += value);
            }
        });
    }

    /// Calls `visit(tap row, y, run)` for every row (c, ky, kx) of the unfolded matrix and every
    /// output row `first + y`.
    #[inline(always)]
    fn each_run(
        &self,
        lanes: usize,
        first: usize,
        rows: usize,
        mut visit: impl FnMut(usize, usize, Option<Run>),
    ) {
        let [kernel_y, kernel_x] = self.window.kernel;
        let mut tap_row = 0;
        for channel in 0..self.input.channels {
            for ky in 0..kernel_y {
                for kx in 0..kernel_x {
                    for y in 0..rows {
                        let source_row = self.source_row(first + y, ky);
                        let run = source_row.and_then(|row| self.run(lanes, channel, row, kx));
                        visit(tap_row, y, run);
                    }
                    tap_row += 1;
                }
            }
        }
    }

    /// The input row that tap row `ky` sees from output row `y`; `None` in the padding.
    fn source_row(&self, y: usize, ky: u8) -> Option<usize> {
        let below = y * self.window.stride[0] as usize + ky as usize;
        let row = below.checked_sub(self.window.padding[0] as usize)?;
        (row < self.input.height).then_some(row)
    }

    /// The part of an output row whose tap column `kx` lies within the input, and where that is.
    fn run(&self, lanes: usize, channel: usize, source_row: usize, kx: u8) -> Option<Run> {
        let (stride, left) = (self.window.stride[1] as usize, self.window.padding[1] as usize);
        let start = left.saturating_sub(kx as usize).div_ceil(stride);
        let end = (self.input.width + left).saturating_sub(kx as usize).div_ceil(stride);
        let end = end.min(self.output.width);
        let column = (start < end).then(|| start * stride + kx as usize - left)?;
        let row = (channel * self.input.height + source_row) * self.input.width;
        Some(Run {
            start: start * lanes,
            end: end * lanes,
            from: (row + column) * lanes,
            stride: stride * lanes,
        })
    }
}

/// Numbers `start..end` of an output row see the input from `from` on, in steps of `stride` from
/// pixel to pixel.
struct Run {
    start: usize,
    end: usize,
    from: usize,
    stride: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{Case, check_linear, random};

    fn conv(input: Shape, channels: usize, window: Window) -> Conv2d {
        let (height, width) = window.output(input.height as u16, input.width as u16).unwrap();
        let output = Shape::map(channels, height as usize, width as usize);
        Conv2d { input, output, window }
    }

    /// The definition, one multiplication at a time.
    fn plain(conv: &Conv2d, lanes: usize, input: &[f32], matrix: &[f32]) -> Vec<f32> {
        let (i, o) = (conv.input, conv.output);
        let [kernel_y, kernel_x] = conv.window.kernel.map(usize::from);
        let [stride_y, stride_x] = conv.window.stride.map(usize::from);
        let mut output = vec![0.0; o.len() * lanes];
        for (index, value) in output.iter_mut().enumerate() {
            let (pixel, lane) = (index / lanes, index % lanes);
            let (row, y, x) = (pixel / o.pixels(), pixel / o.width % o.height, pixel % o.width);
            for tap in 0..i.channels * kernel_y * kernel_x {
                let (c, ky, kx) =
                    (tap / (kernel_y * kernel_x), tap / kernel_x % kernel_y, tap % kernel_x);
                let sy = (y * stride_y + ky).wrapping_sub(conv.window.padding[0] as usize);
                let sx = (x * stride_x + kx).wrapping_sub(conv.window.padding[1] as usize);
                if sy < i.height && sx < i.width {
                    let seen = (c * i.height + sy) * i.width + sx;
                    *value += matrix[row * conv.fan_in() + tap] * input[seen * lanes + lane];
                }
            }
        }
        output
    }

    fn cases() -> Vec<(Conv2d, usize)> {
        let window = |kernel, stride, padding| Window { kernel, stride, padding };
        vec![
            (conv(Shape::map(2, 6, 5), 3, Window::square(3, 1, 1)), 3),
            (conv(Shape::map(1, 7, 7), 2, Window::square(3, 2, 1)), 2),
            (conv(Shape::map(3, 8, 8), 2, Window::square(5, 1, 0)), 2),
            (conv(Shape::map(2, 5, 6), 2, window([2, 3], [2, 1], [0, 1, 1, 2])), 5),
            (conv(Shape::map(4, 4, 4), 3, Window::square(1, 1, 0)), 16),
            (conv(Shape::map(2, 2, 2), 2, Window::square(5, 1, 2)), 2),
            // By Winograd's method.
            (conv(Shape::map(8, 8, 8), 9, Window::square(3, 1, 1)), 16),
            (conv(Shape::map(9, 7, 6), 8, Window::square(3, 1, 0)), 16),
            (conv(Shape::map(8, 3, 9), 12, window([3, 3], [1, 1], [2, 1, 0, 1])), 16),
        ]
    }

    #[test]
    fn forward_is_the_definition() {
        for (conv, lanes) in cases() {
            let input = random(conv.input.len() * lanes, 1);
            let matrix = random(conv.output.channels * conv.fan_in(), 2);
            let mut output = vec![f32::NAN; conv.output.len() * lanes];
            let mut filters = Filters::default();
            conv.prepare(lanes, &matrix, &mut filters);
            let scratch = Scratch::default();
            conv.forward(lanes, None, &input, (&matrix, &filters), &mut output, &scratch);
            for (found, expected) in output.iter().zip(plain(&conv, lanes, &input, &matrix)) {
                assert!((found - expected).abs() < 1e-4, "{conv:?}: {found} {expected}");
            }
        }
    }

    /// Few weights, of every sort.
    fn few_weights(conv: &Conv2d) -> Vec<f32> {
        let mut values = [0.0; 25];
        [values[0], values[3], values[7], values[16]] = [1.0, -1.0, 2.0, -4.0];
        values.into_iter().cycle().take(conv.output.channels * conv.fan_in()).collect()
    }

    #[test]
    fn weight_by_weight_is_the_definition() {
        let lanes = 16;
        for conv in cases().into_iter().map(|(conv, _)| conv) {
            let (matrix, scratch) = (few_weights(&conv), Scratch::default());
            let mut filters = Filters::default();
            conv.prepare(lanes, &matrix, &mut filters);
            assert_eq!(filters.weight_by_weight, sparse::applies(&conv, lanes));
            let on_grid = |steps: f32| {
                let numbers = random(conv.input.len() * lanes, 1).into_iter();
                numbers.map(|v| (v * 95.5 + 31.5).round() / steps).collect::<Vec<_>>()
            };
            for (steps, input) in [
                (None, random(conv.input.len() * lanes, 1)),
                (Some(32.0), on_grid(32.0)),
                (Some(127.0), on_grid(127.0)),
            ] {
                let mut output = vec![f32::NAN; conv.output.len() * lanes];
                conv.forward(lanes, steps, &input, (&matrix, &filters), &mut output, &scratch);
                for (found, expected) in output.iter().zip(plain(&conv, lanes, &input, &matrix)) {
                    let exact = steps == Some(32.0);
                    let difference = (found - expected).abs();
                    assert!(difference < if exact { 1e-30 } else { 1e-4 }, "{conv:?} {steps:?}");
                }
            }
            let gradient = random(conv.output.len() * lanes, 3);
            let mut kept = vec![f32::NAN; conv.input.len() * lanes];
            let mut all = kept.clone();
            let backward = |filters: &Filters, target: &mut [f32]| {
                let mut matrix_gradient = vec![0.0; matrix.len()];
                let (input, target) = (on_grid(32.0), Some(target));
                let weights = (matrix.as_slice(), filters);
                conv.backward(
                    lanes,
                    &input,
                    weights,
                    &gradient,
                    &mut matrix_gradient,
                    target,
                    &scratch,
                );
                matrix_gradient
            };
            let from_kept = backward(&filters, &mut kept);
            filters.weight_by_weight = [false; 2];
            winograd::transform_filters(&matrix, &mut filters.winograd);
            assert_eq!(from_kept, backward(&filters, &mut all));
            for (kept, all) in kept.iter().zip(&all) {
                assert!((kept - all).abs() < 1e-4, "{conv:?}: {kept} {all}");
            }
        }
    }

    #[test]
    fn gradients_are_those_of_differences() {
        for (conv, lanes) in cases() {
            let scratch = Scratch::default();
            let prepared = |matrix: &[f32]| {
                let mut filters = Filters::default();
                conv.prepare(lanes, matrix, &mut filters);
                filters
            };
            check_linear(Case {
                input: conv.input.len() * lanes,
                matrix: conv.output.channels * conv.fan_in(),
                output: conv.output.len() * lanes,
                forward: &|x, w, z| conv.forward(lanes, None, x, (w, &prepared(w)), z, &scratch),
                backward: &|x, w, dz, dw, dx| {
                    conv.backward(lanes, x, (w, &prepared(w)), dz, dw, Some(dx), &scratch)
                },
            });
        }
    }
}
