//! Arena offsets and layouts: made on the host, checked on load.
//!
//! A tensor lives from the layer that writes it to the last layer that reads it; the input lives
//! from the start, the output to the end. Tensors that live at the same time may not share bytes,
//! but for a layer that works in place: a sum, a depthwise layer, a pool or a relayout that may write
//! its output over its input.
//!
//! A convolution whose output is read by nothing but the [`Add`](crate::layer::Add) right behind it is *joined* with it:
//! both run in turns of [`JOINED`] channels, so that only so many of the output exist at a time.

use core::ops::Range;

use crate::artifact::{Model, Node, ParseError, Part, Placement};
use crate::family::{Family, MAPS};
use crate::kernel::{Placed, Planes};
use crate::layer::{Layer, Tensor, TensorId};

/// Alignment of every tensor and scratch in the arena.
pub const ALIGNMENT: u32 = 4;

/// Channels of a joined convolution that exist at a time.
pub const JOINED: u16 = 2;

/// Whether a layer can be joined with the one behind it.
pub(crate) const JOINS: bool = Family::Conv2d.is_linked() && Family::Add.is_linked();

/// Whether `next` adds something to the output of the convolution `layer` that this does not read.
fn joins(layer: &Layer, next: &Layer) -> bool {
    match (layer, next) {
        (Layer::Conv2d(conv), Layer::Add(add)) => {
            let inputs = [add.left, add.right];
            let of_this = inputs.iter().filter(|input| **input == conv.output).count();
            of_this == 1 && !inputs.contains(&conv.input)
        }
        _ => false,
    }
}

/// What exists of `tensor` at a time, where the layer that writes it is `joined`.
pub(crate) fn part(tensor: &Tensor, joined: bool) -> Tensor {
    let channels = if joined { tensor.channels.min(JOINED) } else { tensor.channels };
    Tensor { channels, ..*tensor }
}

/// Layout of a tensor: its shape, halo and bands.
pub(crate) fn planes(tensor: &Tensor, place: Placement) -> Option<Planes> {
    let planes = Planes::new(tensor, place.pad);
    if MAPS { planes.banded(place.bands) } else { Some(planes) }
}

/// Where a tensor lies in the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Located {
    /// Its layout, of all channels, and its first byte.
    pub(crate) map: Placed,
    /// Behind the last byte; of a tensor that is written in parts, of what there is at a time. An end
    /// beyond 32 bits is cut to the largest number.
    pub(crate) end: u32,
}

