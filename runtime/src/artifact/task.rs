//! What was learned: a mask and an epilogue for every weighted layer of a backbone.

use super::error::{Limited, ParseError, Part};
use super::manifest::{
    Labels, MaskRecord, Node, NodeBytes, Reference, SHARED, TaskHead, take, take_table,
};
use super::model::{Depth, Model, Step, Steps, split, take_section};
use super::prologue::{Kind, mask_checksum};
use crate::epilogue::{CHANNEL, Epilogue};
use crate::layer::{Layer, Relayout, Tensor, TensorId};
use crate::mask::{Encoding, LayerWeights, MaskError};

/// A task of a backbone: a `Copy` handle. Switching tasks is passing another handle.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    fingerprint: u64,
    /// Checksum of the backbone's file, whose masks the task may share.
    file: u32,
    /// The nodes of that file where it lies: those that masks were checked against.
    nodes: &'a [NodeBytes],
    classes: u16,
    /// Name and labels, a byte 0 between.
    text: &'a [u8],
    masks: &'a [MaskRecord],
    sections: &'a [u8],
}

impl<'a> Task<'a> {
    /// Checks the whole of `patch` against the backbone that it is for. Never panics.
    ///
    /// # Errors
    /// [`ParseError::Fingerprint`] for another backbone's patch, else what is wrong with it.
    pub fn parse(model: &Model<'a>, patch: &'a [u8]) -> Result<Self, ParseError> {
        Self::read(model, patch, Depth::Whole)
    }

    /// Opens a `patch` that [`Task::parse`] accepted before and that lies in flash since: see
    /// [`Model::open`].
    ///
    /// # Errors
    /// As [`Task::parse`].
    pub fn open(model: &Model<'a>, patch: &'a [u8]) -> Result<Self, ParseError> {
        Self::read(model, patch, Depth::Form)
    }

    fn read(model: &Model<'a>, patch: &'a [u8], depth: Depth) -> Result<Self, ParseError> {
        let (prologue, manifest, sections) = split(patch, Kind::Patch, depth)?;
        if prologue.fingerprint != model.fingerprint {
            return Err(ParseError::Fingerprint {
                found: prologue.fingerprint,
                expected: model.fingerprint,
            });
        }
        if prologue.arena != 0 {
            let (what, found) = (Limited::ArenaBytes, prologue.arena);
            return Err(ParseError::Limit { what, found, most: 0 });
        }
        if prologue.tasks != 1 {
            let (what, found) = (Limited::PatchTasks, prologue.tasks.into());
            return Err(ParseError::Limit { what, found, most: 1 });
        }
        let mut tasks = Tasks { manifest, sections, left: 1, ..Tasks::new(model) };
        let task = tasks.read(Part::Task(0))?;
        task.check(model, depth)?;
        tasks.check_end()?;
        Ok(task)
    }

    /// The task's name; empty where it is not UTF-8.
    pub fn name(&self) -> &'a str {
        Labels { rest: Some(self.text) }.next().unwrap_or_default()
    }

    pub(super) fn name_bytes(&self) -> &'a [u8] {
        Labels { rest: Some(self.text) }.next_bytes().unwrap_or_default()
    }

    /// How many of the head's outputs are classes of this task.
    pub fn classes(&self) -> u16 {
        self.classes
    }

    /// The names of the classes, in the order of the logits; fewer than classes where not all have
    /// a name.
    pub fn labels(&self) -> Labels<'a> {
        let mut labels = Labels { rest: Some(self.text) };
        labels.next_bytes();
        labels
    }

    /// Identity of the backbone that the task is for.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Checksum of the artifact that the task was parsed with.
    pub fn file(&self) -> u32 {
        self.file
    }

    /// The layers of `model` in the order in which they run, each with its weights and epilogue
    /// under this task; none where the task was parsed for another model, whose masks were never
    /// checked against these layers.
    pub fn program<'m>(&self, model: &'m Model<'a>) -> Program<'m, 'a> {
        let mut steps = model.steps();
        if !self.belongs_to(model) {
            steps.end();
        }
        Program { model, steps, masks: self.masks, sections: self.sections }
    }

    /// Whether the task was checked against these very bytes: what files say of themselves may be wrong.
    pub(crate) fn belongs_to(&self, model: &Model) -> bool {
        core::ptr::eq(self.nodes, model.nodes)
    }

    /// Checks masks and epilogues as far as `depth` says.
    pub(super) fn check(&self, model: &Model<'a>, depth: Depth) -> Result<(), ParseError> {
        let outputs = model.output().channels;
        if self.classes == 0 || self.classes > outputs {
            return Err(ParseError::Limit {
                what: Limited::Classes,
                found: self.classes.into(),
                most: outputs.into(),
            });
        }
        self.program(model).check_forms(depth)?;
        let mut program = self.program(model);
        if depth == Depth::Form {
            program.steps.end();
        }
        let mut count = 0;
        let mut work = Work::of_input(model);
        while program.advance(&mut work)? {
            let Some((weights, epilogue)) = &work.learned else { continue };
            let layer = count;
            count += 1;
            if let Some((task, checksum)) = work.shared
                && mask_checksum(weights.encoding, weights.bytes) != checksum
            {
                return Err(ParseError::SameAs { layer, task });
            }
            weights.check_content().map_err(|error| ParseError::Mask { layer, error })?;
            if !epilogue.is_valid() {
                return Err(ParseError::Epilogue { layer });
            }
        }
        Ok(())
    }
}

