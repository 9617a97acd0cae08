//! What was learned: a mask and an epilogue for every weighted layer of a backbone.

use super::error::{Limited, ParseError, Part};
use super::manifest::{Labels, MaskPart, Stream};
use super::model::{Model, Step, Steps, split, split_section};
use super::prologue::{Kind, mask_checksum};
use crate::epilogue::{CHANNEL, Epilogue};
use crate::layer::Weights;
use crate::mask::{Encoding, LayerWeights, MaskError};

/// A task of a backbone: a `Copy` handle. Switching tasks is passing another handle.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    fingerprint: u64,
    /// Checksum of the backbone's file, whose masks the task may share.
    file: u32,
    name: &'a str,
    classes: u16,
    labels: Labels<'a>,
    parts: Stream<'a>,
    sections: &'a [u8],
}

/// Where the next task of a file begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    fingerprint: u64,
    file: u32,
    manifest: Stream<'a>,
    sections: &'a [u8],
}

impl<'a> Task<'a> {
    /// Checks `patch` against the backbone that it is for. Never panics.
    ///
    /// # Errors
    /// [`ParseError::Fingerprint`] for another backbone's patch, else what is wrong with it.
    pub fn parse(model: &Model<'a>, patch: &'a [u8]) -> Result<Self, ParseError> {
        let (prologue, manifest, sections) = split(patch, Kind::Patch)?;
        if prologue.fingerprint != model.fingerprint {
            return Err(ParseError::Fingerprint {
                found: prologue.fingerprint,
                expected: model.fingerprint,
            });
        }
        let mut stream = Stream(manifest);
        let count = stream.short().ok_or(ParseError::Malformed(Part::Task(0)))?;
        if prologue.arena != 0 {
            return Err(ParseError::Limit {
                what: Limited::ArenaBytes,
                found: prologue.arena,
                most: 0,
            });
        }
        if count != 1 {
            return Err(ParseError::Limit {
                what: Limited::PatchTasks,
                found: count.into(),
                most: 1,
            });
        }
        let (fingerprint, file) = (model.fingerprint, model.checksum);
        let cursor = Cursor { fingerprint, file, manifest: stream, sections };
        let task = cursor.read(Part::Task(0))?;
        let end = task.check(model)?;
        end.check_end()?;
        Ok(task)
    }

    /// The task's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// How many of the head's outputs are classes of this task.
    pub fn classes(&self) -> u16 {
        self.classes
    }