impl Located {
    /// `joined`: whether the layer that writes the tensor is. `None` where a tensor cannot lie so.
    pub(crate) fn new(tensor: &Tensor, place: Placement, joined: bool) -> Option<Self> {
        let planes = planes(tensor, place)?;
        let channels = part(tensor, joined).channels.into();
        let bytes = planes.storage(channels, tensor.element)?;
        let map = Placed { planes, start: place.offset as usize };
        Some(Self { map, end: place.offset.saturating_add(bytes) })
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Range<usize> {
        self.map.start..self.end as usize
    }

    /// Its bytes as offsets of the format.
    pub(crate) fn region(&self) -> Range<u32> {
        self.map.start as u32..self.end
    }
}

/// Whether `layer` may write its output over its input `over`, given where both lie: a relayout that
/// does not move elements to the front, a sum, and layers that go through planes or rows in order and
/// make less of them.
pub(crate) fn in_place(layer: &Layer, over: TensorId, input: &Placed, output: &Placed) -> bool {
    if input.start != output.start {
        return false;
    }
    let (x, y) = (&input.planes, &output.planes);
    match layer {
        Layer::Add(add) if Family::Add.is_linked() => {
            x.pad == y.pad
                && (x.bands, x.split, x.filling) == (y.bands, y.split, y.filling)
                && add.left != add.right
                && [add.left, add.right].contains(&over)
        }
        Layer::Depthwise(_) if Family::Depthwise.is_linked() => y.plane() <= x.plane(),
        Layer::Pool(pool) if Family::Pool.is_linked() => {
            let vector = y.is_vector();
            pool.window.padding == [0; 4]
                && y.pad == 0
                && (x.bands == y.bands || vector)
                && y.plane() <= x.plane()
                && y.stride() <= x.stride()
        }
        // Element after element from the last: none goes to an address before its own.
        Layer::Relayout(_) => {
            !y.split
                && x.filling <= y.filling
                && x.bands == 1
                && y.bands == 1
                && x.pad <= y.pad
                && (x.is_as_large_as(y) || y.pad == 0)
        }
        _ => false,
    }
}

/// Whether a layer can work between these layouts.
pub(crate) fn bands_fit(layer: &Layer, x: &Planes, right: Option<&Planes>, y: &Planes) -> bool {
    if !MAPS {
        return true;
    }
    let steps =
        |down: u8| x.bands == y.bands && (x.bands == 1 || x.rows() == usize::from(down) * y.rows());
    let split = x.split || y.split;
    let filled = x.filling > 0 || y.filling > 0;
    match layer {
        Layer::Dense(_) | Layer::Add(_) if filled => false,
        Layer::Dense(_) | Layer::Depthwise(_) => x.bands == 1 && y.bands == 1 && !split,
        Layer::Conv2d(conv) if x.split => conv.window.stride[1] == 2 && y.bands == 1 && !y.split,
        Layer::Conv2d(conv) => steps(conv.window.stride[0]) && !split,
        Layer::Pool(pool) => {
            (steps(pool.window.stride[0]) || (y.height == 1 && y.bands == 1)) && !split
        }
        Layer::Add(_) => {
            let equal =
                |right: &Planes| right.bands == y.bands && !right.split && right.filling == 0;
            x.bands == y.bands && right.is_none_or(equal) && !split
        }
        // A vector that is made of a map has its bytes side by side.
        Layer::Relayout(_) => !x.split && (x.is_as_large_as(y) || (!y.split && y.filling == 0)),
    }
}

/// Checks where a tensor lies, if it can: layout, bounds, alignment.
pub(crate) fn check_tensor<'l>(
    model: &Model<'_>,
    id: TensorId,
    located: Option<&'l Located>,
) -> Result<&'l Located, ParseError> {
    let place = model.placement(id).ok_or(ParseError::Tensor { tensor: id })?;
    let plain = id == 0 || id == model.output_id() || !MAPS;
    if plain && place.pad > 0 {
        return Err(ParseError::Halo { tensor: id, found: place.pad, expected: 0 });
    }
    let bands = ParseError::Bands { tensor: id, found: place.bands };
    if plain && place.bands != 1 {
        return Err(bands);
    }
    let Some(located) = located else {
        return Err(match model.tensor(id).and_then(|tensor| planes(&tensor, place)) {
            None if MAPS => bands,
            _ => ParseError::Storage { tensor: id },
        });
    };
    check_bytes(id, &located.region(), model.arena)?;
    Ok(located)
}

