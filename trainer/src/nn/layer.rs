//! A weighted layer at work: sums, statistics, epilogue, and their gradients.

use rayon::prelude::*;

use super::architecture::{Sums, Weighted};
use super::conv2d::Filters;
use super::epilogue::{Epilogue, apply_pooled_slope, apply_slope, moments};
use super::matrix::{Scratch, sum_in_order};
use super::network::Mode;
use super::pool::Pool;
use super::{Batch, Precision};

/// What a weighted layer computes with, and the gradients that it leaves.
pub struct Layer {
    /// Its shapes.
    pub shape: Weighted,
    /// The stored weights under the mask, `[row][input]`: integers on the device.
    pub matrix: Vec<f32>,
    /// Gradient of `matrix`, after [`super::Network::backward`].
    pub matrix_gradient: Vec<f32>,
    /// What a stored weight of 1 is worth, per row.
    pub unit: Vec<f32>,
    /// Scales, shifts and statistics.
    pub epilogue: Epilogue,
    /// The weights as the sums want them.
    filters: Filters,
    /// The sums; after the backward pass, their gradient.
    sums: Vec<f32>,
    /// Moments of the sums, `[block][channel]`.
    moments: Vec<[f64; 2]>,
}

/// What every layer's passes need.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) precision: Precision,
    pub(super) batch: Batch,
    pub(super) scratch: &'a Scratch,
}

impl Layer {
    /// All weights 0, for up to `sums` sums.
    pub(super) fn new(shape: Weighted, sums: usize) -> Self {
        let weights = shape.rows * shape.fan_in;
        Self {
            shape,
            matrix: vec![0.0; weights],
            matrix_gradient: vec![0.0; weights],
            unit: vec![1.0; shape.rows],
            epilogue: Epilogue::new(shape.output, shape.rows),
            filters: Filters::default(),
            sums: vec![0.0; sums],
            moments: Vec::new(),
        }
    }

    /// Leaves the outputs; those of the max pool behind and the taps that won, where `pooled` is
    /// one. `steps` is how many steps of the grid of `input` are in 1.0, where it is on a grid.
    pub(super) fn forward(
        &mut self,
        pass: Pass<'_>,
        mode: Mode,
        steps: Option<f32>,
        input: &[f32],
        output: &mut [f32],
        pooled: Option<(&Pool, &mut [u16])>,
    ) {
        let Pass { precision, batch, scratch } = pass;
        let lanes = batch.lanes;
        let blocks = batch.images / lanes;
        let rows = self.shape.rows;
        let length =
            pooled.as_ref().map_or(output.len(), |(pool, _)| pool.input.len() * batch.images);
        let sums = &mut self.sums[..length];
        let piece = sums.len() / (blocks * rows);
        if let Sums::Conv2d(conv) = &self.shape.sums {
            conv.prepare(lanes, &self.matrix, &mut self.filters);
        }
        let weights = (self.matrix.as_slice(), &self.filters);
        if let Sums::Dense(dense) = self.shape.sums {
            dense.forward(batch, input, &self.matrix, sums, scratch);
        }
        self.moments.resize(blocks * rows, [0.0; 2]);
        // The moments of a block are taken while its sums are in the cache.
        sums.par_chunks_mut(piece * rows)
            .zip(input.par_chunks(input.len() / blocks))
            .zip(self.moments.par_chunks_mut(rows))
            .for_each(|((sums, input), measured)| {
                match self.shape.sums {
                    Sums::Conv2d(conv) => conv.forward(lanes, steps, input, weights, sums, scratch),
                    Sums::Depthwise(depthwise) => {
                        depthwise.forward(lanes, input, weights.0, sums);
                    }
                    Sums::Dense(_) => {}
                }
                if mode != Mode::Evaluate {
                    for (measured, sums) in measured.iter_mut().zip(sums.chunks_exact(piece)) {
                        *measured = moments(sums);
                    }
                }
            });
        if mode != Mode::Evaluate {
            self.epilogue.measure(&self.moments, piece * blocks);
        }
        if mode == Mode::Gather {
            self.epilogue.gather_statistics();
        }
        match pooled {
            Some((pool, taps)) => {
                self.epilogue.forward_pooled(pool, &self.unit, sums, output, taps);
            }
            None => self.epilogue.forward(precision, &self.unit, piece, sums, output),
        }
    }

