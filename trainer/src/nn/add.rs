//! Residual addition: two tensors on the grid, summed and clamped to it.

use rayon::prelude::*;

use super::{Activation, MAX_BYTE, Precision, STEPS_PER_UNIT};

/// Elements that one thread handles at a time.
const BLOCK: usize = 1 << 14;

/// Smallest and largest sum that is not clamped.
fn bounds(activation: Activation, precision: Precision) -> (f32, f32) {
    let zero = f32::from(activation.zero_point());
    match (precision, activation) {
        (Precision::Quantised, _) => (-zero / STEPS_PER_UNIT, (MAX_BYTE - zero) / STEPS_PER_UNIT),
        (Precision::Exact, Activation::Relu) => (0.0, f32::INFINITY),
        (Precision::Exact, Activation::Linear) => (f32::NEG_INFINITY, f32::INFINITY),
    }
}

/// What is added and taken off again to round to the grid: numbers of its size are multiples of a
/// step. Exact sums stay as they are.
fn rounder(precision: Precision) -> f32 {
    const { assert!(STEPS_PER_UNIT == 32.0) };
    match precision {
        Precision::Quantised => 1.5 * (1 << 18) as f32,
        Precision::Exact => 0.0,
    }
}

/// `output = clamp(a + b)`, rounded to the grid: what comes from the network's input is on another.
pub fn forward(
    activation: Activation,
    precision: Precision,
    a: &[f32],
    b: &[f32],
    output: &mut [f32],
) {
    let (low, high) = bounds(activation, precision);
    let rounder = rounder(precision);
    output.par_chunks_mut(BLOCK).zip(a.par_chunks(BLOCK)).zip(b.par_chunks(BLOCK)).for_each(
        |((output, a), b)| {
            for ((value, a), b) in output.iter_mut().zip(a).zip(b) {
                *value = (a + b + rounder - rounder).clamp(low, high);
            }
        },
    );
}

/// The gradient of either input: the output's, where the sum was not clamped. Gradients of a
/// value at a bound (as 0 after ReLU) are 0.
pub fn backward(
    activation: Activation,
    precision: Precision,
    output: &[f32],
    output_gradient: &[f32],
    input_gradient: &mut [f32],
) {
    let (low, high) = bounds(activation, precision);
    input_gradient
        .par_chunks_mut(BLOCK)
        .zip(output.par_chunks(BLOCK))
        .zip(output_gradient.par_chunks(BLOCK))
        .for_each(|((input, output), gradient)| {
            for ((input, &value), &gradient) in input.iter_mut().zip(output).zip(gradient) {
                *input = if value > low && value < high { gradient } else { 0.0 };
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_clamped_and_gradients_stop_there() {
        let (a, b) = ([1.0, -1.0, 3.0, 0.5], [0.5, 0.5, 3.0, -1.0]);
        let (mut output, mut gradient) = ([0.0; 4], [0.0; 4]);
        forward(Activation::Relu, Precision::Quantised, &a, &b, &mut output);
        assert_eq!(output, [1.5, 0.0, 127.0 / 32.0, 0.0]);
        backward(Activation::Relu, Precision::Quantised, &output, &[1.0; 4], &mut gradient);
        assert_eq!(gradient, [1.0, 0.0, 0.0, 0.0]);
        forward(Activation::Linear, Precision::Quantised, &a, &b, &mut output);
        assert_eq!(output, [1.5, -0.5, 63.0 / 32.0, -0.5]);
        forward(Activation::Linear, Precision::Exact, &a, &b, &mut output);
        assert_eq!(output, [1.5, -0.5, 6.0, -0.5]);
    }

    #[test]
    fn sums_with_the_networks_input_are_put_on_the_grid() {
        let (a, b) = ([1.0 / 127.0, 60.0 / 127.0], [0.5, -1.0]);
        let mut output = [0.0; 2];
        forward(Activation::Linear, Precision::Quantised, &a, &b, &mut output);
        assert_eq!(output, [16.0 / 32.0, -17.0 / 32.0]);
        forward(Activation::Linear, Precision::Exact, &a, &b, &mut output);
        assert_eq!(output, [0.5 + 1.0 / 127.0, 60.0 / 127.0 - 1.0]);
    }
}
