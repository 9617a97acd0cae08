//! A checked backbone, read where it lies: no byte of it is copied.

use super::error::{Limited, ParseError, Part};
use super::manifest::{MAX_LAYERS, MAX_TASKS, MAX_TENSORS, Placement, Stream};
use super::prologue::{Fingerprint, Kind, PROLOGUE, Prologue, checksum};
use super::task::{Task, Tasks};
use crate::family::Family;
use crate::kernel::storage;
use crate::layer::{Element, Layer, MAX_ACTIVATION, Source, Tensor, TensorId, Weights};
use crate::mask::MAX_INPUTS;
use crate::plan;

/// A backbone with its tasks: a view of an artifact of which everything was checked.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    pub(crate) seed: u64,
    pub(crate) fingerprint: u64,
    pub(crate) checksum: u32,
    pub(crate) arena: u32,
    layer_count: u8,
    output: TensorId,
    /// A bit a layer: the convolutions that are joined with the sum behind them.
    joined: u64,
    tensors: &'a [[u8; Tensor::ENCODED]],
    layers: Stream<'a>,
    placements: &'a [[u8; Placement::ENCODED]],
    scratch: Stream<'a>,
    pub(crate) task_count: u16,
    pub(crate) task_parts: Stream<'a>,
    /// All bytes behind the manifest: stored weights, then each task's sections.
    stored: &'a [u8],
    pub(crate) task_sections: &'a [u8],
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
    /// mask and epilogue of every task. Time is linear in its length, but for shared masks, each of
    /// which is looked up among all tasks. Never panics.
    ///
    /// # Errors
    /// A [`ParseError`] that names the first thing wrong.
    pub fn parse(artifact: &'a [u8]) -> Result<Self, ParseError> {
        let (prologue, manifest, sections) = split(artifact, Kind::Backbone)?;
        let mut stream = Stream(manifest);

        let malformed = ParseError::Malformed;
        let seed = stream.seed().ok_or(malformed(Part::Header))?;
        let tensor_count = count(&mut stream, Limited::Tensors, MAX_TENSORS)?;
        let tensors = stream.take_table(usize::from(tensor_count), Part::Header)?;
        let layer_count = count(&mut stream, Limited::Layers, MAX_LAYERS)?;

        let mut model = Self {
            seed,
            fingerprint: prologue.fingerprint,
            checksum: prologue.checksum,
            arena: prologue.arena,
            layer_count,
            output: 0,
            joined: 0,
            tensors,
            layers: stream,
            placements: &[],
            scratch: Stream::default(),
            task_count: 0,
            task_parts: Stream::default(),
            stored: sections,
            task_sections: &[],
        };
        let mut needs = plan::Needs::new();
        let stored = model.check_graph(&mut stream, &mut needs)?;
        let backbone = manifest.len() - stream.0.len();

        model.placements = stream.take_table(usize::from(tensor_count), Part::Plan(0))?;
        model.scratch = stream;
        for index in 0..layer_count {
            stream.number().ok_or(malformed(Part::Plan(index)))?;
        }
        let task_count = stream.short().ok_or(malformed(Part::Task(0)))?;
        if task_count > MAX_TASKS {
            return Err(ParseError::Limit {
                what: Limited::Tasks,
                found: task_count.into(),
                most: MAX_TASKS.into(),
            });
        }
        (model.task_count, model.task_parts) = (task_count, stream);

        let sections_at = prologue.length.saturating_sub(sections.len() as u32);
        let length = || ParseError::Length {
            found: prologue.length,
            expected: sections_at.saturating_add(u32::try_from(stored).unwrap_or(u32::MAX)),
        };
        (model.stored, model.task_sections) = split_section(sections, stored).ok_or_else(length)?;

        let identity = Fingerprint::new()
            .update(manifest.get(..backbone).unwrap_or_default())
            .update(model.stored)
            .finish();
        if identity != prologue.fingerprint {
            return Err(ParseError::Fingerprint {
                found: prologue.fingerprint,
                expected: identity,
            });
        }
        plan::check(&model, &needs)?;
        model.check_tasks()?;
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
        self.tensor(self.output).unwrap_or(Tensor::vector(0, 0))
    }

    /// How many tensors there are.
    pub fn tensor_count(&self) -> u8 {
        self.tensors.len() as u8
    }

    /// How many layers there are.
    pub fn layer_count(&self) -> u8 {
        self.layer_count
    }

    /// The tensor of this index.
    pub fn tensor(&self, id: TensorId) -> Option<Tensor> {
        Tensor::from_bytes(self.tensors.get(usize::from(id))?)
    }

    /// Where the tensor of this index lies in the arena.
    pub fn placement(&self, id: TensorId) -> Option<Placement> {
        self.placements.get(usize::from(id)).map(Placement::from_bytes)
    }

    /// The bytes of the arena that a tensor has, halo included; of a convolution that is joined with
    /// the sum behind it only some channels exist at a time (see [`crate::plan`]).
    pub fn region(&self, id: TensorId) -> Option<core::ops::Range<u32>> {
        let (tensor, place) = (self.tensor(id)?, self.placement(id)?);
        let joined = self.steps().any(|step| step.layer.output() == id && self.joins(step.index));
        let part = plan::part(&tensor, joined);
        let bytes = storage(&part, place.pad, place.bands)?;
        Some(place.offset..place.offset.checked_add(bytes)?)
    }

    /// The layers in the order in which they run.
    pub fn steps(&self) -> Steps<'a> {
        Steps {
            tensors: self.tensors,
            layer_count: self.layer_count,
            index: 0,
            layers: self.layers,
            scratch: self.scratch,
            first: 0,
            stored: self.stored,
        }
    }

    /// The tasks that the artifact holds.
    pub fn tasks(&self) -> Tasks<'a> {
        Tasks::new(*self)
    }

    /// The task of this name. Names are unique in an artifact that `write` made; of two of the same
    /// name this is the first.
    pub fn task(&self, name: &str) -> Option<Task<'a>> {
        self.tasks().find(|task| task.name() == name)
    }

    pub(crate) fn output_id(&self) -> TensorId {
        self.output
    }

    /// Whether a layer is a convolution that is joined with the sum behind it.
    pub(crate) fn joins(&self, layer: u8) -> bool {
        let possible = Family::Conv2d.is_linked() && Family::Add.is_linked();
        possible && self.joined.unbounded_shr(layer.into()) & 1 == 1
    }

    /// Takes the layers and checks order and shapes of the graph; notes output and joined layers. Returns
    /// the bytes of stored weights, and in `needs` what the plan must keep to.
    #[allow(clippy::manual_contains, reason = "`contains` links a search of bytes, 150 of flash")]
    fn check_graph(
        &mut self,
        layers: &mut Stream<'a>,
        needs: &mut plan::Needs,
    ) -> Result<usize, ParseError> {
        for id in 0..self.tensor_count() {
            let tensor = self.tensor(id).ok_or(ParseError::Malformed(Part::Tensor(id)))?;
            let elements = tensor.elements().unwrap_or(0);
            let input_is_bytes = id > 0 || tensor.element == Element::Activation;
            if elements == 0 || tensor.zero_point > MAX_ACTIVATION || !input_is_bytes {
                return Err(ParseError::Tensor { tensor: id });
            }
        }
        let mut written: heapless::Vec<TensorId, MAX_TENSORS> = heapless::Vec::new();
        written.push(0).ok();
        let mut stored = 0usize;
        for layer_index in 0..self.layer_count {
            let part = Part::Layer(layer_index);
            let layer = layers.layer().ok_or(ParseError::Malformed(part))?;
            if let Some(family) = Family::missing_for_layer(&layer) {
                return Err(ParseError::Disabled(family));
            }
            let (left, right) = layer.inputs();
            for tensor in [Some(left), right].into_iter().flatten() {
                if !written.iter().any(|id| *id == tensor) {
                    return Err(ParseError::Order { layer: layer_index, tensor });
                }
            }
            let tensor = layer.output();
            let fresh = !written.iter().any(|id| *id == tensor);
            let (Some(output), true) = (self.tensor(tensor), fresh && written.push(tensor).is_ok())
            else {
                return Err(ParseError::Order { layer: layer_index, tensor });
            };
            let right = right.and_then(|id| self.tensor(id));
            let input = self.tensor(left).ok_or(ParseError::Shape { layer: layer_index })?;
            let last = layer_index + 1 == self.layer_count;
            let logits = output.element == Element::Logit;
            if !layer.fits(&input, right.as_ref(), &output) || (logits && !last) {
                return Err(ParseError::Shape { layer: layer_index });
            }
            needs.add(&layer, &output);
            self.output = tensor;
            if let Some(weights) = layer.weights(&input, &output) {
                if let Some(family) = Family::missing_for_source(weights.source) {
                    return Err(ParseError::Disabled(family));
                }
                if weights.inputs > MAX_INPUTS {
                    return Err(ParseError::Limit {
                        what: Limited::RowInputs,
                        found: weights.inputs,
                        most: MAX_INPUTS,
                    });
                }
                if weights.source == Source::StoredInt8 {
                    // At most 65535² a layer and 64 layers: no overflow in u64, and a file is
                    // never as long.
                    stored =
                        stored.saturating_add(usize::try_from(weights.len()).unwrap_or(usize::MAX));
                }
            }
        }
        if written.len() != self.tensors.len() {
            return Err(ParseError::Malformed(Part::Tensor(self.tensor_count())));
        }
        needs.end();
        self.joined = needs.joined();
        Ok(stored)
    }

    fn check_tasks(&self) -> Result<(), ParseError> {
        let mut cursor = Task::first(self);
        for index in 0..self.task_count {
            let task = cursor.read(Part::Task(index))?;
            cursor = task.check(self)?;
        }
        cursor.check_end()
    }
}

