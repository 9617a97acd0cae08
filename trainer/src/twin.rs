//! An artifact in real numbers: what the integers stand for, computed apart from the runtime's
//! kernels and layouts.
//!
//! Sums, scales and shifts are dyadic numbers that `f64` holds exactly (a sum below 2³¹ times an
//! f16, plus an f16, wherever the result is not clamped or saturated), so that this twin and the
//! integer runtime must agree in every activation and logit. It is as slow as it is plain.

use seedmask::artifact::{Model, Op, Task};
use seedmask::epilogue::Affine;
use seedmask::layer::{Add, Element, Layer, MAX_ACTIVATION, Pool, PoolKind, Range, Tensor, Window};

use crate::evaluate::{EvaluateError, count_weights, size};

/// Units of an [`Affine`] in 1.0.
const UNITS: f64 = (1u32 << 24) as f64;
/// Q16 logits in 1.0.
const LOGIT: f64 = 65_536.0;

/// A model under one task, its weights written out.
pub struct Twin {
    tensors: Vec<Tensor>,
    layers: Vec<TwinLayer>,
}

struct TwinLayer {
    layer: Layer,
    /// `[row][input]`, 0 where masked; empty without weights.
    weights: Vec<f64>,
    /// Scale and shift of each row.
    epilogue: Vec<(f64, f64)>,
}

impl Twin {
    /// Writes out the weights of `model` under `task`: eight bytes each.
    ///
    /// # Errors
    /// [`EvaluateError::TooManyWeights`].
    pub fn new(model: &Model, task: &Task) -> Result<Self, EvaluateError> {
        count_weights(model)?;
        let tensors = (0..model.tensor_count()).filter_map(|id| model.tensor(id)).collect();
        Ok(Self { tensors, layers: task.program(model).map(|op| TwinLayer::new(&op)).collect() })
    }

    /// Runs one image of device bytes `[channel][row][column]`; returns every tensor by its index:
    /// activations 0..=127, logits in Q16.
    pub fn run(&self, image: &[u8]) -> Vec<Vec<f64>> {
        let mut values = vec![Vec::new(); self.tensors.len()];
        values[0] = image.iter().map(|&byte| f64::from(byte)).collect();
        for TwinLayer { layer, weights, epilogue } in &self.layers {
            let (input, right) = layer.inputs();
            let (input, right) = (usize::from(input), right.map(usize::from));
            let output = usize::from(layer.output());
            let (from, to) = (&self.tensors[input], &self.tensors[output]);
            let x = &values[input];
            let range = |range| move |row: usize, sum: f64| finish(epilogue[row], sum, range);
            values[output] = match layer {
                Layer::Dense(dense) => dot_rows(weights, x, range(dense.range)),
                Layer::Conv2d(conv) => {
                    let map = Map { x, from, to, window: &conv.window };
                    map.sums(weights, |_| 0..usize::from(from.channels), range(conv.range))
                }
                Layer::Depthwise(conv) => {
                    let map = Map { x, from, to, window: &conv.window };
                    map.sums(weights, |row| row..row + 1, range(conv.range))
                }
                Layer::Pool(pool) => Map { x, from, to, window: &pool.window }.pool(pool),
                Layer::Add(add) => sum(add, x, &values[right.unwrap_or(input)]),
                Layer::Relayout(_) => x.clone(),
            };
        }
        values
    }
}

impl TwinLayer {
    fn new(op: &Op) -> Self {
        let mut layer = Self { layer: op.step.layer, weights: Vec::new(), epilogue: Vec::new() };
        let Some((weights, epilogue)) = &op.learned else { return layer };
        let inputs = weights.weights().inputs as usize;
        let mut rows = weights.rows();
        for row in 0..weights.weights().rows as usize {
            let Affine { scale, shift } = epilogue.row(row);
            layer.epilogue.push((f64::from(scale) / UNITS, shift as f64 / UNITS));
            let start = layer.weights.len();
            layer.weights.resize(start + inputs, 0.0);
            // An index may come twice, with opposite signs: a bridge between distant weights.
            for (index, weight) in rows.next_row().into_iter().flatten() {
                layer.weights[start + index as usize] += f64::from(weight);
            }
        }
        layer
    }
}

