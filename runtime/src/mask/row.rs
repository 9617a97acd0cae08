//! Walking a layer row by row, whatever its encoding.

use super::positions::{Blocks, PositionRow};
#[cfg(seedmask_dsp)]
use super::rice::Place;
use super::rice::{Reader, RiceRow};
use super::values::LayerValues;
use super::words::{MaskWords, RawWords, WordRow};
use super::{Encoding, GapRow, LayerWeights};
use crate::family::Family;
use crate::layer::Source;
use crate::random::{Generator, WORD, bit_of, input_at, mask_planes, seeded_mask_word};

/// Where mask word `word` of `row` stands among the words of a raw section.
pub(super) const fn raw_index(rows: u32, words: u32, row: u32, word: u32) -> u32 {
    let pair = row & !1;
    let lone = pair + 1 == rows;
    let in_pair = if lone { word } else { 2 * word + (row & 1) };
    pair.wrapping_mul(words).wrapping_add(in_pair)
}

/// Takes the kept weights of a row.
pub(crate) trait Visit {
    /// One of them. In little flash, not to be written out at each of the calls.
    fn visit(&mut self, input: usize, weight: i32);
}

/// Where the masks of a layer come from.
#[derive(Clone, Debug)]
pub(super) enum LayerMasks<'a> {
    Full,
    Raw(&'a [[u8; 4]]),
    Seeded { planes: [Generator; 8], density: u8 },
    Rice(Reader<'a>),
    Gaps(&'a [u8]),
    Positions(Blocks<'a>),
}

/// The rows of a layer in order.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    pub(super) layer: &'a LayerWeights<'a>,
    pub(super) masks: LayerMasks<'a>,
    values: LayerValues<'a>,
    tail: u32,
    pub(super) row: u32,
}

impl<'a> Rows<'a> {
    pub(super) fn new(layer: &'a LayerWeights<'a>) -> Self {
        let masks = match layer.encoding {
            Encoding::Full => LayerMasks::Full,
            Encoding::Raw | Encoding::CountedRaw => LayerMasks::Raw(layer.bytes.as_chunks().0),
            Encoding::RiceGaps { parameter } if Family::Rice.is_linked() => {
                LayerMasks::Rice(Reader::new(layer.bytes, parameter))
            }
            Encoding::SignedGaps if Family::Gaps.is_linked() => LayerMasks::Gaps(layer.bytes),
            Encoding::SignedPositions { base } if Family::Gaps.is_linked() => {
                LayerMasks::Positions(Blocks::new(layer.bytes, layer.weights, base))
            }
            Encoding::Seeded { density } if Family::SeededMasks.is_linked() => {
                LayerMasks::Seeded { planes: mask_planes(layer.seed), density }
            }
            // Families that are off were refused: nothing is kept.
            _ => LayerMasks::Raw(&[]),
        };
        Self { layer, masks, values: LayerValues::new(layer), tail: layer.tail(), row: 0 }
    }

    /// Where the weights come from.
    #[cfg(seedmask_vectors)]
    pub(crate) fn source(&self) -> Source {
        self.layer.weights.source
    }

    /// Makes `row` the next one. Not for [`Encoding::SignedGaps`].
    #[cfg(seedmask_vectors)]
    pub(crate) fn go_to(&mut self, row: u32) {
        self.row = row;
    }

    /// The next row; `None` after the last. Never panics.
    pub fn next_row(&mut self) -> Option<Row<'a>> {
        self.next_row_inline()
    }

    /// The same for kernels that would spend more on copying a row than on looking at it.
    #[inline(always)]
    pub(crate) fn next_row_inline(&mut self) -> Option<Row<'a>> {
        let (weights, row) = (self.layer.weights, self.row);
        if row >= weights.rows {
            return None;
        }
        self.row += 1;
        let (words, first) = (weights.words(), self.layer.first);
        let masks = match &mut self.masks {
            LayerMasks::Full => MaskWords::Full,
            LayerMasks::Raw(masks) => MaskWords::Raw(RawWords::new(masks, weights, row)),
            LayerMasks::Seeded { planes, density } if Family::SeededMasks.is_linked() => {
                MaskWords::Seeded {
                    planes: planes.map(|plane| plane.row(first, row, words)),
                    density: *density,
                }
            }
            LayerMasks::Rice(reader) if Family::Rice.is_linked() => {
                let start = row.wrapping_mul(weights.inputs);
                RiceRow::skip(reader, start);
                let end = start.saturating_add(weights.inputs);
                let values = self.values.row(self.layer, row);
                return Some(Row::Rice(RiceRow { reader: reader.clone(), start, end, values }));
            }
            LayerMasks::Gaps(bytes) if Family::Gaps.is_linked() => {
                let (lists, rest) = GapRow::split(bytes)?;
                *bytes = rest;
                return Some(Row::Gaps(lists));
            }
            LayerMasks::Positions(blocks) if Family::Gaps.is_linked() => {
                return Some(Row::Positions(PositionRow::split(blocks, weights.inputs)));
            }
            _ => return None,
        };
        let values = self.values.row(self.layer, row);
        Some(Row::Words(WordRow { masks, values, words, tail: self.tail, word: 0, mask: 0 }))
    }

    /// Whether the weights are ±1 from the seed: [`Rows::next_mask`] says all of them.
    pub(crate) fn are_signs(&self) -> bool {
        self.layer.weights.source == Source::SeededSigns
    }

    /// Mask and sign words of the next row. Unused bits of masks are 0. Both slices hold the words of a
    /// row.
    pub(crate) fn next_mask(&mut self, masks: &mut [u32], signs: &mut [u32]) {
        self.read_words(0, masks, signs);
        self.end_row();
    }

    /// Mask and sign word of the next row, of at most 32 weights ±1: [`Rows::next_mask`], quicker.
    #[cfg(seedmask_dsp)]
    #[inline(always)]
    pub(crate) fn next_word(&mut self) -> (u32, u32) {
        if let (LayerMasks::Rice(reader), LayerValues::Signs(generator)) =
            (&mut self.masks, &self.values)
            && Family::Rice.is_linked()
            && !cfg!(seedmask_small)
        {
            let (inputs, row) = (self.layer.weights.inputs, self.row);
            self.row += 1;
            let start = row.wrapping_mul(inputs);
            let mut mask = 0;
            while reader.flat.wrapping_sub(start) < inputs {
                mask |= 1 << bit_of(reader.flat.wrapping_sub(start) as usize);
                reader.advance();
            }
            return (mask, generator.row(self.layer.first, row, 1).word(0));
        }
        let (mut mask, mut signs) = ([0], [0]);
        self.next_mask(&mut mask, &mut signs);
        (mask[0], signs[0])
    }

    /// Mask words, and sign words where signs are drawn, of the row that stands next from word `first` on,
    /// as many as both slices hold; unused bits of masks are 0, and all behind the row. A row is read from
    /// its first word on, one of [`Encoding::SignedGaps`] at once, of `SignedPositions` in blocks of four
    /// words.
    pub(crate) fn read_words(&mut self, first: u32, masks: &mut [u32], signs: &mut [u32]) {
        let (weights, row) = (self.layer.weights, self.row);
        let words = weights.words();
        if let Some(generator) = self.values.signs() {
            let drawn = generator.row(self.layer.first, row, words);
            (first..).zip(&mut *signs).for_each(|(word, signs)| *signs = drawn.word(word));
        }
        match &mut self.masks {
            LayerMasks::Full => fill(masks, u32::MAX),
            LayerMasks::Raw(section) => {
                let raw = RawWords::new(section, weights, row);
                (first..).zip(&mut *masks).for_each(|(word, mask)| *mask = raw.word(word));
            }
            LayerMasks::Seeded { planes, density } if Family::SeededMasks.is_linked() => {
                let planes = planes.map(|plane| plane.row(self.layer.first, row, words));
                for (word, mask) in (first..).zip(&mut *masks) {
                    *mask = seeded_mask_word(&planes, *density, word);
                }
            }
            LayerMasks::Rice(reader) if Family::Rice.is_linked() => {
                fill(masks, 0);
                let row = row.wrapping_mul(weights.inputs);
                let start = row.wrapping_add(first * WORD as u32);
                let end = start.saturating_add((masks.len() * WORD) as u32);
                reader.visit(end.min(row.saturating_add(weights.inputs)), |flat| {
                    // What was not read before the start is beyond all words.
                    let input = flat.wrapping_sub(start) as usize;
                    if let Some(mask) = masks.get_mut(input / WORD) {
                        *mask |= 1 << bit_of(input % WORD);
                    }
                });
            }
            LayerMasks::Gaps(bytes) if Family::Gaps.is_linked() => {
                fill(masks, 0);
                fill(signs, 0);
                if let Some((lists, rest)) = GapRow::split(bytes) {
                    *bytes = rest;
                    lists.read(masks, signs);
                }
            }
            LayerMasks::Positions(blocks) if Family::Gaps.is_linked() => {
                fill(masks, 0);
                fill(signs, 0);
                let left = masks.len().min(words.saturating_sub(first) as usize);
                blocks.read(masks.get_mut(..left).unwrap_or_default(), signs);
            }
            _ => fill(masks, 0),
        }
        let left = words.saturating_sub(first) as usize;
        if let Some(behind @ [_, ..]) = masks.get_mut(left..) {
            fill(behind, 0);
        }
        if let Some(last) = left.checked_sub(1).and_then(|last| masks.get_mut(last)) {
            *last &= self.tail;
        }
    }

    /// Shows the kept weights of the next row, in no promised order; both of a bridge of
    /// [`Encoding::SignedGaps`] too. In little flash, if one type of visitor is used.
    pub(crate) fn visit(&mut self, to: &mut impl Visit) {
        if let LayerMasks::Gaps(bytes) = &mut self.masks
            && Family::Gaps.is_linked()
        {
            if let Some((lists, rest)) = GapRow::split(bytes) {
                *bytes = rest;
                lists.for_each(|(input, weight)| to.visit(input as usize, weight));
            }
            return self.end_row();
        }
        // Code by code, as dense layers are often as sparse as to have few in a word.
        if let (LayerMasks::Rice(reader), LayerValues::Signs(generator)) =
            (&mut self.masks, &self.values)
            && Family::Rice.is_linked()
        {
            let (weights, row) = (self.layer.weights, self.row);
            let drawn = generator.row(self.layer.first, row, weights.words());
            let start = row.wrapping_mul(weights.inputs);
            let (mut word, mut signs) = (0, drawn.word(0));
            reader.visit(start.saturating_add(weights.inputs), |flat| {
                let input = flat.wrapping_sub(start) as usize;
                if input / WORD != word {
                    word = input / WORD;
                    signs = drawn.word(word as u32);
                }
                let minus = signs >> bit_of(input % WORD) & 1;
                to.visit(input, 1 - 2 * minus as i32);
            });
            return self.end_row();
        }
        // Four words are a block of positions.
        const BLOCK: usize = 4;
        let words = self.layer.weights.words() as usize;
        for first in (0..words).step_by(BLOCK) {
            let (mut masks, mut signs) = ([0; BLOCK], [0; BLOCK]);
            self.read_words(first as u32, &mut masks, &mut signs);
            self.visit_words(first, &masks, &signs, to);
        }
        self.end_row();
    }

    /// The same of mask words of the row that stands next from word `first` on, and of their sign words.
    pub(crate) fn visit_words(
        &self,
        first: usize,
        masks: &[u32],
        signs: &[u32],
        to: &mut impl Visit,
    ) {
        for ((mask, signs), word) in masks.iter().zip(signs).zip(first..) {
            let mut mask = *mask;
            while mask != 0 {
                let bit = mask.trailing_zeros();
                mask &= mask - 1;
                let input = word * WORD + input_at(bit) as usize;
                to.visit(input, self.weight(input as u32, signs >> bit & 1 == 1));
            }
        }
    }

    /// How many kept weights of the next row are −1.
    pub(crate) fn next_minus_count(&mut self) -> u32 {
        // Whole blocks of positions; little enough to be set to 0 without a call.
        const BLOCK: usize = if cfg!(seedmask_small) { 4 } else { 8 };
        let words = self.layer.weights.words() as usize;
        let mut minus = 0;
        for first in (0..words).step_by(BLOCK) {
            let (mut masks, mut signs) = ([0; BLOCK], [0; BLOCK]);
            self.read_words(first as u32, &mut masks, &mut signs);
            for (mask, signs) in masks.iter().zip(signs) {
                minus += (mask & signs).count_ones();
            }
        }
        self.end_row();
        minus
    }

    /// The weight of `input` in the row that stands next, whose sign bit is `minus`.
    fn weight(&self, input: u32, minus: bool) -> i32 {
        let (weights, row) = (self.layer.weights, self.row);
        let sign = if minus { -1 } else { 1 };
        match &self.values {
            LayerValues::Magnitudes([_, high, low]) if Family::Magnitudes.is_linked() => {
                let (word, bit) = (input / WORD as u32, bit_of(input as usize % WORD));
                let bit = |of: &Generator| {
                    of.row(self.layer.first, row, weights.words()).word(word) >> bit & 1
                };
                let high = bit(high);
                sign << high << (high & bit(low))
            }
            LayerValues::Stored(stored) if Family::Stored.is_linked() => {
                let index = (row as usize).wrapping_mul(weights.inputs as usize);
                let byte = stored.get(index.wrapping_add(input as usize)).copied();
                i32::from(byte.unwrap_or(0) as i8)
            }
            _ => sign,
        }
    }

    /// Goes on to the next row, after all words of one were read.
    pub(crate) fn end_row(&mut self) {
        self.row = self.row.saturating_add(1);
    }

    /// Whether [`Rows::next_codes`] reads the rows.
    #[cfg(any(seedmask_dsp, seedmask_vectors))]
    pub(crate) fn are_codes(&self) -> bool {
        Family::Rice.is_linked() && matches!(self.masks, LayerMasks::Rice(_)) && self.are_signs()
    }

    /// About how many weights a row keeps, to choose between kernels: the same for all rows.
    #[cfg(seedmask_dsp)]
    pub(crate) fn kept(&self) -> usize {
        let (weights, bytes) = (self.layer.weights, self.layer.bytes);
        let (rows, inputs) = (weights.rows.max(1) as usize, weights.inputs as usize);
        let kept = match self.layer.encoding {
            Encoding::RiceGaps { .. } => {
                let count = bytes.first_chunk().map_or(0, |count| u32::from_le_bytes(*count));
                count as usize / rows
            }
            Encoding::SignedGaps | Encoding::SignedPositions { .. } => bytes.len() / rows,
            Encoding::Seeded { density } => inputs * usize::from(density) / 256,
            Encoding::Full => inputs,
            Encoding::Raw | Encoding::CountedRaw => {
                let some = bytes.as_chunks().0.iter().take(weights.words().min(16) as usize);
                let bits = some.len() * WORD;
                let ones = some.map(|word| u32::from_le_bytes(*word).count_ones()).sum::<u32>();
                (inputs * ones as usize).checked_div(bits).unwrap_or(0)
            }
        };
        // A section that was not checked may say anything.
        kept.min(inputs)
    }

    /// A reader at the first kept weight of the next row, the flat index of the row's first weight, and
    /// its sign words, turned to the left by `turn`. The row must be read to its end. `None` where
    /// weights are no codes with signs from the seed, and after the last.
    #[cfg(any(seedmask_dsp, seedmask_vectors))]
    pub(crate) fn next_codes(
        &mut self,
        signs: &mut [u32],
        turn: u32,
    ) -> Option<(&mut Reader<'a>, u32)> {
        let (weights, row) = (self.layer.weights, self.row);
        let LayerValues::Signs(generator) = self.values else { return None };
        let LayerMasks::Rice(reader) = &mut self.masks else { return None };
        if !Family::Rice.is_linked() || row >= weights.rows {
            return None;
        }
        self.row += 1;
        let drawn = generator.row(self.layer.first, row, weights.words()).turned(turn);
        (0..).zip(signs).for_each(|(word, signs)| *signs = drawn.word(word));
        Some((reader, row.wrapping_mul(weights.inputs)))
    }

    /// Goes back to before [`Rows::next_codes`], whose reader then stood at `place`.
    #[cfg(seedmask_dsp)]
    pub(crate) fn go_back(&mut self, place: Place) {
        if let LayerMasks::Rice(reader) = &mut self.masks {
            reader.go_back(place);
        }
        self.row = self.row.saturating_sub(1);
    }

    /// Takes back a row that was read to its end, so that codes are not read a second time to find
    /// the next one.
    #[cfg(seedmask_vectors)]
    pub(crate) fn resume(&mut self, row: Row<'a>) {
        if Family::Rice.is_linked()
            && let (LayerMasks::Rice(reader), Row::Rice(read)) = (&mut self.masks, row)
        {
            *reader = read.reader;
        }
    }
}