/// Splits a file into prologue, manifest and sections, after its checksum was compared.
pub(super) fn split(file: &[u8], kind: Kind) -> Result<(Prologue, &[u8], &[u8]), ParseError> {
    let prologue = Prologue::parse(file)?;
    let found = checksum(file);
    if found != prologue.checksum {
        return Err(ParseError::Checksum { found, expected: prologue.checksum });
    }
    if prologue.kind != kind {
        return Err(ParseError::Kind { found: (prologue.kind == Kind::Patch).into() });
    }
    let (_, body) = file.split_at_checked(PROLOGUE).unwrap_or_default();
    let malformed = ParseError::Malformed(Part::End);
    let (manifest, sections) = split_section(body, prologue.manifest as usize).ok_or(malformed)?;
    Ok((prologue, manifest, sections))
}

/// A section of `length` bytes, and what is behind it and the bytes of 0 that fill it up to a
/// multiple of 4: in an aligned file every section is aligned. `None` where it is cut, or filled
/// with anything else.
pub(super) fn split_section(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (section, rest) = bytes.split_at_checked(length)?;
    let (filling, rest) = rest.split_at_checked(length.next_multiple_of(4) - length)?;
    filling.iter().all(|byte| *byte == 0).then_some((section, rest))
}

fn count(stream: &mut Stream<'_>, what: Limited, most: usize) -> Result<u8, ParseError> {
    let found = stream.number().ok_or(ParseError::Malformed(Part::Header))?;
    match u8::try_from(found) {
        Ok(count) if count > 0 && usize::from(count) <= most => Ok(count),
        _ => Err(ParseError::Limit { what, found, most: most as u32 }),
    }
}

