//! Making artifacts: feature `write`, for the host.
//!
//! Whatever is written is parsed again before it is returned, so a file that this module makes is
//! one that [`Model::parse`] or [`Task::parse`] accepts.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use half::f16;
use serde::Serialize;

use super::error::ParseError;
use super::manifest::MaskPart;
use super::model::Model;
use super::prologue::{
    CHECKSUM_AT, Fingerprint, Kind, PROLOGUE, Prologue, checksum, mask_checksum,
};
use super::task::Task;
use crate::layer::{Layer, Source, Tensor, TensorId, Weights};
use crate::mask::Encoding;
use crate::plan::{self, Goal, PlanError};

/// An architecture and a seed.
#[derive(Clone, PartialEq, Debug)]
pub struct Backbone {
    /// What the weights are drawn from.
    pub seed: u64,
    /// Shapes; index 0 is the input.
    pub tensors: Vec<Tensor>,
    /// In the order in which they run. The last one makes the output: logits, or activations.
    pub layers: Vec<Layer>,
    /// `[rows][inputs]` of every layer with stored weights, in order.
    pub stored: Vec<Vec<i8>>,
    /// What its plan is good at.
    pub goal: Goal,
}

/// What was learned on a backbone.
#[derive(Clone, PartialEq, Debug)]
pub struct Learned {
    /// Unique among the tasks of a backbone.
    pub name: String,
    /// How many of the head's outputs are classes.
    pub classes: u16,
    /// Their names, in order; may be fewer.
    pub labels: Vec<String>,
    /// One entry a weighted layer.
    pub layers: Vec<LearnedLayer>,
}

/// Mask and epilogue of one weighted layer.
#[derive(Clone, PartialEq, Debug)]
pub struct LearnedLayer {
    /// Which weights are kept.
    pub mask: LearnedMask,
    /// Scale and shift of every output channel.
    pub epilogue: Vec<(f16, f16)>,
}

/// The mask of one weighted layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LearnedMask {
    /// Encoded bytes, as [`crate::mask`] makes them.
    Own {
        /// How they are encoded.
        encoding: Encoding,
        /// The section.
        bytes: Vec<u8>,
    },
    /// The mask that the task of this index in the backbone's file has for the layer.
    SameAs(u16),
}

/// Why no artifact was made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// No arena plan for the graph.
    Plan(PlanError),
    /// Two tasks of the same name.
    Name(String),
    /// `same as` a task that is not there or has no mask of its own for the layer.
    SameAs {
        /// The task that refers.
        task: String,
        /// Index of the weighted layer.
        layer: usize,
    },
    /// Not one entry for every weighted layer, channel or stored weight.
    Count {
        /// What was counted.
        what: &'static str,
        /// Given.
        found: usize,
        /// Needed.
        expected: usize,
    },
    /// More than 4 GiB.
    TooLarge,
    /// The file would be refused: the specification breaks a rule of the format.
    Invalid(ParseError),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(error) => write!(f, "no arena plan: {error}"),
            Self::Name(name) => write!(f, "two tasks are named \"{name}\""),
            Self::SameAs { task, layer } => write!(
                f,
                "task \"{task}\", weighted layer {layer}: the task whose mask it shares is missing"
            ),
            Self::Count { what, found, expected } => {
                write!(f, "{found} {what} where the backbone has {expected}")
            }
            Self::TooLarge => write!(f, "the artifact would pass 4 GiB"),
            Self::Invalid(error) => write!(f, "the artifact would be invalid: {error}"),
        }
    }
}

impl core::error::Error for WriteError {}

impl From<ParseError> for WriteError {
    fn from(error: ParseError) -> Self {
        Self::Invalid(error)
    }
}

