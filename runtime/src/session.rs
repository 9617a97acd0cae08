//! Running a model in a block of RAM that the caller owns.

use core::fmt;
use core::ops::Range;

use crate::artifact::{Model, Op, Step, Task};
use crate::epilogue::Affine;
use crate::family::Family;
use crate::kernel::{Kernels, Planes, Sink, Source, Target, Words, storage};
use crate::layer::{Add, Element, Layer, MAX_ACTIVATION, TensorId};
use crate::plan;

/// RAM of a session: `N` bytes, aligned for every kernel. Take `N` from [`Model::arena_len`].
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Arena<const N: usize>([u8; N]);

impl<const N: usize> Arena<N> {
    /// All zero: a static arena costs no flash.
    pub const fn new() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Default for Arena<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> AsMut<[u8]> for Arena<N> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// The arena cannot hold the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ArenaError {
    /// Fewer bytes than the plan needs.
    TooSmall {
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// The first byte is not at a multiple of 4; [`Arena`] is.
    Unaligned,
}

impl fmt::Display for ArenaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { need, have } => {
                write!(f, "an arena of {have} bytes where the model needs {need}")
            }
            Self::Unaligned => write!(f, "the arena must begin at a multiple of 4"),
        }
    }
}

impl core::error::Error for ArenaError {}

/// Why an inference was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum InferError {
    /// The task was parsed for another backbone.
    OtherBackbone {
        /// Fingerprint of the task's backbone.
        found: u64,
        /// Fingerprint of the session's.
        expected: u64,
    },
    /// The task was parsed with another file of the same backbone, whose masks it may share: parse
    /// it with this one.
    OtherFile {
        /// Checksum of the file that the task was parsed with.
        found: u32,
        /// Checksum of the session's.
        expected: u32,
    },
    /// An input byte above 127. A camera's byte is shifted right once.
    Input {
        /// Index of the first such byte.
        index: usize,
        /// Its value.
        found: u8,
    },
    /// The artifact no longer reads as it did when it was parsed: its memory was written to.
    ArtifactChanged,
}

impl fmt::Display for InferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherBackbone { found, expected } => {
                write!(f, "a task of backbone {found:016x} where the session runs {expected:016x}")
            }
            Self::OtherFile { found, expected } => write!(
                f,
                "a task parsed with file {found:08x} where the session runs {expected:08x}"
            ),
            Self::Input { index, found } => {
                write!(f, "input byte {index} is {found}; inputs are 0..=127")
            }
            Self::ArtifactChanged => write!(f, "the artifact changed after it was parsed"),
        }
    }
}

impl core::error::Error for InferError {}

/// A model and the RAM that it works in.
#[derive(Debug)]
pub struct Session<'m, 'a> {
    model: Model<'m>,
    arena: &'a mut [u8],
}

impl<'m, 'a> Session<'m, 'a> {
    /// Takes `arena`, usually a static [`Arena`], for `model`.
    ///
    /// # Errors
    /// [`ArenaError`] with the bytes needed.
    pub fn new(
        model: Model<'m>,
        arena: &'a mut (impl AsMut<[u8]> + ?Sized),
    ) -> Result<Self, ArenaError> {
        let arena = arena.as_mut();
        let (need, have) = (model.arena_bytes(), arena.len());
        let arena = arena.get_mut(..need).ok_or(ArenaError::TooSmall { need, have })?;
        if arena.as_ptr().align_offset(plan::ALIGNMENT as usize) != 0 {
            return Err(ArenaError::Unaligned);
        }
        Ok(Self { model, arena })
    }

