//! Walking a layer row by row, whatever its encoding.

use super::rice::{Reader, RiceRow};
use super::values::Values;
use super::{Encoding, GapRow, LayerWeights};
use crate::random::{Generator, WORD, mask_planes, seeded_mask_word};

/// Where mask word `word` of `row` stands among the words of a raw section.
pub(super) const fn raw_index(rows: u32, words: u32, row: u32, word: u32) -> u32 {
    let pair = row & !1;
    let lone = pair + 1 == rows;
    let in_pair = if lone { word } else { 2 * word + (row & 1) };
    pair.wrapping_mul(words).wrapping_add(in_pair)
}

/// Where the rows of a layer come from, before any of them is read.
#[derive(Clone, Debug)]
enum Masks<'a> {
    Words(MaskWords<'a>),
    Rice(Reader<'a>),
    Gaps(&'a [u8]),
}

/// Encodings that give a mask word for every 32 inputs.
#[derive(Clone, Debug)]
enum MaskWords<'a> {
    Full,
    Raw(&'a [[u8; 4]]),
    Seeded { planes: [Generator; 8], density: u8 },
}

/// The rows of a layer in order.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    layer: LayerWeights<'a>,
    masks: Masks<'a>,
    values: Values<'a>,
    tail: u32,
    row: u32,
}

impl<'a> Rows<'a> {
    pub(super) fn new(layer: &LayerWeights<'a>) -> Self {
        let masks = match layer.encoding {
            Encoding::Full => Masks::Words(MaskWords::Full),
            Encoding::Raw => Masks::Words(MaskWords::Raw(layer.bytes.as_chunks().0)),
            Encoding::RiceGaps { parameter } => Masks::Rice(Reader::new(layer.bytes, parameter)),
            Encoding::SignedGaps => Masks::Gaps(layer.bytes),
            Encoding::Seeded { density } => {
                Masks::Words(MaskWords::Seeded { planes: mask_planes(layer.seed), density })
            }
        };
        Self { layer: *layer, masks, values: Values::new(layer), tail: layer.tail(), row: 0 }
    }

    /// The next row; `None` after the last. Never panics.
    pub fn next_row(&mut self) -> Option<Row<'a>> {
        let (weights, row) = (self.layer.weights, self.row);
        if row >= weights.rows {
            return None;
        }
        self.row += 1;
        let values = self.values.of_row(&self.layer, row);
        Some(match &mut self.masks {
            Masks::Words(masks) => Row::Words(WordRow {
                masks: masks.clone(),
                layer: self.layer,
                row,
                values,
                tail: self.tail,
                word: 0,
                mask: 0,
            }),
            Masks::Rice(reader) => {
                let start = row.wrapping_mul(weights.inputs);
                RiceRow::skip(reader, start);
                let end = start.saturating_add(weights.inputs);
                Row::Rice(RiceRow { reader: reader.clone(), start, end, values })
            }
            Masks::Gaps(bytes) => match GapRow::split(bytes) {
                Some((lists, rest)) => {
                    *bytes = rest;
                    Row::Gaps(lists)
                }
                None => return None,
            },
        })
    }

    /// Takes back a row that was read to its end, so that codes are not read a second time to find
    /// the next one.
    pub(crate) fn resume(&mut self, row: Row<'a>) {
        if let (Masks::Rice(reader), Row::Rice(read)) = (&mut self.masks, row) {
            *reader = read.reader;
        }
    }
}

/// The kept weights of one row as `(input, weight)`, each input at most once except for bridges of
/// [`Encoding::SignedGaps`], in no promised order.
#[derive(Clone, Debug)]
pub enum Row<'a> {
    /// A mask word for every 32 inputs.
    Words(WordRow<'a>),
    /// Codes of gaps.
    Rice(RiceRow<'a>),
    /// Two lists.
    Gaps(GapRow<'a>),
}

impl Iterator for Row<'_> {
    type Item = (u32, i32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Row::Words(row) => row.next(),
            Row::Rice(row) => row.next(),
            Row::Gaps(row) => row.next(),
        }
    }
}

/// A row of an encoding that gives mask words: read as words, or weight by weight.
#[derive(Clone, Debug)]
pub struct WordRow<'a> {
    masks: MaskWords<'a>,
    layer: LayerWeights<'a>,
    row: u32,
    values: Values<'a>,
    tail: u32,
    /// The word to be read next.
    word: u32,
    /// Kept weights of the word before, as far as they were not yielded.
    mask: u32,
}

impl WordRow<'_> {
    /// The next mask word with the sign bits and the two magnitude bits of its weights (0 where the
    /// source has none); unused bits of the mask are 0.
    #[inline(always)]
    pub(crate) fn next_word(&mut self) -> Option<(u32, [u32; 3])> {
        let weights = self.layer.weights;
        let (words, word) = (weights.words(), self.word);
        if word >= words {
            return None;
        }
        self.word += 1;
        let used = if self.word == words { self.tail } else { u32::MAX };
        let mask = match &self.masks {
            MaskWords::Full => u32::MAX,
            MaskWords::Raw(masks) => {
                let index = raw_index(weights.rows, words, self.row, word) as usize;
                masks.get(index).map_or(0, |bytes| u32::from_le_bytes(*bytes))
            }
            MaskWords::Seeded { planes, density } => {
                seeded_mask_word(planes, *density, self.layer.first, self.row, words, word)
            }
        };
        self.values.load(word);
        Some((mask & used, self.values.block()))
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
        let input = 4 * (7 - bit % 8) + bit / 8;
        let index = (self.word - 1) * WORD as u32 + input;
        Some((index, self.values.weight_at(bit, index)))
    }
}
