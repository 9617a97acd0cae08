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

/// Compare every activation and logit of real numbers and of all kernels
///
/// On random images; where --set or --data is given, on test images.
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    selection: Selection,
    /// How many images to compare on
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    images: u32,
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
            let given = self.data.data.is_some() || self.data.set.is_some();
            let images = given.then(|| self.data.load(&model, &task)).transpose()?;
            let mut count = self.images as usize;
            if let Some(images) = &images {
                let found = [images.channels, images.height, images.width];
                let expected = size(&model.input());
                if found != expected {
                    return Err(EvaluateError::ImageSize { found, expected }.into());
                }
                count = count.min(images.len());
            }
            let image = |index| match &images {
                Some(images) => images.image(index).to_vec(),
                None => random_image(&model, index),
            };
            let comparison = verify(&model, task, count, image)?;
            let report = Report {
                task: task.name(),
                inputs: if given { self.data.name(&task) } else { "random" },
                images: count,
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

/// All dark, all bright, then noise; the same on every computer.
fn random_image(model: &Model, index: usize) -> Vec<u8> {
    let length = model.input().elements().unwrap_or(0) as usize;
    let mut stream = Stream::new(model.seed(), Purpose::Synthetic, index as u64);
    match index {
        0 => vec![0; length],
        1 => vec![127; length],
        _ => (0..length).map(|_| stream.below(128) as u8).collect(),
    }
}

fn text(report: &Report) -> String {
    let Report { task, inputs, images, values, .. } = report;
    let Some(found) = &report.difference else {
        return format!(
            "{task}: real numbers = plain = portable = native kernels in {} values of {images} images \
             ({inputs})\n",
            thousands(*values)
        );
    };
    format!("{task}: first difference ({inputs} image {}) in {found}\n", found.image)
}
