//! A checked backbone, read where it lies: no byte of it is copied.

use core::ops::Range;

use super::error::{Limited, ParseError, Part};
use super::manifest::{
    HEAD, MAX_LAYERS, MAX_TASKS, Node, NodeBytes, Parameters, Place, PlaceBytes, Placement, take,
    take_table,
};
use super::prologue::{Fingerprint, Kind, PROLOGUE, Prologue, checksum};
use super::task::{Task, Tasks};
use crate::family::{Family, MAPS};
use crate::layer::{Element, Layer, MAX_ACTIVATION, Source, Tensor, TensorId, Weights};
use crate::mask::MAX_INPUTS;
use crate::plan::{self, Located};

/// A backbone with its tasks: a view of an artifact that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    pub(crate) seed: u64,
    pub(crate) fingerprint: u64,
    pub(crate) checksum: u32,
    pub(crate) arena: u32,
    /// The input's, then one a layer.
    pub(super) nodes: &'a [NodeBytes],
    parameters: &'a [Parameters],
    places: &'a [PlaceBytes],
    /// What of the manifest is behind the plan.
    pub(crate) tasks: &'a [u8],
    /// All bytes behind the manifest: stored weights, then each task's sections.
    pub(crate) sections: &'a [u8],
    /// Bytes of stored weights, without what fills them up.
    pub(crate) stored: u32,
    pub(crate) task_count: u8,
    /// Layers that have weights.
    pub(crate) weighted: u8,
}

/// One layer with all that it works on.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Index in the backbone.
    pub index: u8,
    /// The layer.
    pub layer: Layer,
    /// Its first input.
    pub input: Tensor,
    /// Its output.
    pub output: Tensor,
    /// Rows, inputs and source, if it has weights.
    pub weights: Option<Weights>,
    /// Index of its first generator word.
    pub first: u32,
    /// Its stored weights; empty for seeded ones.
    pub stored: &'a [u8],
    /// First byte of its scratch in the arena.
    pub scratch: u32,
}

impl<'a> Model<'a> {
    /// Bytes of RAM that a session of `artifact` needs, for a static arena.
    ///
    /// # Panics
    /// At compile time, where `artifact` is not a whole backbone of this version. At run time use
    /// [`Model::parse`] and [`Model::arena_bytes`].
    pub const fn arena_len(artifact: &[u8]) -> usize {
        match Prologue::parse(artifact) {
            Ok(Prologue { kind: Kind::Backbone, arena, .. }) => arena as usize,
            Ok(_) => panic!("a patch where a backbone is expected"),
            Err(ParseError::Truncated { .. }) => panic!("the artifact is truncated"),
            Err(ParseError::Version { .. }) => panic!("the artifact has another format version"),
            Err(_) => panic!("not a Seedmask artifact"),
        }
    }

    /// Checks the whole of `artifact`: prologue, checksum, fingerprint, shapes, plan, and every
    /// mask and epilogue of every task. For bytes that nobody vouches for, as when they have just arrived.
    /// Time is linear in their length, but for masks that tasks share, which are read once for each. Never
    /// panics.
    ///
    /// # Errors
    /// A [`ParseError`] that names the first thing wrong.
    pub fn parse(artifact: &'a [u8]) -> Result<Self, ParseError> {
        Self::read(artifact, Depth::Whole)
    }

    /// Opens an `artifact` that [`Model::parse`] accepted before and that lies in flash since, in a
    /// fraction of the time: linear in layers and tasks. Shapes, plan and the lengths of sections are
    /// checked; checksum, fingerprint, epilogues and what masks keep are not, but for dense layers of
    /// [`SignedGaps`](crate::mask::Encoding::SignedGaps), whose lists are followed to their ends.
    ///
    /// Whatever the bytes are, nothing panics, reads or writes elsewhere, or goes on without end: what was
    /// damaged since gives an error here, an [`InferError`](crate::InferError), or wrong outputs.
    ///
    /// # Errors
    /// A [`ParseError`] that names the first thing wrong.
    pub fn open(artifact: &'a [u8]) -> Result<Self, ParseError> {
        Self::read(artifact, Depth::Form)
    }

