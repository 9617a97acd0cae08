//! `cargo xtask demo`: from a fresh clone to a table. Trains two tasks over one seed, evaluates them
//! with the integer runtime, runs them on both emulated boards, compares every logit, and leaves
//! the figures in `target/demo.json`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::{
    board::BOARDS,
    command, data,
    emulated::{self, Demo},
    firmware::{self, Content},
    host, pack, paths, setup,
    size::{self, Families, Size},
    test::cargo,
};

/// Test images of each task that the boards classify; all tasks see all of them.
const IMAGES_A_TASK: usize = 100;

/// A task as `seedmask eval --json` reports it.
#[derive(Deserialize)]
struct Evaluated {
    task: String,
    /// 0 to 1.
    accuracy: f64,
    /// Test images.
    images: usize,
}

/// The demo on one board.
struct OnBoard {
    demo: Demo,
    size: Size,
}

/// Runs the demo.
pub fn demo() -> Result<()> {
    let start = Instant::now();
    step("setup");
    setup::setup()?;
    step("build the trainer");
    let seedmask = trainer()?;
    let file = train(&seedmask)?;
    step("evaluate on all test images, with the integer runtime");
    let tasks = evaluate(&seedmask, &file)?;
    let artifact = fs::read(&file)?;
    let images = firmware::scratch("demo-images.bin")?;
    fs::write(&images, self::images(&tasks)?)?;
    let content = Content { artifact: Some(file), images: Some(images), cases: None, logits: true };
    let mut on_boards = Vec::new();
    for board in &BOARDS {
        step(&format!("run on the {}", board.title));
        let demo = emulated::demo(board, &content)?;
        for line in demo.log.lines().filter(|line| !line.starts_with("logits ")) {
            println!("  {line}");
        }
        println!("  {} images under every task: all logits as on the host", demo.compared);
        on_boards.push(OnBoard { demo, size: size::measure(board, &content, Families::All)? });
    }
    let arena = host::parse(&artifact)?.arena_bytes();
    let seconds = start.elapsed().as_secs_f64();
    report(&tasks, artifact.len(), arena, &on_boards, seconds)
}

/// Builds the command `seedmask`, optimised.
fn trainer() -> Result<PathBuf> {
    command::run(cargo().args(["build", "--release", "--quiet", "--locked"]).args([
        "-p",
        "seedmask-trainer",
        "--bin",
        "seedmask",
    ]))?;
    Ok(paths::target().join("release/seedmask"))
}

/// Trains the recipe of the demo. Without MNIST its second task is clothes turned by 90°.
fn train(seedmask: &Path) -> Result<PathBuf> {
    let mut recipe = paths::root().join("trainer/recipes/demo.toml");
    if data::digits().is_none() {
        let text = fs::read_to_string(&recipe)?.replace("\"digits\"", "\"clothes-rotated\"");
        recipe = firmware::scratch("demo-rotated.toml")?;
        fs::write(&recipe, text)?;
        step("train clothes, and clothes turned by 90° (MNIST is nowhere to be had)");
    } else {
        step("train clothes and digits");
    }
    let file = paths::target().join("demo.smk");
    command::run(Command::new(seedmask).arg("train").arg(&recipe).arg("-o").arg(&file))?;
    Ok(file)
}

/// Accuracy of every task on its test images.
fn evaluate(seedmask: &Path, file: &Path) -> Result<Vec<Evaluated>> {
    let text = command::output(Command::new(seedmask).arg("eval").arg(file).arg("--json"))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let tasks: Result<Vec<Evaluated>, _> = lines.map(serde_json::from_str).collect();
    let tasks =
        tasks.with_context(|| format!("cannot read what `seedmask eval` printed:\n{text}"))?;
    for Evaluated { task, accuracy, images } in &tasks {
        println!("  {task}: {:.2} % of {images} test images", 100.0 * accuracy);
    }
    Ok(tasks)
}

