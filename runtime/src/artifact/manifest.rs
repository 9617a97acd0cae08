//! The manifest: a stream of postcard values in a fixed order, read where it lies, by hand: the few kinds
//! of them take less flash than general readers.
//!
//! ```text
//! backbone   seed, tensor count, tensors (8 bytes each), layer count, layers
//! plan       a Placement (6 bytes) a tensor, a scratch offset a layer
//! tasks      count, then for each: name, classes, labels, a MaskPart for every weighted layer
//! ```
//! A patch has the third part only, with one task.

#[cfg(feature = "write")]
use serde::{Deserialize, Serialize};

use super::error::{ParseError, Part};
use crate::layer::{
    Add, Conv2d, Dense, Depthwise, Layer, Pool, PoolKind, Range, Relayout, Source, Window,
};
use crate::mask::Encoding;

/// Most layers of a backbone.
pub const MAX_LAYERS: usize = 64;
/// Most tensors of a backbone.
pub const MAX_TENSORS: usize = MAX_LAYERS + 1;
/// Most tasks of one file; more travel as patches. Bounds the time that `same as` can cost.
pub const MAX_TASKS: u16 = 64;

/// Where a tensor lies in the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "write", derive(Serialize, Deserialize))]
pub struct Placement {
    /// First byte, a multiple of 4.
    #[cfg_attr(feature = "write", serde(with = "postcard::fixint::le"))]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "write", derive(Serialize, Deserialize))]
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

/// A cursor over postcard values. Each method takes the next one; `None` where it is no such thing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stream<'a>(pub(crate) &'a [u8]);

impl<'a> Stream<'a> {
    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    /// A number below 2^`bits`: seven bits a byte from the lowest on, the eighth says that more follow.
    #[inline(never)]
    fn varint(&mut self, bits: u32) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        while shift < bits {
            let byte = self.byte()?;
            let digit = u64::from(byte & 0x7f);
            if digit.unbounded_shr(bits - shift) != 0 {
                return None;
            }
            number |= digit << shift;
            if byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
        None
    }

    pub(crate) fn seed(&mut self) -> Option<u64> {
        self.varint(u64::BITS)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Option<u32> {
        // Most are below 128.
        match self.0.split_first() {
            Some((byte @ 0..=0x7f, rest)) => {
                self.0 = rest;
                Some((*byte).into())
            }
            _ => Some(self.varint(u32::BITS)? as u32),
        }
    }

    pub(crate) fn short(&mut self) -> Option<u16> {
        Some(self.varint(u16::BITS)? as u16)
    }

    #[inline(never)]
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        core::str::from_utf8(text).ok()
    }

    fn source(&mut self) -> Option<Source> {
        match self.number()? {
            0 => Some(Source::SeededSigns),
            1 => Some(Source::SeededMagnitudes),
            2 => Some(Source::StoredInt8),
            _ => None,
        }
    }

    fn range(&mut self) -> Option<Range> {
        match self.number()? {
            0 => Some(Range::Activations { low: self.byte()? }),
            1 => Some(Range::Logits),
            _ => None,
        }
    }

    #[inline(never)]
    pub(crate) fn layer(&mut self) -> Option<Layer> {
        const DENSE: u32 = 0;
        const CONV2D: u32 = 1;
        const DEPTHWISE: u32 = 2;
        const POOL: u32 = 3;
        const ADD: u32 = 4;
        const RELAYOUT: u32 = 5;
        let kind = self.number()?;
        let input = self.byte()?;
        let right = if kind == ADD { self.byte()? } else { 0 };
        let output = self.byte()?;
        let mut window = Window { kernel: [0; 2], stride: [0; 2], padding: [0; 4] };
        if matches!(kind, CONV2D | DEPTHWISE | POOL) {
            let [height, width, down, across, padding @ ..] = self.bytes::<8>()?;
            window = Window { kernel: [height, width], stride: [down, across], padding };
        }
        let (mut source, mut range) = (Source::SeededSigns, Range::Logits);
        if matches!(kind, DENSE | CONV2D | DEPTHWISE) {
            (source, range) = (self.source()?, self.range()?);
        }
        Some(match kind {
            DENSE => Layer::Dense(Dense { input, output, source, range }),
            CONV2D => Layer::Conv2d(Conv2d { input, output, window, source, range }),
            DEPTHWISE => Layer::Depthwise(Depthwise { input, output, window, source, range }),
            POOL => {
                let kind = match self.number()? {
                    0 => PoolKind::Max,
                    1 => PoolKind::Average,
                    _ => return None,
                };
                Layer::Pool(Pool { input, output, window, kind })
            }
            ADD => {
                let (scales, shift) = ([self.short()?, self.short()?], self.short()?);
                let (left, low) = (input, self.byte()?);
                Layer::Add(Add { left, right, output, scales, shift, low })
            }
            RELAYOUT => Layer::Relayout(Relayout { input, output }),
            _ => return None,
        })
    }