    fn read(artifact: &'a [u8], depth: Depth) -> Result<Self, ParseError> {
        let (prologue, manifest, sections) = split(artifact, Kind::Backbone, depth)?;
        let malformed = ParseError::Malformed(Part::Header);
        let mut rest = manifest;
        let [seed @ .., layers, parameters, _, _]: [u8; HEAD] = take(&mut rest).ok_or(malformed)?;
        limit(Limited::Layers, layers, 1, MAX_LAYERS as u8)?;
        limit(Limited::Tasks, prologue.tasks, 0, MAX_TASKS as u8)?;
        let nodes = usize::from(layers) + 1;
        let mut model = Self {
            seed: u64::from_le_bytes(seed),
            fingerprint: prologue.fingerprint,
            checksum: prologue.checksum,
            arena: prologue.arena,
            nodes: take_table(&mut rest, nodes).ok_or(malformed)?,
            parameters: take_table(&mut rest, parameters.into()).ok_or(malformed)?,
            places: &[],
            tasks: &[],
            sections,
            stored: 0,
            task_count: prologue.tasks,
            weighted: 0,
        };
        let backbone = manifest.len() - rest.len();
        model.places = take_table(&mut rest, nodes).ok_or(ParseError::Malformed(Part::Plan(0)))?;
        model.tasks = rest;

        model.check_backbone()?;
        let stored = sections.get(..model.stored as usize).ok_or_else(|| ParseError::Length {
            found: prologue.length,
            expected: model.stored.saturating_add(PROLOGUE as u32 + prologue.manifest),
        })?;
        if depth == Depth::Whole {
            let backbone = manifest.get(..backbone).unwrap_or_default();
            let expected = Fingerprint::new().update(backbone).update(stored).finish();
            if expected != prologue.fingerprint {
                return Err(ParseError::Fingerprint { found: prologue.fingerprint, expected });
            }
        }
        model.check_tasks(depth)?;
        Ok(model)
    }

    /// Identity of the backbone: over seed, tensors, layers and stored weights.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The seed that the weights are drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Bytes of RAM that a session needs.
    pub fn arena_bytes(&self) -> usize {
        self.arena as usize
    }

    /// Shape of the input, `(channels, height, width)` bytes of 0..=127 without halo.
    pub fn input(&self) -> Tensor {
        self.tensor(0).unwrap_or(Tensor::vector(0, 0))
    }

    /// Shape of the output of the last layer.
    pub fn output(&self) -> Tensor {
        self.tensor(self.output_id()).unwrap_or(Tensor::vector(0, 0))
    }

    /// How many tensors there are: the input, and what each layer writes.
    pub fn tensor_count(&self) -> u8 {
        self.nodes.len() as u8
    }

    /// How many layers there are.
    pub fn layer_count(&self) -> u8 {
        self.output_id()
    }

    /// The tensor of this index: 0 is the input, the next ones are what the layers write, in order.
    pub fn tensor(&self, id: TensorId) -> Option<Tensor> {
        self.node(id).map(Node::tensor)
    }

    /// Where the tensor of this index lies in the arena.
    pub fn placement(&self, id: TensorId) -> Option<Placement> {
        Some(self.place(id)?.placement(self.node(id)?.halo()))
    }

    /// The bytes of the arena that a tensor has, halo included; of a convolution that is joined with
    /// the sum behind it only some channels exist at a time (see [`crate::plan`]).
    pub fn region(&self, id: TensorId) -> Option<Range<u32>> {
        self.located(id).as_ref().map(Located::region)
    }

    /// The layers in the order in which they run.
    pub fn steps(&self) -> Steps<'_, 'a> {
        let stored = self.sections.get(..self.stored as usize).unwrap_or_default();
        Steps { model: self, written: 0, first: 0, stored }
    }

