//! What the boards carry in tests: the demo's model and the committed sample of its data sets.

use std::{fs, path::PathBuf};

use anyhow::Result;

use crate::{
    firmware::{self, Content},
    pack, paths,
};

/// Data sets of the committed sample, in the order of the demo model's tasks.
const SAMPLE: [&str; 2] = ["tests/data/fashion-mnist", "tests/data/mnist"];

/// Images of each that the boards classify.
const IMAGES_A_TASK: usize = 100;

/// The demo's model.
pub fn artifact() -> PathBuf {
    paths::root().join("trainer/models/demo.smk")
}

/// Model and images, with every logit logged and no cases.
pub fn content() -> Result<Content> {
    let images = Some(images()?);
    Ok(Content { artifact: Some(artifact()), images, cases: None, logits: true })
}

/// The committed sample as a file of images.
fn images() -> Result<PathBuf> {
    let tasks: Result<Vec<_>, _> = SAMPLE
        .iter()
        .map(|folder| pack::test_images(&paths::root().join(folder), IMAGES_A_TASK))
        .collect();
    let path = firmware::scratch("sample.bin")?;
    fs::write(&path, pack::pack(&tasks?))?;
    Ok(path)
}
