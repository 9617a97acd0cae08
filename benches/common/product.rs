//! What a host would do without masks: the layer as one product of dense matrices in `f32`, on one
//! core, by the `gemm` crate. Making the matrix of patches of a convolution is not counted.

use std::hint::black_box;

use seedmask::layer::Layer;
use seedmask_benches::cases::Case;

/// `c = a·b`, `a` the weights, `b` the inputs under each output's window.
#[derive(Clone, Debug)]
pub struct Product {
    rows: usize,
    columns: usize,
    depth: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Product {
    /// The product of a convolution or dense layer; `None` for other layers.
    pub fn new(case: &Case) -> Option<Self> {
        if !matches!(case.layer, Layer::Dense(_) | Layer::Conv2d(_)) {
            return None;
        }
        let weights = case.layer.weights(&case.input, &case.output)?;
        let (rows, depth) = (weights.rows as usize, weights.inputs as usize);
        let columns = usize::from(case.output.height) * usize::from(case.output.width);
        let signs = (0..rows * depth).map(|at| if at % 3 == 0 { -1.0 } else { 1.0 });
        let inputs = (0..depth * columns).map(|at| (at % 128) as f32);
        Some(Self {
            rows,
            columns,
            depth,
            a: signs.collect(),
            b: inputs.collect(),
            c: vec![0.0; rows * columns],
        })
    }

    /// Multiplies once.
    pub fn run(&mut self) {
        let Self { rows, columns, depth, a, b, c } = black_box(self);
        let (rows, columns, depth) = (*rows, *columns, *depth);
        let [a_stride, b_stride] = [depth, columns].map(|stride| stride as isize);
        // SAFETY: the matrices are row-major and have as many elements as their sizes say.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                depth,
                c.as_mut_ptr(),
                1,
                b_stride,
                false,
                a.as_ptr(),
                1,
                a_stride,
                b.as_ptr(),
                1,
                b_stride,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}
