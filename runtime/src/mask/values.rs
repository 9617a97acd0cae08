//! What the weights of a row are, wherever they come from.

use super::LayerWeights;
use crate::family::Family;
use crate::layer::Source;
use crate::random::{Generator, RowWords, Stream, WORD, bit_of};

/// The weights of one row, 32 inputs at a time.
#[derive(Clone, Debug)]
pub(super) struct Values<'a> {
    drawn: Drawn<'a>,
    /// The mask word whose bits are in `block`; beyond all words at first.
    word: u32,
    /// Signs, then the two bits of a magnitude.
    block: [u32; 3],
}

/// Where the weights of one row come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Drawn<'a> {
    /// ±1.
    Signs(RowWords),
    /// ±{1, 2, 4}: signs, then the two bits of a magnitude.
    Magnitudes([RowWords; 3]),
    /// A byte an input.
    Stored(&'a [u8]),
}

/// What gives the weights of every row of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) enum LayerValues<'a> {
    Signs(Generator),
    Magnitudes([Generator; 3]),
    Stored(&'a [u8]),
}

impl<'a> LayerValues<'a> {
    pub(super) fn new(layer: &LayerWeights<'a>) -> Self {
        let generator = |stream| Generator::new(layer.seed, stream);
        match layer.weights.source {
            Source::SeededMagnitudes if Family::Magnitudes.is_linked() => Self::Magnitudes(
                [Stream::Signs, Stream::MagnitudeHigh, Stream::MagnitudeLow].map(generator),
            ),
            Source::StoredInt8 if Family::Stored.is_linked() => Self::Stored(layer.stored),
            // Families that are off were refused.
            _ => Self::Signs(generator(Stream::Signs)),
        }
    }

    /// What gives the signs, where they are drawn.
    #[inline(always)]
    pub(super) fn signs(&self) -> Option<&Generator> {
        match self {
            Self::Signs(signs) => Some(signs),
            Self::Magnitudes([signs, ..]) if Family::Magnitudes.is_linked() => Some(signs),
            _ => None,
        }
    }

    pub(super) fn row(&self, layer: &LayerWeights<'a>, row: u32) -> Values<'a> {
        let (first, words) = (layer.first, layer.weights.words());
        let drawn = match *self {
            Self::Signs(signs) => Drawn::Signs(signs.row(first, row, words)),
            Self::Magnitudes(all) if Family::Magnitudes.is_linked() => {
                Drawn::Magnitudes(all.map(|generator| generator.row(first, row, words)))
            }
            Self::Stored(stored) if Family::Stored.is_linked() => {
                let inputs = layer.weights.inputs as usize;
                let start = (row as usize).wrapping_mul(inputs);
                let row = stored.get(start..).and_then(|rest| rest.get(..inputs));
                Drawn::Stored(row.unwrap_or(&[]))
            }
            _ => Drawn::Stored(&[]),
        };
        Values { drawn, word: u32::MAX, block: [0; 3] }
    }
}

impl<'a> Values<'a> {
    /// Where they come from.
    #[inline(always)]
    #[cfg(seedmask_vectors)]
    pub(super) fn drawn(&self) -> Drawn<'a> {
        self.drawn
    }

    #[cfg(seedmask_vectors)]
    pub(super) fn source(&self) -> Source {
        match self.drawn {
            Drawn::Magnitudes(_) if Family::Magnitudes.is_linked() => Source::SeededMagnitudes,
            Drawn::Stored(_) if Family::Stored.is_linked() => Source::StoredInt8,
            _ => Source::SeededSigns,
        }
    }

    /// Goes to mask word `word`.
    #[inline(always)]
    pub(super) fn load(&mut self, word: u32) {
        self.word = word;
        self.block = match self.drawn {
            Drawn::Signs(signs) => [signs.word(word), 0, 0],
            Drawn::Magnitudes([signs, high, low]) if Family::Magnitudes.is_linked() => {
                [signs.word(word), high.word(word), low.word(word)]
            }
            _ => [0; 3],
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
        let [signs, high, low] = self.block;
        let sign = 1 - 2 * (signs >> bit & 1) as i32;
        match self.drawn {
            Drawn::Magnitudes(_) if Family::Magnitudes.is_linked() => {
                sign << (high >> bit & 1) << ((high & low) >> bit & 1)
            }
            Drawn::Stored(stored) if Family::Stored.is_linked() => {
                stored.get(index as usize).map_or(0, |byte| i32::from(*byte as i8))
            }
            _ => sign,
        }
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
