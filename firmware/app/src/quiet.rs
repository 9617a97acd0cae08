//! The loop of the demo without messages: what a product would link, for measuring it.

use seedmask::{Model, Session};

use crate::images::Images;

/// Runs `images` through every task of `artifact` in `arena`; returns how many were given their
/// label under their own task, or `None` where anything was refused.
pub fn run(artifact: &[u8], images: &[u8], arena: &mut impl AsMut<[u8]>) -> Option<u32> {
    let model = Model::parse(artifact).ok()?;
    let images = Images::parse(images)?;
    let mut session = Session::new(model, arena).ok()?;
    let mut right = 0;
    for (index, task) in (0..).zip(model.tasks()) {
        for image in images.iter().filter(|image| image.task == index) {
            for (byte, &pixel) in session.input().iter_mut().zip(image.pixels) {
                *byte = pixel;
            }
            let class = session.infer(task).ok()?.argmax();
            right += u32::from(class == usize::from(image.label));
        }
    }
    Some(right)
}

/// The same loop without the runtime: what of the program is not Seedmask. Copies each image into
/// `memory` and takes its brightest pixel for its class.
pub fn bare(images: &[u8], memory: &mut [u8]) -> Option<u32> {
    let images = Images::parse(images)?;
    let mut right = 0;
    for image in images.iter() {
        for (byte, &pixel) in memory.iter_mut().zip(image.pixels) {
            *byte = pixel;
        }
        let pixels = (0..).zip(memory.iter()).max_by_key(|(_, pixel)| **pixel);
        right += u32::from(pixels.map(|(index, _)| index) == Some(u32::from(image.label)));
    }
    Some(right)
}
