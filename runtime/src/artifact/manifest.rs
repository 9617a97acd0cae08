//! The manifest: a stream of postcard values in a fixed order, read where it lies.
//!
//! ```text
//! backbone   seed, tensor count, tensors (8 bytes each), layer count, layers
//! plan       a Placement (6 bytes) a tensor, a scratch offset a layer
//! tasks      count, then for each: name, classes, labels, a MaskPart for every weighted layer
//! ```
//! A patch has the third part only, with one task.

use serde::{Deserialize, Serialize};

use super::error::{ParseError, Part};
use crate::mask::Encoding;

/// Most layers of a backbone.
pub const MAX_LAYERS: usize = 64;
/// Most tensors of a backbone.
pub const MAX_TENSORS: usize = MAX_LAYERS + 1;
/// Most tasks of one file; more travel as patches. Bounds the time that `same as` can cost.
pub const MAX_TASKS: u16 = 64;

/// Where a tensor lies in the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Placement {
    /// First byte, a multiple of 4.
    #[serde(with = "postcard::fixint::le")]
    pub offset: u32,
    /// Rows and columns of halo on each side.
    pub pad: u8,
    /// 1, 4 for a banded map, or 2 for a split one: see [`Planes`](crate::kernel::Planes).
    pub bands: u8,
}

impl Placement {
    /// Bytes of one placement in the manifest.
    pub const ENCODED: usize = 6;

    /// From its bytes in the manifest.
    pub(crate) fn from_bytes(bytes: &[u8; Self::ENCODED]) -> Self {
        let [o0, o1, o2, o3, pad, bands] = *bytes;
        Self { offset: u32::from_le_bytes([o0, o1, o2, o3]), pad, bands }
    }
}

/// The mask of one layer in one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MaskPart {
    /// Bytes of its own.
    Own {
        /// How they are to be read.
        encoding: Encoding,
        /// How many there are.
        bytes: u32,
    },
    /// The mask that a task of the backbone's file has for this layer.
    SameAs {
        /// Index of that task.
        task: u16,
        /// CRC-32 of that mask's encoding and section, so that a repacked file is noticed.
        checksum: u32,
    },
}

/// A cursor over postcard values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stream<'a>(pub(crate) &'a [u8]);

impl<'a> Stream<'a> {
    /// The next value, or `Malformed(part)`.
    pub(crate) fn take<T: Deserialize<'a>>(&mut self, part: Part) -> Result<T, ParseError> {
        let (value, rest) =
            postcard::take_from_bytes(self.0).map_err(|_| ParseError::Malformed(part))?;
        self.0 = rest;
        Ok(value)
    }

    /// The next `count` records of a table.
    pub(crate) fn take_table<const SIZE: usize>(
        &mut self,
        count: usize,
        part: Part,
    ) -> Result<&'a [[u8; SIZE]], ParseError> {
        let bytes = self.0.split_at_checked(SIZE * count);
        let (table, rest) = bytes.ok_or(ParseError::Malformed(part))?;
        self.0 = rest;
        Ok(table.as_chunks().0)
    }
}

/// The strings that name a task's classes.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    pub(crate) left: u16,
    pub(crate) stream: Stream<'a>,
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        self.stream.take(Part::End).ok()
    }
}
