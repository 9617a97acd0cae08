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
const NEIGHBOURS: i32 = 8;
/// The largest f16 that is a scale.
const LARGEST_SCALE: f64 = 127.9375;
/// The largest activation.
const TOP: f64 = 127.0;

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
            match self.output {
                Output::Activations(_) => self.round(&target.saturated(), channel),
                Output::Logits => self.round(&target, channel),
            }
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
        let neighbour = |steps: i32| {
            let bits = i32::from(nearest.to_bits()).checked_add(steps)?;
            Some((steps.abs(), f16::from_bits(u16::try_from(bits).ok()?)))
        };
        // A channel whose sums never move its output may as well be constant.
        let constant = (target.scale * target.spread).abs() < 0.5;
        let best = (-NEIGHBOURS..=NEIGHBOURS)
            .filter_map(neighbour)
            .chain(constant.then_some((i32::MAX, f16::ZERO)))
            .filter_map(|(steps, scale)| Some((target.error(scale)?, steps, scale)))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let found = target.value - target.scale * target.centre;
        best.map(|(_, _, scale)| (scale, target.shift(scale))).ok_or(ExportError::Shift {
            task,
            layer,
            channel,
            found,
        })
    }
}

impl Target {
    /// The same outputs from a scale within range. Steeper than 127 a sum, every sum but one gives
    /// 0 or 127, so that any scale of about that size does, through the output of that one.
    /// A channel is so steep whose inputs hardly ever differ.
    fn saturated(self) -> Self {
        if !self.scale.is_finite() || self.scale.abs() <= LARGEST_SCALE {
            return self;
        }
        let centre = (self.centre + (TOP / 2.0 - self.value) / self.scale).round();
        let value = self.value + self.scale * (centre - self.centre);
        // Where no sum gives anything between: the one on this side, just so that it saturates and
        // its neighbour does on the other.
        let value = value.clamp(-0.2, TOP + 0.2);
        Self { scale: LARGEST_SCALE.copysign(self.scale), centre, value, ..self }
    }

    /// The shift that makes the map right at the centre, under this scale.
    fn shift(&self, scale: f16) -> f16 {
        f16::from_f64_const(self.value - scale.to_f64_const() * self.centre)
    }

    /// Mean square error under this scale; `None` where the format cannot hold it or its shift.
    fn error(&self, scale: f16) -> Option<f64> {
        epilogue::scale(scale)?;
        let shift = self.shift(scale);
        epilogue::shift(shift)?;
        let s = scale.to_f64_const();
        let at_centre = s * self.centre + shift.to_f64_const() - self.value;
        let slope = (s - self.scale) * self.spread;
        Some(at_centre * at_centre + slope * slope)
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
    fn steeper_than_the_format_gives_the_same_outputs() {
        for (scale, centre, value) in
            [(254.7, 0.0, 12.3), (-9e3, 3.0, 64.0), (300.0, 0.4, -70.0), (500.0, -7.1, 900.0)]
        {
            let target = Target { scale, centre, spread: 0.01, value };
            let exact = |acc: f64| (value + scale * (acc - centre) + 0.5).floor().clamp(0.0, TOP);
            let (s, b) = fold().round(&target.saturated(), 0).unwrap();
            for acc in -20..20 {
                let acc = f64::from(acc);
                let found = (acc * s.to_f64() + b.to_f64() + 0.5).floor().clamp(0.0, TOP);
                assert!((found - exact(acc)).abs() <= 1.0, "{scale} at {acc}: {found}");
            }
        }
    }

    #[test]
    fn a_constant_channel_needs_no_scale() {
        let target = Target { scale: 120.0, centre: 6400.0, spread: 0.001, value: 31.0 };
        let (s, b) = fold().round(&target, 0).unwrap();
        assert!((s.to_f64() * 6400.0 + b.to_f64() - 31.0).abs() < 0.1);
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
        let result = fold().round(&target.saturated(), 0);
        assert!(matches!(result, Err(ExportError::Scale { .. })));
    }
}