/// A file of `backbone` with `tasks`.
///
/// # Errors
/// A [`WriteError`] that names what cannot be written.
pub fn artifact(backbone: &Backbone, tasks: &[Learned]) -> Result<Vec<u8>, WriteError> {
    let plan =
        plan::make(&backbone.tensors, &backbone.layers, backbone.goal).map_err(WriteError::Plan)?;
    let mut manifest = Vec::new();
    put(&mut manifest, &backbone.seed);
    put(&mut manifest, &(backbone.tensors.len() as u32));
    backbone.tensors.iter().for_each(|tensor| put(&mut manifest, tensor));
    put(&mut manifest, &(backbone.layers.len() as u32));
    backbone.layers.iter().for_each(|layer| put(&mut manifest, layer));
    let identity = manifest.len();
    plan.placements.iter().for_each(|placement| put(&mut manifest, placement));
    plan.scratch.iter().for_each(|offset| put(&mut manifest, offset));

    let mut sections: Vec<u8> = backbone.stored.iter().flatten().map(|&w| w as u8).collect();
    let fingerprint = Fingerprint::new().update(&manifest[..identity]).update(&sections).finish();
    fill_up(&mut sections);

    let tensor = |id: TensorId| &backbone.tensors[usize::from(id)];
    let layers = backbone.layers.iter();
    let weights = layers.filter_map(|l| l.weights(tensor(l.inputs().0), tensor(l.output())));
    let weighted: Vec<Weights> = weights.collect();
    let stored: Vec<&Weights> =
        weighted.iter().filter(|weights| weights.source == Source::StoredInt8).collect();
    count("layers of stored weights", backbone.stored.len(), stored.len())?;
    for (found, weights) in backbone.stored.iter().zip(stored) {
        count("stored weights of a layer", found.len(), weights.len() as usize)?;
    }
    let tasks_count = u16::try_from(tasks.len()).map_err(|_| WriteError::TooLarge)?;
    put(&mut manifest, &tasks_count);
    for (index, task) in tasks.iter().enumerate() {
        if tasks[..index].iter().any(|other| other.name == task.name) {
            return Err(WriteError::Name(task.name.clone()));
        }
        let shared = |other: u16, layer: usize| match &tasks
            .get(usize::from(other))?
            .layers
            .get(layer)?
            .mask
        {
            LearnedMask::Own { encoding, bytes } => Some(mask_checksum(*encoding, bytes)),
            LearnedMask::SameAs(_) => None,
        };
        put_task(task, &weighted, shared, &mut manifest, &mut sections)?;
    }
    let file = assemble(Kind::Backbone, plan.arena, fingerprint, &manifest, &sections)?;
    Model::parse(&file)?;
    Ok(file)
}

/// A file of one task for `model`, in which no byte of the backbone stands.
///
/// # Errors
/// A [`WriteError`] that names what cannot be written.
pub fn patch(model: &Model<'_>, task: &Learned) -> Result<Vec<u8>, WriteError> {
    let (mut manifest, mut sections) = (Vec::new(), Vec::new());
    put(&mut manifest, &1u16);
    let shared = |other: u16, layer: usize| {
        let other = learned(model, &model.tasks().nth(other.into())?);
        match &other.layers.get(layer)?.mask {
            LearnedMask::Own { encoding, bytes } => Some(mask_checksum(*encoding, bytes)),
            LearnedMask::SameAs(_) => None,
        }
    };
    let weighted: Vec<Weights> = model.steps().filter_map(|step| step.weights).collect();
    put_task(task, &weighted, shared, &mut manifest, &mut sections)?;
    let file = assemble(Kind::Patch, 0, model.fingerprint(), &manifest, &sections)?;
    Task::parse(model, &file)?;
    Ok(file)
}

/// The backbone of a parsed artifact, to be written again.
pub fn backbone(model: &Model<'_>) -> Backbone {
    let stored = model.steps().filter(|step| !step.stored.is_empty());
    let tensors: Vec<Tensor> =
        (0..model.tensor_count()).filter_map(|id| model.tensor(id)).collect();
    let layers: Vec<Layer> = model.steps().map(|step| step.layer).collect();
    let bands = (0..model.tensor_count()).filter_map(|id| Some(model.placement(id)?.bands));
    let fast = plan::make(&tensors, &layers, Goal::Speed);
    let is_fast = fast.is_ok_and(|plan| plan.placements.iter().map(|p| p.bands).eq(bands));
    Backbone {
        seed: model.seed(),
        tensors,
        layers,
        stored: stored.map(|step| step.stored.iter().map(|&w| w as i8).collect()).collect(),
        goal: if is_fast { Goal::Speed } else { Goal::Memory },
    }
}