/// Checks what the plan says of the `layer` that writes tensor `id`, before which all others were
/// checked: layouts that fit, and that nothing is written over what it reads since that was written.
/// `scratch` are the bytes of its own. The bytes of the tensor before it, and where its own lies, are at
/// hand: to find them takes most of the time.
pub(crate) fn check_layer(
    model: &Model<'_>,
    id: TensorId,
    layer: &Layer,
    scratch: &Range<u32>,
    before: &Range<u32>,
    y: &Located,
) -> Result<(), ParseError> {
    let (index, written) = (id - 1, y.region());
    let (left, right) = layer.inputs();
    let joined = model.node(id).is_some_and(Node::is_joined);
    // Any layer can work between plain maps.
    let is_plain = |id| model.placement(id).is_some_and(|place| place.bands == 1);
    if MAPS && !(y.map.planes.is_plain() && is_plain(left) && right.is_none_or(is_plain)) {
        let (x, sum) = (model.located(left), right.and_then(|id| model.located(id)));
        let sum = sum.as_ref().map(|sum| &sum.map.planes);
        let fit = match &x {
            Some(x) => bands_fit(layer, &x.map.planes, sum, &y.map.planes),
            None => false,
        };
        if !fit {
            let found = model.placement(id).map_or(0, |place| place.bands);
            return Err(ParseError::Bands { tensor: id, found });
        }
    }
    if MAPS {
        let (pad, vector) = (y.map.planes.pad as u8, y.map.planes.is_vector());
        check_halo(id, pad, 0, writes_flat(layer, vector))?;
        if joined && !model.layer_of(id + 1).is_ok_and(|next| joins(layer, &next)) {
            return Err(ParseError::Malformed(Part::Tensor(id)));
        }
    }
    check_bytes(index, scratch, model.arena)?;
    // Of what a joined convolution and the sum behind it write, both are there at the same time.
    let last = id + u8::from(joined);
    for read in [Some(left), right].into_iter().flatten() {
        let is_part = model.node(read).is_some_and(Node::is_joined);
        if MAPS {
            let pad = model.node(read).map_or(0, Node::halo);
            check_halo(read, pad, layer.halo(), matches!(layer, Layer::Dense(_)))?;
            if is_part && read != index {
                return Err(ParseError::Malformed(Part::Tensor(read)));
            }
        }
        let bytes =
            if read == index { before.clone() } else { model.region(read).unwrap_or_default() };
        for other in read + 1..=last {
            // Those of this layer are at hand.
            let (of_scratch, of_output) = if other == id {
                (scratch.clone(), written.clone())
            } else {
                let [scratch, output] = [model.scratch(other), model.region(other)];
                (scratch.unwrap_or_default(), output.unwrap_or_default())
            };
            if meet(&bytes, &of_scratch) {
                return Err(ParseError::ScratchOverlap { layer: other - 1, tensor: read });
            }
            // A layer may work in place; who reads the same tensor later finds it overwritten. Of what a
            // joined convolution writes there is only a part at a time.
            let shares = || match &model.located(read) {
                Some(x) if MAPS && other == id && !is_part => in_place(layer, read, &x.map, &y.map),
                _ => false,
            };
            if meet(&bytes, &of_output) && !shares() {
                return Err(ParseError::Overlap { first: read, second: other });
            }
        }
    }
    if scratch.is_empty() {
        return Ok(());
    }
    for tensor in id..=last {
        let bytes = if tensor == id { Some(written.clone()) } else { model.region(tensor) };
        if meet(scratch, &bytes.unwrap_or_default()) {
            return Err(ParseError::ScratchOverlap { layer: index, tensor });
        }
    }
    Ok(())
}

/// Whether a layer writes element after element, so that there is no room for a halo.
fn writes_flat(layer: &Layer, vector: bool) -> bool {
    matches!((layer, vector), (Layer::Dense(_), _) | (Layer::Relayout(_), true))
}

/// Checks the halo `found` of a tensor that is read with a padding of `least`, or touched element after
/// element.
fn check_halo(id: TensorId, found: u8, least: u8, flat: bool) -> Result<(), ParseError> {
    if found < least || (flat && found > 0) {
        return Err(ParseError::Halo { tensor: id, found, expected: least });
    }
    Ok(())
}

/// Whether two pieces share a byte.
fn meet(one: &Range<u32>, other: &Range<u32>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Checks that `bytes` lie in the arena.
fn check_bytes(index: u8, bytes: &Range<u32>, arena: u32) -> Result<(), ParseError> {
    // An end beyond 32 bits is cut to the largest number, which is no multiple.
    if bytes.end > arena & !(ALIGNMENT - 1) || !bytes.start.is_multiple_of(ALIGNMENT) {
        return Err(ParseError::Placement { index, end: bytes.end, arena });
    }
    Ok(())
}

#[cfg(feature = "write")]
mod make;
#[cfg(feature = "write")]
mod needs;
#[cfg(feature = "write")]
mod place;
#[cfg(all(test, feature = "write"))]
mod tests;

/// For every tensor the first and the last layer during which its bytes are spoken for; one past the
/// last layer for the output.
#[cfg(feature = "write")]
pub fn spans(model: &Model<'_>) -> alloc::vec::Vec<[u8; 2]> {
    let tensors: alloc::vec::Vec<Tensor> =
        (0..model.tensor_count()).filter_map(|id| model.tensor(id)).collect();
    let layers: alloc::vec::Vec<Layer> = model.steps().map(|step| step.layer).collect();
    let needs = Needs::of_layers(&tensors, &layers);
    let span = |id| [needs.life(id).first, needs.life(id).last];
    (0..model.tensor_count()).map(span).collect()
}

#[cfg(feature = "write")]
pub(crate) use needs::Needs;

#[cfg(feature = "write")]
pub use make::{Goal, Plan, PlanError, make};
