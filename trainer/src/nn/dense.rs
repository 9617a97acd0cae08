//! Fully connected layer.

use rayon::prelude::*;

use super::matrix::{Scratch, Shared, View, sum_in_order};

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

impl Dense {
    /// `output = matrix · input`; tensors are `[feature][image]`.
    pub fn forward(
        &self,
        batch: usize,
        input: &[f32],
        matrix: &[f32],
        output: &mut [f32],
        scratch: &Scratch,
    ) {
        // Split along the inputs: the weights are what is large.
        let blocks = self.inputs.div_ceil(BLOCK);
        let length = self.outputs * batch;
        scratch.with(blocks * length, |parts| {
            parts.par_chunks_mut(length).enumerate().for_each(|(block, part)| {
                let (first, inputs) = self.block(block);
                super::matrix::multiply(
                    part,
                    batch,
                    View::new(&matrix[first..], self.outputs, inputs, self.inputs),
                    View::new(&input[first * batch..], inputs, batch, batch),
                    false,
                );
            });
            sum_in_order(output, parts);
        });
    }

    /// Gradients from `output_gradient`: of the weights, and of the input where it is wanted.
    pub fn backward(
        &self,
        batch: usize,
        input: &[f32],
        matrix: &[f32],
        output_gradient: &[f32],
        matrix_gradient: &mut [f32],
        input_gradient: Option<&mut [f32]>,
    ) {
        let matrix_gradient = Shared::new(matrix_gradient);
        let input_gradient = input_gradient.map(Shared::new);
        let gradient = View::new(output_gradient, self.outputs, batch, batch);
        (0..self.inputs.div_ceil(BLOCK)).into_par_iter().for_each(|block| {
            let (first, inputs) = self.block(block);
            let values = View::new(&input[first * batch..], inputs, batch, batch);
            // SAFETY: blocks are disjoint ranges of columns of the matrix, of rows of the input.
            unsafe {
                matrix_gradient.multiply(first, self.inputs, gradient, values.transposed(), false);
                if let Some(input_gradient) = &input_gradient {
                    let weights = View::new(&matrix[first..], self.outputs, inputs, self.inputs);
                    let start = first * batch;
                    input_gradient.multiply(start, batch, weights.transposed(), gradient, false);
                }
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
        for (inputs, outputs, batch) in [(5, 3, 4), (700, 10, 7), (256, 33, 1)] {
            let dense = Dense { inputs, outputs };
            let scratch = Scratch::default();
            check_linear(Case {
                input: inputs * batch,
                matrix: inputs * outputs,
                output: outputs * batch,
                forward: &|x, w, z| dense.forward(batch, x, w, z, &scratch),
                backward: &|x, w, dz, dw, dx| dense.backward(batch, x, w, dz, dw, Some(dx)),
            });
        }
    }

    #[test]
    fn a_product_by_hand() {
        let dense = Dense { inputs: 2, outputs: 2 };
        let mut output = [0.0; 2];
        let scratch = Scratch::default();
        dense.forward(1, &[3.0, 5.0], &[1.0, -1.0, 2.0, 0.0], &mut output, &scratch);
        assert_eq!(output, [-2.0, 6.0]);
    }
}