/// Sets all words, most of them to 0: a loop where that takes less flash than a call for zeros.
#[cfg_attr(not(seedmask_small), inline(always))]
#[cfg_attr(seedmask_small, inline(never))]
fn fill(words: &mut [u32], value: u32) {
    words.fill(value);
}

/// Turns a weight's bit round in `masks`, and sets it in `signs` if `sign` is 1.
#[inline(never)]
pub(super) fn toggle(masks: &mut [u32], signs: &mut [u32], input: usize, sign: u32) {
    let (word, bit) = (input / WORD, bit_of(input % WORD));
    if let (Some(mask), Some(signs)) = (masks.get_mut(word), signs.get_mut(word)) {
        *mask ^= 1 << bit;
        *signs |= sign << bit;
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
    /// A list.
    Positions(PositionRow<'a>),
}

#[cfg(seedmask_vectors)]
impl Row<'_> {
    /// Where the weights come from.
    pub(crate) fn source(&self) -> Source {
        match self {
            Row::Words(row) => row.source(),
            Row::Rice(row) => row.values.source(),
            Row::Gaps(_) | Row::Positions(_) => Source::SeededSigns,
        }
    }
}

impl Iterator for Row<'_> {
    type Item = (u32, i32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Row::Words(row) => row.next(),
            Row::Rice(row) if Family::Rice.is_linked() => row.next(),
            Row::Gaps(row) if Family::Gaps.is_linked() => row.next(),
            Row::Positions(row) if Family::Gaps.is_linked() => row.next(),
            _ => None,
        }
    }
}