/// A task of a parsed artifact or patch, to be written again.
pub fn learned(model: &Model<'_>, task: &Task<'_>) -> Learned {
    let layers = task.program(model).filter_map(|op| {
        let (weights, epilogue) = op.learned?;
        let mask = match op.same_as {
            Some(task) => LearnedMask::SameAs(task),
            None => LearnedMask::Own { encoding: weights.encoding, bytes: weights.bytes.to_vec() },
        };
        Some(LearnedLayer { mask, epilogue: epilogue.to_pairs() })
    });
    Learned {
        name: task.name().to_string(),
        classes: task.classes(),
        labels: task.labels().map(ToString::to_string).collect(),
        layers: layers.collect(),
    }
}

fn put_task(
    task: &Learned,
    weighted: &[Weights],
    shared: impl Fn(u16, usize) -> Option<u32>,
    manifest: &mut Vec<u8>,
    sections: &mut Vec<u8>,
) -> Result<(), WriteError> {
    count("learned layers", task.layers.len(), weighted.len())?;
    for (layer, weights) in task.layers.iter().zip(weighted) {
        count("channels of an epilogue", layer.epilogue.len(), weights.rows as usize)?;
    }
    put(manifest, &task.name);
    put(manifest, &task.classes);
    put(manifest, &(task.labels.len() as u16));
    task.labels.iter().for_each(|label| put(manifest, label));
    for (index, layer) in task.layers.iter().enumerate() {
        let part = match &layer.mask {
            LearnedMask::Own { encoding, bytes } => {
                sections.extend_from_slice(bytes);
                fill_up(sections);
                let bytes = u32::try_from(bytes.len()).map_err(|_| WriteError::TooLarge)?;
                MaskPart::Own { encoding: *encoding, bytes }
            }
            &LearnedMask::SameAs(other) => {
                let missing = || WriteError::SameAs { task: task.name.clone(), layer: index };
                let checksum = shared(other, index).ok_or_else(missing)?;
                MaskPart::SameAs { task: other, checksum }
            }
        };
        put(manifest, &part);
        for (scale, shift) in &layer.epilogue {
            sections.extend_from_slice(&scale.to_le_bytes());
            sections.extend_from_slice(&shift.to_le_bytes());
        }
    }
    Ok(())
}

fn count(what: &'static str, found: usize, expected: usize) -> Result<(), WriteError> {
    if found == expected { Ok(()) } else { Err(WriteError::Count { what, found, expected }) }
}

fn put<T: Serialize + ?Sized>(manifest: &mut Vec<u8>, value: &T) {
    let bytes = postcard::to_allocvec(value).expect("plain data, and memory grows");
    manifest.extend_from_slice(&bytes);
}

/// Bytes of 0 up to a multiple of 4.
fn fill_up(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn assemble(
    kind: Kind,
    arena: u32,
    fingerprint: u64,
    manifest: &[u8],
    sections: &[u8],
) -> Result<Vec<u8>, WriteError> {
    let length = PROLOGUE + manifest.len().next_multiple_of(4) + sections.len();
    let prologue = Prologue {
        kind,
        length: u32::try_from(length).map_err(|_| WriteError::TooLarge)?,
        arena,
        manifest: manifest.len() as u32,
        checksum: 0,
        fingerprint,
    };
    let mut file = prologue.to_bytes().to_vec();
    file.extend_from_slice(manifest);
    fill_up(&mut file);
    file.extend_from_slice(sections);
    let checksum = checksum(&file);
    file[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
    Ok(file)
}