/// Iterator over a model's tasks.
#[derive(Clone, Copy, Debug)]
pub struct Tasks<'a> {
    fingerprint: u64,
    file: u32,
    nodes: &'a [NodeBytes],
    manifest: &'a [u8],
    sections: &'a [u8],
    weighted: u8,
    left: u8,
}

impl<'a> Tasks<'a> {
    pub(crate) fn new(model: &Model<'a>) -> Self {
        let stored = (model.stored as usize).next_multiple_of(4);
        Self {
            fingerprint: model.fingerprint,
            file: model.checksum,
            nodes: model.nodes,
            manifest: model.tasks,
            sections: model.sections.get(stored..).unwrap_or_default(),
            weighted: model.weighted,
            left: model.task_count,
        }
    }

    /// Takes the next task, which is there, as `part` of the manifest.
    pub(crate) fn read(&mut self, part: Part) -> Result<Task<'a>, ParseError> {
        let malformed = ParseError::Malformed(part);
        let manifest = &mut self.manifest;
        let [c0, c1, t0, t1, bytes @ ..]: TaskHead = take(manifest).ok_or(malformed)?;
        let text = take_table::<1>(manifest, u16::from_le_bytes([t0, t1]).into());
        let masks = take_table(manifest, self.weighted.into()).ok_or(malformed)?;
        let sections = take_section(&mut self.sections, u32::from_le_bytes(bytes) as usize);
        self.left = self.left.wrapping_sub(1);
        Ok(Task {
            fingerprint: self.fingerprint,
            file: self.file,
            nodes: self.nodes,
            classes: u16::from_le_bytes([c0, c1]),
            text: text.ok_or(malformed)?.as_flattened(),
            masks,
            sections: sections.ok_or(malformed)?,
        })
    }

    /// Nothing may follow the last task.
    pub(crate) fn check_end(&self) -> Result<(), ParseError> {
        if !self.manifest.is_empty() || !self.sections.is_empty() {
            return Err(ParseError::Malformed(Part::End));
        }
        Ok(())
    }
}

impl<'a> Iterator for Tasks<'a> {
    type Item = Task<'a>;

    fn next(&mut self) -> Option<Task<'a>> {
        if self.left == 0 {
            return None;
        }
        self.read(Part::End).ok()
    }
}

/// A layer, with its weights and epilogue under a task if it has any.
#[derive(Clone, Copy, Debug)]
pub struct Op<'a> {
    /// The layer and its tensors.
    pub step: Step<'a>,
    /// Weights and epilogue of a weighted layer.
    pub learned: Option<(LayerWeights<'a>, Epilogue<'a>)>,
    /// The task that the mask is the same as.
    pub same_as: Option<u16>,
}

/// What a session needs of an [`Op`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<'a> {
    pub(crate) layer: Layer,
    pub(crate) input: Tensor,
    pub(crate) output: Tensor,
    pub(crate) learned: Option<(LayerWeights<'a>, Epilogue<'a>)>,
    /// Tensor that the layer writes.
    pub(crate) id: TensorId,
    /// Whether the layer is joined with the next.
    pub(crate) joined: bool,
    /// The task that the mask is the same as, and the checksum of that mask.
    shared: Option<(u16, u32)>,
    first: u32,
}

impl<'a> Work<'a> {
    /// What is there before the first layer.
    #[cfg_attr(seedmask_small, inline(never))]
    pub(crate) fn of_input(model: &Model<'_>) -> Self {
        let (input, layer) = (model.input(), Layer::Relayout(Relayout { input: 0, output: 0 }));
        let (id, joined, first) = (0, false, 0);
        Self { layer, input, output: input, learned: None, id, joined, shared: None, first }
    }

