//! `seedmask eval`: accuracy on test images, as the device would have it.

use clap::Args;
use serde::Serialize;

use super::Failure;
use super::output::{Output, thousands};
use super::select::{Selection, TestData};
use crate::evaluate::evaluate;

/// Tell how many test images are classified right, computed as on the device
#[derive(Debug, Args)]
pub struct Eval {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    data: TestData,
    /// Only the first N images
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Report<'a> {
    task: &'a str,
    set: &'a str,
    /// 0..=1.
    accuracy: f64,
    correct: usize,
    images: usize,
    /// Of the file that holds the backbone.
    artifact_bytes: usize,
    patch_bytes: Option<usize>,
}

impl Eval {
    pub fn execute(&self, output: &mut Output) -> Result<(), Failure> {
        let files = self.selection.read()?;
        let model = files.base.model()?;
        for task in self.selection.tasks(&files, &model)? {
            let mut images = self.data.load_labelled(&model, &task)?;
            if let Some(limit) = self.limit {
                images = images.slice(0..limit.min(images.len()));
            }
            let score = evaluate(&model, task, &images)?;
            let report = Report {
                task: task.name(),
                set: self.data.name(&task),
                accuracy: score.accuracy(),
                correct: score.correct,
                images: score.images,
                artifact_bytes: files.base.bytes.len(),
                patch_bytes: files.patch.as_ref().map(|patch| patch.bytes.len()),
            };
            output.report(&report, |report| text(report, &self.data.told(&task)))?;
        }
        Ok(())
    }
}

/// `set` as people are told it.
fn text(report: &Report, set: &str) -> String {
    let Report { task, accuracy, correct, images, .. } = report;
    let mut text = format!(
        "{task}: {:.2} % right ({} of {} test images of {set}), {} bytes",
        100.0 * accuracy,
        thousands(*correct as u64),
        thousands(*images as u64),
        thousands(report.artifact_bytes as u64)
    );
    if let Some(bytes) = report.patch_bytes {
        text.push_str(&format!(" and a patch of {}", thousands(bytes as u64)));
    }
    text + "\n"
}
