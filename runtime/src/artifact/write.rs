//! Making artifacts: feature `write`, for the host.
//!
//! Whatever is written is parsed again before it is returned, so a file that this module makes is
//! one that [`Model::parse`] or [`Task::parse`] accepts.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::error::ParseError;
use super::manifest::{HEAD, Node, Parameters, SHARED, node, place};
use super::model::Model;
use super::prologue::{
    CHECKSUM_AT, Fingerprint, Kind, PROLOGUE, Prologue, checksum, mask_checksum,
};
use super::task::Task;
use crate::layer::{Layer, Source, Tensor, TensorId, Weights};
use crate::mask::Encoding;
use crate::plan::{self, Goal, Plan, PlanError};
use half::f16;

/// An architecture and a seed.
#[derive(Clone, PartialEq, Debug)]
pub struct Backbone {
    /// What the weights are drawn from.
    pub seed: u64,
    /// Shapes; index 0 is the input, index `i + 1` what layer `i` writes.
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
    /// A byte 0 in the name or a label of this task.
    Text(String),
    /// More labels than classes.
    Labels {
        /// The task.
        task: String,
        /// Labels given.
        found: usize,
        /// Classes of the task.
        classes: u16,
    },
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
            Self::Text(name) => write!(f, "task {name:?}: a byte 0 in its name or a label"),
            Self::Labels { task, found, classes } => {
                write!(f, "task {task:?}: {found} labels for {classes} classes")
            }
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
    let mut manifest = graph(backbone, &plan)?;
    let identity = manifest.len();
    for (index, placement) in plan.placements.iter().enumerate() {
        let scratch = index.checked_sub(1).map_or(0, |layer| plan.scratch[layer]);
        manifest.extend_from_slice(&place(*placement, scratch));
    }

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
    let count = u8::try_from(tasks.len()).map_err(|_| WriteError::TooLarge)?;
    // Where the masks of each task stand.
    let mut masks: Vec<Vec<u32>> = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        if tasks[..index].iter().any(|other| other.name == task.name) {
            return Err(WriteError::Name(task.name.clone()));
        }
        let shared = |other: u16, layer: usize| {
            let mask = &tasks.get(usize::from(other))?.layers.get(layer)?.mask;
            Some((mask, *masks.get(usize::from(other))?.get(layer)?))
        };
        let begin = sections.len();
        let (text, sections_of) = put_task(task, &weighted, shared)?;
        manifest.extend_from_slice(&text);
        masks.push(sections_of.masks.iter().map(|at| (begin + at) as u32).collect());
        sections.extend_from_slice(&sections_of.bytes);
    }
    let of = Contents { kind: Kind::Backbone, arena: plan.arena, fingerprint, tasks: count };
    let file = assemble(of, &manifest, &sections)?;
    Model::parse(&file)?;
    Ok(file)
}