    /// The model that runs here.
    pub fn model(&self) -> &Model<'m> {
        &self.model
    }

    /// The input, in the order `(channel, y, x)`, bytes 0..=127. An inference may use its memory
    /// for other tensors: write it anew before each.
    pub fn input(&mut self) -> &mut [u8] {
        let bytes = self.model.input().elements().unwrap_or(0) as usize;
        let offset = self.model.placement(0).map_or(0, |place| place.offset as usize);
        self.arena.get_mut(offset..offset + bytes).unwrap_or_default()
    }

    /// Runs the model under `task` with the fast kernels of this target.
    ///
    /// # Errors
    /// [`InferError`]; the input is as it was, but after [`InferError::ArtifactChanged`].
    pub fn infer(&mut self, task: Task<'_>) -> Result<Output<'_>, InferError> {
        self.infer_with::<Words>(task)
    }

    /// Runs the model under `task` with the kernels `K`. All kernels give the same bits.
    ///
    /// # Errors
    /// As [`Session::infer`].
    pub fn infer_with<K: Kernels>(&mut self, task: Task<'_>) -> Result<Output<'_>, InferError> {
        self.infer_observed::<K>(task, |_, _| {})
    }

    /// As [`Session::infer_with`], and shows each layer's output to `observe` when it is written.
    /// Logits are four bytes each, in the target's order.
    ///
    /// # Errors
    /// As [`Session::infer_with`].
    pub fn infer_observed<K: Kernels>(
        &mut self,
        task: Task<'_>,
        mut observe: impl FnMut(&Step<'_>, Source<'_>),
    ) -> Result<Output<'_>, InferError> {
        let (found, expected) = (task.fingerprint(), self.model.fingerprint());
        if found != expected {
            return Err(InferError::OtherBackbone { found, expected });
        }
        let (found, expected) = (task.file(), self.model.checksum);
        if found != expected {
            return Err(InferError::OtherFile { found, expected });
        }
        let mut input = self.input().iter().enumerate();
        if let Some((index, &found)) = input.find(|&(_, &byte)| byte > MAX_ACTIVATION) {
            return Err(InferError::Input { index, found });
        }
        let mut output = 0;
        let mut layers = 0;
        for op in task.program(&self.model) {
            self.run::<K>(&op).ok_or(InferError::ArtifactChanged)?;
            output = op.step.layer.output();
            let (planes, range) = self.region(output).ok_or(InferError::ArtifactChanged)?;
            observe(&op.step, Source { planes, bytes: self.arena.get(range).unwrap_or_default() });
            layers += 1;
        }
        if layers != self.model.layer_count() {
            return Err(InferError::ArtifactChanged);
        }
        let range = self.region(output).ok_or(InferError::ArtifactChanged)?.1;
        let bytes = self.arena.get(range).unwrap_or_default();
        let tensor = self.model.output();
        let elements = tensor.elements().unwrap_or(0) as usize;
        Ok(match tensor.element {
            Element::Logit => {
                let logits: &[i32] = bytemuck::try_cast_slice(bytes).unwrap_or_default();
                let classes = usize::from(task.classes());
                Output { logits: logits.get(..classes).unwrap_or(logits), activations: &[] }
            }
            Element::Activation => {
                Output { logits: &[], activations: bytes.get(..elements).unwrap_or_default() }
            }
        })
    }

    /// Layout and bytes of a tensor in the arena.
    fn region(&self, id: TensorId) -> Option<(Planes, Range<usize>)> {
        let (tensor, place) = (self.model.tensor(id)?, self.model.placement(id)?);
        let start = place.offset as usize;
        let bytes = storage(&tensor, place.pad)? as usize;
        Some((Planes::new(&tensor, place.pad), start..start + bytes))
    }

    /// Runs one layer; `None` where the artifact no longer is what was checked.
    fn run<K: Kernels>(&mut self, op: &Op<'_>) -> Option<()> {
        let step = &op.step;
        let (input, output) = (step.layer.inputs().0, step.layer.output());
        let (x_planes, x_range) = self.region(input)?;
        let (y_planes, y_range) = self.region(output)?;
        match &step.layer {
            Layer::Add(add) if Family::Add.is_linked() => {
                return self.add(add, x_planes, x_range, y_planes, y_range);
            }
            Layer::Relayout(_) if x_range == y_range => return Some(()),
            _ => {}
        }
        let (x, y, scratch) = self.split(step, x_range, y_range)?;
        let x = Source { planes: x_planes, bytes: x };
        match (&step.layer, &op.learned) {
            (Layer::Dense(dense), Some((weights, epilogue))) => {
                let target = match step.output.element {
                    Element::Logit => Target::Logits(bytemuck::try_cast_slice_mut(y).ok()?),
                    Element::Activation => Target::Activations { low: dense.range.low(), bytes: y },
                };
                K::dense(weights, epilogue, x.bytes, target, scratch);
            }
            (Layer::Conv2d(conv), Some((weights, epilogue))) => {
                let y = halo_filled(y_planes, y);
                K::conv2d(weights, epilogue, conv.range.low(), &conv.window, x, y, scratch);
            }
            (Layer::Depthwise(conv), Some((weights, epilogue)))
                if Family::Depthwise.is_linked() =>
            {
                let y = halo_filled(y_planes, y);
                K::depthwise(weights, epilogue, conv.range.low(), &conv.window, x, y, scratch);
            }
            (Layer::Pool(pool), _) if Family::Pool.is_linked() => {
                K::pool(pool, x, halo_filled(y_planes, y))
            }
            (Layer::Relayout(_), _) => relayout(x, halo_filled(y_planes, y)),
            _ => return None,
        }
        Some(())
    }

    /// Disjoint borrows of input, output and scratch.
    fn split(
        &mut self,
        step: &Step<'_>,
        x: Range<usize>,
        y: Range<usize>,
    ) -> Option<(&[u8], &mut [u8], &mut [u32])> {
        let start = step.scratch as usize;
        let bytes = usize::try_from(step.layer.scratch(&step.input, &step.output)).ok()?;
        if bytes == 0 {
            let [x, y] = self.arena.get_disjoint_mut([x, y]).ok()?;
            return Some((x, y, &mut []));
        }
        let scratch = start..start.checked_add(bytes)?;
        let [x, y, scratch] = self.arena.get_disjoint_mut([x, y, scratch]).ok()?;
        Some((x, y, bytemuck::try_cast_slice_mut(scratch).ok()?))
    }

    fn add(
        &mut self,
        add: &Add,
        x_planes: Planes,
        x_range: Range<usize>,
        y_planes: Planes,
        y_range: Range<usize>,
    ) -> Option<()> {
        let (right_planes, right_range) = self.region(add.right)?;
        let (scales, shift) = add.fixed_point()?;
        let sum = |left: u8, right: u8| {
            let product =
                i64::from(left) * i64::from(scales[0]) + i64::from(right) * i64::from(scales[1]);
            Affine { scale: 0, shift }.after(product, add.low)
        };
        if x_range == y_range {
            let [right, y] = self.arena.get_disjoint_mut([right_range, y_range]).ok()?;
            for_rows(&y_planes, |c, row| {
                let right = right_planes.row(right, c, row);
                let y = y_planes.row_mut(y, c, row);
                y.iter_mut().zip(right).for_each(|(y, &right)| *y = sum(*y, right));
            });
            y_planes.fill_halo(y);
            return Some(());
        }
        // Left and right may be the same tensor, so that only the output is borrowed apart.
        let (before, rest) = self.arena.split_at_mut_checked(y_range.start)?;
        let (y, after) = rest.split_at_mut_checked(y_range.len())?;
        let at = |range: Range<usize>| match range.start.checked_sub(y_range.end) {
            Some(start) => after.get(start..start + range.len()),
            None => before.get(range),
        };
        let (left, right) = (at(x_range)?, at(right_range)?);
        let y = halo_filled(y_planes, y);
        for_rows(&y_planes, |c, row| {
            let (left, right) = (x_planes.row(left, c, row), right_planes.row(right, c, row));
            let y = y_planes.row_mut(y.bytes, c, row);
            y.iter_mut().zip(left.iter().zip(right)).for_each(|(y, (&l, &r))| *y = sum(l, r));
        });
        Some(())
    }
}

