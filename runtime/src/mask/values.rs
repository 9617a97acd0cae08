//! What the weights of a row are, wherever they come from.

use super::LayerWeights;
use crate::layer::Source;
use crate::random::{Generator, Stream, WORD, bit_of};

/// The weights of one row, 32 inputs at a time.
#[derive(Clone, Debug)]
pub(super) struct Values<'a> {
    source: Source,
    /// Signs, then the two bits of a magnitude.
    generators: [Generator; 3],
    first: u32,
    row: u32,
    words: u32,
    /// The row's stored weights.
    stored: &'a [u8],
    /// The mask word whose bits are in `block`; beyond all words at first.
    word: u32,
    block: [u32; 3],
}

impl<'a> Values<'a> {
    /// Values of no row yet.
    pub(super) fn new(layer: &LayerWeights<'a>) -> Self {
        let streams = [Stream::Signs, Stream::MagnitudeHigh, Stream::MagnitudeLow];
        Self {
            source: layer.weights.source,
            generators: streams.map(|stream| Generator::new(layer.seed, stream)),
            first: layer.first,
            row: 0,
            words: layer.weights.words(),
            stored: &[],
            word: u32::MAX,
            block: [0; 3],
        }
    }

    /// The values of `row`.
    pub(super) fn of_row(&self, layer: &LayerWeights<'a>, row: u32) -> Self {
        let inputs = layer.weights.inputs as usize;
        let start = (row as usize).wrapping_mul(inputs);
        let stored = layer.stored.get(start..).and_then(|rest| rest.get(..inputs));
        Self { row, stored: stored.unwrap_or(&[]), ..self.clone() }
    }

    /// Goes to mask word `word`.
    #[inline(always)]
    pub(super) fn load(&mut self, word: u32) {
        self.word = word;
        let [signs, high, low] = self.generators;
        let draw = |from: Generator| from.row_word(self.first, self.row, self.words, word);
        self.block = match self.source {
            Source::SeededSigns => [draw(signs), 0, 0],
            Source::SeededMagnitudes => [draw(signs), draw(high), draw(low)],
            Source::StoredInt8 => [0; 3],
        };
    }

    /// Sign bits, and the two bits of the magnitudes, of the loaded word.
    #[inline(always)]
    pub(super) fn block(&self) -> [u32; 3] {
        self.block
    }

    /// The weight at `bit` of the loaded word, which is that of input `index`.
    #[inline(always)]
    pub(super) fn weight_at(&self, bit: u32, index: u32) -> i32 {
        if self.source == Source::StoredInt8 {
            return self.stored.get(index as usize).map_or(0, |byte| i32::from(*byte as i8));
        }
        let [signs, high, low] = self.block.map(|word| (word >> bit & 1) as i32);
        let magnitude = 1 << (high + (high & low));
        // Negates where the sign bit is 1.
        (magnitude ^ -signs) + signs
    }

    /// The weight of input `index`, loading its word if need be.
    #[inline(always)]
    pub(super) fn weight(&mut self, index: u32) -> i32 {
        let word = index / WORD as u32;
        if word != self.word {
            self.load(word);
        }
        self.weight_at(bit_of(index as usize % WORD), index)
    }
}
