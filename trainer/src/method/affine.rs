//! Frozen weights under a frozen mask: only scales and shifts are trained (Frankle 2020, "Training
//! BatchNorm and only BatchNorm"). The mask is another task's, or drawn from the seed.

use crate::nn::layer::Layer;

/// A layer whose weights and mask do not change.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// The weights under the mask, row-major.
    pub matrix: Vec<f32>,
    /// What a weight of 1 is worth, per row.
    pub unit: Vec<f32>,
}

impl Frozen {
    /// Seeded weights, kept where `mask` says; `mean_square` is that of their distribution.
    pub fn masked(weights: &[f32], mask: &[bool], rows: usize, mean_square: f32) -> Self {
        let keep = |(&weight, &kept): (&f32, &bool)| if kept { weight } else { 0.0 };
        let matrix: Vec<f32> = weights.iter().zip(mask).map(keep).collect();
        let kept_per_row = mask.iter().filter(|&&kept| kept).count() as f32 / rows.max(1) as f32;
        let unit = (2.0 / (kept_per_row.max(1.0) * mean_square)).sqrt();
        Self { matrix, unit: vec![unit; rows] }
    }

    /// Copies the weights into `layer`.
    pub fn materialise(&self, layer: &mut Layer) {
        layer.matrix.copy_from_slice(&self.matrix);
        layer.unit.copy_from_slice(&self.unit);
    }
}

/// The nearest density q/256 that a seeded mask can have; `None` stands for keeping all.
pub fn seeded_density(density: f32) -> Option<u8> {
    let q = (density * 256.0).round().max(1.0);
    (q < 256.0).then_some(q as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_weights_are_zero_and_the_unit_follows_the_density() {
        let frozen = Frozen::masked(&[1.0, -1.0, 1.0, -1.0], &[true, false, false, true], 2, 1.0);
        assert_eq!(frozen.matrix, [1.0, 0.0, 0.0, -1.0]);
        assert_eq!(frozen.unit, [2f32.sqrt(); 2]);
    }

    #[test]
    fn densities_are_parts_of_256() {
        assert_eq!(seeded_density(0.5), Some(128));
        assert_eq!(seeded_density(0.0001), Some(1));
        assert_eq!(seeded_density(1.0), None);
    }
}
