//! The manifest: tables of records of a fixed size, read by index where they lie.
//!
//! ```text
//! backbone   seed, counts, a node for the input and for every layer, the parameters of layers
//! plan       a place for every node
//! tasks      for each: a head, its text, a mask record for every weighted layer
//! ```
//! A patch has the third part only, with one task.

use super::error::{ParseError, Part};
use crate::family::Family;
use crate::layer::{
    Add, Conv2d, Dense, Depthwise, Element, Layer, MAX_ACTIVATION, Pool, PoolKind, Range, Relayout,
    Source, Tensor, TensorId, Window,
};

/// Most layers of a backbone.
pub const MAX_LAYERS: usize = 64;
/// Most tensors of a backbone: the input, and what each layer writes.
pub const MAX_TENSORS: usize = MAX_LAYERS + 1;
/// Most tasks of one file; more travel as patches.
pub const MAX_TASKS: u16 = 64;

/// Where a tensor lies in the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// First byte, a multiple of 4.
    pub offset: u32,
    /// Rows and columns of halo on each side.
    pub pad: u8,
    /// 1, 4 for a banded map, 2 for a split one, or 3 for one of whole words: see
    /// [`Planes`](crate::kernel::Planes).
    pub bands: u8,
}

/// Bytes of what begins a backbone's manifest: the seed, how many layers and parameters there are, and
/// two bytes 0.
pub(super) const HEAD: usize = 12;

/// A tensor, and the layer that writes it.
///
/// | at | |
/// |---:|---|
/// | 0 | the layer's kind in the lowest three bits, then its source, and [`Node::JOINED`] |
/// | 1 | the (first) input |
/// | 2 | index of the layer's parameters |
/// | 3 | low, or [`Node::LOGITS`] |
/// | 4 | channels, height, width, `u16` each |
/// | 10 | zero point |
/// | 11 | halo |
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a>(pub(crate) &'a NodeBytes);

pub(crate) type NodeBytes = [u8; 12];

/// Window of a layer, or the second input and the numbers of a sum.
pub(crate) type Parameters = [u8; 8];

impl Node<'_> {
    /// The layer is a convolution in turns with the sum behind it.
    pub(crate) const JOINED: u8 = 0x80;
    /// What stands for the low of a layer that makes logits.
    pub(crate) const LOGITS: u8 = MAX_ACTIVATION + 1;

    const DENSE: u8 = 0;
    const CONV2D: u8 = 1;
    const DEPTHWISE: u8 = 2;
    const MAX_POOL: u8 = 3;
    const AVERAGE_POOL: u8 = 4;
    const ADD: u8 = 5;
    const RELAYOUT: u8 = 6;

    #[inline(always)]
    pub(crate) fn tensor(self) -> Tensor {
        let [_, _, _, low, c0, c1, h0, h1, w0, w1, zero_point, _] = *self.0;
        let [channels, height, width] = [[c0, c1], [h0, h1], [w0, w1]].map(u16::from_le_bytes);
        let element = if low == Self::LOGITS { Element::Logit } else { Element::Activation };
        Tensor { channels, height, width, zero_point, element }
    }

    pub(crate) fn halo(self) -> u8 {
        self.0[11]
    }

    pub(crate) fn is_joined(self) -> bool {
        let possible = Family::Conv2d.is_linked() && Family::Add.is_linked();
        possible && self.0[0] & Self::JOINED != 0
    }

    /// The layer that writes tensor `output`.
    #[inline(always)]
    pub(crate) fn layer(
        self,
        parameters: &[Parameters],
        output: TensorId,
    ) -> Result<Layer, ParseError> {
        let [kind, input, index, low, ..] = *self.0;
        let malformed = ParseError::Malformed(Part::Layer(output.wrapping_sub(1)));
        let range = match low {
            Self::LOGITS => Range::Logits,
            low => Range::Activations { low },
        };
        let source = match kind >> 3 & 3 {
            0 => Source::SeededSigns,
            1 => Source::SeededMagnitudes,
            2 => Source::StoredInt8,
            _ => return Err(malformed),
        };
        let kind = kind & 7;
        let family = match kind {
            Self::DENSE => return Ok(Layer::Dense(Dense { input, output, source, range })),
            Self::CONV2D => Family::Conv2d,
            Self::DEPTHWISE => Family::Depthwise,
            Self::MAX_POOL | Self::AVERAGE_POOL => Family::Pool,
            Self::ADD => Family::Add,
            Self::RELAYOUT => Family::Relayout,
            _ => return Err(malformed),
        };
        if !family.is_linked() {
            return Err(ParseError::Disabled(family));
        }
        if family == Family::Relayout {
            return Ok(Layer::Relayout(Relayout { input, output }));
        }
        let parameters = parameters.get(usize::from(index)).ok_or(malformed)?;
        let [height, width, down, across, padding @ ..] = *parameters;
        let window = Window { kernel: [height, width], stride: [down, across], padding };
        let pool = |kind| Layer::Pool(Pool { input, output, window, kind });
        Ok(match kind {
            Self::CONV2D => Layer::Conv2d(Conv2d { input, output, window, source, range }),
            Self::DEPTHWISE => Layer::Depthwise(Depthwise { input, output, window, source, range }),
            Self::MAX_POOL => pool(PoolKind::Max),
            Self::AVERAGE_POOL => pool(PoolKind::Average),
            _ => {
                let [l0, l1, r0, r1, s0, s1, right, _] = *parameters;
                let scales = [[l0, l1], [r0, r1]].map(u16::from_le_bytes);
                let shift = u16::from_le_bytes([s0, s1]);
                Layer::Add(Add { left: input, right, output, scales, shift, low })
            }
        })
    }
}

