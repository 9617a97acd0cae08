//! The planner: layouts, work in place, then offsets.

use alloc::vec;
use alloc::vec::Vec;

use super::place::{Profile, place};
use super::{Located, Needs, bands_fit, in_place, part, planes};
use crate::artifact::{MAX_LAYERS, MAX_TENSORS, Placement};
use crate::kernel::{BANDS, MAX_STORAGE, SPLIT, WHOLE, storage};
use crate::layer::{Layer, Tensor, TensorId, Window};

/// What a plan is good at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Goal {
    /// Maps are banded wherever that makes convolutions faster; their halo takes more bytes.
    #[default]
    Speed,
    /// Every map is plain, in the fewest bytes.
    Memory,
}

/// Where everything lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// One entry a tensor.
    pub placements: Vec<Placement>,
    /// One offset a layer; 0 where a layer has no scratch.
    pub scratch: Vec<u32>,
    /// Bytes in all.
    pub arena: u32,
}

/// Why no plan can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PlanError {
    /// The tensor is read both with padding and without: put a relayout between.
    Halo(TensorId),
    /// No tensors, or more than [`MAX_TENSORS`] tensors or [`MAX_LAYERS`] layers.
    Count,
    /// The layer of this index names a tensor that is not there.
    Missing(usize),
    /// The tensor would take more than [`MAX_STORAGE`] bytes.
    Tensor(TensorId),
    /// The arena would pass 4 GiB.
    TooLarge,
}

impl core::fmt::Display for PlanError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Halo(id) => write!(
                f,
                "tensor {id} is the input, a vector, or the input of a dense layer, and is \
                 read with padding as well: it needs a relayout between"
            ),
            Self::Count => write!(
                f,
                "1 to {MAX_TENSORS} tensors and at most {MAX_LAYERS} layers are supported"
            ),
            Self::Missing(layer) => {
                write!(f, "layer {layer} names a tensor that is not there")
            }
            Self::Tensor(id) => {
                write!(f, "tensor {id} would take more than {MAX_STORAGE} bytes")
            }
            Self::TooLarge => write!(f, "the arena would pass 4 GiB"),
        }
    }
}

impl core::error::Error for PlanError {}

