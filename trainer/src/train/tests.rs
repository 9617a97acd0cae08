//! Whole trainings on the sample of images that ships.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::checkpoint;
use crate::trained::{Mask, TrainedTask};

const RECIPE: &str = r#"
    [network]
    input = [1, 28, 28]
    seed = 3
    density = 0.4
    layers = [
        { conv = 8, stride = 2 },
        { conv = 8, name = "a" },
        { conv = 8, activation = "linear" },
        { add = "a" },
        { max_pool = 2 },
        { flatten = true },
        { dense = 10, density = 0.5 },
    ]
    [train]
    batch = 32
    epochs = 3
    augment = { shift = 1, flip = true }
    [[task]]
    name = "clothes"
    data = "clothes"
    [[task]]
    name = "digits"
    data = "digits"
    epochs = 2
"#;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data")
}

fn recipe(changes: &[(&str, &str)]) -> Recipe {
    let mut text = RECIPE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    Recipe::parse(&text).unwrap()
}

/// Trains to the end.
fn complete(recipe: &Recipe, checkpoint: Option<&Path>, resume: bool) -> Vec<TrainedTask> {
    let folder = sample();
    let options = Options { data: Some(&folder), checkpoint, resume, stop: None };
    match train(recipe, &options, &mut |_| {}).unwrap() {
        Ending::Complete(trained) => trained.tasks,
        Ending::Stopped => panic!("stopped"),
    }
}

/// Trains until `steps` steps are done in all, leaving a checkpoint.
fn stop_after(recipe: &Recipe, steps: usize, checkpoint: &Path) {
    let (folder, stop, mut done) = (sample(), AtomicBool::new(false), 0);
    let options = Options {
        data: Some(&folder),
        checkpoint: Some(checkpoint),
        resume: false,
        stop: Some(&stop),
    };
    let ending = train(recipe, &options, &mut |event| {
        if let Event::Step(_) = event {
            done += 1;
            stop.store(done >= steps, Ordering::Relaxed);
        }
    });
    assert!(matches!(ending, Ok(Ending::Stopped)));
}

fn in_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// The bits: equal numbers are not enough.
fn bytes(tasks: &[TrainedTask]) -> Vec<u8> {
    postcard::to_allocvec(tasks).unwrap()
}

#[test]
fn the_same_recipe_gives_the_same_bytes_at_any_number_of_threads() {
    let recipe = recipe(&[]);
    let once = in_threads(1, || bytes(&complete(&recipe, None, false)));
    assert!(once == in_threads(2, || bytes(&complete(&recipe, None, false))));
    assert!(once == in_threads(3, || bytes(&complete(&recipe, None, false))));
}

#[test]
fn a_resumed_training_gives_the_bytes_of_an_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let recipe = recipe(&[(
        "epochs = 3",
        "epochs = 3\nearly_stop = { held_out = 40, patience = 2 }\naverage = 0.9",
    )]);
    let whole = bytes(&complete(&recipe, None, false));
    // Within an epoch, at the end of one, in the second task: 5 steps an epoch, then 6.
    for steps in [3, 10, 17] {
        stop_after(&recipe, steps, &path);
        assert!(bytes(&complete(&recipe, Some(&path), true)) == whole, "after {steps} steps");
    }
}

#[test]
fn every_method_trains_and_leaves_what_an_artifact_needs() {
    let kept = |mask: &Mask| match mask {
        Mask::Kept(kept) => kept.iter().filter(|&&kept| kept).count(),
        other => panic!("{other:?}"),
    };
    let tasks = complete(&recipe(&[]), None, false);
    assert_eq!(tasks.len(), 2);
    // 8 × 8 × 9 weights at density .4; the last layer has 8·7·7 inputs at .5.
    assert_eq!(kept(&tasks[0].layers[1].mask), 230);
    assert_eq!(kept(&tasks[0].layers[3].mask), 1960);
    assert_ne!(tasks[0].layers[1].mask, tasks[1].layers[1].mask);

    let affine =
        complete(&recipe(&[("batch = 32", "batch = 32\nmethod = \"affine\"")]), None, false);
    assert_eq!(affine[0].layers[1].mask, Mask::Seeded(102));
    assert_ne!(affine[0].layers[1].gamma, affine[1].layers[1].gamma);

    let one_task = &RECIPE[RECIPE.rfind("[[task]]").unwrap()..];
    let dense = recipe(&[
        (one_task, ""),
        ("seed = 3", "seed = 3\nweights = \"trained\""),
        ("batch = 32", "batch = 32\nmethod = \"dense\""),
    ]);
    let dense = complete(&dense, None, false);
    assert_eq!(dense[0].layers[1].mask, Mask::Full);
    assert_eq!(dense[0].layers[1].weights.len(), 576);
}

