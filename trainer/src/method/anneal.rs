//! Densities that fall during training: from a high one, where every edge takes part, to the one
//! that is wanted.

use serde::{Deserialize, Serialize};

/// The way from the first to the final density.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anneal {
    /// The density at the start; layers whose own is higher stay at their own.
    pub from: f32,
    /// The fraction of training after which the final density is reached.
    pub over: f32,
    /// The curve.
    #[serde(default)]
    pub shape: Curve,
}

/// A curve from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// Half a cosine: slow, fast, slow.
    #[default]
    Cosine,
    /// 1 − (1 − t)³: fast, then slow (Zhu and Gupta 2017).
    Cubic,
}

impl Anneal {
    /// The density of a layer whose final one is `density`, at `progress` (0..=1) of training.
    pub fn density(&self, density: f32, progress: f32) -> f32 {
        if density >= self.from || progress >= self.over {
            return density;
        }
        let t = f64::from(progress / self.over);
        let done = match self.shape {
            Curve::Cosine => (1.0 - (t * std::f64::consts::PI).cos()) / 2.0,
            Curve::Cubic => 1.0 - (1.0 - t).powi(3),
        };
        self.from + (density - self.from) * done as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_fall_to_the_final_one() {
        for shape in [Curve::Cosine, Curve::Cubic] {
            let anneal = Anneal { from: 0.5, over: 0.6, shape };
            let at: Vec<f32> = (0..=10).map(|t| anneal.density(0.1, t as f32 / 10.0)).collect();
            assert_eq!((at[0], at[6], at[10]), (0.5, 0.1, 0.1));
            assert!(at.windows(2).all(|pair| pair[1] <= pair[0]));
            assert_eq!(anneal.density(0.7, 0.1), 0.7);
        }
    }
}
