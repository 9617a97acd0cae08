//! `seedmask pack`: several tasks in one file.

use std::path::PathBuf;

use clap::Args;
use seedmask::artifact::write::{self, LearnedMask};
use serde::Serialize;

use super::Failure;
use super::file::{self, ArtifactFile};
use super::output::{Output, thousands};

/// Put patches into the artifact that they are for
#[derive(Debug, Args)]
pub struct Pack {
    /// The artifact with the backbone
    base: PathBuf,
    /// Patches for it
    #[arg(required = true)]
    patches: Vec<PathBuf>,
    /// The new artifact
    #[arg(short, long, value_name = "F.smk")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    bytes: usize,
    tasks: Vec<String>,
    /// Masks that are another task's and stored once.
    masks_shared: usize,
}

impl Pack {
    pub fn execute(&self, output: &mut Output) -> Result<(), Failure> {
        // In place of the base is where one may want it; a patch would be lost.
        let patches: Vec<_> = self.patches.iter().map(|p| ("a patch", Some(p.as_path()))).collect();
        file::check_outputs(&[("--output", Some(&self.output))], &patches)?;
        let base = ArtifactFile::read(&self.base)?;
        let model = base.model()?;
        let mut tasks: Vec<_> = model.tasks().map(|task| write::learned(&model, &task)).collect();
        for path in &self.patches {
            let patch = ArtifactFile::read(path)?;
            let task = write::learned(&model, &patch.patch(&model)?);
            if tasks.iter().any(|other| other.name == task.name) {
                return Err(Failure::Input(format!(
                    "{}: task `{}` is there already; names must differ",
                    path.display(),
                    task.name
                )));
            }
            tasks.push(task);
        }
        let masks_shared = share_masks(&mut tasks);
        let bytes = write::artifact(&write::backbone(&model), &tasks)
            .map_err(|error| Failure::Input(error.to_string()))?;
        file::write(&self.output, &bytes)?;
        let tasks = tasks.into_iter().map(|task| task.name).collect();
        let report = Report { file: self.output.clone(), bytes: bytes.len(), tasks, masks_shared };
        output.report(&report, text)?;
        Ok(())
    }
}

/// Replaces every mask that an earlier task has for the same layer, where that saves bytes.
/// Returns how many.
fn share_masks(tasks: &mut [write::Learned]) -> usize {
    let mut count = 0;
    for later in 1..tasks.len() {
        let (before, after) = tasks.split_at_mut(later);
        for (layer, learned) in after[0].layers.iter_mut().enumerate() {
            // A reference takes twelve bytes of the sections.
            let worth_it =
                matches!(&learned.mask, LearnedMask::Own { bytes, .. } if bytes.len() > 16);
            let same = before.iter().position(|task| task.layers[layer].mask == learned.mask);
            if let Some(task) = same.filter(|_| worth_it) {
                learned.mask = LearnedMask::SameAs(task as u16);
                count += 1;
            }
        }
    }
    count
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{}: {} bytes, tasks {}",
        report.file.display(),
        thousands(report.bytes as u64),
        report.tasks.join(", ")
    );
    if report.masks_shared > 0 {
        text.push_str(&format!("; {} masks stored once for several tasks", report.masks_shared));
    }
    text + "\n"
}
