//! Depthwise convolution: every channel has its own kernel. On one block of images.

use seedmask::layer::Window;

use super::Shape;

/// Shapes of one depthwise convolution. Weights are `[channel][ky][kx]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depthwise {
    /// Shape of the input map.
    pub input: Shape,
    /// Shape of the output map, with as many channels.
    pub output: Shape,
    /// Kernel, stride and padding.
    pub window: Window,
}

impl Depthwise {
    /// Each output plane is its input plane under the channel's kernel; one block of images.
    pub fn forward(&self, lanes: usize, input: &[f32], matrix: &[f32], output: &mut [f32]) {
        let (from, to) = (self.input.pixels() * lanes, self.output.pixels() * lanes);
        let planes = output.chunks_exact_mut(to).zip(input.chunks_exact(from));
        for ((output, input), kernel) in planes.zip(matrix.chunks_exact(self.area())) {
            output.fill(0.0);
            self.each_tap(|tap, pixel, seen| {
                let input = &input[seen * lanes..][..lanes];
                let output = &mut output[pixel * lanes..][..lanes];
                output.iter_mut().zip(input).for_each(|(y, x)| *y += kernel[tap] * x);
            });
        }
    }

    /// Gradients from `output_gradient` for one block: of the weights, and of the input where it
    /// is wanted.
    pub fn backward(
        &self,
        lanes: usize,
        input: &[f32],
        matrix: &[f32],
        output_gradient: &[f32],
        matrix_gradient: &mut [f32],
        input_gradient: Option<&mut [f32]>,
    ) {
        let (from, to) = (self.input.pixels() * lanes, self.output.pixels() * lanes);
        let planes = output_gradient.chunks_exact(to).zip(input.chunks_exact(from));
        let kernels = matrix_gradient.chunks_exact_mut(self.area());
        for ((output, input), gradient) in planes.zip(kernels) {
            gradient.fill(0.0);
            self.each_tap(|tap, pixel, seen| {
                let input = &input[seen * lanes..][..lanes];
                let output = &output[pixel * lanes..][..lanes];
                gradient[tap] += output.iter().zip(input).map(|(y, x)| y * x).sum::<f32>();
            });
        }
        let Some(input_gradient) = input_gradient else { return };
        let planes = output_gradient.chunks_exact(to).zip(input_gradient.chunks_exact_mut(from));
        for ((output, input), kernel) in planes.zip(matrix.chunks_exact(self.area())) {
            input.fill(0.0);
            self.each_tap(|tap, pixel, seen| {
                let input = &mut input[seen * lanes..][..lanes];
                let output = &output[pixel * lanes..][..lanes];
                input.iter_mut().zip(output).for_each(|(x, y)| *x += kernel[tap] * y);
            });
        }
    }

    fn area(&self) -> usize {
        self.window.area() as usize
    }

    /// Calls `visit(tap, output pixel, input pixel)` for every tap that is not in the padding.
    #[inline(always)]
    fn each_tap(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let [kernel_y, kernel_x] = self.window.kernel.map(usize::from);
        let [stride_y, stride_x] = self.window.stride.map(usize::from);
        let (top, left) = (self.window.padding[0] as usize, self.window.padding[1] as usize);
        let (height, width) = (self.input.height, self.input.width);
        for ky in 0..kernel_y {
            for kx in 0..kernel_x {
                for y in 0..self.output.height {
                    let seen_y = (y * stride_y + ky).wrapping_sub(top);
                    if seen_y >= height {
                        continue;
                    }
                    for x in 0..self.output.width {
                        let seen_x = (x * stride_x + kx).wrapping_sub(left);
                        if seen_x < width {
                            let pixel = y * self.output.width + x;
                            visit(ky * kernel_x + kx, pixel, seen_y * width + seen_x);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{Case, check_linear};

    fn depthwise(input: Shape, window: Window) -> Depthwise {
        let (height, width) = window.output(input.height as u16, input.width as u16).unwrap();
        let output = Shape::map(input.channels, height as usize, width as usize);
        Depthwise { input, output, window }
    }

    #[test]
    fn gradients_are_those_of_differences() {
        for layer in [
            depthwise(Shape::map(3, 6, 5), Window::square(3, 1, 1)),
            depthwise(Shape::map(2, 7, 7), Window::square(3, 2, 1)),
        ] {
            check_linear(Case {
                input: layer.input.len() * 3,
                matrix: layer.input.channels * 9,
                output: layer.output.len() * 3,
                forward: &|x, w, z| layer.forward(3, x, w, z),
                backward: &|x, w, dz, dw, dx| layer.backward(3, x, w, dz, dw, Some(dx)),
            });
        }
    }

    #[test]
    fn channels_do_not_mix() {
        let layer = depthwise(Shape::map(2, 2, 2), Window::square(1, 1, 0));
        let mut output = [0.0; 8];
        let input = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        layer.forward(1, &input, &[2.0, -1.0], &mut output);
        assert_eq!(output, [2.0, 4.0, 6.0, 8.0, -5.0, -6.0, -7.0, -8.0]);
    }
}
