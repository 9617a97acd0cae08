//! `seedmask run`: what the device would say about single images.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use seedmask::Session;
use seedmask::artifact::{Model, Task};
use serde::Serialize;

use super::output::Output;
use super::select::{Selection, TestData};
use super::{Failure, image};
use crate::evaluate::{EvaluateError, HostArena, size};

/// Classify single images, from files or of a data set, and show class and logits
#[derive(Debug, Args)]
#[command(override_usage = "seedmask run [OPTIONS] <FILE> <IMAGE>...\n       \
                            seedmask run [OPTIONS] <FILE> --index <N>,...")]
#[command(group = ArgGroup::new("what").args(["images", "index"]).required(true).multiple(true))]
pub struct Run {
    #[command(flatten)]
    selection: Selection,
    /// Image files of the size that the model reads: binary PGM or PPM, or nothing but camera bytes,
    /// channel by channel and row by row
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Test images of the data set by number, the first is 0: `7` or `3,7`; instead of IMAGE, or beside it
    #[arg(long, value_name = "N", value_delimiter = ',')]
    index: Vec<usize>,
    #[command(flatten)]
    data: TestData,
}

#[derive(Serialize)]
struct Report<'a> {
    task: &'a str,
    image: String,
    /// None where the last layer gives activations.
    class: Option<usize>,
    label: Option<&'a str>,
    /// Of a test image: its class.
    expected: Option<u8>,
    /// In units of 2⁻¹⁶.
    logits_q16: Vec<i32>,
    /// Bytes of 0..=127, where the last layer gives no logits.
    activations: Vec<u8>,
}

impl Run {
    pub fn execute(&self, output: &mut Output) -> Result<(), Failure> {
        let files = self.selection.read()?;
        let model = files.base.model()?;
        let mut arena = HostArena::new(&model)?;
        let expected = size(&model.input());
        for task in self.selection.tasks(&files, &model)? {
            for path in &self.images {
                let pixels = image::read(path, expected)?;
                let name = path.display().to_string();
                let report = infer(&model, task, &mut arena, name, &pixels, None)?;
                output.report(&report, |report| text(report, &task))?;
            }
            if self.index.is_empty() {
                continue;
            }
            let images = self.data.load_labelled(&model, &task)?;
            let found = [images.channels, images.height, images.width];
            if found != expected {
                return Err(EvaluateError::ImageSize { found, expected }.into());
            }
            let set = self.data.name(&task);
            for &index in &self.index {
                if index >= images.len() {
                    return Err(Failure::Input(format!(
                        "{set}: no test image {index}; there are {}",
                        images.len()
                    )));
                }
                let (pixels, class) = (images.image(index), images.labels[index]);
                let name = format!("{set} {index}");
                let report = infer(&model, task, &mut arena, name, pixels, Some(class))?;
                output.report(&report, |report| text(report, &task))?;
            }
        }
        Ok(())
    }
}

fn infer<'a>(
    model: &Model,
    task: Task<'a>,
    arena: &mut HostArena,
    image: String,
    pixels: &[u8],
    expected: Option<u8>,
) -> Result<Report<'a>, EvaluateError> {
    let mut session = Session::new(*model, arena)?;
    session.input().copy_from_slice(pixels);
    let result = session.infer(task)?;
    let class = (!result.logits().is_empty()).then(|| result.argmax());
    Ok(Report {
        task: task.name(),
        image,
        class,
        label: class.and_then(|class| task.labels().nth(class)),
        expected,
        logits_q16: result.logits().to_vec(),
        activations: result.activations().to_vec(),
    })
}

fn text(report: &Report, task: &Task) -> String {
    let Some(class) = report.class else {
        let bytes: Vec<String> = report.activations.iter().map(u8::to_string).collect();
        return format!("{}, {}: activations\n  {}\n", report.image, report.task, bytes.join(" "));
    };
    let name = |class: usize| match task.labels().nth(class) {
        Some(label) => format!("{label} ({class})"),
        None => format!("class {class}"),
    };
    let mut text = format!("{}, {}: {}", report.image, report.task, name(class));
    if let Some(expected) = report.expected {
        let verdict = if usize::from(expected) == class { "right" } else { "wrong" };
        text.push_str(&format!("; {verdict}, it is {}", name(expected.into())));
    }
    text.push_str("\n  logits");
    for &logit in &report.logits_q16 {
        text.push_str(&format!(" {:.3}", f64::from(logit) / 65_536.0));
    }
    text + "\n"
}
