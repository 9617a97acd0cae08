//! Softmax cross-entropy with label smoothing (Szegedy 2016, section 7).

/// What one batch gave.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    /// Sum of the losses of the images.
    pub loss: f64,
    /// Images whose largest logit is the label's.
    pub correct: usize,
    /// Images.
    pub images: usize,
}

impl Outcome {
    /// Mean loss of an image; 0 where there is none.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }

    /// Fraction of images that are right, 0..=1.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.loss += other.loss;
        self.correct += other.correct;
        self.images += other.images;
    }
}

/// Index of the largest of the first `classes` logits of image `image`, the first of equals.
/// `logits` is `[output][image]`.
pub fn prediction(logits: &[f32], images: usize, image: usize, classes: usize) -> usize {
    let logit = |class: usize| logits[class * images + image];
    (1..classes).fold(0, |best, class| if logit(class) > logit(best) { class } else { best })
}

/// Loss of `labels` under `logits` (`[output][image]`), of which the first `classes` count; where a
/// `gradient` (same layout) is wanted, that of the mean loss is written. `smoothing` is the share
/// of the target that is spread over all classes.
pub fn cross_entropy(
    logits: &[f32],
    labels: &[u8],
    classes: usize,
    smoothing: f32,
    mut gradient: Option<&mut [f32]>,
) -> Outcome {
    let images = labels.len();
    let mut outcome = Outcome { images, ..Outcome::default() };
    if let Some(gradient) = gradient.as_deref_mut() {
        gradient.fill(0.0);
    }
    let spread = smoothing / classes as f32;
    for (image, &label) in labels.iter().enumerate() {
        let label = label as usize;
        let logit = |class: usize| logits[class * images + image];
        let best = prediction(logits, images, image, classes);
        outcome.correct += usize::from(best == label);
        let largest = logit(best);
        let sum: f32 = (0..classes).map(|class| (logit(class) - largest).exp()).sum();
        let log_sum = sum.ln() + largest;
        for class in 0..classes {
            let target = spread + if class == label { 1.0 - smoothing } else { 0.0 };
            outcome.loss += f64::from(target * (log_sum - logit(class)));
            if let Some(gradient) = gradient.as_deref_mut() {
                let probability = (logit(class) - largest).exp() / sum;
                gradient[class * images + image] = (probability - target) / images as f32;
            }
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{assert_close, dot, random};

    #[test]
    fn gradient_is_that_of_differences() {
        let (images, classes, outputs) = (5, 3, 4);
        let labels = [0, 1, 2, 1, 0];
        let logits = random(outputs * images, 1);
        let direction = random(outputs * images, 2);
        for smoothing in [0.0, 0.2] {
            let mut gradient = vec![f32::NAN; outputs * images];
            cross_entropy(&logits, &labels, classes, smoothing, Some(&mut gradient));
            let loss = |step: f32| {
                let moved: Vec<f32> =
                    logits.iter().zip(&direction).map(|(l, d)| l + step * d).collect();
                cross_entropy(&moved, &labels, classes, smoothing, None).mean_loss()
            };
            let expected = (loss(1e-2) - loss(-1e-2)) / 2e-2;
            assert_close(dot(&gradient, &direction), expected, "loss");
            assert!(gradient[classes * images..].iter().all(|&g| g == 0.0), "unused output");
        }
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_classes() {
        let outcome = cross_entropy(&[0.0; 20], &[1, 0], 10, 0.1, None);
        assert!((outcome.mean_loss() - 10f64.ln()).abs() < 1e-6);
        assert_eq!(outcome.correct, 1);
    }
}