#[test]
fn what_is_measured_on_held_out_images_is_the_network_that_is_kept() {
    let recipe = recipe(&[(
        "epochs = 3",
        "epochs = 3\nearly_stop = { held_out = 40, patience = 9 }\naverage = 0.9",
    )]);
    let (folder, mut best) = (sample(), None::<Outcome>);
    let options = Options { data: Some(&folder), ..Options::default() };
    let ending = train(&recipe, &options, &mut |event| {
        if let Event::Epoch(progress, Some(found)) = event
            && progress.place[0] == 1
            && best.is_none_or(|best| found.correct > best.correct)
        {
            best = Some(found);
        }
    });
    let Ok(Ending::Complete(trained)) = ending else { panic!("not complete") };
    let images = crate::data::load("clothes", crate::data::Split::Train, Some(&folder)).unwrap();
    let held_out = images.slice(images.len() - 40..images.len());
    let mut network = trained.network(0, recipe.train.batch);
    assert_eq!(Some(crate::trained::evaluate(&mut network, &held_out)), best);
}

#[test]
fn a_shared_mask_is_taken_over_as_it_is() {
    let recipe = recipe(&[("name = \"a\"", "name = \"a\", share = \"clothes\"")]);
    let folder = sample();
    let options = Options { data: Some(&folder), ..Options::default() };
    let Ok(Ending::Complete(trained)) = train(&recipe, &options, &mut |_| {}) else {
        panic!("not complete")
    };
    assert_eq!(trained.tasks[1].layers[1].mask, Mask::SameAs("clothes".to_owned()));
    assert_eq!(trained.mask(1, 1), trained.mask(0, 1));
    assert_ne!(trained.mask(1, 2), trained.mask(0, 2));
    assert_ne!(trained.tasks[1].layers[1].gamma, trained.tasks[0].layers[1].gamma);
}

#[test]
fn training_learns_its_images() {
    let recipe =
        recipe(&[("epochs = 3", "epochs = 30"), ("augment = { shift = 1, flip = true }", "")]);
    let (folder, mut best) = (sample(), 0f64);
    let options = Options { data: Some(&folder), ..Options::default() };
    let ending = train(&recipe, &options, &mut |event| {
        if let Event::Epoch(progress, _) = event {
            best = best.max(progress.accuracy);
        }
    });
    assert!(ending.is_ok());
    assert!(best > 0.8, "{best}");
}

#[test]
fn a_damaged_checkpoint_is_refused_and_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let recipe = recipe(&[]);
    stop_after(&recipe, 2, &path);
    let whole = std::fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.ckpt");
    for length in (0..64).chain((64..whole.len()).step_by(997)) {
        std::fs::write(&damaged, &whole[..length]).unwrap();
        assert!(checkpoint::load(&damaged, &recipe).is_err(), "length {length}");
    }
    for bit in (0..64 * 8).chain((64 * 8..whole.len() * 8).step_by(7919)) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&damaged, flipped).unwrap();
        assert!(checkpoint::load(&damaged, &recipe).is_err(), "bit {bit}");
    }
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    stop_after(&recipe(&[]), 2, &path);
    let other = recipe(&[("seed = 3", "seed = 4")]);
    let error = checkpoint::load(&path, &other).unwrap_err();
    assert!(matches!(error, CheckpointError::OtherRecipe { .. }), "{error}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_an_error_and_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let recipe = recipe(&[]);
    stop_after(&recipe, 2, &path);
    let before = std::fs::read(&path).unwrap();
    let state = checkpoint::load(&path, &recipe).unwrap();
    // A folder in the place of the file: writing succeeds, renaming does not.
    let blocked = folder.path().join("blocked");
    std::fs::create_dir_all(blocked.join("inside")).unwrap();
    assert!(matches!(checkpoint::save(&blocked, &recipe, &state), Err(CheckpointError::Io { .. })));
    let nowhere = folder.path().join("missing/run.ckpt");
    assert!(matches!(checkpoint::save(&nowhere, &recipe, &state), Err(CheckpointError::Io { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing temporary is left");
}

#[test]
fn what_cannot_be_trained_is_named() {
    let folder = sample();
    let options = Options { data: Some(&folder), ..Options::default() };
    let error = |changes| train(&recipe(changes), &options, &mut |_| {}).unwrap_err().to_string();
    let message = error(&[("batch = 32", "batch = 300")]);
    assert!(message.contains("300") && message.contains("200 training images"), "{message}");
    let message = error(&[("batch = 32", "early_stop = { held_out = 200, patience = 1 }")]);
    assert!(message.contains("held_out` is 200"), "{message}");
    let message = error(&[("name = \"a\"", "name = \"a\", share = \"digits\"")]);
    assert!(message.contains("takes over the mask of digits"), "{message}");
    let nowhere = Options { data: Some(Path::new("/nonexistent")), ..Options::default() };
    let message = train(&recipe(&[]), &nowhere, &mut |_| {}).unwrap_err().to_string();
    assert!(message.contains("/nonexistent/fashion-mnist"), "{message}");
}