/// The file of images for the boards: the first test images of each task.
fn images(tasks: &[Evaluated]) -> Result<Vec<u8>> {
    let clothes = data::clothes().context("the clothes are gone since setup found them")?;
    let mut all = Vec::new();
    for task in tasks {
        let images = match task.task.as_str() {
            "digits" => {
                let digits = data::digits().context("the digits are gone since training")?;
                pack::test_images(&digits, IMAGES_A_TASK)?
            }
            "clothes-rotated" => pack::test_images(&clothes, IMAGES_A_TASK)?
                .into_iter()
                .map(|(label, image)| (label, turned(&image)))
                .collect(),
            _ => pack::test_images(&clothes, IMAGES_A_TASK)?,
        };
        all.push(images);
    }
    Ok(pack::pack(&all))
}

/// A square image turned clockwise by 90°.
fn turned(image: &[u8]) -> Vec<u8> {
    let side = image.len().isqrt();
    (0..image.len()).map(|i| image[(side - 1 - i % side) * side + i / side]).collect()
}

/// Prints the table and writes `demo.json`.
fn report(
    tasks: &[Evaluated],
    artifact: usize,
    arena: usize,
    on_boards: &[OnBoard],
    seconds: f64,
) -> Result<()> {
    let instructions = |task: &Evaluated| -> Result<Vec<u64>> {
        on_boards.iter().map(|board| board.demo.instructions(&task.task)).collect()
    };
    let by_board = |values: &[u64]| -> serde_json::Value {
        BOARDS.iter().map(|board| board.key.to_owned()).zip(values.iter().copied()).collect()
    };
    let compared = on_boards.iter().map(|board| board.demo.compared).min().unwrap_or(0);
    ensure!(compared >= 200, "{compared} images compared, at least 200 expected");

    println!(
        "\n{:<18} {:>9} {:>12} {:>28}",
        "task", "accuracy", "test images", "instructions on M4 / M0"
    );
    let mut tasks_json = Vec::new();
    for task in tasks {
        let counts = instructions(task)?;
        println!(
            "{:<18} {:>7.2} % {:>12} {:>28}",
            task.task,
            100.0 * task.accuracy,
            task.images,
            counts.iter().map(u64::to_string).collect::<Vec<_>>().join(" / ")
        );
        tasks_json.push(json!({
            "name": task.task,
            "accuracy": task.accuracy,
            "images": task.images,
            "instructions": by_board(&counts),
        }));
    }
    println!("\nartifact with all tasks   {artifact:>8} bytes of flash");
    println!("arena                     {arena:>8} bytes of RAM");
    let flash: Vec<u64> = on_boards.iter().map(|board| board.size.flash).collect();
    let stack: Vec<u64> = on_boards.iter().map(|board| board.size.stack).collect();
    for (board, size) in BOARDS.iter().zip(on_boards.iter().map(|board| board.size)) {
        println!(
            "program on {:<15}{:>8} bytes of flash, {} of stack",
            board.name, size.flash, size.stack
        );
    }
    println!("host = boards             {compared:>8} images under every task, bit for bit");
    println!("from clone to table       {seconds:>8.0} s; longer trainings are in trainer/models");

    let figures = json!({
        "command": "cargo xtask demo",
        "tasks": tasks_json,
        "artifact_bytes": artifact,
        "arena_bytes": arena,
        "flash_bytes": by_board(&flash),
        "stack_bytes": by_board(&stack),
        "host_equals_device": true,
        "compared_images": compared,
        "seconds": seconds,
    });
    let path = paths::target().join("demo.json");
    fs::write(&path, format!("{figures:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\n{}", path.display());
    Ok(())
}

fn step(name: &str) {
    println!("== {name}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_clockwise() {
        assert_eq!(turned(&[1, 2, 3, 4]), [3, 1, 4, 2]);
        assert_eq!(turned(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), [7, 4, 1, 8, 5, 2, 9, 6, 3]);
    }
}