/// Iterator over a model's layers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps<'a> {
    tensors: &'a [[u8; Tensor::ENCODED]],
    layer_count: u8,
    index: u8,
    layers: Stream<'a>,
    scratch: Stream<'a>,
    first: u32,
    stored: &'a [u8],
}

impl<'a> Iterator for Steps<'a> {
    type Item = Step<'a>;

    /// Ends behind the last layer. In a checked model nothing else ends it.
    fn next(&mut self) -> Option<Step<'a>> {
        if self.index == self.layer_count {
            return None;
        }
        let (layer, scratch) = (self.layers.layer()?, self.scratch.number()?);
        let input = Tensor::from_bytes(self.tensors.get(usize::from(layer.inputs().0))?)?;
        let output = Tensor::from_bytes(self.tensors.get(usize::from(layer.output()))?)?;
        let weights = layer.weights(&input, &output);
        let (index, first) = (self.index, self.first);
        let mut stored: &[u8] = &[];
        if let Some(weights) = weights {
            self.first = self.first.wrapping_add(weights.generator_words());
            if weights.source == Source::StoredInt8 {
                let bytes = usize::try_from(weights.len()).unwrap_or(usize::MAX);
                (stored, self.stored) =
                    self.stored.split_at_checked(bytes).unwrap_or((&[], self.stored));
            }
        }
        self.index += 1;
        Some(Step { index, layer, input, output, weights, first, stored, scratch })
    }
}