    /// The names of the classes, in the order of the logits; fewer than classes where not all have
    /// a name.
    pub fn labels(&self) -> Labels<'a> {
        self.labels
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
    pub fn program<'m: 'a>(&self, model: &Model<'m>) -> Program<'a> {
        let model: Model<'a> = *model;
        let own = (self.fingerprint, self.file) == (model.fingerprint, model.checksum);
        Program {
            steps: if own { model.steps() } else { Steps::default() },
            model,
            parts: self.parts,
            sections: self.sections,
            layer: 0,
        }
    }

    pub(crate) fn first(model: &Model<'a>) -> Cursor<'a> {
        Cursor {
            fingerprint: model.fingerprint,
            file: model.checksum,
            manifest: model.task_parts,
            sections: model.task_sections,
        }
    }

    /// Checks masks and epilogues; returns where the next task begins.
    pub(crate) fn check(&self, model: &Model<'a>) -> Result<Cursor<'a>, ParseError> {
        let outputs = model.output().channels;
        if self.classes == 0 || self.classes > outputs {
            return Err(ParseError::Limit {
                what: Limited::Classes,
                found: self.classes.into(),
                most: outputs.into(),
            });
        }
        let mut program = self.program(model);
        while let Some(step) = program.steps.find(|step| step.weights.is_some()) {
            let layer = program.layer;
            let own = matches!(program.peek_part(), Some(MaskPart::Own { .. }));
            let (weights, epilogue) = program.next_weighted(&step)?;
            // The mask of another task was checked when that task was.
            if own {
                weights.check().map_err(|error| match error {
                    MaskError::Disabled(family) => ParseError::Disabled(family),
                    error => ParseError::Mask { layer, error },
                })?;
            }
            if Epilogue::new(epilogue, weights.weights.rows as usize).is_none() {
                return Err(ParseError::Epilogue { layer });
            }
        }
        Ok(Cursor {
            fingerprint: self.fingerprint,
            file: self.file,
            manifest: program.parts,
            sections: program.sections,
        })
    }

    /// Encoding and bytes of the mask of its own that this task has for weighted layer `layer`.
    fn own_mask(&self, model: &Model<'a>, layer: u8) -> Option<(Encoding, &'a [u8])> {
        let mut program = self.program(model);
        for _ in 0..layer {
            program.skip_weighted()?;
        }
        match program.peek_part()? {
            MaskPart::Own { encoding, bytes } => {
                Some((encoding, program.sections.get(..bytes as usize)?))
            }
            MaskPart::SameAs { .. } => None,
        }
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn read(&self, part: Part) -> Result<Task<'a>, ParseError> {
        let mut stream = self.manifest;
        let malformed = ParseError::Malformed(part);
        let name = stream.text().ok_or(malformed)?;
        let classes = stream.short().ok_or(malformed)?;
        let left = stream.short().ok_or(malformed)?;
        let labels = Labels { left, stream };
        for _ in 0..left {
            stream.text().ok_or(malformed)?;
        }
        let Self { fingerprint, file, sections, .. } = *self;
        Ok(Task { fingerprint, file, name, classes, labels, parts: stream, sections })
    }

    /// Nothing may follow the last task.
    pub(crate) fn check_end(&self) -> Result<(), ParseError> {
        if !self.manifest.0.is_empty() || !self.sections.is_empty() {
            return Err(ParseError::Malformed(Part::End));
        }
        Ok(())
    }
}

/// Iterator over a model's tasks.
#[derive(Clone, Copy, Debug)]
pub struct Tasks<'a> {
    model: Model<'a>,
    cursor: Cursor<'a>,
    left: u16,
}

impl<'a> Tasks<'a> {
    pub(crate) fn new(model: Model<'a>) -> Self {
        Self { model, cursor: Task::first(&model), left: model.task_count }
    }
}

impl<'a> Iterator for Tasks<'a> {
    type Item = Task<'a>;

    fn next(&mut self) -> Option<Task<'a>> {
        self.left = self.left.checked_sub(1)?;
        let task = self.cursor.read(Part::End).ok()?;
        let mut program = task.program(&self.model);
        while program.skip_weighted().is_some() {}
        self.cursor = Cursor {
            fingerprint: task.fingerprint,
            file: task.file,
            manifest: program.parts,
            sections: program.sections,
        };
        Some(task)
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

/// Iterator over the layers of a model under one task.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    model: Model<'a>,
    steps: Steps<'a>,
    parts: Stream<'a>,
    sections: &'a [u8],
    /// Weighted layers passed.
    layer: u8,
}

impl<'a> Program<'a> {
    fn peek_part(&self) -> Option<MaskPart> {
        let mut parts = self.parts;
        parts.mask_part()
    }

    /// Moves past the next weighted layer without looking at its mask; `None` behind the last.
    fn skip_weighted(&mut self) -> Option<()> {
        let weights = self.steps.find_map(|step| step.weights)?;
        let part = self.parts.mask_part()?;
        let mask = match part {
            MaskPart::Own { bytes, .. } => bytes as usize,
            MaskPart::SameAs { .. } => 0,
        };
        let epilogue = weights.rows as usize * CHANNEL;
        (_, self.sections) = split_section(self.sections, mask)?;
        (_, self.sections) = split_section(self.sections, epilogue)?;
        self.layer += 1;
        Some(())
    }

    /// Weights and epilogue section of the weighted layer `step`; binds `same as` by its checksum.
    fn next_weighted(
        &mut self,
        step: &Step<'a>,
    ) -> Result<(LayerWeights<'a>, &'a [u8]), ParseError> {
        let weights = step.weights.ok_or(ParseError::Malformed(Part::End))?;
        let layer = self.layer;
        let expected = match self.peek_part() {
            Some(MaskPart::SameAs { task, checksum }) => Some((task, checksum)),
            _ => None,
        };
        let (weights, epilogue, _) = self.learned(step, &weights)?;
        if let Some((task, checksum)) = expected
            && mask_checksum(weights.encoding, weights.bytes) != checksum
        {
            return Err(ParseError::SameAs { layer, task });
        }
        Ok((weights, epilogue))
    }

    fn learned(
        &mut self,
        step: &Step<'a>,
        weights: &Weights,
    ) -> Result<(LayerWeights<'a>, &'a [u8], Option<u16>), ParseError> {
        let layer = self.layer;
        let malformed = ParseError::Malformed(Part::Layer(step.index));
        let part = self.parts.mask_part().ok_or(malformed)?;
        let (encoding, bytes, same_as) = match part {
            MaskPart::Own { encoding, bytes } => {
                (encoding, self.take_section(bytes as usize)?, None)
            }
            MaskPart::SameAs { task, .. } => {
                let other = self.model.tasks().nth(task.into());
                let mask = other.and_then(|other| other.own_mask(&self.model, layer));
                let (encoding, bytes) = mask.ok_or(ParseError::SameAs { layer, task })?;
                (encoding, bytes, Some(task))
            }
        };
        let epilogue = self.take_section(weights.rows as usize * CHANNEL)?;
        self.layer += 1;
        let weights = LayerWeights {
            weights: *weights,
            seed: self.model.seed,
            first: step.first,
            encoding,
            bytes,
            stored: step.stored,
        };
        Ok((weights, epilogue, same_as))
    }

    fn take_section(&mut self, bytes: usize) -> Result<&'a [u8], ParseError> {
        let (section, rest) = split_section(self.sections, bytes).ok_or(ParseError::Length {
            found: self.sections.len() as u32,
            expected: bytes.next_multiple_of(4) as u32,
        })?;
        self.sections = rest;
        Ok(section)
    }
}

impl<'a> Iterator for Program<'a> {
    type Item = Op<'a>;

    /// Ends behind the last layer. With a checked model and task nothing else ends it.
    fn next(&mut self) -> Option<Op<'a>> {
        // Made in place: a layer is not copied from step to step.
        let mut op = Op { step: self.steps.next()?, learned: None, same_as: None };
        if let Some(weights) = op.step.weights {
            let (weights, epilogue, same_as) = self.learned(&op.step, &weights).ok()?;
            op.learned = Some((weights, Epilogue::checked(epilogue)));
            op.same_as = same_as;
        }
        Some(op)
    }
}
