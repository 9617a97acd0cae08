//! `seedmask verify`: the same activations and logits from everything that can run an artifact
//! here, layer by layer.

use clap::Args;
use seedmask::artifact::Model;
use serde::Serialize;

use super::Failure;
use super::output::{Output, thousands};
use super::select::{Selection, TestData};
use crate::evaluate::{EvaluateError, size};
use crate::random::{Purpose, Stream};
use crate::verify::{Difference, verify};

/// Compare real numbers, plain kernels and fast kernels: every activation and logit
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    selection: Selection,
    /// How many images
    #[arg(long, value_name = "N", default_value_t = 20)]
    images: usize,
    /// Test images instead of random ones
    #[command(flatten)]
    data: TestData,
}

#[derive(Serialize)]
struct Report<'a> {
    task: &'a str,
    /// Where the images came from.
    inputs: &'a str,
    images: usize,
    /// Activations and logits compared.
    values: u64,
    equal: bool,
    difference: Option<Difference>,
}

impl Verify {
    pub fn execute(&self, output: &mut Output) -> Result<(), Failure> {
        let files = self.selection.read()?;
        let model = files.base.model()?;
        let mut differing = Vec::new();
        for task in self.selection.tasks(&files, &model)? {
            let length = model.input().elements().unwrap_or(0) as usize;
            let (inputs, pixels) = if self.data.data.is_some() || self.data.set.is_some() {
                let images = self.data.load(&task)?;
                let found = [images.channels, images.height, images.width];
                let expected = size(&model.input());
                if found != expected {
                    return Err(EvaluateError::ImageSize { found, expected }.into());
                }
                let count = self.images.min(images.len());
                (self.data.name(&task), images.pixels[..count * length].to_vec())
            } else {
                ("random", random_images(&model, self.images))
            };
            let images: Vec<&[u8]> = pixels.chunks_exact(length).collect();
            let comparison = verify(&model, task, images)?;
            let report = Report {
                task: task.name(),
                inputs,
                images: pixels.len() / length,
                values: comparison.values,
                equal: comparison.difference.is_none(),
                difference: comparison.difference,
            };
            output.report(&report, text)?;
            if !report.equal {
                differing.push(task.name());
            }
        }
        match differing.as_slice() {
            [] => Ok(()),
            tasks => Err(Failure::Check(format!("different values in {}", tasks.join(", ")))),
        }
    }
}

/// All dark, all bright, and noise; the same on every computer.
fn random_images(model: &Model, count: usize) -> Vec<u8> {
    let length = model.input().elements().unwrap_or(0) as usize;
    let mut stream = Stream::new(model.seed(), Purpose::Synthetic, 0);
    let mut pixels = vec![0; count * length];
    for (index, image) in pixels.chunks_exact_mut(length).enumerate() {
        match index {
            0 => image.fill(0),
            1 => image.fill(127),
            _ => image.iter_mut().for_each(|byte| *byte = stream.below(128) as u8),
        }
    }
    pixels
}

fn text(report: &Report) -> String {
    let Report { task, inputs, images, values, .. } = report;
    let Some(found) = &report.difference else {
        return format!(
            "{task}: real numbers = reference = words in {} values of {images} images ({inputs})\n",
            thousands(*values)
        );
    };
    let [channel, row, column] = found.element;
    format!(
        "{task}: first difference ({inputs} image {}) in layer {} ({}), channel {channel}, row {row}, \
         column {column}: real numbers {}, reference {}, words {}\n",
        found.image, found.layer, found.kind, found.twin, found.reference, found.words
    )
}
