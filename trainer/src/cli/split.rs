//! `seedmask split`: a task of a file as a patch of its own.

use std::path::PathBuf;

use clap::Args;
use seedmask::artifact::write::{self, Learned, LearnedMask};
use seedmask::artifact::{Model, Task};
use serde::Serialize;

use super::Failure;
use super::file::{self, ArtifactFile};
use super::output::{Output, thousands};
use super::select::no_task;

/// Take a task out of an artifact as a patch; no byte of the backbone is in it
#[derive(Debug, Args)]
pub struct Split {
    /// The artifact
    file: PathBuf,
    /// The name of the task
    #[arg(long, value_name = "NAME")]
    task: String,
    /// The new patch
    #[arg(short, long, value_name = "P.smk")]
    output: PathBuf,
    /// Also write the artifact without the task
    #[arg(long, value_name = "F.smk")]
    rest: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    task: String,
    patch: PathBuf,
    patch_bytes: usize,
    rest: Option<PathBuf>,
    rest_bytes: Option<usize>,
}

impl Split {
    pub fn execute(&self, output: &mut Output) -> Result<(), Failure> {
        file::check_outputs(
            &[("--output", Some(&self.output)), ("--rest", self.rest.as_deref())],
            &[("the artifact", Some(&self.file))],
        )?;
        let file = ArtifactFile::read(&self.file)?;
        let model = file.model()?;
        let there: Vec<Task> = model.tasks().collect();
        let Some(index) = there.iter().position(|task| task.name() == self.task) else {
            return Err(no_task(&self.file, &self.task, &there));
        };
        let mut tasks: Vec<_> = there.iter().map(|task| write::learned(&model, task)).collect();
        let fault = |error: write::WriteError| Failure::Input(error.to_string());

        let rest = self.rest.as_ref().map(|path| {
            let task = take(&mut tasks, index);
            let bytes = write::artifact(&write::backbone(&model), &tasks).map_err(fault)?;
            let patch = write::patch(&parsed(&bytes)?, &task).map_err(fault)?;
            Ok::<_, Failure>((path, bytes, patch))
        });
        let (patch, rest) = match rest.transpose()? {
            Some((path, bytes, patch)) => (patch, Some((path, bytes))),
            None => (write::patch(&model, &tasks[index]).map_err(fault)?, None),
        };
        file::write(&self.output, &patch)?;
        if let Some((path, bytes)) = &rest {
            file::write(path, bytes)?;
        }
        let report = Report {
            task: self.task.clone(),
            patch: self.output.clone(),
            patch_bytes: patch.len(),
            rest_bytes: rest.as_ref().map(|(_, bytes)| bytes.len()),
            rest: self.rest.clone(),
        };
        output.report(&report, text)?;
        Ok(())
    }
}

fn parsed(bytes: &[u8]) -> Result<Model<'_>, Failure> {
    Model::parse(bytes).map_err(|error| Failure::Input(error.to_string()))
}

/// Takes task `index` out. Where others share its masks, the first of them gets its own copy and
/// the others share that; indices of the tasks behind it are one less.
fn take(tasks: &mut Vec<Learned>, index: usize) -> Learned {
    let task = tasks.remove(index);
    for (layer, own) in task.layers.iter().enumerate() {
        let mut heir = None;
        for (place, other) in tasks.iter_mut().enumerate() {
            let LearnedMask::SameAs(target) = other.layers[layer].mask else { continue };
            other.layers[layer].mask = match (usize::from(target), heir) {
                (target, None) if target == index => {
                    heir = Some(place);
                    own.mask.clone()
                }
                (target, Some(heir)) if target == index => LearnedMask::SameAs(heir as u16),
                (target, _) => LearnedMask::SameAs((target - usize::from(target > index)) as u16),
            };
        }
    }
    shifted(task, index)
}

/// The task as a patch for the file without it.
fn shifted(mut task: Learned, index: usize) -> Learned {
    for layer in &mut task.layers {
        if let LearnedMask::SameAs(target) = &mut layer.mask {
            *target -= u16::from(usize::from(*target) > index);
        }
    }
    task
}

fn text(report: &Report) -> String {
    let bytes = |bytes| thousands(bytes as u64);
    let mut text = format!("{}: {} bytes\n", report.patch.display(), bytes(report.patch_bytes));
    if let (Some(rest), Some(size)) = (&report.rest, report.rest_bytes) {
        text.push_str(&format!("{}: {} bytes\n", rest.display(), bytes(size)));
    }
    text
}