    /// The tasks that the artifact holds.
    pub fn tasks(&self) -> Tasks<'a> {
        Tasks::new(self)
    }

    /// The task of this name. Names are unique in an artifact that `write` made; of two of the same
    /// name this is the first.
    pub fn task(&self, name: &str) -> Option<Task<'a>> {
        self.tasks().find(|task| task.name_bytes() == name.as_bytes())
    }

    pub(crate) fn output_id(&self) -> TensorId {
        self.nodes.len().saturating_sub(1) as u8
    }

    /// The node of tensor `id`.
    pub(crate) fn node(&self, id: TensorId) -> Option<Node<'a>> {
        self.nodes.get(usize::from(id)).map(Node)
    }

    /// Where tensor `id` lies.
    #[cfg_attr(feature = "relayout", inline(never))]
    pub(crate) fn located(&self, id: TensorId) -> Option<Located> {
        let (node, place) = (self.node(id)?, self.place(id)?);
        Located::new(&node.tensor(), place.placement(node.halo()), node.is_joined())
    }

    fn place(&self, id: TensorId) -> Option<Place<'a>> {
        self.places.get(usize::from(id)).map(Place)
    }

    /// The layer that writes tensor `id`, which is not the input.
    #[cfg_attr(not(feature = "relayout"), inline(always))]
    pub(crate) fn layer_of(&self, id: TensorId) -> Result<Layer, ParseError> {
        let node = self.node(id).ok_or(ParseError::Malformed(Part::Tensor(id)))?;
        node.layer(self.parameters, id)
    }

    /// Rows, inputs and source of the layer that writes tensor `id`, if it has weights, and whether it is
    /// a dense one.
    pub(super) fn weights_of(&self, id: TensorId) -> Option<(Weights, bool)> {
        let layer = self.layer_of(id).ok()?;
        let weights = layer.weights(&self.tensor(layer.inputs().0)?, &self.tensor(id)?)?;
        Some((weights, matches!(layer, Layer::Dense(_))))
    }

    /// The bytes of the arena that are scratch of the layer that writes tensor `id`; from 0 to 0 where it
    /// has none.
    pub(crate) fn scratch(&self, id: TensorId) -> Option<Range<u32>> {
        // Dense layers have none.
        if !MAPS {
            return Some(0..0);
        }
        let layer = self.layer_of(id).ok()?;
        self.scratch_for(id, &layer, &self.tensor(layer.inputs().0)?, &self.tensor(id)?)
    }

    /// The same, given that layer, its (first) input and its output.
    pub(crate) fn scratch_for(
        &self,
        id: TensorId,
        layer: &Layer,
        input: &Tensor,
        output: &Tensor,
    ) -> Option<Range<u32>> {
        let bytes = layer.scratch(input, output);
        let start = if bytes == 0 { 0 } else { self.scratch_of(id)? };
        Some(start..start.saturating_add(bytes))
    }

    /// First byte of the scratch of the layer that writes tensor `id`.
    pub(crate) fn scratch_of(&self, id: TensorId) -> Option<u32> {
        self.place(id).map(Place::scratch)
    }

    /// Checks graph and plan; counts weighted layers and stored weights.
    // Not inline: what it takes of the stack is free again when masks are read.
    #[inline(never)]
    fn check_backbone(&mut self) -> Result<(), ParseError> {
        let mut written = 0..0;
        for id in 0..self.tensor_count() {
            let output = self.tensor(id).ok_or(ParseError::Tensor { tensor: id })?;
            let logits = output.element == Element::Logit;
            let empty = output.elements().unwrap_or(0) == 0;
            // No layer makes the input, as logits or in parts.
            let made = || logits || self.node(id).is_some_and(Node::is_joined);
            if empty || output.zero_point > MAX_ACTIVATION || (id == 0 && made()) {
                return Err(ParseError::Tensor { tensor: id });
            }
            // Tensor 0 is the input.
            let layer = if id == 0 { None } else { Some(self.layer_of(id)?) };
            let located = self.located(id);
            let located = plan::check_tensor(self, id, located.as_ref())?;
            let before = core::mem::replace(&mut written, located.region());
            let (Some(layer), Some(index)) = (layer, id.checked_sub(1)) else { continue };
            let (left, right) = layer.inputs();
            for tensor in [left, right.unwrap_or(left)] {
                if tensor >= id {
                    return Err(ParseError::Order { layer: index, tensor });
                }
            }
            let shape = ParseError::Shape { layer: index };
            let input = self.tensor(left).ok_or(shape)?;
            let right = right.and_then(|id| self.tensor(id));
            let last = id == self.output_id();
            if !layer.fits(&input, right.as_ref(), &output) || (logits && !last) {
                return Err(shape);
            }
            let scratch = self.scratch_for(id, &layer, &input, &output).unwrap_or_default();
            plan::check_layer(self, id, &layer, &scratch, &before, located)?;
            let Some(weights) = layer.weights(&input, &output) else { continue };
            if let Some(family) = Family::missing_for_source(weights.source) {
                return Err(ParseError::Disabled(family));
            }
            if weights.inputs > MAX_INPUTS {
                let (what, found) = (Limited::RowInputs, weights.inputs);
                return Err(ParseError::Limit { what, found, most: MAX_INPUTS });
            }
            if weights.source == Source::StoredInt8 {
                // At most 65535² a layer.
                self.stored = self.stored.saturating_add(weights.len() as u32);
            }
            self.weighted += 1;
        }
        Ok(())
    }

    fn check_tasks(&self, depth: Depth) -> Result<(), ParseError> {
        let mut tasks = Tasks::new(self);
        for index in 0..self.task_count.into() {
            tasks.read(Part::Task(index))?.check(self, depth)?;
        }
        tasks.check_end()
    }
}