/// A file of one task for `model`, in which no byte of the backbone stands.
///
/// # Errors
/// A [`WriteError`] that names what cannot be written.
pub fn patch(model: &Model<'_>, task: &Learned) -> Result<Vec<u8>, WriteError> {
    let others: Vec<Learned> = model.tasks().map(|task| learned(model, &task)).collect();
    let shared = |other: u16, layer: usize| {
        let mask = &others.get(usize::from(other))?.layers.get(layer)?.mask;
        let ops = model.tasks().nth(other.into())?.program(model);
        let (weights, _) = ops.filter_map(|op| op.learned).nth(layer)?;
        let at = weights.bytes.as_ptr() as usize - model.sections.as_ptr() as usize;
        Some((mask, at as u32))
    };
    let weighted: Vec<Weights> = model.steps().filter_map(|step| step.weights).collect();
    let (manifest, sections) = put_task(task, &weighted, shared)?;
    let of = Contents { kind: Kind::Patch, arena: 0, fingerprint: model.fingerprint(), tasks: 1 };
    let file = assemble(of, &manifest, &sections.bytes)?;
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

/// What a manifest begins with: all that defines weights and graph.
fn graph(backbone: &Backbone, plan: &Plan) -> Result<Vec<u8>, WriteError> {
    let Backbone { tensors, layers, .. } = backbone;
    let needs = plan::Needs::of_layers(tensors, layers);
    let (mut nodes, mut table): (Vec<u8>, Vec<Parameters>) = (Vec::new(), Vec::new());
    for (id, tensor) in (0u8..).zip(tensors) {
        let layer = usize::from(id).checked_sub(1).and_then(|index| layers.get(index));
        let (halo, joined) = (plan.placements[usize::from(id)].pad, needs.joined(id));
        let bytes = node(tensor, layer, halo, joined, |parameters| {
            let known = table.iter().position(|other| *other == parameters);
            let index = known.unwrap_or_else(|| {
                table.push(parameters);
                table.len() - 1
            });
            index as u8
        });
        // What a file cannot say: that another tensor is written, or logits where there are none.
        if let Some(layer) = layer {
            let index = id - 1;
            if layer.output() != id {
                return Err(ParseError::Order { layer: index, tensor: layer.output() }.into());
            }
            if Node(&bytes).tensor() != *tensor {
                return Err(ParseError::Shape { layer: index }.into());
            }
        }
        nodes.extend_from_slice(&bytes);
    }
    if tensors.len() != layers.len() + 1 {
        return Err(ParseError::Tensor { tensor: tensors.len() as u8 }.into());
    }
    let mut manifest = Vec::with_capacity(HEAD);
    manifest.extend_from_slice(&backbone.seed.to_le_bytes());
    manifest.extend_from_slice(&[layers.len() as u8, table.len() as u8, 0, 0]);
    manifest.extend_from_slice(&nodes);
    manifest.extend_from_slice(table.as_flattened());
    Ok(manifest)
}

/// The sections of a task, and where its masks begin among them.
#[derive(Default)]
struct Sections {
    bytes: Vec<u8>,
    masks: Vec<usize>,
}

/// A task's part of the manifest, and its sections. `shared` finds the mask of another task, and where
/// it stands in the sections of the backbone's file.
fn put_task<'l>(
    task: &Learned,
    weighted: &[Weights],
    shared: impl Fn(u16, usize) -> Option<(&'l LearnedMask, u32)>,
) -> Result<(Vec<u8>, Sections), WriteError> {
    count("learned layers", task.layers.len(), weighted.len())?;
    for (layer, weights) in task.layers.iter().zip(weighted) {
        count("channels of an epilogue", layer.epilogue.len(), weights.rows as usize)?;
    }
    if task.labels.len() > task.classes.into() {
        let (found, classes) = (task.labels.len(), task.classes);
        return Err(WriteError::Labels { task: task.name.clone(), found, classes });
    }
    let mut text = task.name.clone();
    for words in &task.labels {
        text.push('\0');
        text.push_str(words);
    }
    if text.matches('\0').count() != task.labels.len() {
        return Err(WriteError::Text(task.name.clone()));
    }
    let (mut records, mut sections) = (Vec::new(), Sections::default());
    for (index, layer) in task.layers.iter().enumerate() {
        sections.masks.push(sections.bytes.len());
        let (encoding, bytes, flag) = match &layer.mask {
            LearnedMask::Own { encoding, bytes } => {
                sections.bytes.extend_from_slice(bytes);
                fill_up(&mut sections.bytes);
                (encoding, bytes, 0)
            }
            &LearnedMask::SameAs(other) => {
                let missing = || WriteError::SameAs { task: task.name.clone(), layer: index };
                let Some((LearnedMask::Own { encoding, bytes }, at)) = shared(other, index) else {
                    return Err(missing());
                };
                let checksum = mask_checksum(*encoding, bytes);
                for word in [at, checksum, other.into()] {
                    sections.bytes.extend_from_slice(&word.to_le_bytes());
                }
                (encoding, bytes, SHARED)
            }
        };
        let [number, parameter] = encoding.id();
        records.extend_from_slice(&[number | flag, parameter]);
        let length = u32::try_from(bytes.len()).map_err(|_| WriteError::TooLarge)?;
        records.extend_from_slice(&length.to_le_bytes());
        for (scale, shift) in &layer.epilogue {
            sections.bytes.extend_from_slice(&scale.to_le_bytes());
            sections.bytes.extend_from_slice(&shift.to_le_bytes());
        }
    }
    let mut manifest = Vec::new();
    manifest.extend_from_slice(&task.classes.to_le_bytes());
    let length = u16::try_from(text.len()).map_err(|_| WriteError::TooLarge)?;
    manifest.extend_from_slice(&length.to_le_bytes());
    let length = u32::try_from(sections.bytes.len()).map_err(|_| WriteError::TooLarge)?;
    manifest.extend_from_slice(&length.to_le_bytes());
    manifest.extend_from_slice(text.as_bytes());
    manifest.extend_from_slice(&records);
    Ok((manifest, sections))
}

fn count(what: &'static str, found: usize, expected: usize) -> Result<(), WriteError> {
    if found == expected { Ok(()) } else { Err(WriteError::Count { what, found, expected }) }
}

/// Bytes of 0 up to a multiple of 4.
fn fill_up(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// What a prologue says beside lengths.
struct Contents {
    kind: Kind,
    arena: u32,
    fingerprint: u64,
    tasks: u8,
}

fn assemble(of: Contents, manifest: &[u8], sections: &[u8]) -> Result<Vec<u8>, WriteError> {
    let length = PROLOGUE + manifest.len().next_multiple_of(4) + sections.len();
    let prologue = Prologue {
        kind: of.kind,
        length: u32::try_from(length).map_err(|_| WriteError::TooLarge)?,
        arena: of.arena,
        manifest: manifest.len() as u32,
        checksum: 0,
        fingerprint: of.fingerprint,
        tasks: of.tasks,
    };
    let mut file = prologue.to_bytes().to_vec();
    file.extend_from_slice(manifest);
    fill_up(&mut file);
    file.extend_from_slice(sections);
    let checksum = checksum(&file);
    file[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
    Ok(file)
}
