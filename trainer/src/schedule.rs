//! The learning rate over time.

use serde::{Deserialize, Serialize};

/// The course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine down to 0 (Loshchilov 2017).
    #[default]
    Cosine,
    /// As it is.
    Constant,
}

impl Schedule {
    /// The factor on the learning rate at step `step` of `steps`, of which the first `warmup` rise
    /// linearly.
    pub fn factor(self, step: u64, steps: u64, warmup: u64) -> f32 {
        if step < warmup {
            return (step + 1) as f32 / warmup as f32;
        }
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let done = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
                (0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())) as f32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_falls_to_zero() {
        let factors: Vec<f32> =
            (0..100).map(|step| Schedule::Cosine.factor(step, 100, 10)).collect();
        assert_eq!((factors[0], factors[9], factors[10]), (0.1, 1.0, 1.0));
        assert!(factors[10..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(factors[99] < 0.001);
        assert_eq!(Schedule::Constant.factor(99, 100, 0), 1.0);
    }
}
