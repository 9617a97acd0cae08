//! Rows of encodings that give a mask word for every 32 inputs.

use super::row::raw_index;
#[cfg(seedmask_vectors)]
use super::values::Drawn;
use super::values::Values;
use crate::family::Family;
#[cfg(seedmask_vectors)]
use crate::layer::Source;
use crate::layer::Weights;
use crate::random::{RowWords, WORD, input_at, seeded_mask_word};

/// Encodings that give a mask word for every 32 inputs.
#[derive(Clone, Debug)]
pub(super) enum MaskWords<'a> {
    Full,
    Raw(RawWords<'a>),
    Seeded { planes: [RowWords; 8], density: u8 },
}

/// The words of a row of [`Encoding::Raw`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawWords<'a> {
    /// From the row's first word on.
    words: &'a [[u8; 4]],
    /// 1 where the words of another row stand in between.
    step_log2: u32,
}

impl<'a> RawWords<'a> {
    /// Those of `row`, of the words of all rows.
    #[inline(always)]
    pub(super) fn new(words: &'a [[u8; 4]], weights: Weights, row: u32) -> Self {
        let start = raw_index(weights.rows, weights.words(), row, 0) as usize;
        let lone = row & 1 == 0 && row + 1 == weights.rows;
        Self { words: words.get(start..).unwrap_or(&[]), step_log2: u32::from(!lone) }
    }

    /// Mask word `word` of the row.
    #[inline(always)]
    pub(crate) fn word(self, word: u32) -> u32 {
        let index = (word << self.step_log2) as usize;
        self.words.get(index).map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

#[cfg(seedmask_vectors)]
impl RawWords<'_> {
    /// Mask words from `first` on; 0 beyond the last.
    #[inline(always)]
    fn fill(self, first: u32, masks: &mut [u32]) {
        let words = self.words.get((first << self.step_log2) as usize..).unwrap_or(&[]);
        let count = if self.step_log2 == 0 { words.len() } else { words.len().div_ceil(2) };
        let (masks, rest) = masks.split_at_mut(count.min(masks.len()));
        rest.fill(0);
        if self.step_log2 == 0 {
            masks.iter_mut().zip(words).for_each(|(mask, word)| *mask = u32::from_le_bytes(*word));
        } else {
            let (pairs, last) = words.as_chunks::<2>();
            for (mask, pair) in masks.iter_mut().zip(pairs) {
                *mask = u32::from_le_bytes(pair[0]);
            }
            if let (Some(mask), [word]) = (masks.get_mut(pairs.len()), last) {
                *mask = u32::from_le_bytes(*word);
            }
        }
    }
}

/// A row of an encoding that gives mask words: read as words, or weight by weight.
#[derive(Clone, Debug)]
pub struct WordRow<'a> {
    pub(super) masks: MaskWords<'a>,
    pub(super) values: Values<'a>,
    pub(super) words: u32,
    pub(super) tail: u32,
    /// The word to be read next.
    pub(super) word: u32,
    /// Kept weights of the word before, as far as they were not yielded.
    pub(super) mask: u32,
}

impl<'a> WordRow<'a> {
    /// Where the weights come from.
    #[cfg(seedmask_vectors)]
    pub(crate) fn source(&self) -> Source {
        self.values.source()
    }

    /// Mask words of the row.
    #[cfg(seedmask_vectors)]
    pub(crate) fn words(&self) -> u32 {
        self.words
    }

    /// Writes mask words and sign words from `first` on, the mask those of the weights of `magnitude`
    /// alone where the source has some. Words beyond the row's are 0. For kernels that gain by
    /// many words at once.
    #[inline(always)]
    #[cfg(seedmask_vectors)]
    pub(crate) fn fill(&self, first: u32, magnitude: i32, masks: &mut [u32], signs: &mut [u32]) {
        let count = masks.len().min(signs.len()).min(self.words.saturating_sub(first) as usize);
        let (masks, rest) = masks.split_at_mut(count);
        rest.fill(0);
        let words = first..;
        match &self.masks {
            MaskWords::Full => masks.fill(u32::MAX),
            MaskWords::Raw(raw) => raw.fill(first, masks),
            MaskWords::Seeded { planes, density } if Family::SeededMasks.is_linked() => {
                masks.fill(0);
                for (bit, plane) in planes.iter().enumerate() {
                    let all = if density >> bit & 1 == 1 { u32::MAX } else { 0 };
                    for (mask, word) in masks.iter_mut().zip(words.clone()) {
                        let random = plane.word(word);
                        // Or where the bit is 1, and where it is 0.
                        *mask = *mask & random | all & (*mask | random);
                    }
                }
            }
            MaskWords::Seeded { .. } => masks.fill(0),
        }
        if let Some(last) =
            (self.words.checked_sub(first + 1)).and_then(|last| masks.get_mut(last as usize))
        {
            *last &= self.tail;
        }
        let drawn = match self.values.drawn() {
            Drawn::Signs(signs) => [signs; 3],
            Drawn::Magnitudes(all) if Family::Magnitudes.is_linked() => all,
            _ => return,
        };
        let [sign, high, low] = drawn;
        signs
            .iter_mut()
            .zip(words.clone())
            .for_each(|(sign_word, word)| *sign_word = sign.word(word));
        if self.source() == Source::SeededMagnitudes {
            for (mask, word) in masks.iter_mut().zip(words) {
                let (high, low) = (high.word(word), low.word(word));
                *mask &= match magnitude {
                    4 => high & low,
                    2 => high & !low,
                    _ => !high,
                };
            }
        }
    }

    /// The stored weights of a row, a byte an input.
    #[cfg(seedmask_vectors)]
    pub(crate) fn stored(&self) -> Option<&'a [u8]> {
        match self.values.drawn() {
            Drawn::Stored(stored) if Family::Stored.is_linked() => Some(stored),
            _ => None,
        }
    }

    /// Mask word `word`; its unused bits are 0.
    #[inline(always)]
    pub(crate) fn mask(&self, word: u32) -> u32 {
        let mask = match &self.masks {
            MaskWords::Full => u32::MAX,
            MaskWords::Raw(masks) => masks.word(word),
            MaskWords::Seeded { planes, density } if Family::SeededMasks.is_linked() => {
                seeded_mask_word(planes, *density, word)
            }
            MaskWords::Seeded { .. } => 0,
        };
        if word + 1 == self.words { mask & self.tail } else { mask }
    }

    /// The next mask word with the sign bits and the two magnitude bits of its weights (0 where the
    /// source has none); unused bits of the mask are 0.
    #[inline(always)]
    pub(crate) fn next_word(&mut self) -> Option<(u32, [u32; 3])> {
        let word = self.word;
        if word >= self.words {
            return None;
        }
        self.word += 1;
        let mask = self.mask(word);
        self.values.load(word);
        Some((mask, self.values.block()))
    }
}

impl Iterator for WordRow<'_> {
    type Item = (u32, i32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.mask == 0 {
            (self.mask, _) = self.next_word()?;
        }
        let bit = self.mask.trailing_zeros();
        self.mask &= self.mask - 1;
        let index = (self.word - 1) * WORD as u32 + input_at(bit);
        Some((index, self.values.weight_at(bit, index)))
    }
}