    /// Leaves the gradients of everything from that of the outputs, or of the outputs of the max
    /// pool behind, where `pooled` is one with the taps that won.
    pub(super) fn backward(
        &mut self,
        pass: Pass<'_>,
        input: &[f32],
        output_gradient: &[f32],
        pooled: Option<(&Pool, &[u16])>,
        input_gradient: Option<&mut [f32]>,
    ) {
        let Pass { precision, batch, scratch } = pass;
        let lanes = batch.lanes;
        let blocks = batch.images / lanes;
        let rows = self.shape.rows;
        let length =
            pooled.map_or(output_gradient.len(), |(pool, _)| pool.input.len() * batch.images);
        let sums = &mut self.sums[..length];
        let pieces = blocks * rows;
        let (piece, gradient_piece) = (length / pieces, output_gradient.len() / pieces);
        self.epilogue.backward(precision, &self.unit, piece, sums, output_gradient, pooled);
        let slopes = &self.epilogue.slopes;
        let weights = (self.matrix.as_slice(), &self.filters);
        if let Sums::Dense(dense) = self.shape.sums {
            let pieces = sums.chunks_exact_mut(piece).zip(output_gradient.chunks_exact(piece));
            for (index, (sums, gradient)) in pieces.enumerate() {
                apply_slope(&slopes[index % rows], sums, gradient);
            }
            let gradient = &mut self.matrix_gradient;
            let matrix = weights.0;
            return dense.backward(batch, input, matrix, sums, gradient, input_gradient, scratch);
        }
        let (shape, matrix_len, input_len) = (self.shape, self.matrix.len(), input.len() / blocks);
        let matrix_gradient = &mut self.matrix_gradient;
        scratch.with((matrix_len + 1) * blocks, |buffer| {
            let (parts, nothing) = buffer.split_at_mut(matrix_len * blocks);
            let wanted = input_gradient.is_some();
            let (targets, target_len) = match input_gradient {
                Some(target) => (target, input_len),
                None => (nothing, 1),
            };
            sums.par_chunks_mut(piece * rows)
                .zip(output_gradient.par_chunks(gradient_piece * rows))
                .zip(input.par_chunks(input_len))
                .zip(parts.par_chunks_mut(matrix_len))
                .zip(targets.par_chunks_mut(target_len))
                .enumerate()
                .for_each(|(block, ((((sums, gradient), input), part), target))| {
                    let target = wanted.then_some(target);
                    let gradients = gradient.chunks_exact(gradient_piece);
                    let pieces = sums.chunks_exact_mut(piece).zip(gradients).zip(slopes);
                    for (row, ((sums, gradient), slope)) in pieces.enumerate() {
                        match pooled {
                            None => apply_slope(slope, sums, gradient),
                            Some((pool, taps)) => {
                                let taps = &taps[(block * rows + row) * gradient_piece..];
                                let taps = &taps[..gradient_piece];
                                apply_pooled_slope(pool, slope, sums, gradient, taps);
                            }
                        }
                    }
                    match shape.sums {
                        Sums::Conv2d(conv) => {
                            conv.backward(lanes, input, weights, sums, part, target, scratch);
                        }
                        Sums::Depthwise(depthwise) => {
                            depthwise.backward(lanes, input, weights.0, sums, part, target);
                        }
                        Sums::Dense(_) => {}
                    }
                });
            sum_in_order(matrix_gradient, parts);
        });
    }
}
