//! Convolution of any kernel, stride and padding, as matrix products on unfolded windows (im2col).

use rayon::prelude::*;
use seedmask::layer::Window;

use super::Shape;
use super::matrix::{Scratch, Shared, View, sum_in_order};

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

/// Columns of an unfolded group of images: enough for efficient products, small enough for caches.
const GROUP_COLUMNS: usize = 512;
/// Groups whose weight gradients are summed in one go before the ordered sum over all.
const GROUPS_PER_PART: usize = 8;

impl Conv2d {
    /// Inputs of one output channel.
    pub fn fan_in(&self) -> usize {
        self.input.channels * self.window.area() as usize
    }

    /// Images that are unfolded together; depends on shapes alone.
    fn group(&self) -> usize {
        GROUP_COLUMNS.div_ceil(self.output.pixels()).max(1)
    }

    /// `output = matrix ∗ input` for `batch` images.
    pub fn forward(
        &self,
        batch: usize,
        input: &[f32],
        matrix: &[f32],
        output: &mut [f32],
        scratch: &Scratch,
    ) {
        let (k, pixels) = (self.fan_in(), self.output.pixels());
        let output = Shared::new(output);
        groups(batch, self.group()).into_par_iter().for_each(|(first, images)| {
            let columns = images * pixels;
            scratch.with(k * columns, |unfolded| {
                self.unfold(batch, input, first, images, unfolded);
                // SAFETY: groups are disjoint ranges of images, hence of columns of the output.
                unsafe {
                    output.multiply(
                        first * pixels,
                        batch * pixels,
                        View::new(matrix, self.output.channels, k, k),
                        View::new(unfolded, k, columns, columns),
                        false,
                    );
                }
            });
        });
    }