    #[inline(never)]
    pub(crate) fn mask_part(&mut self) -> Option<MaskPart> {
        match self.number()? {
            0 => {
                let encoding = match self.number()? {
                    0 => Encoding::Full,
                    1 => Encoding::Raw,
                    2 => Encoding::RiceGaps { parameter: self.byte()? },
                    3 => Encoding::SignedGaps,
                    4 => Encoding::Seeded { density: self.byte()? },
                    5 => Encoding::CountedRaw,
                    6 => Encoding::SignedPositions { base: self.byte()? },
                    _ => return None,
                };
                Some(MaskPart::Own { encoding, bytes: self.number()? })
            }
            1 => Some(MaskPart::SameAs { task: self.short()?, checksum: self.number()? }),
            _ => None,
        }
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
        self.stream.text()
    }
}

#[cfg(all(test, feature = "write"))]
mod tests {
    use super::*;
    use crate::random::{Generator, Stream as Random};
    use std::vec::Vec;

    /// Reads every prefix of `bytes`, and every byte of it replaced by every other, by hand and by
    /// postcard's own reader.
    fn compare<T>(bytes: &[u8], read: fn(&mut Stream<'_>) -> Option<T>)
    where
        T: for<'d> Deserialize<'d> + PartialEq + core::fmt::Debug,
    {
        let same = |bytes: &[u8]| {
            let mut stream = Stream(bytes);
            let found = read(&mut stream).map(|value| (value, stream.0));
            assert_eq!(found, postcard::take_from_bytes::<T>(bytes).ok(), "{bytes:x?}");
        };
        (0..=bytes.len()).for_each(|end| same(&bytes[..end]));
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            for byte in 0..=u8::MAX {
                changed[at] = byte;
                same(&changed);
            }
        }
    }

    #[test]
    fn values_are_those_that_postcard_reads() {
        let window = Window { kernel: [3, 1], stride: [2, 5], padding: [1, 0, 2, 255] };
        let (input, output, source) = (1, 200, Source::StoredInt8);
        let (range, kind) = (Range::Activations { low: 9 }, PoolKind::Average);
        let (scales, shift) = ([0x3c00, 0x7f], 0xffff);
        for layer in [
            Layer::Dense(Dense { input, output, source, range: Range::Logits }),
            Layer::Conv2d(Conv2d { input, output, window, source, range }),
            Layer::Depthwise(Depthwise { input, output, window, source, range }),
            Layer::Pool(Pool { input, output, window, kind }),
            Layer::Add(Add { left: 3, right: 4, output, scales, shift, low: 7 }),
            Layer::Relayout(Relayout { input, output }),
        ] {
            compare(&postcard::to_allocvec(&layer).unwrap(), |stream| stream.layer());
        }
        let bytes = 0x1234_5678;
        for part in [
            MaskPart::Own { encoding: Encoding::RiceGaps { parameter: 7 }, bytes },
            MaskPart::Own { encoding: Encoding::CountedRaw, bytes: u32::MAX },
            MaskPart::Own { encoding: Encoding::SignedPositions { base: 1 }, bytes: 0 },
            MaskPart::SameAs { task: 300, checksum: 0xdead_beef },
        ] {
            compare(&postcard::to_allocvec(&part).unwrap(), |stream| stream.mask_part());
        }
        let random = Generator::new(9, Random::Host(0));
        for sample in 0..500 {
            let bytes: Vec<u8> =
                (0..3).flat_map(|word| random.word(3 * sample + word).to_le_bytes()).collect();
            // Long numbers want the highest bit of their bytes.
            for bits in [0, 0x80, 0xff] {
                let bytes: Vec<u8> = bytes.iter().map(|byte| byte | bits).collect();
                compare(&bytes, |stream| stream.seed());
                compare(&bytes, |stream| stream.number());
                compare(&bytes, |stream| stream.short());
                compare(&bytes, |stream| stream.layer());
                compare(&bytes, |stream| stream.mask_part());
            }
        }
    }
}
