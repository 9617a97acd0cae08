//! Maximum and average under a window. A global average pool is a window as large as the map.

use rayon::prelude::*;
use seedmask::layer::{Pool as DevicePool, Window};

use super::{Precision, STEPS_PER_UNIT, Shape};
use crate::vectorised::vectorised;

/// Shapes of one pooling layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Shape of the input map.
    pub input: Shape,
    /// Shape of the output map, with as many channels.
    pub output: Shape,
    /// Kernel, stride and padding.
    pub window: Window,
}

impl Pool {
    /// The largest value under each window (padding never wins) and the tap that has it (the first
    /// of equals). Tensors hold any number of planes of `lanes` images.
    pub fn forward_max(&self, lanes: usize, input: &[f32], output: &mut [f32], taps: &mut [u16]) {
        let planes = self.planes(lanes, input, output);
        planes
            .zip(taps.par_chunks_mut(self.output.pixels() * lanes))
            .for_each(|((output, input), taps)| max_plane(self, lanes, input, output, taps));
    }

    /// Gives each window's gradient to the input that won.
    pub fn backward_max(
        &self,
        lanes: usize,
        output_gradient: &[f32],
        taps: &[u16],
        input_gradient: &mut [f32],
    ) {
        self.planes_back(lanes, output_gradient, input_gradient)
            .zip(taps.par_chunks(self.output.pixels() * lanes))
            .for_each(|((input, output), taps)| max_plane_back(self, lanes, output, taps, input));
    }

    /// The mean under each window, padding counted as 0, rounded by the device's rule on inputs
    /// with this zero point: `(Σ bytes · M + 2²³) >> 24` with `M = round(2²⁴ / area)`.
    pub fn forward_average(
        &self,
        precision: Precision,
        lanes: usize,
        zero_point: u8,
        input: &[f32],
        output: &mut [f32],
    ) {
        let area = self.window.area();
        let reciprocal = i64::from(DevicePool::reciprocal(area));
        let (zero, bytes_of_zeros) = (f32::from(zero_point), area as f32 * f32::from(zero_point));
        self.planes(lanes, input, output).for_each(|(output, input)| {
            output.fill(0.0);
            self.each_tap(|_, pixel, seen| {
                let input = &input[seen * lanes..][..lanes];
                let output = &mut output[pixel * lanes..][..lanes];
                output.iter_mut().zip(input).for_each(|(y, x)| *y += x);
            });
            for value in output {
                *value = match precision {
                    Precision::Exact => *value / area as f32,
                    Precision::Quantised => {
                        let bytes = *value * STEPS_PER_UNIT + bytes_of_zeros;
                        let byte = (bytes as i64 * reciprocal + (1 << 23)) >> 24;
                        (byte as f32 - zero) / STEPS_PER_UNIT
                    }
                };
            }
        });
    }

    /// Shares each window's gradient among its inputs; rounding is passed straight through.
    pub fn backward_average(
        &self,
        lanes: usize,
        output_gradient: &[f32],
        input_gradient: &mut [f32],
    ) {
        let share = 1.0 / self.window.area() as f32;
        self.planes_back(lanes, output_gradient, input_gradient).for_each(|(input, output)| {
            input.fill(0.0);
            self.each_tap(|_, pixel, seen| {
                let input = &mut input[seen * lanes..][..lanes];
                let output = &output[pixel * lanes..][..lanes];
                input.iter_mut().zip(output).for_each(|(x, y)| *x += share * y);
            });
        });
    }

    /// Pairs of output and input planes.
    fn planes<'a>(
        &self,
        lanes: usize,
        input: &'a [f32],
        output: &'a mut [f32],
    ) -> impl IndexedParallelIterator<Item = (&'a mut [f32], &'a [f32])> {
        output
            .par_chunks_mut(self.output.pixels() * lanes)
            .zip(input.par_chunks(self.input.pixels() * lanes))
            .with_min_len(8)
    }

    /// Pairs of input and output planes of gradients.
    fn planes_back<'a>(
        &self,
        lanes: usize,
        output: &'a [f32],
        input: &'a mut [f32],
    ) -> impl IndexedParallelIterator<Item = (&'a mut [f32], &'a [f32])> {
        input
            .par_chunks_mut(self.input.pixels() * lanes)
            .zip(output.par_chunks(self.output.pixels() * lanes))
            .with_min_len(8)
    }

    /// Whether every input pixel is seen by exactly one window, which has no padding.
    pub fn tiles(&self) -> bool {
        let [height, width] = self.window.kernel.map(usize::from);
        self.window.stride == self.window.kernel
            && self.window.padding == [0; 4]
            && self.input.height == self.output.height * height
            && self.input.width == self.output.width * width
    }

    /// Calls `visit(tap, input pixel)` for every tap of one output pixel of a pool that tiles.
    #[inline(always)]
    pub fn each_seen(&self, pixel: usize, mut visit: impl FnMut(u16, usize)) {
        let [height, width] = self.window.kernel.map(usize::from);
        let (y, x) = (pixel / self.output.width * height, pixel % self.output.width * width);
        for ky in 0..height {
            for kx in 0..width {
                visit((ky * width + kx) as u16, (y + ky) * self.input.width + x + kx);
            }
        }
    }

    /// Calls `visit(tap, output pixel, input pixel)` for every tap that is not in the padding.
    #[inline(always)]
    fn each_tap(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let [kernel_y, kernel_x] = self.window.kernel.map(usize::from);
        for y in 0..self.output.height {
            for ky in 0..kernel_y {
                let Some(seen_y) = self.seen_row(y, ky) else { continue };
                for x in 0..self.output.width {
                    for kx in 0..kernel_x {
                        let Some(seen_x) = self.seen_column(x, kx) else { continue };
                        let pixel = y * self.output.width + x;
                        visit(ky * kernel_x + kx, pixel, seen_y * self.input.width + seen_x);
                    }
                }
            }
        }
    }

    fn seen_row(&self, y: usize, ky: usize) -> Option<usize> {
        let row = y * self.window.stride[0] as usize + ky;
        row.checked_sub(self.window.padding[0] as usize).filter(|&row| row < self.input.height)
    }

    fn seen_column(&self, x: usize, kx: usize) -> Option<usize> {
        let column = x * self.window.stride[1] as usize + kx;
        column.checked_sub(self.window.padding[1] as usize).filter(|&c| c < self.input.width)
    }
}

