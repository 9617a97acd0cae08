//! What a mask section must satisfy before a kernel may read it.

use core::fmt;

use super::{
    Encoding, LayerWeights, MAX_INPUTS, MAX_RICE_PARAMETER, MAX_ROWS, gaps, positions, rice,
};
use crate::family::Family;
use crate::layer::{Source, Weights};

/// Why a layer's mask or stored weights were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MaskError {
    /// Rows or inputs are 0 or beyond [`MAX_ROWS`] and [`MAX_INPUTS`].
    Shape {
        /// Rows found.
        rows: u32,
        /// Inputs found.
        inputs: u32,
    },
    /// The mask's section has another length than its encoding gives it.
    Length {
        /// Bytes found.
        found: u32,
        /// Bytes expected.
        expected: u32,
    },
    /// The section of stored weights has not one byte a weight (or none where they are seeded).
    StoredLength {
        /// Bytes found.
        found: u32,
        /// Bytes expected.
        expected: u32,
    },
    /// A bit beyond the inputs of `row`, in what fills up its lists, or after the last code (row =
    /// rows) is set.
    Padding {
        /// Where it was found.
        row: u32,
    },
    /// The section ends within `row`.
    Truncated {
        /// Where it ends.
        row: u32,
    },
    /// `row` keeps a weight beyond its inputs, or a layer beyond its rows (row = rows).
    Outside {
        /// Where it was found.
        row: u32,
    },
    /// A gap of `row` is 0.
    ZeroGap {
        /// Where it was found.
        row: u32,
    },
    /// An input of `row` does not come after the one before it.
    Order {
        /// Where it was found.
        row: u32,
    },
    /// The lists of `row`, or of a block of its inputs, are longer than there are inputs.
    TooManyEntries {
        /// Where they were found.
        row: u32,
        /// Entries found.
        found: u32,
        /// Inputs of the row or block.
        limit: u32,
    },
    /// Another count of weights −1 than `row` keeps.
    Count {
        /// Where it was found.
        row: u32,
        /// The count found.
        found: u32,
        /// Weights −1 that the row keeps.
        expected: u32,
    },
    /// A Rice parameter beyond [`MAX_RICE_PARAMETER`].
    Parameter {
        /// The parameter found.
        found: u8,
    },
    /// A seeded mask that keeps nothing.
    ZeroDensity,
    /// An encoding or a source that this build was told to leave out.
    Disabled(Family),
    /// An encoding with signs of its own for weights that are not ±1 from the seed.
    Source {
        /// The source found.
        found: Source,
    },
}

impl fmt::Display for MaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            MaskError::Shape { rows, inputs } => write!(
                f,
                "{rows} rows of {inputs} inputs; expected 1..={MAX_ROWS} rows of 1..={MAX_INPUTS}"
            ),
            MaskError::Length { found, expected } => {
                write!(f, "mask section of {found} bytes; expected {expected}")
            }
            MaskError::StoredLength { found, expected } => {
                write!(f, "{found} bytes of stored weights; expected {expected}")
            }
            MaskError::Padding { row } => write!(f, "padding bits set in mask row {row}"),
            MaskError::Truncated { row } => write!(f, "mask section ends in row {row}"),
            MaskError::Outside { row } => write!(f, "mask row {row} keeps a weight outside of it"),
            MaskError::ZeroGap { row } => write!(f, "gap of 0 in mask row {row}; expected 1..=255"),
            MaskError::TooManyEntries { row, found, limit } => {
                write!(f, "mask row {row} lists {found} weights; expected at most {limit}")
            }
            MaskError::Order { row } => write!(f, "mask row {row} is not in ascending order"),
            MaskError::Count { row, found, expected } => {
                write!(f, "mask row {row} counts {found} weights of −1; it keeps {expected}")
            }
            MaskError::Parameter { found } => {
                write!(f, "Rice parameter {found}; expected 0..={MAX_RICE_PARAMETER}")
            }
            MaskError::ZeroDensity => write!(f, "seeded mask of density 0; expected 1..=255"),
            MaskError::Disabled(family) => write!(f, "needs {family} of seedmask, which is off"),
            MaskError::Source { found } => {
                write!(f, "a mask that knows signs over {found:?}; expected SeededSigns")
            }
        }
    }
}

impl core::error::Error for MaskError {}

