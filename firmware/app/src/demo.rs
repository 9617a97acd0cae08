//! Every image through every task: predictions, accuracy, instructions per inference; every logit
//! at log level `debug`, for a host that compares.

use seedmask::{InferError, Model, Session, Task};

use crate::images::{Image, Images};

/// How many predictions of a task are printed.
const SHOWN: usize = 8;

/// What the images of one task came to.
#[derive(Default)]
struct Tally {
    /// Images that belong to the task.
    images: u32,
    /// Those that were given their label.
    right: u32,
    /// Inferences: the images of the other tasks too.
    inferences: u64,
    /// Instructions of all of them.
    instructions: u64,
}

/// Runs `images` through every task of `artifact` in `arena` and prints what comes out.
/// `instructions` counts since some moment. Returns whether all could be run.
pub fn run(
    artifact: &[u8],
    images: &[u8],
    arena: &mut impl AsMut<[u8]>,
    instructions: impl Fn() -> u64,
) -> bool {
    let model = match Model::parse(artifact) {
        Ok(model) => model,
        Err(error) => {
            defmt::error!("the artifact was refused: {}", error);
            return false;
        }
    };
    let Some(images) = Images::parse(images) else {
        defmt::error!("the file of images is not as long as its header says");
        return false;
    };
    let mut session = match Session::new(model, arena) {
        Ok(session) => session,
        Err(error) => {
            defmt::error!("no session: {}", error);
            return false;
        }
    };
    defmt::info!(
        "artifact of {=usize} bytes, arena of {=usize} bytes, {=usize} images",
        artifact.len(),
        model.arena_bytes(),
        images.count()
    );
    for (index, task) in (0..).zip(model.tasks()) {
        let tally = match all_images(&mut session, task, index, images, &instructions) {
            Ok(tally) => tally,
            Err(error) => {
                defmt::error!("no inference: {}", error);
                return false;
            }
        };
        defmt::info!(
            "{=str}: {=u32} of {=u32} right, {=u64} instructions per inference",
            task.name(),
            tally.right,
            tally.images,
            tally.instructions / tally.inferences.max(1)
        );
    }
    true
}

/// Runs the images of all tasks through one.
fn all_images(
    session: &mut Session,
    task: Task,
    index: u8,
    images: Images,
    instructions: &impl Fn() -> u64,
) -> Result<Tally, InferError> {
    let mut tally = Tally::default();
    for (number, Image { task: own, label, pixels }) in images.iter().enumerate() {
        // An image of another size leaves the rest as it is: the logits will tell.
        for (byte, &pixel) in session.input().iter_mut().zip(pixels) {
            *byte = pixel;
        }
        let start = instructions();
        let output = session.infer(task)?;
        tally.instructions += instructions() - start;
        tally.inferences += 1;
        defmt::debug!("logits {=u8} {=usize} {}", index, number, output.logits());
        if own != index {
            continue;
        }
        let class = output.argmax();
        if (tally.images as usize) < SHOWN {
            let name = |class| task.labels().nth(class).unwrap_or("?");
            defmt::info!(
                "{=str}: image {=usize} shows {=str}, predicted {=str}",
                task.name(),
                number,
                name(usize::from(label)),
                name(class)
            );
        }
        tally.images += 1;
        tally.right += u32::from(class == usize::from(label));
    }
    Ok(tally)
}