    /// Gradients from `output_gradient`: of the weights, and of the input where it is wanted.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        batch: usize,
        input: &[f32],
        matrix: &[f32],
        output_gradient: &[f32],
        matrix_gradient: &mut [f32],
        input_gradient: Option<&mut [f32]>,
        scratch: &Scratch,
    ) {
        let (rows, k, pixels) = (self.output.channels, self.fan_in(), self.output.pixels());
        let input_gradient = input_gradient.map(Shared::new);
        let groups = groups(batch, self.group());
        let part_count = groups.len().div_ceil(GROUPS_PER_PART);
        scratch.with(part_count * rows * k, |parts| {
            parts.par_chunks_mut(rows * k).zip(groups.par_chunks(GROUPS_PER_PART)).for_each(
                |(part, groups)| {
                    for (index, &(first, images)) in groups.iter().enumerate() {
                        let columns = images * pixels;
                        let gradient = View::new(
                            &output_gradient[first * pixels..],
                            rows,
                            columns,
                            batch * pixels,
                        );
                        scratch.with(k * columns, |unfolded| {
                            self.unfold(batch, input, first, images, unfolded);
                            let windows = View::new(unfolded, k, columns, columns).transposed();
                            super::matrix::multiply(part, k, gradient, windows, index > 0);
                            if let Some(input_gradient) = &input_gradient {
                                let weights = View::new(matrix, rows, k, k).transposed();
                                super::matrix::multiply(
                                    unfolded, columns, weights, gradient, false,
                                );
                                // SAFETY: groups are disjoint ranges of images.
                                unsafe {
                                    self.fold(batch, unfolded, first, images, input_gradient)
                                };
                            }
                        });
                    }
                },
            );
            sum_in_order(matrix_gradient, parts);
        });
    }

    /// Writes the windows of `images` images from `first`: row (c, ky, kx), column (image, pixel).
    fn unfold(
        &self,
        batch: usize,
        input: &[f32],
        first: usize,
        images: usize,
        unfolded: &mut [f32],
    ) {
        let columns = images * self.output.pixels();
        let mut rows = unfolded.chunks_exact_mut(columns);
        for c in 0..self.input.channels {
            let planes = &input[(c * batch + first) * self.input.pixels()..];
            for ky in 0..self.window.kernel[0] {
                for kx in 0..self.window.kernel[1] {
                    let Some(row) = rows.next() else { return };
                    let planes = planes.chunks_exact(self.input.pixels());
                    for (target, plane) in row.chunks_exact_mut(self.output.pixels()).zip(planes) {
                        self.gather(plane, target, ky, kx);
                    }
                }
            }
        }
    }

    /// The pixel that tap (ky, kx) sees for each output pixel; 0 in the padding.
    fn gather(&self, plane: &[f32], target: &mut [f32], ky: u8, kx: u8) {
        let width = self.input.width;
        let (start, end) = self.columns_within(kx);
        for (y, row) in target.chunks_exact_mut(self.output.width).enumerate() {
            let Some(source_y) = self.source_row(y, ky) else {
                row.fill(0.0);
                continue;
            };
            let source = &plane[source_y * width..][..width];
            row[..start].fill(0.0);
            row[end..].fill(0.0);
            if start < end {
                let from = self.source_column(start, kx);
                let stride = self.window.stride[1] as usize;
                if stride == 1 {
                    row[start..end].copy_from_slice(&source[from..from + (end - start)]);
                } else {
                    let taps = source[from..].iter().step_by(stride);
                    row[start..end].iter_mut().zip(taps).for_each(|(value, &tap)| *value = tap);
                }
            }
        }
    }

    /// The reverse of `unfold`: adds every window's gradient to the pixels that it saw.
    ///
    /// # Safety
    /// Nobody else accesses these images' part of `input_gradient` during the call.
    unsafe fn fold(
        &self,
        batch: usize,
        unfolded: &[f32],
        first: usize,
        images: usize,
        input_gradient: &Shared<'_>,
    ) {
        let columns = images * self.output.pixels();
        let width = self.input.width;
        let stride = self.window.stride[1] as usize;
        let mut rows = unfolded.chunks_exact(columns);
        for c in 0..self.input.channels {
            let start = (c * batch + first) * self.input.pixels();
            // SAFETY: the caller's promise.
            let planes = unsafe { input_gradient.part(start, images * self.input.pixels()) };
            planes.fill(0.0);
            for ky in 0..self.window.kernel[0] {
                for kx in 0..self.window.kernel[1] {
                    let Some(row) = rows.next() else { return };
                    let (start, end) = self.columns_within(kx);
                    if start >= end {
                        continue;
                    }
                    let from = self.source_column(start, kx);
                    let planes = planes.chunks_exact_mut(self.input.pixels());
                    for (source, plane) in row.chunks_exact(self.output.pixels()).zip(planes) {
                        for (y, source) in source.chunks_exact(self.output.width).enumerate() {
                            let Some(target_y) = self.source_row(y, ky) else { continue };
                            let target =
                                &mut plane[target_y * width + from..(target_y + 1) * width];
                            let source = &source[start..end];
                            if stride == 1 {
                                target.iter_mut().zip(source).for_each(|(t, s)| *t += s);
                            } else {
                                let taps = target.iter_mut().step_by(stride);
                                taps.zip(source).for_each(|(t, s)| *t += s);
                            }
                        }
                    }
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

    /// Output columns whose tap column `kx` lies within the input: a range.
    fn columns_within(&self, kx: u8) -> (usize, usize) {
        let (stride, left) = (self.window.stride[1] as usize, self.window.padding[1] as usize);
        let start = left.saturating_sub(kx as usize).div_ceil(stride);
        let end = (self.input.width + left).saturating_sub(kx as usize).div_ceil(stride);
        let end = end.min(self.output.width);
        (start.min(end), end)
    }

    /// The input column that tap column `kx` sees from output column `x`, which is within.
    fn source_column(&self, x: usize, kx: u8) -> usize {
        x * self.window.stride[1] as usize + kx as usize - self.window.padding[1] as usize
    }
}

/// Ranges (first, count) of at most `group` images.
fn groups(batch: usize, group: usize) -> Vec<(usize, usize)> {
    (0..batch).step_by(group).map(|first| (first, group.min(batch - first))).collect()
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
    fn plain(conv: &Conv2d, batch: usize, input: &[f32], matrix: &[f32]) -> Vec<f32> {
        let (i, o) = (conv.input, conv.output);
        let [kernel_y, kernel_x] = conv.window.kernel.map(usize::from);
        let mut output = vec![0.0; o.len() * batch];
        for (r, b, y, x) in (0..o.channels).flat_map(|r| {
            (0..batch).flat_map(move |b| {
                (0..o.height).flat_map(move |y| (0..o.width).map(move |x| (r, b, y, x)))
            })
        }) {
            for c in 0..i.channels {
                for ky in 0..kernel_y {
                    for kx in 0..kernel_x {
                        let sy = y * conv.window.stride[0] as usize + ky;
                        let sx = x * conv.window.stride[1] as usize + kx;
                        let sy = sy.wrapping_sub(conv.window.padding[0] as usize);
                        let sx = sx.wrapping_sub(conv.window.padding[1] as usize);
                        if sy < i.height && sx < i.width {
                            let w = matrix[((r * i.channels + c) * kernel_y + ky) * kernel_x + kx];
                            output[((r * batch + b) * o.height + y) * o.width + x] +=
                                w * input[((c * batch + b) * i.height + sy) * i.width + sx];
                        }
                    }
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
            (conv(Shape::map(4, 4, 4), 3, Window::square(1, 1, 0)), 40),
            (conv(Shape::map(2, 2, 2), 2, Window::square(5, 1, 2)), 2),
        ]
    }

    #[test]
    fn forward_is_the_definition() {
        for (conv, batch) in cases() {
            let input = random(conv.input.len() * batch, 1);
            let matrix = random(conv.output.channels * conv.fan_in(), 2);
            let mut output = vec![f32::NAN; conv.output.len() * batch];
            conv.forward(batch, &input, &matrix, &mut output, &Scratch::default());
            for (found, expected) in output.iter().zip(plain(&conv, batch, &input, &matrix)) {
                assert!((found - expected).abs() < 1e-4, "{conv:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn gradients_are_those_of_differences() {
        for (conv, batch) in cases() {
            let scratch = Scratch::default();
            check_linear(Case {
                input: conv.input.len() * batch,
                matrix: conv.output.channels * conv.fan_in(),
                output: conv.output.len() * batch,
                forward: &|x, w, z| conv.forward(batch, x, w, z, &scratch),
                backward: &|x, w, dz, dw, dx| {
                    conv.backward(batch, x, w, dz, dw, Some(dx), &scratch)
                },
            });
        }
    }
}
