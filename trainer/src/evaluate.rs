//! Artifacts on this computer: the runtime itself, over many images at once.

use rayon::prelude::*;
use seedmask::artifact::{Model, Task};
use seedmask::layer::{Element, Tensor};
use seedmask::{ArenaError, InferError, Session};

use crate::data::Images;

/// The largest arena that is allocated here. A microcontroller's is a thousandth of it; a file that
/// asks for more is not one that was made for use.
pub const MAX_ARENA: usize = 256 << 20;

/// The most weights that are written out one by one.
pub const MAX_WEIGHTS: u64 = 1 << 26;

/// Why a model could not be run on images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// Images of another size than the model's input.
    #[error("images of {}×{}×{} bytes, but the model reads {}×{}×{}",
        found[0], found[1], found[2], expected[0], expected[1], expected[2])]
    ImageSize {
        /// Channels, rows, columns of the images.
        found: [usize; 3],
        /// Channels, rows, columns of the input.
        expected: [usize; 3],
    },
    /// A model whose output is not logits.
    #[error("the model's last layer gives activations, which tell no class")]
    NoLogits,
    /// A data set with more classes than the task.
    #[error("images of {found} classes, but the task knows {expected}")]
    Classes {
        /// Classes of the data set.
        found: usize,
        /// Classes of the task.
        expected: usize,
    },
    /// A data set whose classes are called otherwise than the task's.
    #[error(
        "class {class} of the images is called `{found}`, but `{expected}` in task `{task}`: they \
         are not images for this task"
    )]
    Label {
        /// The task's name.
        task: String,
        /// The first class whose names differ.
        class: usize,
        /// Its name in the data set.
        found: String,
        /// Its name in the task.
        expected: String,
    },
    /// An arena beyond [`MAX_ARENA`].
    #[error("the model asks for an arena of {found} bytes; at most {MAX_ARENA} are given here")]
    ArenaTooLarge {
        /// Bytes asked for.
        found: usize,
    },
    /// More weights than [`MAX_WEIGHTS`].
    #[error("the model has {found} weights; at most {MAX_WEIGHTS} are written out here")]
    TooManyWeights {
        /// Weights of all layers.
        found: u64,
    },
    /// The session could not begin.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// The session could not infer.
    #[error(transparent)]
    Infer(#[from] InferError),
}

/// RAM of sessions on this computer.
#[derive(Debug, Clone)]
pub struct HostArena(Vec<u32>);

impl HostArena {
    /// As many bytes as `model` needs.
    ///
    /// # Errors
    /// [`EvaluateError::ArenaTooLarge`].
    pub fn new(model: &Model) -> Result<Self, EvaluateError> {
        match model.arena_bytes() {
            bytes @ ..=MAX_ARENA => Ok(Self(vec![0; bytes.div_ceil(4)])),
            found => Err(EvaluateError::ArenaTooLarge { found }),
        }
    }
}

impl AsMut<[u8]> for HostArena {
    fn as_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// How many images were classified, and how many of them rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// Images whose class was found.
    pub correct: usize,
    /// All images.
    pub images: usize,
}

impl Score {
    /// The fraction found, 0..=1; 0 of no images.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }
}

/// The weights of all layers, at most [`MAX_WEIGHTS`].
///
/// # Errors
/// [`EvaluateError::TooManyWeights`].
pub fn count_weights(model: &Model) -> Result<u64, EvaluateError> {
    let weights = model.steps().filter_map(|step| step.weights).map(|weights| weights.len());
    match weights.sum() {
        found @ ..=MAX_WEIGHTS => Ok(found),
        found => Err(EvaluateError::TooManyWeights { found }),
    }
}

/// Channels, rows and columns of a tensor.
pub fn size(tensor: &Tensor) -> [usize; 3] {
    [tensor.channels, tensor.height, tensor.width].map(usize::from)
}

/// Whether the classes of `images` are those of `task`. A class that the task has no name for may
/// be called anything.
///
/// # Errors
/// [`EvaluateError::Classes`], [`EvaluateError::Label`].
pub fn check_classes(task: Task, images: &Images) -> Result<(), EvaluateError> {
    let (found, expected) = (images.classes.len(), usize::from(task.classes()));
    if found > expected {
        return Err(EvaluateError::Classes { found, expected });
    }
    let mut names = images.classes.iter().zip(task.labels()).enumerate();
    match names.find(|(_, (found, expected))| found != expected) {
        None => Ok(()),
        Some((class, (found, expected))) => Err(EvaluateError::Label {
            task: task.name().to_owned(),
            class,
            found: found.clone(),
            expected: expected.to_owned(),
        }),
    }
}

/// Classifies `images` under `task` as a device does, on all threads of the current pool.
///
/// # Errors
/// [`EvaluateError`] where images and model do not fit each other.
pub fn evaluate(model: &Model, task: Task, images: &Images) -> Result<Score, EvaluateError> {
    let (found, expected) = ([images.channels, images.height, images.width], size(&model.input()));
    if found != expected {
        return Err(EvaluateError::ImageSize { found, expected });
    }
    if model.output().element != Element::Logit {
        return Err(EvaluateError::NoLogits);
    }
    check_classes(task, images)?;
    let arena = HostArena::new(model)?;
    let is_right = |arena: &mut HostArena, index: usize| -> Result<usize, EvaluateError> {
        let mut session = Session::new(*model, arena)?;
        session.input().copy_from_slice(images.image(index));
        let class = session.infer(task)?.argmax();
        Ok(usize::from(class == usize::from(images.labels[index])))
    };
    let correct = (0..images.len())
        .into_par_iter()
        .map_init(|| arena.clone(), is_right)
        .try_reduce(|| 0, |a, b| Ok(a + b))?;
    Ok(Score { correct, images: images.len() })
}