/// `scale · sum + shift`, rounded half up and clamped, or a logit in Q16, rounded down.
fn finish((scale, shift): (f64, f64), sum: f64, range: Range) -> f64 {
    let exact = sum * scale + shift;
    match range {
        Range::Activations { low } => round(exact).max(low.into()).min(MAX_ACTIVATION.into()),
        Range::Logits => (exact * LOGIT).floor().clamp(i32::MIN.into(), i32::MAX.into()),
    }
}

fn round(exact: f64) -> f64 {
    (exact + 0.5).floor()
}

fn dot_rows(weights: &[f64], x: &[f64], finish: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    let dot = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum();
    weights.chunks(x.len()).map(dot).enumerate().map(|(row, sum)| finish(row, sum)).collect()
}

fn sum(add: &Add, left: &[f64], right: &[f64]) -> Vec<f64> {
    let (scales, shift) = add.fixed_point().unwrap_or_default();
    let [a, b] = scales.map(|scale| f64::from(scale) / UNITS);
    let finish =
        |sum| finish((1.0, shift as f64 / UNITS), sum, Range::Activations { low: add.low });
    left.iter().zip(right).map(|(l, r)| finish(l * a + r * b)).collect()
}

/// A window that slides over a map.
struct Map<'a> {
    x: &'a [f64],
    from: &'a Tensor,
    to: &'a Tensor,
    window: &'a Window,
}

impl Map<'_> {
    /// Weighted sums of the windows over `channels(row)`.
    fn sums(
        &self,
        weights: &[f64],
        channels: impl Fn(usize) -> std::ops::Range<usize>,
        finish: impl Fn(usize, f64) -> f64,
    ) -> Vec<f64> {
        let area = self.window.area() as usize;
        self.each_output(|row, y, x| {
            let channels = channels(row);
            let inputs = channels.len() * area;
            let row_weights = weights[row * inputs..][..inputs].chunks(area);
            let taps = channels.zip(row_weights).map(|(channel, weights)| {
                self.taps(channel, y, x)
                    .zip(weights)
                    .map(|(tap, w)| tap.unwrap_or(self.from.zero_point.into()) * w)
                    .sum::<f64>()
            });
            finish(row, taps.sum())
        })
    }

    fn pool(&self, pool: &Pool) -> Vec<f64> {
        let reciprocal = f64::from(Pool::reciprocal(self.window.area())) / UNITS;
        self.each_output(|channel, y, x| {
            let taps = self.taps(channel, y, x);
            match pool.kind {
                PoolKind::Max => taps.flatten().fold(0.0, f64::max),
                PoolKind::Average => {
                    let sum: f64 = taps.map(|tap| tap.unwrap_or(self.from.zero_point.into())).sum();
                    round(sum * reciprocal).min(MAX_ACTIVATION.into())
                }
            }
        })
    }

    /// `value(channel, row, column)` for every output.
    fn each_output(&self, value: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
        debug_assert_eq!(self.to.element, Element::Activation);
        let [channels, height, width] = size(self.to);
        let value = &value;
        (0..channels)
            .flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| value(c, y, x))))
            .collect()
    }

    /// What the window of output `(y, x)` sees in one channel, row by row; `None` in the padding.
    fn taps(&self, channel: usize, y: usize, x: usize) -> impl Iterator<Item = Option<f64>> {
        let [_, height, width] = size(self.from);
        let [kernel_y, kernel_x] = self.window.kernel.map(usize::from);
        let [stride_y, stride_x] = self.window.stride.map(usize::from);
        let [top, left, ..] = self.window.padding.map(usize::from);
        let plane = &self.x[channel * height * width..][..height * width];
        (0..kernel_y * kernel_x).map(move |tap| {
            let row = (y * stride_y + tap / kernel_x).checked_sub(top).filter(|&r| r < height)?;
            let column =
                (x * stride_x + tap % kernel_x).checked_sub(left).filter(|&c| c < width)?;
            Some(plane[row * width + column])
        })
    }
}
