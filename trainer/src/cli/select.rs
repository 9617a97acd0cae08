//! The artifact, the patch and the tasks that a command line names.

use std::path::{Path, PathBuf};

use clap::Args;
use seedmask::artifact::{Model, Task};

use super::Failure;
use super::file::ArtifactFile;
use crate::data::{self, DataError, Images, Split};
use crate::evaluate::check_classes;

/// Which tasks to run.
#[derive(Debug, Args)]
pub struct Selection {
    /// The artifact with the backbone
    pub file: PathBuf,
    /// Only this task [default: the patch's, or else all]
    #[arg(long, value_name = "NAME")]
    pub task: Option<String>,
    /// A patch that brings another task
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
    /// The folder that holds the data set's files [default: see `seedmask data list`]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The data set [default: the one that is called as the task]
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
            None => format!("{name}, the data set called as the task"),
        }
    }

    /// The test images for a task, whose classes are the task's.
    pub fn load_labelled(&self, task: &Task) -> Result<Images, Failure> {
        let images = self.load(task)?;
        check_classes(*task, &images).map_err(|error| {
            Failure::Input(format!("{}: {error}; --set names another", self.told(task)))
        })?;
        Ok(images)
    }

    /// The test images for a task, whatever their classes.
    pub fn load(&self, task: &Task) -> Result<Images, Failure> {
        let images = data::load(self.name(task), Split::Test, self.data.as_deref());
        images.map_err(|error| match error {
            DataError::UnknownName { found, known } if self.set.is_none() => {
                Failure::Input(format!(
                    "no data set is called as task `{found}`; name one with --set: {}",
                    known.join(", ")
                ))
            }
            error => error.into(),
        })
    }
}