fn for_rows(planes: &Planes, mut each: impl FnMut(usize, usize)) {
    for channel in 0..planes.channels {
        for row in 0..planes.height {
            each(channel, row);
        }
    }
}

fn halo_filled(planes: Planes, bytes: &mut [u8]) -> Sink<'_> {
    planes.fill_halo(bytes);
    Sink { planes, bytes }
}

/// Copies element by element in the order `(channel, y, x)`.
fn relayout(x: Source<'_>, y: Sink<'_>) {
    let same_shape = x.planes.width == y.planes.width && x.planes.height == y.planes.height;
    let mut flat = 0;
    for_rows(&x.planes, |channel, row| {
        let from = x.planes.row(x.bytes, channel, row);
        let to = if same_shape {
            Some(y.planes.row_mut(y.bytes, channel, row))
        } else {
            y.bytes.get_mut(flat..flat + from.len())
        };
        flat += from.len();
        if let Some(to) = to {
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
        }
    });
}

/// What the last layer gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Output<'s> {
    logits: &'s [i32],
    activations: &'s [u8],
}

impl<'s> Output<'s> {
    /// Bytes 0..=127 in the order `(channel, y, x)`, where the last layer gives activations; else
    /// none.
    pub fn activations(&self) -> &'s [u8] {
        self.activations
    }

    /// One number a class, Q16; none where the last layer gives activations.
    pub fn logits(&self) -> &'s [i32] {
        self.logits
    }

    /// Index of the largest logit; of equal ones the first.
    pub fn argmax(&self) -> usize {
        let mut best = 0;
        for (class, &logit) in self.logits.iter().enumerate() {
            if self.logits.get(best).is_some_and(|&most| logit > most) {
                best = class;
            }
        }
        best
    }
}
