//! BatchNorm, zero points and padding folded into the scale and shift of an epilogue.
//!
//! The device computes `acc = Σ w·byte` over the kept weights, with `byte = x/step + zero point`
//! and the zero point where a tap is in the padding. With `z = Σ w·x = step·(acc − zero point·Σ w)`
//! and the trainer's `v = factor·z + offset`, the byte that comes out is `v·u + zero point`
//! (u = 32 steps a unit; a logit is v itself), an affine map of `acc`.

use half::f16;
use seedmask::epilogue;

use super::ExportError;
use super::graph::Grid;
use crate::nn::STEPS_PER_UNIT;
use crate::nn::epilogue::Output;
use crate::trained::Trained;

/// How many neighbours of a scale are tried on each side.
const NEIGHBOURS: i32 = 2;

/// The epilogue of one layer under one task.
pub struct Fold<'a> {
    pub task: &'a str,
    pub layer: &'a str,
    pub output: Output,
    /// What the layer's inputs stand for.
    pub input: Grid,
}

/// The exact map of one channel and how its sums are distributed.
struct Target {
    /// Per unit of `acc`.
    scale: f64,
    /// A typical sum, where the map matters most.
    centre: f64,
    /// How far sums are from it.
    spread: f64,
    /// The map's value there.
    value: f64,
}

impl Fold<'_> {
    /// Scale and shift of every output channel of weighted layer `layer`.
    pub fn epilogue(
        &self,
        trained: &Trained,
        task: usize,
        layer: usize,
    ) -> Result<Vec<(f16, f16)>, ExportError> {
        let affine = trained.affine(task, layer);
        let statistics = &trained.tasks[task].layers[layer];
        let (weights, mask) = (trained.weights(layer), trained.mask(task, layer));
        let inputs = weights.len() / affine.len();
        let (units, zero) = match self.output {
            Output::Logits => (1.0, 0.0),
            Output::Activations(activation) => {
                (f64::from(STEPS_PER_UNIT), f64::from(activation.zero_point()))
            }
        };
        let rows = weights.chunks(inputs).zip(mask.chunks(inputs)).zip(&affine).enumerate();
        rows.map(|(channel, ((weights, mask), affine))| {
            let kept = weights.iter().zip(mask).filter(|(_, kept)| **kept);
            let weight: i64 = kept.map(|(&weight, _)| i64::from(weight)).sum();
            let bias = weight as f64 * f64::from(self.input.zero_point);
            let (factor, offset) = (f64::from(affine.factor), f64::from(affine.offset));
            let mean = f64::from(statistics.mean[channel]);
            let target = Target {
                scale: factor * self.input.step * units,
                centre: mean / self.input.step + bias,
                spread: f64::from(statistics.variance[channel]).sqrt() / self.input.step,
                value: (factor * mean + offset) * units + zero,
            };
            self.round(&target, channel)
        })
        .collect()
    }

    /// The pair of f16 that is nearest to the map over the channel's sums: of the scale's
    /// neighbours, each with the shift that fits it best, the one with the least mean square error.
    fn round(&self, target: &Target, channel: usize) -> Result<(f16, f16), ExportError> {
        let (task, layer) = (self.task.to_owned(), self.layer.to_owned());
        let nearest = f16::from_f64_const(target.scale);
        if epilogue::scale(nearest).is_none() {
            return Err(ExportError::Scale { task, layer, channel, found: target.scale });
        }
        let candidate = |steps: i32| {
            let bits = i32::from(nearest.to_bits()).checked_add(steps)?;
            let scale = f16::from_bits(u16::try_from(bits).ok()?);
            epilogue::scale(scale)?;
            let (s, product) = (scale.to_f64_const(), scale.to_f64_const() * target.centre);
            let shift = f16::from_f64_const(target.value - product);
            epilogue::shift(shift)?;
            let at_centre = product + shift.to_f64_const() - target.value;
            let slope = (s - target.scale) * target.spread;
            Some((at_centre * at_centre + slope * slope, steps.abs(), scale, shift))
        };
        let best = (-NEIGHBOURS..=NEIGHBOURS)
            .filter_map(candidate)
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let found = target.value - nearest.to_f64_const() * target.centre;
        best.map(|(.., scale, shift)| (scale, shift)).ok_or(ExportError::Shift {
            task,
            layer,
            channel,
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Activation;

    fn fold() -> Fold<'static> {
        Fold {
            task: "t",
            layer: "l",
            output: Output::Activations(Activation::Relu),
            input: Grid { step: 1.0 / 32.0, zero_point: 0 },
        }
    }

    #[test]
    fn the_map_is_right_where_the_sums_are() {
        // At 1000 ± 20 a scale that is half a step off would be off by .03 there.
        for scale in [0.0612345, -0.0612345, 3.7e-6] {
            let target = Target { scale, centre: 1000.0, spread: 20.0, value: 31.4 };
            let (s, b) = fold().round(&target, 0).unwrap();
            let at = |acc: f64| s.to_f64() * acc + b.to_f64();
            let exact = |acc: f64| target.value + scale * (acc - target.centre);
            for acc in [980.0, 1000.0, 1020.0] {
                assert!((at(acc) - exact(acc)).abs() < 0.02, "{scale}: {} {}", at(acc), exact(acc));
            }
        }
    }

    #[test]
    fn values_out_of_range_name_layer_and_channel() {
        let target = Target { scale: 128.5, centre: 0.0, spread: 1.0, value: 0.0 };
        let message = fold().round(&target, 7).unwrap_err().to_string();
        assert!(message.contains("layer l, channel 7: a scale of 128.5"), "{message}");
        let target = Target { scale: 100.0, centre: 1e5, spread: 1.0, value: 0.0 };
        let message = fold().round(&target, 7).unwrap_err().to_string();
        assert!(message.contains("a shift of -10000000"), "{message}");
        let target = Target { scale: f64::NAN, centre: 0.0, spread: 1.0, value: 0.0 };
        assert!(matches!(fold().round(&target, 0), Err(ExportError::Scale { .. })));
    }
}