/// Where a node's tensor lies, and the scratch of its layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a>(pub(crate) &'a PlaceBytes);

pub(crate) type PlaceBytes = [u8; 8];

impl Place<'_> {
    /// The two lowest bits of an offset tell the layout: those of a multiple of 4 are free.
    pub(crate) const LAYOUT: u32 = 3;

    /// The layouts in that order, as [`Placement::bands`].
    pub(crate) const BANDS: [u8; 4] = [1, 4, 2, 3];

    pub(crate) fn placement(self, pad: u8) -> Placement {
        let [o0, o1, o2, o3, ..] = *self.0;
        let word = u32::from_le_bytes([o0, o1, o2, o3]);
        let bands = Self::BANDS[(word & Self::LAYOUT) as usize];
        Placement { offset: word & !Self::LAYOUT, pad, bands }
    }

    /// First byte of the scratch; 0 where the layer has none.
    pub(crate) fn scratch(self) -> u32 {
        let [.., s0, s1, s2, s3] = *self.0;
        u32::from_le_bytes([s0, s1, s2, s3])
    }
}

/// The mask of a weighted layer in a task: encoding, parameter, bytes of the section (`u32`).
pub(crate) type MaskRecord = [u8; 6];

/// Beside the encoding: in place of the mask stands a [`Reference`].
pub(crate) const SHARED: u8 = 0x80;

/// Where the mask of a layer stands that a task shares: offset in the sections of the backbone's file,
/// checksum of the mask, and the task that it belongs to, `u32` each.
pub(crate) type Reference = [u8; 12];

/// What begins a task: classes (`u16`), bytes of its text (`u16`), bytes of its sections (`u32`).
pub(crate) type TaskHead = [u8; 8];

/// Takes `count` records off the front of `bytes`.
pub(crate) fn take_table<'a, const SIZE: usize>(
    bytes: &mut &'a [u8],
    count: usize,
) -> Option<&'a [[u8; SIZE]]> {
    let (table, rest) = bytes.split_at_checked(SIZE * count)?;
    *bytes = rest;
    Some(table.as_chunks().0)
}

/// Takes a record off the front of `bytes`.
pub(crate) fn take<const SIZE: usize>(bytes: &mut &[u8]) -> Option<[u8; SIZE]> {
    let (record, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*record)
}

/// The names of a task's classes, in the order of the logits. What is not UTF-8 is an empty one.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// What is left of the text, behind the byte 0 that ends the name before.
    pub(super) rest: Option<&'a [u8]>,
}

impl<'a> Labels<'a> {
    /// The bytes up to the next 0.
    pub(super) fn next_bytes(&mut self) -> Option<&'a [u8]> {
        let text = self.rest?;
        let end = text.iter().position(|byte| *byte == 0);
        self.rest = end.and_then(|end| text.get(end + 1..));
        text.get(..end.unwrap_or(text.len()))
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.next_bytes().map(|bytes| core::str::from_utf8(bytes).unwrap_or_default())
    }
}

#[cfg(feature = "write")]
mod encode {
    use super::*;