/// Places `tensors` (index 0 the input) and the scratch of `layers`, which must be in order.
///
/// # Errors
/// A [`PlanError`] that names the tensor.
pub fn make(tensors: &[Tensor], layers: &[Layer], goal: Goal) -> Result<Plan, PlanError> {
    if tensors.is_empty() || tensors.len() > MAX_TENSORS || layers.len() > MAX_LAYERS {
        return Err(PlanError::Count);
    }
    let missing = |layer: &Layer| {
        let (left, right) = layer.inputs();
        let ids = [Some(left), right, Some(layer.output())];
        ids.into_iter().flatten().any(|id| usize::from(id) >= tensors.len())
    };
    if let Some(index) = layers.iter().position(missing) {
        return Err(PlanError::Missing(index));
    }
    let needs = Needs::of_layers(tensors, layers);
    let mut placements = Vec::new();
    for (id, _) in (0u8..).zip(tensors) {
        let pad = needs.halo(id).ok_or(PlanError::Halo(id))?;
        placements.push(Placement { offset: 0, pad, bands: 1 });
    }
    if goal == Goal::Speed {
        choose_bands(tensors, layers, &mut placements);
        split_columns(tensors, layers, &mut placements);
        fill_words(tensors, layers, &mut placements);
    }
    // A block for every tensor that does not take the place of another, then those of scratch.
    let mut blocks: Vec<Profile> = Vec::new();
    let mut block_of: Vec<usize> = vec![0; tensors.len()];
    let mut writers: Vec<Option<usize>> = vec![None; tensors.len()];
    for (index, layer) in layers.iter().enumerate() {
        writers[usize::from(layer.output())] = Some(index);
    }
    // In the order in which they are written, so that a chain's first is there before its second.
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|id| writers[*id].map_or(0, |index| index + 1));
    for id in order {
        let life = needs.life(id as TensorId);
        let part = part(&tensors[id], life.is_joined());
        let bytes = storage(&part, placements[id].pad, placements[id].bands);
        let bytes = bytes.ok_or(PlanError::Tensor(id as TensorId))?;
        let over = writers[id].and_then(|index| {
            let place = |id: usize| Located::new(&tensors[id], placements[id], false);
            let (left, right) = layers[index].inputs();
            [Some(left), right].into_iter().flatten().find(|input| {
                let of_input = needs.life(*input);
                usize::from(of_input.last) == index
                    && !of_input.is_joined()
                    && place(usize::from(*input))
                        .zip(place(id))
                        .is_some_and(|(x, y)| in_place(&layers[index], *input, &x.map, &y.map))
            })
        });
        block_of[id] = match over {
            Some(input) => block_of[usize::from(input)],
            None => {
                blocks.push(vec![0; layers.len() + 1]);
                blocks.len() - 1
            }
        };
        for step in &mut blocks[block_of[id]][life.first.into()..=life.last.into()] {
            *step = (*step).max(bytes.into());
        }
    }
    let of_tensors = blocks.len();
    let mut with_scratch = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let input = &tensors[usize::from(layer.inputs().0)];
        let bytes = layer.scratch(input, &tensors[usize::from(layer.output())]);
        if bytes > 0 {
            let mut profile = vec![0; layers.len() + 1];
            profile[index] = bytes.into();
            blocks.push(profile);
            with_scratch.push(index);
        }
    }
    let (offsets, arena) = place(&blocks);
    let arena = u32::try_from(arena).map_err(|_| PlanError::TooLarge)?;
    // Within the arena, and so within 32 bits.
    let offset = |block: usize| offsets[block] as u32;
    for (placement, block) in placements.iter_mut().zip(block_of) {
        placement.offset = offset(block);
    }
    let mut scratch = vec![0; layers.len()];
    for (block, layer) in (of_tensors..).zip(with_scratch) {
        scratch[layer] = offset(block);
    }
    Ok(Plan { placements, scratch, arena })
}

/// Bands the maps around convolutions with windows larger than 1×1 wherever all layers between
/// them can use it: their taps are then aligned words.
fn choose_bands(tensors: &[Tensor], layers: &[Layer], placements: &mut [Placement]) {
    let whole = |layer: &Layer| match layer {
        Layer::Pool(pool) => tensors[usize::from(pool.output)].height == 1,
        Layer::Relayout(_) => true,
        _ => false,
    };
    let last = layers.last().map(Layer::output);
    for ((id, tensor), place) in (0u8..).zip(tensors).zip(placements.iter_mut()) {
        let banded = Placement { bands: BANDS, ..*place };
        // Input and output are seen from outside, in the order of their elements.
        let inside = id > 0 && Some(id) != last;
        if inside && planes(tensor, banded).is_some() {
            *place = banded;
        }
    }
    // Layers that cannot work between banded maps make theirs plain, until none is left.
    loop {
        let mut changed = false;
        for layer in layers.iter().filter(|layer| !whole(layer)) {
            let (left, right) = layer.inputs();
            let at = |id: TensorId| planes(&tensors[usize::from(id)], placements[usize::from(id)]);
            let (x, right_planes, y) = (at(left), right.and_then(at), at(layer.output()));
            let fits = match (x, y) {
                (Some(x), Some(y)) => bands_fit(layer, &x, right_planes.as_ref(), &y),
                _ => false,
            };
            if !fits {
                for id in [Some(left), right, Some(layer.output())].into_iter().flatten() {
                    changed |= placements[usize::from(id)].bands != 1;
                    placements[usize::from(id)].bands = 1;
                }
            }
        }
        for layer in layers.iter().filter(|layer| whole(layer)) {
            if let Layer::Pool(pool) = layer {
                placements[usize::from(pool.output)].bands = 1;
            }
        }
        if !changed {
            break;
        }
    }
    // Of the maps that are left, those pay that a wide window reads, and those joined to them.
    let mut pays = vec![false; tensors.len()];
    loop {
        let before = pays.clone();
        for layer in layers.iter().filter(|layer| !whole(layer)) {
            let (left, right) = layer.inputs();
            let wide = matches!(layer, Layer::Conv2d(conv) if conv.window.area() > 1);
            let ids = [Some(left), right, Some(layer.output())];
            let ids: Vec<usize> = ids.into_iter().flatten().map(usize::from).collect();
            let any = wide || ids.iter().any(|id| pays[*id]);
            ids.iter().for_each(|id| pays[*id] |= any && placements[*id].bands != 1);
        }
        if pays == before {
            break;
        }
    }
    placements
        .iter_mut()
        .zip(pays)
        .filter(|(_, pays)| !pays)
        .for_each(|(place, _)| place.bands = 1);
}

