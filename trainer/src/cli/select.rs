//! The artifact, the patch and the tasks that a command line names.

use std::path::{Path, PathBuf};

use clap::Args;
use seedmask::artifact::{Model, Task};

use super::Failure;
use super::file::ArtifactFile;
use crate::data::catalog::{self, Entry};
use crate::data::{self, DataError, Images, Split, locate};
use crate::evaluate::{check_classes, size};

/// Which tasks to run.
#[derive(Debug, Args)]
pub struct Selection {
    /// The artifact, as `train`, `build` and `pack` write it
    pub file: PathBuf,
    /// Only the task of this name [default: the patch's, or without a patch all]
    #[arg(long, value_name = "NAME")]
    pub task: Option<String>,
    /// A patch for the artifact: its task is there too
    #[arg(long, value_name = "P.smk")]
    pub patch: Option<PathBuf>,
}

/// The files named, read.
pub struct Files {
    /// The artifact.
    pub base: ArtifactFile,
    /// The patch.
    pub patch: Option<ArtifactFile>,
}

impl Selection {
    /// Reads the files.
    pub fn read(&self) -> Result<Files, Failure> {
        let patch = self.patch.as_deref().map(ArtifactFile::read).transpose()?;
        Ok(Files { base: ArtifactFile::read(&self.file)?, patch })
    }

    /// The tasks chosen; at least one.
    pub fn tasks<'a>(&self, files: &'a Files, model: &Model<'a>) -> Result<Vec<Task<'a>>, Failure> {
        let patch = files.patch.as_ref().map(|patch| patch.patch(model)).transpose()?;
        let there: Vec<Task> = match (patch, &self.task) {
            (Some(patch), None) => return Ok(vec![patch]),
            (patch, _) => patch.into_iter().chain(model.tasks()).collect(),
        };
        let file = self.file.display();
        if there.is_empty() {
            let message = format!("{file}: holds no task; name a patch with --patch");
            return Err(Failure::Input(message));
        }
        let Some(name) = &self.task else { return Ok(there) };
        match there.iter().find(|task| task.name() == name) {
            Some(task) => Ok(vec![*task]),
            None => Err(no_task(&self.file, name, &there)),
        }
    }
}

/// The fault of naming a task that is not there.
pub fn no_task(file: &Path, name: &str, there: &[Task]) -> Failure {
    let known: Vec<&str> = there.iter().map(Task::name).collect();
    Failure::Input(format!("{}: no task `{name}`; it has: {}", file.display(), known.join(", ")))
}

/// Test images for tasks.
#[derive(Debug, Args)]
pub struct TestData {
    /// The folder that holds the data set's files [default: as `seedmask data list` finds it]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The data set whose test images to take [default: the one of the task's name]
    #[arg(long, value_name = "NAME")]
    pub set: Option<String>,
}

impl TestData {
    /// The data set for a task.
    pub fn name<'a>(&'a self, task: &Task<'a>) -> &'a str {
        self.set.as_deref().unwrap_or(task.name())
    }

    /// As `name`, for people: says so where the data set was only guessed.
    pub fn told(&self, task: &Task) -> String {
        let name = self.name(task);
        match self.set {
            Some(_) => name.to_owned(),
            None => format!("{name}, the data set of the task's name"),
        }
    }

    /// The test images for a task of `model`, or for a patch to it, whose classes are the task's.
    pub fn load_labelled(&self, model: &Model, task: &Task) -> Result<Images, Failure> {
        let images = self.load(model, task)?;
        check_classes(*task, &images).map_err(|error| {
            Failure::Input(format!("{}: {error}; --set names another", self.told(task)))
        })?;
        Ok(images)
    }

    /// The test images for a task of `model`, or for a patch to it, whatever their classes.
    pub fn load(&self, model: &Model, task: &Task) -> Result<Images, Failure> {
        let folder = self.data.as_deref();
        data::load(self.name(task), Split::Test, folder).map_err(|error| match error {
            DataError::UnknownName { found, .. } if self.set.is_none() => Failure::Input(format!(
                "no data set has the name of task `{found}`; {}",
                sets_of_size(size(&model.input()))
            )),
            DataError::Missing { .. } if self.set.is_none() => {
                let has_data = |task: &Task| {
                    catalog::entry(task.name()).is_ok_and(|it| locate::find(it, folder).is_ok())
                };
                let message = match model.tasks().find(has_data) {
                    Some(other) => format!("{error}; `--task {}` has its data", other.name()),
                    None => error.to_string(),
                };
                Failure::Input(message)
            }
            error => error.into(),
        })
    }
}

/// Which data sets --set can name for a network that reads images of this size.
fn sets_of_size([channels, height, width]: [usize; 3]) -> String {
    let fits = |entry: &&Entry| channels == 1 && entry.set.size == [height, width];
    let names: Vec<&str> = catalog::ENTRIES.iter().filter(fits).map(|entry| entry.name).collect();
    match names.is_empty() {
        true => format!(
            "none that is known has images of {channels}×{height}×{width}; `seedmask run` takes \
             images from files"
        ),
        false => format!("name one with --set: {}", names.join(", ")),
    }
}
