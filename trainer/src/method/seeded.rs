//! The weights and masks that a backbone's seed gives, as the runtime regenerates them.

use seedmask::random::{Generator, Stream, WORD, bit_of, mask_planes, seeded_mask_word};
use serde::{Deserialize, Serialize};

use crate::nn::Architecture;

/// Where the weights of a backbone come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// ±1 from the seed.
    #[default]
    Signs,
    /// ±1, ±2, ±4 from the seed, with probabilities ½, ¼, ¼.
    Magnitudes,
    /// Trained and stored, eight bits each.
    Trained,
}

impl Source {
    /// The mean square of a seeded weight.
    pub fn mean_square(self) -> f32 {
        match self {
            Source::Signs | Source::Trained => 1.0,
            Source::Magnitudes => 0.5 * 1.0 + 0.25 * 4.0 + 0.25 * 16.0,
        }
    }
}

/// Where the generator's words of a layer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its first generator word.
    pub first: u32,
    /// Rows of the layer.
    pub rows: usize,
    /// Inputs of a row.
    pub fan_in: usize,
}

impl Place {
    /// Mask words of a row.
    pub fn words(&self) -> usize {
        self.fan_in.div_ceil(WORD)
    }

    /// Calls `visit(index, row, word, bit)` for every weight, row by row.
    fn each_weight(&self, mut visit: impl FnMut(usize, u32, u32, u32)) {
        for row in 0..self.rows {
            for input in 0..self.fan_in {
                let word = (input / WORD) as u32;
                visit(row * self.fan_in + input, row as u32, word, bit_of(input % WORD));
            }
        }
    }
}

/// The places of all weighted layers: each begins where the one before ends, two rows a word.
pub fn places(architecture: &Architecture) -> Vec<Place> {
    let mut first = 0u32;
    let place = |(_, weighted): (&_, crate::nn::Weighted)| {
        let place = Place { first, rows: weighted.rows, fan_in: weighted.fan_in };
        first += (weighted.rows.div_ceil(2) * place.words()) as u32;
        place
    };
    architecture.weighted().map(place).collect()
}

/// The seeded weights of a layer, row-major.
pub fn weights(seed: u64, source: Source, place: Place) -> Vec<f32> {
    let [signs, high, low] = [Stream::Signs, Stream::MagnitudeHigh, Stream::MagnitudeLow]
        .map(|stream| Generator::new(seed, stream));
    let words = place.words() as u32;
    let mut weights = vec![0.0; place.rows * place.fan_in];
    place.each_weight(|index, row, word, bit| {
        let drawn = |stream: Generator| stream.row(place.first, row, words).word(word) >> bit & 1;
        let magnitude = match (source, drawn(high), drawn(low)) {
            (Source::Magnitudes, 1, 0) => 2.0,
            (Source::Magnitudes, 1, _) => 4.0,
            _ => 1.0,
        };
        weights[index] = if drawn(signs) == 1 { -magnitude } else { magnitude };
    });
    weights
}

/// The mask that the seed gives at density `q`/256, row-major.
pub fn mask(seed: u64, q: u8, place: Place) -> Vec<bool> {
    let planes = mask_planes(seed);
    let words = place.words() as u32;
    let mut mask = vec![false; place.rows * place.fan_in];
    place.each_weight(|index, row, word, bit| {
        let planes = planes.map(|plane| plane.row(place.first, row, words));
        let drawn = seeded_mask_word(&planes, q, word);
        mask[index] = drawn >> bit & 1 == 1;
    });
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { first: 100, rows: 31, fan_in: 75 };

    #[test]
    fn signs_and_magnitudes_have_their_frequencies() {
        let weights = weights(5, Source::Magnitudes, PLACE);
        let share = |value: f32| {
            weights.iter().filter(|&&w| w.abs() == value).count() as f32 / weights.len() as f32
        };
        assert!((share(1.0) - 0.5).abs() < 0.04, "{}", share(1.0));
        assert!((share(2.0) - 0.25).abs() < 0.04 && (share(4.0) - 0.25).abs() < 0.04);
        let negative = weights.iter().filter(|&&w| w < 0.0).count() as f32;
        assert!((negative / weights.len() as f32 - 0.5).abs() < 0.04);
    }

    #[test]
    fn a_sign_is_the_bit_that_the_runtime_reads() {
        let weights = weights(5, Source::Signs, PLACE);
        let generator = Generator::new(5, Stream::Signs);
        let (row, input) = (7, 40);
        let word = generator.row(PLACE.first, row, PLACE.words() as u32).word(1);
        let expected = if word >> bit_of(input - WORD) & 1 == 1 { -1.0 } else { 1.0 };
        assert_eq!(weights[row as usize * PLACE.fan_in + input], expected);
    }

    #[test]
    fn seeded_masks_have_their_density() {
        let kept = mask(5, 64, PLACE).iter().filter(|&&kept| kept).count() as f32;
        assert!((kept / (31.0 * 75.0) - 0.25).abs() < 0.04);
    }
}