/// Splits the plain maps that a relayout makes for convolutions which step by two columns.
fn split_columns(tensors: &[Tensor], layers: &[Layer], placements: &mut [Placement]) {
    for (id, place) in (0u8..).zip(placements.iter_mut()).take(tensors.len()) {
        let mut makers = layers.iter().filter(|layer| layer.output() == id);
        let made = makers.any(|layer| matches!(layer, Layer::Relayout(_)));
        let readers =
            || layers.iter().filter(|layer| layer.inputs().0 == id || layer.inputs().1 == Some(id));
        let steps =
            |layer: &Layer| matches!(layer, Layer::Conv2d(conv) if conv.window.stride[1] == 2);
        if made && place.bands == 1 && readers().next().is_some() && readers().all(steps) {
            place.bands = SPLIT;
        }
    }
}

/// Fills planes up to whole words around windows of 1×1, which then run over words whatever the shape
/// of the map, and around depthwise layers next to them, which go on to work in place.
fn fill_words(tensors: &[Tensor], layers: &[Layer], placements: &mut [Placement]) {
    let last = layers.last().map(Layer::output);
    let touches = |layer: &Layer, id: TensorId| {
        let (left, right) = layer.inputs();
        left == id || right == Some(id) || layer.output() == id
    };
    let possible = |id: TensorId, placements: &[Placement]| {
        let tensor = &tensors[usize::from(id)];
        let plain = placements[usize::from(id)] == Placement { offset: 0, pad: 0, bands: 1 };
        let odd = planes(tensor, Placement { offset: 0, pad: 0, bands: WHOLE });
        let fits = |layer: &Layer| {
            matches!(layer, Layer::Conv2d(_) | Layer::Depthwise(_))
                || matches!(layer, Layer::Pool(pool) if pool.input == id)
        };
        // Input and output are seen from outside, in the order of their elements.
        let inside = id > 0 && Some(id) != last && plain;
        inside
            && odd.is_some_and(|planes| planes.filling > 0 && planes.plane() > 4)
            && layers.iter().filter(|layer| touches(layer, id)).all(fits)
    };
    // Whether a map is one of words already, or can be.
    let whole = |id: TensorId, placements: &[Placement]| {
        let tensor = &tensors[usize::from(id)];
        let place = placements[usize::from(id)];
        let even = (tensor.height as usize * tensor.width as usize).is_multiple_of(4);
        place.bands == WHOLE
            || place.bands == 1 && even && place.pad == 0
            || possible(id, placements)
    };
    loop {
        let before = placements.to_vec();
        for layer in layers {
            let (x, y) = (layer.inputs().0, layer.output());
            let pays = match layer {
                Layer::Conv2d(conv) => {
                    conv.window == Window::square(1, 1, 0)
                        && whole(x, placements)
                        && whole(y, placements)
                }
                Layer::Depthwise(_) => {
                    [x, y].iter().any(|id| placements[usize::from(*id)].bands == WHOLE)
                }
                _ => false,
            };
            for id in [x, y] {
                if pays && possible(id, placements) {
                    placements[usize::from(id)].bands = WHOLE;
                }
            }
        }
        if placements == before {
            break;
        }
    }
}
