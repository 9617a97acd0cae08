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
