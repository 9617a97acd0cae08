//! Fully connected layer, on a whole batch: its weights are larger than what it reads and writes.

use rayon::prelude::*;

use super::Batch;
use super::matrix::{Scratch, View, multiply, sum_in_order};

/// Sizes of one dense layer. Weights are `[output][input]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dense {
    /// Length of the input vector.
    pub inputs: usize,
    /// Length of the output vector.
    pub outputs: usize,
}

/// Inputs that one product handles; fixes where the work is cut.
const BLOCK: usize = 256;
/// Outputs whose weights' gradients one thread computes at a time.
const ROWS: usize = 16;

impl Dense {
    /// `output = matrix · input`.
    pub fn forward(
        &self,
        batch: Batch,
        input: &[f32],
        matrix: &[f32],
        output: &mut [f32],
        scratch: &Scratch,
    ) {
        let images = batch.images;
        let blocks = self.inputs.div_ceil(BLOCK);
        let length = self.outputs * images;
        scratch.with(self.inputs * images + (blocks + 1) * length, |buffer| {
            let (values, rest) = buffer.split_at_mut(self.inputs * images);
            let (sum, parts) = rest.split_at_mut(length);
            batch.gather(input, values);
            parts.par_chunks_mut(length).enumerate().for_each(|(block, part)| {
                let (first, inputs) = self.block(block);
                multiply(
                    part,
                    images,
                    View::new(&matrix[first..], self.outputs, inputs, self.inputs),
                    View::new(&values[first * images..], inputs, images, images),
                    false,
                );
            });
            sum_in_order(sum, parts);
            batch.scatter(sum, output);
        });
    }

    /// Gradients from `output_gradient`: of the weights, and of the input where it is wanted.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        batch: Batch,
        input: &[f32],
        matrix: &[f32],
        output_gradient: &[f32],
        matrix_gradient: &mut [f32],
        input_gradient: Option<&mut [f32]>,
        scratch: &Scratch,
    ) {
        let images = batch.images;
        let (input_len, output_len) = (self.inputs * images, self.outputs * images);
        scratch.with(2 * input_len + output_len, |buffer| {
            let (values, rest) = buffer.split_at_mut(input_len);
            let (target, gradient) = rest.split_at_mut(input_len);
            batch.gather(input, values);
            batch.gather(output_gradient, gradient);
            let gradient = &*gradient;
            let inputs = View::new(values, self.inputs, images, images).transposed();
            matrix_gradient.par_chunks_mut(ROWS * self.inputs).enumerate().for_each(
                |(index, part)| {
                    let rows = part.len() / self.inputs;
                    let gradient = &gradient[index * ROWS * images..];
                    let gradient = View::new(gradient, rows, images, images);
                    multiply(part, self.inputs, gradient, inputs, false);
                },
            );
            if input_gradient.is_some() {
                let gradient = View::new(gradient, self.outputs, images, images);
                target.par_chunks_mut(BLOCK * images).enumerate().for_each(|(block, part)| {
                    let (first, inputs) = self.block(block);
                    let weights = View::new(&matrix[first..], self.outputs, inputs, self.inputs);
                    multiply(part, images, weights.transposed(), gradient, false);
                });
            }
            if let Some(input_gradient) = input_gradient {
                batch.scatter(target, input_gradient);
            }
        });
    }

    /// First input and number of inputs of a block.
    fn block(&self, block: usize) -> (usize, usize) {
        let first = block * BLOCK;
        (first, BLOCK.min(self.inputs - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{Case, check_linear};

    #[test]
    fn gradients_are_those_of_differences() {
        for (inputs, outputs, images) in [(5, 3, 4), (700, 10, 7), (256, 33, 1), (30, 4, 32)] {
            let (dense, batch) = (Dense { inputs, outputs }, Batch::new(images));
            let scratch = Scratch::default();
            check_linear(Case {
                input: inputs * images,
                matrix: inputs * outputs,
                output: outputs * images,
                forward: &|x, w, z| dense.forward(batch, x, w, z, &scratch),
                backward: &|x, w, dz, dw, dx| {
                    dense.backward(batch, x, w, dz, dw, Some(dx), &scratch)
                },
            });
        }
    }

    #[test]
    fn a_product_by_hand() {
        let dense = Dense { inputs: 2, outputs: 2 };
        let mut output = [0.0; 2];
        let (batch, scratch) = (Batch::new(1), Scratch::default());
        dense.forward(batch, &[3.0, 5.0], &[1.0, -1.0, 2.0, 0.0], &mut output, &scratch);
        assert_eq!(output, [-2.0, 6.0]);
    }
}
