//! Numerical checks of gradients, for the tests of the layers.

use crate::random::{Purpose, Stream};

/// Numbers in [-1, 1).
pub fn random(length: usize, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, Purpose::Synthetic, 0);
    (0..length).map(|_| stream.symmetric(1.0)).collect()
}

/// Σ a·b in double precision.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Forward pass: input, matrix, output.
type Forward<'a> = &'a dyn Fn(&[f32], &[f32], &mut [f32]);
/// Backward pass: input, matrix, output gradient, matrix gradient, input gradient.
type Backward<'a> = &'a dyn Fn(&[f32], &[f32], &[f32], &mut [f32], &mut [f32]);

/// A layer that is linear in its input and in its matrix, and the lengths of both.
pub struct Case<'a> {
    pub input: usize,
    pub matrix: usize,
    pub output: usize,
    pub forward: Forward<'a>,
    pub backward: Backward<'a>,
}

/// For L = Σ r·z with random r: the gradients' products with random directions are the change of
/// L along these directions. As L is linear in each argument, any step length is exact.
pub fn check_linear(case: Case<'_>) {
    let (x, w, r) = (random(case.input, 1), random(case.matrix, 2), random(case.output, 3));
    let (u, v) = (random(case.input, 4), random(case.matrix, 5));
    let mut dw = vec![f32::NAN; case.matrix];
    let mut dx = vec![f32::NAN; case.input];
    (case.backward)(&x, &w, &r, &mut dw, &mut dx);
    let loss = |x: &[f32], w: &[f32]| {
        let mut z = vec![f32::NAN; case.output];
        (case.forward)(x, w, &mut z);
        dot(&r, &z)
    };
    assert_close(dot(&dx, &u), loss(&u, &w), "input gradient");
    assert_close(dot(&dw, &v), loss(&x, &v), "matrix gradient");
}

/// Panics unless the two agree to one part in a thousand (or 10⁻³ where they are small).
pub fn assert_close(found: f64, expected: f64, what: &str) {
    let tolerance = 1e-3 * expected.abs().max(1.0);
    assert!((found - expected).abs() < tolerance, "{what}: {found}, expected {expected}");
}