    /// The node of `tensor`, written by `layer` (`None` for the input), whose parameters have the index
    /// that `parameters` gives them.
    pub(crate) fn node(
        tensor: &Tensor,
        layer: Option<&Layer>,
        halo: u8,
        joined: bool,
        mut parameters: impl FnMut(Parameters) -> u8,
    ) -> NodeBytes {
        let mut window = |window: &Window| {
            let ([height, width], [down, across]) = (window.kernel, window.stride);
            let [top, left, bottom, right] = window.padding;
            parameters([height, width, down, across, top, left, bottom, right])
        };
        let source = |source| match source {
            Source::SeededSigns => 0,
            Source::SeededMagnitudes => 1 << 3,
            Source::StoredInt8 => 2 << 3,
        };
        let low = |range| match range {
            Range::Activations { low } => low,
            Range::Logits => Node::LOGITS,
        };
        let (kind, input, index, low) = match layer {
            None => (0, 0, 0, 0),
            Some(Layer::Dense(of)) => (Node::DENSE | source(of.source), of.input, 0, low(of.range)),
            Some(Layer::Conv2d(of)) => {
                (Node::CONV2D | source(of.source), of.input, window(&of.window), low(of.range))
            }
            Some(Layer::Depthwise(of)) => {
                (Node::DEPTHWISE | source(of.source), of.input, window(&of.window), low(of.range))
            }
            Some(Layer::Pool(of)) => {
                let kind = match of.kind {
                    PoolKind::Max => Node::MAX_POOL,
                    PoolKind::Average => Node::AVERAGE_POOL,
                };
                (kind, of.input, window(&of.window), 0)
            }
            Some(Layer::Add(of)) => {
                let [[l0, l1], [r0, r1]] = of.scales.map(u16::to_le_bytes);
                let [s0, s1] = of.shift.to_le_bytes();
                (Node::ADD, of.left, parameters([l0, l1, r0, r1, s0, s1, of.right, 0]), of.low)
            }
            Some(Layer::Relayout(of)) => (Node::RELAYOUT, of.input, 0, 0),
        };
        let [[c0, c1], [h0, h1], [w0, w1]] =
            [tensor.channels, tensor.height, tensor.width].map(u16::to_le_bytes);
        let kind = kind | if joined { Node::JOINED } else { 0 };
        [kind, input, index, low, c0, c1, h0, h1, w0, w1, tensor.zero_point, halo]
    }

    /// The place of a node.
    pub(crate) fn place(placement: Placement, scratch: u32) -> PlaceBytes {
        let layout = (0..).zip(Place::BANDS).find(|(_, bands)| *bands == placement.bands);
        let word = placement.offset | layout.map_or(0, |(layout, _)| layout);
        let ([o0, o1, o2, o3], [s0, s1, s2, s3]) = (word.to_le_bytes(), scratch.to_le_bytes());
        [o0, o1, o2, o3, s0, s1, s2, s3]
    }
}

#[cfg(feature = "write")]
pub(super) use encode::{node, place};

#[cfg(all(test, feature = "write"))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn records_say_what_was_written() {
        let window = Window { kernel: [3, 1], stride: [2, 5], padding: [1, 0, 2, 255] };
        let (input, output, source) = (1, 7, Source::StoredInt8);
        let (range, kind) = (Range::Activations { low: 9 }, PoolKind::Average);
        let (scales, shift) = ([0x3c00, 0x7f], 0xffff);
        let map = Tensor::map(300, 2, 1000, 64);
        let mut table: Vec<Parameters> = Vec::new();
        for (layer, tensor) in [
            (
                Layer::Dense(Dense { input, output, source, range: Range::Logits }),
                Tensor::logits(9),
            ),
            (Layer::Conv2d(Conv2d { input, output, window, source, range }), map),
            (Layer::Depthwise(Depthwise { input, output, window, source, range }), map),
            (Layer::Pool(Pool { input, output, window, kind }), map),
            (Layer::Pool(Pool { input, output, window, kind: PoolKind::Max }), map),
            (Layer::Add(Add { left: 3, right: 4, output, scales, shift, low: 7 }), map),
            (Layer::Relayout(Relayout { input, output }), map),
        ] {
            let bytes = node(&tensor, Some(&layer), 3, true, |parameters| {
                table.push(parameters);
                table.len() as u8 - 1
            });
            let node = Node(&bytes);
            assert_eq!(node.layer(&table, output), Ok(layer));
            assert_eq!((node.tensor(), node.halo(), node.is_joined()), (tensor, 3, true));
        }
        let layer = Node(&[Node::CONV2D, 0, table.len() as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(layer.layer(&table, 5), Err(ParseError::Malformed(Part::Layer(4))));
        let kinds = [7, 3 << 3].map(|kind| [kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(kinds.iter().all(|kind| Node(kind).layer(&table, 5).is_err()));
    }

    #[test]
    fn places_hold_a_layout() {
        for bands in Place::BANDS {
            let placement = Placement { offset: 0xffff_fff0, pad: 2, bands };
            let bytes = place(placement, 12);
            assert_eq!((Place(&bytes).placement(2), Place(&bytes).scratch()), (placement, 12));
        }
    }

    #[test]
    fn texts_end_with_a_byte_0() {
        let labels = |text| Labels { rest: Some(text) }.collect::<Vec<_>>();
        assert_eq!(labels(b"a"), ["a"]);
        assert_eq!(labels(b"a\0\0bc\xff\0d"), ["a", "", "", "d"]);
        assert_eq!(labels(b""), [""]);
    }
}