vectorised! {
    /// The largest value and its tap for each pixel of a plane.
    fn max_plane(pool: &Pool, lanes: usize, input: &[f32], output: &mut [f32], taps: &mut [u16]) {
        output.fill(f32::NEG_INFINITY);
        pool.each_tap(|tap, pixel, seen| {
            let input = &input[seen * lanes..][..lanes];
            let output = &mut output[pixel * lanes..][..lanes];
            let taps = &mut taps[pixel * lanes..][..lanes];
            for ((y, &x), winner) in output.iter_mut().zip(input).zip(taps) {
                *winner = if x > *y { tap as u16 } else { *winner };
                *y = if x > *y { x } else { *y };
            }
        });
    }

    /// Adds the gradient of each pixel of a plane to the input that won.
    fn max_plane_back(pool: &Pool, lanes: usize, output: &[f32], taps: &[u16], input: &mut [f32]) {
        input.fill(0.0);
        pool.each_tap(|tap, pixel, seen| {
            let input = &mut input[seen * lanes..][..lanes];
            let output = &output[pixel * lanes..][..lanes];
            let taps = &taps[pixel * lanes..][..lanes];
            for ((x, &y), &winner) in input.iter_mut().zip(output).zip(taps) {
                *x += if winner == tap as u16 { y } else { 0.0 };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{assert_close, dot, random};

    fn pool(input: Shape, window: Window) -> Pool {
        let (height, width) = window.output(input.height as u16, input.width as u16).unwrap();
        Pool { input, output: Shape::map(input.channels, height as usize, width as usize), window }
    }

    fn cases() -> [Pool; 3] {
        [
            pool(Shape::map(3, 6, 4), Window::square(2, 2, 0)),
            pool(Shape::map(2, 7, 7), Window::square(3, 2, 1)),
            pool(Shape::map(4, 5, 5), Window::square(5, 1, 0)),
        ]
    }

    #[test]
    fn maximum_and_its_gradient() {
        let pool = pool(Shape::map(1, 2, 4), Window::square(2, 2, 0));
        let (mut output, mut taps, mut back) = ([0.0; 2], [0; 2], [9.0; 8]);
        pool.forward_max(1, &[1.0, 2.0, -5.0, -6.0, 4.0, 4.0, -8.0, -5.0], &mut output, &mut taps);
        assert_eq!((output, taps), ([4.0, -5.0], [2, 0]));
        pool.backward_max(1, &[10.0, 20.0], &taps, &mut back);
        assert_eq!(back, [0.0, 0.0, 20.0, 0.0, 10.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        for pool in cases() {
            let (inputs, outputs) = (pool.input.len() * 3, pool.output.len() * 3);
            let (x, u, r) = (random(inputs, 1), random(inputs, 2), random(outputs, 3));
            let mut gradient = vec![f32::NAN; inputs];
            pool.backward_average(3, &r, &mut gradient);
            let mut output = vec![0.0; outputs];
            pool.forward_average(Precision::Exact, 3, 0, &u, &mut output);
            assert_close(dot(&gradient, &u), dot(&r, &output), "average");

            let mut taps = vec![0; outputs];
            let loss = |step: f32, taps: &mut [u16], output: &mut [f32]| {
                let moved: Vec<f32> = x.iter().zip(&u).map(|(x, u)| x + step * u).collect();
                pool.forward_max(3, &moved, output, taps);
                dot(&r, output)
            };
            let step = 1e-4;
            let difference =
                loss(step, &mut taps, &mut output) - loss(-step, &mut taps, &mut output);
            loss(0.0, &mut taps, &mut output);
            pool.backward_max(3, &r, &taps, &mut gradient);
            let expected = difference / (2.0 * f64::from(step));
            assert!((dot(&gradient, &u) - expected).abs() < 0.02 * expected.abs().max(1.0));
        }
    }

    #[test]
    fn averages_round_half_up_on_bytes() {
        let pool = pool(Shape::map(1, 2, 2), Window::square(2, 1, 0));
        let mut output = [0.0];
        for (zero_point, steps, expected) in [
            (0, [1.0, 1.0, 0.0, 0.0], 1.0),
            (64, [-1.0, -1.0, 0.0, 0.0], 0.0),
            (64, [-3.0; 4], -3.0),
        ] {
            let input = steps.map(|step| step / STEPS_PER_UNIT);
            pool.forward_average(Precision::Quantised, 1, zero_point, &input, &mut output);
            assert_eq!(output[0] * STEPS_PER_UNIT, expected);
        }
    }
}