    /// The layer, for those outside.
    pub(crate) fn step(&self, model: &Model<'_>) -> Step<'a> {
        let weights = self.learned.as_ref().map(|(weights, _)| weights);
        Step {
            index: self.id.saturating_sub(1),
            layer: self.layer,
            input: self.input,
            output: self.output,
            weights: weights.map(|weights| weights.weights),
            first: self.first,
            stored: weights.map_or(&[], |weights| weights.stored),
            scratch: model.scratch_of(self.id).unwrap_or(0),
        }
    }
}

/// What a task has for one layer: its mask, its epilogue, and the task and checksum of a mask that it
/// shares.
struct Learned<'a> {
    encoding: Encoding,
    bytes: &'a [u8],
    epilogue: &'a [u8],
    shared: Option<(u16, u32)>,
}

/// Iterator over the layers of a model under one task.
#[derive(Clone, Copy, Debug)]
pub struct Program<'m, 'a> {
    model: &'m Model<'a>,
    steps: Steps<'m, 'a>,
    /// Of the weighted layers that are left.
    masks: &'a [MaskRecord],
    sections: &'a [u8],
}

impl<'a> Program<'_, 'a> {
    /// Makes `work` the next layer; `false` behind the last. Of a checked model and task there are no
    /// errors.
    #[inline(never)]
    pub(crate) fn advance(&mut self, work: &mut Work<'a>) -> Result<bool, ParseError> {
        let Some(step) = self.steps.next() else { return Ok(false) };
        let Step { index, layer, input, output, weights, first, stored, .. } = step;
        let id = index + 1;
        // Field by field, as all of it together is copied by a call.
        (work.layer, work.input, work.output) = (layer, input, output);
        (work.id, work.first) = (id, first);
        work.joined = self.model.node(id).is_some_and(Node::is_joined);
        (work.learned, work.shared) = (None, None);
        if let Some(weights) = weights {
            let malformed = ParseError::Malformed(Part::Layer(index));
            let Learned { encoding, bytes, epilogue, shared } =
                self.next_learned(weights.rows).ok_or(malformed)?;
            let seed = self.model.seed;
            let weights = LayerWeights { weights, seed, first, encoding, bytes, stored };
            work.learned = Some((weights, Epilogue::unchecked(epilogue)));
            work.shared = shared;
        }
        Ok(true)
    }

    /// Takes what there is for the next weighted layer, of `rows` rows.
    #[inline(always)]
    fn next_learned(&mut self, rows: u32) -> Option<Learned<'a>> {
        let (record, rest) = self.masks.split_first()?;
        self.masks = rest;
        let [encoding, parameter, length @ ..] = *record;
        let length = u32::from_le_bytes(length) as usize;
        let mut shared = None;
        let bytes = if encoding & SHARED != 0 {
            let [offset @ .., c0, c1, c2, c3, t0, t1, _, _]: Reference = take(&mut self.sections)?;
            shared = Some((u16::from_le_bytes([t0, t1]), u32::from_le_bytes([c0, c1, c2, c3])));
            let mut from = self.model.sections.get(u32::from_le_bytes(offset) as usize..);
            take_section(from.get_or_insert_default(), length)
        } else {
            take_section(&mut self.sections, length)
        };
        Some(Learned {
            encoding: Encoding::from_id([encoding & !SHARED, parameter])?,
            bytes: bytes?,
            epilogue: take_section(&mut self.sections, rows as usize * CHANNEL)?,
            shared,
        })
    }

    /// Checks the form of all masks, and that nothing is behind them.
    fn check_forms(mut self, depth: Depth) -> Result<(), ParseError> {
        let mut layer = 0;
        for id in 1..self.model.tensor_count() {
            let Some((weights, dense)) = self.model.weights_of(id) else { continue };
            let malformed = ParseError::Malformed(Part::Layer(id - 1));
            let Learned { encoding, bytes, .. } =
                self.next_learned(weights.rows).ok_or(malformed)?;
            // Where all is checked, lists are read only once.
            let dense = dense && depth == Depth::Form;
            encoding.check_form(&weights, bytes, dense).map_err(|error| match error {
                MaskError::Disabled(family) => ParseError::Disabled(family),
                error => ParseError::Mask { layer, error },
            })?;
            layer += 1;
        }
        if !self.sections.is_empty() {
            return Err(ParseError::Malformed(Part::End));
        }
        Ok(())
    }
}

impl<'a> Iterator for Program<'_, 'a> {
    type Item = Op<'a>;

    /// Ends behind the last layer. With a checked model and task nothing else ends it.
    fn next(&mut self) -> Option<Op<'a>> {
        let mut work = Work::of_input(self.model);
        if !self.advance(&mut work).unwrap_or(false) {
            return None;
        }
        let same_as = work.shared.map(|(task, _)| task);
        Some(Op { step: work.step(self.model), learned: work.learned, same_as })
    }
}
