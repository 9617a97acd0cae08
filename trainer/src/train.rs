//! The training loop: tasks one after the other over one backbone.

mod run;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::checkpoint::{self, CheckpointError};
use crate::data::{self, DataError, Split};
use crate::nn::loss::Outcome;
use crate::recipe::{Recipe, TaskOptions};
use crate::trained::Trained;

use run::TaskRun;

/// Where a training reads and writes, and how it is stopped.
#[derive(Default)]
pub struct Options<'a> {
    /// The folder that the user named for data sets.
    pub data: Option<&'a Path>,
    /// Where the state is saved after every epoch and when stopped.
    pub checkpoint: Option<&'a Path>,
    /// Whether to go on from the checkpoint, which must be there.
    pub resume: bool,
    /// Set by another thread (or a signal handler) to stop after the present step.
    pub stop: Option<&'a AtomicBool>,
}

/// What a training tells while it runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A step was done.
    Step(Progress),
    /// An epoch was done; with the accuracy on the images held out, if any are.
    Epoch(Progress, Option<Outcome>),
    /// A task was done; with the accuracy of its floating-point twin on the test images.
    Task {
        /// The task.
        name: String,
        /// Epochs trained.
        epochs: usize,
        /// Loss and accuracy on the test images.
        test: Outcome,
    },
}

/// How far a task is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The task's name.
    pub task: String,
    /// Its place among the tasks and their number.
    pub place: [usize; 2],
    /// The present epoch, from 1, and their number.
    pub epoch: [usize; 2],
    /// Steps done of this task and their number.
    pub step: [u64; 2],
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Accuracy on the training images of the epoch so far, 0..=1.
    pub accuracy: f64,
    /// Images learned from per second since the training was started or resumed.
    pub images_per_second: f64,
    /// Seconds left for this task at that speed.
    pub seconds_left: f64,
}

/// How a training ended.
#[derive(Debug)]
#[must_use]
pub enum Ending {
    /// With every task learned.
    Complete(Box<Trained>),
    /// By the stop flag; the state is in the checkpoint if one was asked for.
    Stopped,
}

/// Why a training failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Images could not be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The state could not be saved or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// `resume` without a checkpoint.
    #[error("nothing to resume from: no checkpoint was named")]
    NoCheckpoint,
    /// More images are held out than there are.
    #[error(
        "`train.early_stop.held_out` is {held_out}, expected less than the {images} training images of {data}"
    )]
    HeldOut {
        /// Images to hold out.
        held_out: usize,
        /// Images there are.
        images: usize,
        /// The data set.
        data: String,
    },
    /// A batch is larger than the training set.
    #[error("`train.batch` is {batch}, expected at most the {images} training images of {data}")]
    Batch {
        /// Images of a batch.
        batch: usize,
        /// Images there are.
        images: usize,
        /// The data set.
        data: String,
    },
    /// The loss is no longer a number.
    #[error("task {task}: the loss is {loss} after {step} steps; a lower learning rate helps")]
    Diverged {
        /// The task.
        task: String,
        /// Steps done.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// A task without images to learn from.
    #[error(
        "task {task} names no data set, so there is nothing to train on; `seedmask build` makes \
         its network with random masks"
    )]
    NoData {
        /// The task.
        task: String,
    },
    /// A task takes over a mask that is not learned before it.
    #[error("task {task}: takes over the mask of {share}, which must be trained before it")]
    ShareOrder {
        /// The task.
        task: String,
        /// The task whose mask it wants.
        share: String,
    },
}

/// The data set that a task learns from.
///
/// # Errors
/// [`TrainError::NoData`].
pub fn data_of(task: &TaskOptions) -> Result<&str, TrainError> {
    task.data.as_deref().ok_or_else(|| TrainError::NoData { task: task.name.clone() })
}

/// Trains every task of `recipe`; `report` is told what happens.
///
/// # Errors
/// [`TrainError`]. The last checkpoint stays usable.
pub fn train(
    recipe: &Recipe,
    options: &Options<'_>,
    report: &mut dyn FnMut(Event),
) -> Result<Ending, TrainError> {
    let mut resumed = match (options.resume, options.checkpoint) {
        (true, None) => return Err(TrainError::NoCheckpoint),
        (true, Some(path)) => Some(checkpoint::load(path, recipe)?),
        (false, _) => None,
    };
    let mut finished = resumed.as_ref().map_or(Vec::new(), |state| state.finished.clone());
    // A later task's fault is to appear now, not after hours.
    for index in finished.len()..recipe.tasks.len() {
        run::images(recipe, index, options)?;
        data::load(data_of(&recipe.tasks[index])?, Split::Test, options.data)?;
    }
    while finished.len() < recipe.tasks.len() {
        let mut run = TaskRun::new(recipe, finished, options, resumed.take())?;
        if !run.learn(report)? {
            return Ok(Ending::Stopped);
        }
        finished = run.finish(report)?;
    }
    let recipe = recipe.clone();
    Ok(Ending::Complete(Box::new(Trained { recipe, tasks: finished })))
}