impl LayerWeights<'_> {
    /// Checks shape, stored weights, and form and content of the mask.
    ///
    /// # Errors
    /// The first thing found wrong; after `Ok` no row can fail.
    pub(crate) fn check(&self) -> Result<(), MaskError> {
        if let Some(family) = Family::missing_for_source(self.weights.source) {
            return Err(MaskError::Disabled(family));
        }
        let (rows, inputs) = (self.weights.rows, self.weights.inputs);
        if !(1..=MAX_ROWS).contains(&rows) || !(1..=MAX_INPUTS).contains(&inputs) {
            return Err(MaskError::Shape { rows, inputs });
        }
        let expected = match self.weights.source {
            Source::StoredInt8 => rows * inputs,
            Source::SeededSigns | Source::SeededMagnitudes => 0,
        };
        match self.stored.len() as u32 {
            found if found == expected => (),
            found => return Err(MaskError::StoredLength { found, expected }),
        }
        self.encoding.check_form(&self.weights, self.bytes, false)?;
        self.check_content()
    }

    /// Reads the mask once, whose form was checked. Work is bounded by the bytes given; never panics.
    ///
    /// # Errors
    /// The first thing found wrong; after `Ok` no row can fail.
    pub(crate) fn check_content(&self) -> Result<(), MaskError> {
        let (rows, inputs) = (self.weights.rows, self.weights.inputs);
        match self.encoding {
            Encoding::Raw => self.check_padding(),
            Encoding::CountedRaw => self.check_padding().and_then(|()| self.check_counts()),
            Encoding::RiceGaps { parameter } if Family::Rice.is_linked() => {
                rice::check(self.bytes, parameter, rows, inputs)
            }
            Encoding::SignedGaps if Family::Gaps.is_linked() => {
                gaps::check(self.bytes, rows, inputs)
            }
            Encoding::SignedPositions { base } if Family::Gaps.is_linked() => {
                positions::check(self.bytes, self.weights, base)
            }
            // The form is all, or was refused.
            _ => Ok(()),
        }
    }

    fn check_padding(&self) -> Result<(), MaskError> {
        let (rows, words) = (self.weights.rows, self.weights.words());
        let (masks, unused) = (self.bytes.as_chunks::<4>().0, !self.tail());
        for row in 0..rows {
            let last = super::row::raw_index(rows, words, row, words - 1);
            let mask = masks.get(last as usize).map_or(0, |word| u32::from_le_bytes(*word));
            if mask & unused != 0 {
                return Err(MaskError::Padding { row });
            }
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), MaskError> {
        let mut rows = self.rows();
        for row in 0..self.weights.rows {
            let (found, expected) = (self.minus_count(row), rows.next_minus_count());
            if found != expected {
                return Err(MaskError::Count { row, found, expected });
            }
        }
        Ok(())
    }
}

impl Encoding {
    /// Checks what kernels rely on for memory safety in the section `bytes` for a layer of checked shape,
    /// without reading more than that wants: its length, and signed gaps of `dense` layers, whose kernels
    /// follow them as they are. No kernel relies on what signed positions say.
    ///
    /// # Errors
    /// The first thing found wrong; after `Ok` rows may be cut, or keep what they should not.
    pub(crate) fn check_form(
        self,
        weights: &Weights,
        bytes: &[u8],
        dense: bool,
    ) -> Result<(), MaskError> {
        if let Some(family) = Family::of_encoding(self).filter(|family| !family.is_linked()) {
            return Err(MaskError::Disabled(family));
        }
        let Weights { rows, inputs, source } = *weights;
        let signed = matches!(
            self,
            Encoding::CountedRaw | Encoding::SignedGaps | Encoding::SignedPositions { .. }
        );
        if signed && source != Source::SeededSigns {
            return Err(MaskError::Source { found: source });
        }
        let (found, words) = (bytes.len() as u32, 4 * rows * weights.words());
        let expected = match self {
            Encoding::SignedGaps if dense && Family::Gaps.is_linked() => {
                return gaps::check(bytes, rows, inputs);
            }
            Encoding::RiceGaps { parameter } if parameter > MAX_RICE_PARAMETER => {
                return Err(MaskError::Parameter { found: parameter });
            }
            Encoding::Seeded { density: 0 } => return Err(MaskError::ZeroDensity),
            Encoding::Raw => words,
            Encoding::CountedRaw => words + 2 * rows,
            Encoding::RiceGaps { .. } => found.max(rice::HEADER as u32),
            Encoding::SignedGaps | Encoding::SignedPositions { .. } => found,
            Encoding::Full | Encoding::Seeded { .. } => 0,
        };
        if found == expected { Ok(()) } else { Err(MaskError::Length { found, expected }) }
    }
}
