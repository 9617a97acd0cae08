//! Running a model in a block of RAM that the caller owns.

mod run;

use core::fmt;

use crate::artifact::{Model, Step, Task, Work};
use crate::family::MAPS;
use crate::kernel::{Kernels, Native, Source};
use crate::layer::{Element, MAX_ACTIVATION};
use crate::plan;
use run::Runner;

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
    /// The task was parsed with another file of the same backbone, whose masks it may share, or with
    /// another copy of this one: parse it with the session's model.
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
        let region = self.model.region(0).unwrap_or_default();
        let arena = self.arena.get_mut(region.start as usize..).unwrap_or_default();
        arena.get_mut(..bytes).unwrap_or_default()
    }

    /// Runs the model under `task` with the fast kernels of this target.
    ///
    /// # Errors
    /// [`InferError`]; the input is as it was, but after [`InferError::ArtifactChanged`].
    pub fn infer(&mut self, task: Task<'_>) -> Result<Output<'_>, InferError> {
        self.infer_with::<Native>(task)
    }

    /// Runs the model under `task` with the kernels `K`. All kernels give the same bits.
    ///
    /// # Errors
    /// As [`Session::infer`].
    pub fn infer_with<K: Kernels>(&mut self, task: Task<'_>) -> Result<Output<'_>, InferError> {
        self.run::<K, fn(&Step<'_>, Source<'_>)>(task, None)
    }

    /// As [`Session::infer_with`], and shows each layer's output to `observe` when it is written.
    /// Logits are four bytes each, in the target's order. A convolution that is joined with the sum
    /// behind it (see [`crate::plan`]) is not shown: it never exists as a whole.
    ///
    /// # Errors
    /// As [`Session::infer_with`].
    pub fn infer_observed<K: Kernels>(
        &mut self,
        task: Task<'_>,
        observe: impl FnMut(&Step<'_>, Source<'_>),
    ) -> Result<Output<'_>, InferError> {
        self.run::<K, _>(task, Some(observe))
    }

    fn run<K: Kernels, F: FnMut(&Step<'_>, Source<'_>)>(
        &mut self,
        task: Task<'_>,
        mut observe: Option<F>,
    ) -> Result<Output<'_>, InferError> {
        let (found, expected) = (task.fingerprint(), self.model.fingerprint());
        if found != expected {
            return Err(InferError::OtherBackbone { found, expected });
        }
        if !task.belongs_to(&self.model) {
            let (found, expected) = (task.file(), self.model.checksum);
            return Err(InferError::OtherFile { found, expected });
        }
        if let Some((index, found)) = beyond_activations(self.input()) {
            return Err(InferError::Input { index, found });
        }
        let changed = InferError::ArtifactChanged;
        let mut runner = Runner::new(&self.model, self.arena).ok_or(changed)?;
        let mut layers = 0;
        let mut program = task.program(&self.model);
        let mut work = Work::of_input(&self.model);
        while let Ok(true) = program.advance(&mut work) {
            layers += 1;
            if plan::JOINS && work.joined {
                let conv = work;
                if !program.advance(&mut work).unwrap_or(false) {
                    return Err(changed);
                }
                layers += 1;
                runner.run_joined::<K>(&conv, &work).ok_or(changed)?;
            } else {
                runner.run::<K>(&work).ok_or(changed)?;
            }
            // What has no halo is as the layer wrote it.
            if observe.is_some() || (MAPS && runner.wrote_beside_halo()) {
                let (planes, bytes) = runner.written().ok_or(changed)?;
                planes.fill_halo(bytes);
                if let Some(observe) = &mut observe {
                    observe(&work.step(&self.model), Source { planes, bytes });
                }
            }
        }
        if layers != self.model.layer_count() {
            return Err(changed);
        }
        let bytes = runner.into_written().ok_or(changed)?;
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
}

/// The first byte above [`MAX_ACTIVATION`]. Four words at a time are looked at, as there are many inputs.
fn beyond_activations(input: &[u8]) -> Option<(usize, u8)> {
    let (blocks, rest) = input.as_chunks::<16>();
    let word = |all: u32, word: &[u8; 4]| all | u32::from_ne_bytes(*word);
    let all = blocks.iter().fold(0, |all, block| block.as_chunks().0.iter().fold(all, word));
    if all & 0x8080_8080 == 0 && rest.iter().all(|byte| *byte <= MAX_ACTIVATION) {
        return None;
    }
    let mut bytes = input.iter().copied().enumerate();
    bytes.find(|(_, byte)| *byte > MAX_ACTIVATION)
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