fn limit(what: Limited, found: u8, least: u8, most: u8) -> Result<(), ParseError> {
    if found < least || found > most {
        return Err(ParseError::Limit { what, found: found.into(), most: most.into() });
    }
    Ok(())
}

/// How much of a file is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Every byte.
    Whole,
    /// What memory safety and an end of all loops want.
    Form,
}

/// Splits a file into prologue, manifest and sections; if it is checked whole, after its checksum was
/// compared.
pub(super) fn split(
    file: &[u8],
    kind: Kind,
    depth: Depth,
) -> Result<(Prologue, &[u8], &[u8]), ParseError> {
    let prologue = Prologue::parse(file)?;
    if depth == Depth::Whole {
        let found = checksum(file);
        if found != prologue.checksum {
            return Err(ParseError::Checksum { found, expected: prologue.checksum });
        }
    }
    if prologue.kind != kind {
        return Err(ParseError::Kind { found: (prologue.kind == Kind::Patch).into() });
    }
    let mut body = file.get(PROLOGUE..).unwrap_or_default();
    let malformed = ParseError::Malformed(Part::End);
    let manifest = take_section(&mut body, prologue.manifest as usize).ok_or(malformed)?;
    Ok((prologue, manifest, body))
}

/// Takes a section of `length` bytes off the front of `bytes`, and what fills it up to a multiple of
/// 4: in an aligned file every section is aligned. `None` where it is cut.
pub(super) fn take_section<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let section = bytes.get(..length)?;
    *bytes = bytes.get(length.next_multiple_of(4)..)?;
    Some(section)
}

/// Iterator over a model's layers.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'m, 'a> {
    model: &'m Model<'a>,
    /// The tensor that the layer before wrote; at first the input.
    written: TensorId,
    first: u32,
    stored: &'a [u8],
}

impl<'a> Steps<'_, 'a> {
    /// Passes over all layers.
    pub(super) fn end(&mut self) {
        self.written = TensorId::MAX;
    }
}

impl<'a> Iterator for Steps<'_, 'a> {
    type Item = Step<'a>;

    /// Ends behind the last layer. In a checked model nothing else ends it.
    #[inline(always)]
    fn next(&mut self) -> Option<Step<'a>> {
        let (model, index) = (self.model, self.written);
        let id = index.checked_add(1)?;
        let layer = model.layer_of(id).ok()?;
        let (input, output) = (model.tensor(layer.inputs().0)?, model.tensor(id)?);
        let scratch = model.scratch_of(id)?;
        let weights = layer.weights(&input, &output);
        let first = self.first;
        let mut stored: &[u8] = &[];
        if let Some(weights) = &weights {
            self.first = first.wrapping_add(weights.generator_words());
            if weights.source == Source::StoredInt8 && Family::Stored.is_linked() {
                (stored, self.stored) =
                    self.stored.split_at_checked(weights.len() as usize).unwrap_or_default();
            }
        }
        self.written = id;
        Some(Step { index, layer, input, output, weights, first, stored, scratch })
    }
}
