//! `seedmask train`: from a recipe to an artifact, or to a patch for one.

mod progress;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Args;
use seedmask::artifact::{Model, Task};
use serde::Serialize;

use super::Failure;
use super::file::{self, ArtifactFile};
use super::inspect::{self, Flash};
use super::output::{Output, thousands};
use crate::data::{self, Images, Split};
use crate::evaluate::evaluate;
use crate::export::{self, Arena, LayerError, Masks};
use crate::method::seeded::Source;
use crate::recipe::Recipe;
use crate::train::{Ending, Options, data_of, train};
use crate::trained::Trained;
use crate::verify::verify;
use progress::Progress;

/// Test images on which kernels are compared with each other, and with floating point.
const COMPARED: usize = 20;

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Train the tasks of a recipe and write the artifact
#[derive(Debug, Args)]
pub struct Train {
    /// What to train, as a TOML file
    recipe: PathBuf,
    /// The new artifact (or, with --backbone, patch)
    #[arg(short, long, value_name = "F.smk")]
    output: PathBuf,
    /// The folder that holds the data sets' files [default: as `seedmask data list` finds them]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Train one more task for this artifact, whose network and seed the recipe must have
    #[arg(long, value_name = "BASE.smk")]
    backbone: Option<PathBuf>,
    /// Go on from the checkpoint F.smk.ckpt, if there is one
    #[arg(long)]
    resume: bool,
    /// Threads [default: one a core]; the artifact is the same at any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Epochs of every task, instead of the recipe's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    epochs: Option<u32>,
    /// How masks are written
    #[arg(long, value_enum, default_value_t)]
    masks: Masks,
    /// How maps lie in the arena
    #[arg(long, value_enum, default_value_t)]
    arena: Arena,
    /// Also write what the training gave, as JSON
    #[arg(long, value_name = "F.json")]
    report: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    command: String,
    artifact: PathBuf,
    bytes: usize,
    /// The backbone's.
    arena_bytes: usize,
    /// Of this run; a resumed training took longer.
    seconds: f64,
    resumed: bool,
    tasks: Vec<TaskReport>,
    flash: Flash,
}

#[derive(Serialize)]
struct TaskReport {
    task: String,
    data: String,
    epochs: usize,
    /// Of the integer runtime on the test images, 0..=1.
    accuracy: f64,
    correct: usize,
    images: usize,
    /// Of the floating point that was trained.
    float_accuracy: f64,
    /// Activations and logits in which real numbers and all kernels were found equal.
    verified_values: u64,
    /// How far the integers are from the floating point that was trained.
    differences: Vec<LayerError>,
}

impl Train {
    pub fn execute(&self, output: &mut Output) -> Result<(), Failure> {
        let checkpoint = self.checkpoint();
        file::check_outputs(
            &[
                ("--output", Some(&self.output)),
                ("the checkpoint", Some(&checkpoint)),
                ("--report", self.report.as_deref()),
            ],
            &[("the recipe", Some(&self.recipe)), ("the backbone", self.backbone.as_deref())],
        )?;
        let recipe = self.recipe()?;
        let data = recipe.tasks.iter().map(data_of).collect::<Result<Vec<_>, _>>()?;
        let base = self.backbone.as_deref().map(ArtifactFile::read).transpose()?;
        let base = base.as_ref().map(|file| Ok::<_, Failure>((file, file.model()?))).transpose()?;
        match &base {
            Some((_, model)) => self.check_backbone(&recipe, model)?,
            None => export::check(&recipe)
                .map_err(|error| Failure::Input(format!("{}: {error}", self.recipe.display())))?,
        }
        self.check_output(&checkpoint)?;
        // Hours of training must not end with a file that is not there.
        let load = |name: &&str| data::load(name, Split::Test, self.data.as_deref());
        let tests: Vec<Images> = data.iter().map(load).collect::<Result<_, _>>()?;
        if let Some(threads) = self.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
            pool.build_global().map_err(|error| Failure::Input(error.to_string()))?;
        }
        let interrupted = || {
            if STOP.swap(true, Ordering::Relaxed) {
                // The second time: at once. The last checkpoint stays as it is.
                std::process::exit(Failure::INTERRUPTED.into());
            }
        };
        ctrlc::set_handler(interrupted).map_err(|error| Failure::Input(error.to_string()))?;

        let begun = Instant::now();
        let resumed = self.resume && checkpoint.exists();
        let options = Options {
            data: self.data.as_deref(),
            checkpoint: Some(&checkpoint),
            resume: resumed,
            stop: Some(&STOP),
        };
        let mut progress = Progress::new(recipe.tasks.len());
        let ending = train(&recipe, &options, &mut |event| progress.tell(event))?;
        progress.end();
        let Ending::Complete(trained) = ending else {
            return Err(Failure::Interrupted(format!(
                "stopped; {} has everything: the same command with --resume goes on",
                checkpoint.display()
            )));
        };

        let bytes = match &base {
            None => export::artifact(&trained, self.masks, self.arena)?,
            Some((_, model)) => export::patch(&trained, 0, model, self.masks)?,
        };
        let file = ArtifactFile { path: self.output.clone(), bytes };
        let (backbone, patch) = match &base {
            None => (&file, None),
            Some((base, _)) => (*base, Some(&file)),
        };
        let model = backbone.model()?;
        let tasks = match patch {
            None => model.tasks().collect(),
            Some(patch) => vec![patch.patch(&model)?],
        };
        let mut reports = Vec::new();
        for (index, (task, images)) in tasks.into_iter().zip(&tests).enumerate() {
            let float_accuracy = progress.float_accuracy(index, &trained, images);
            reports.push(task_report(&trained, index, &model, task, images, float_accuracy)?);
        }
        let report = Report {
            command: command_line(),
            artifact: self.output.clone(),
            bytes: file.bytes.len(),
            arena_bytes: model.arena_bytes(),
            seconds: begun.elapsed().as_secs_f64(),
            resumed,
            tasks: reports,
            flash: inspect::flash_of(backbone, patch)?,
        };
        file::write(&self.output, &file.bytes)?;
        if let Some(path) = &self.report {
            let mut text = serde_json::to_string_pretty(&report).map_err(std::io::Error::from)?;
            text.push('\n');
            file::write(path, text.as_bytes())?;
        }
        // It has served; where it cannot be removed it does no harm.
        let _ = std::fs::remove_file(&checkpoint);
        output.report(&report, text)?;
        Ok(())
    }

    fn recipe(&self) -> Result<Recipe, Failure> {
        let mut recipe = file::recipe(&self.recipe)?;
        if let Some(epochs) = self.epochs {
            recipe.train.epochs = epochs as usize;
            recipe.tasks.iter_mut().for_each(|task| task.epochs = epochs as usize);
            // A checkpoint belongs to the recipe's text.
            recipe.text.push_str(&format!("\n# --epochs {epochs}\n"));
        }
        Ok(recipe)
    }

    fn check_backbone(&self, recipe: &Recipe, model: &Model) -> Result<(), Failure> {
        let input = |message: String| Err(Failure::Input(message));
        let [task] = recipe.tasks.as_slice() else {
            return input(format!(
                "{}: {} tasks; a patch has one task, so a recipe for --backbone has one",
                self.recipe.display(),
                recipe.tasks.len()
            ));
        };
        if recipe.source == Source::Trained {
            return input(format!(
                "{}: trained weights are a backbone of their own; a patch needs seeded weights",
                self.recipe.display()
            ));
        }
        if model.task(&task.name).is_some() {
            return input(format!(
                "the backbone's file has a task `{}` already; give the new one another name",
                task.name
            ));
        }
        Ok(export::is_backbone(recipe, model)?)
    }

    /// `F.smk.ckpt`.
    fn checkpoint(&self) -> PathBuf {
        let mut path = self.output.clone().into_os_string();
        path.push(".ckpt");
        path.into()
    }

    fn check_output(&self, checkpoint: &Path) -> Result<(), Failure> {
        if checkpoint.exists() && !self.resume {
            return Err(Failure::Input(format!(
                "{}: a training was stopped here; go on with --resume, or remove the file to begin \
                 anew",
                checkpoint.display()
            )));
        }
        file::check_writable(&self.output)?;
        self.report.as_deref().map_or(Ok(()), file::check_writable)
    }
}

fn task_report(
    trained: &Trained,
    index: usize,
    model: &Model,
    task: Task,
    images: &Images,
    float_accuracy: f64,
) -> Result<TaskReport, Failure> {
    let count = COMPARED.min(images.len());
    let comparison = verify(model, task, count, |image| images.image(image).to_vec())?;
    if let Some(found) = comparison.difference {
        return Err(Failure::Check(format!(
            "task {}: kernels differ in {found}; nothing was written",
            task.name()
        )));
    }
    let score = evaluate(model, task, images)?;
    Ok(TaskReport {
        task: task.name().to_owned(),
        data: trained.recipe.tasks[index].data.clone().unwrap_or_default(),
        epochs: trained.tasks[index].epochs,
        accuracy: score.accuracy(),
        correct: score.correct,
        images: score.images,
        float_accuracy,
        verified_values: comparison.values,
        differences: export::compare(trained, index, model, task, images, COMPARED)?,
    })
}

/// The command as it was typed, but for the program's path.
fn command_line() -> String {
    let arguments = std::env::args_os().skip(1);
    let words = arguments.map(|word| word.to_string_lossy().into_owned());
    std::iter::once("seedmask".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for task in &report.tasks {
        text.push_str(&format!(
            "{}: {:.2} % right ({} of {} test images), {:.2} % in floating point; {} epochs\n",
            task.task,
            100.0 * task.accuracy,
            thousands(task.correct as u64),
            thousands(task.images as u64),
            100.0 * task.float_accuracy,
            task.epochs
        ));
        let worst = |error: &LayerError| {
            format!("{} {:.3} ({:.2} %)", error.layer, error.largest, 100.0 * error.differing)
        };
        let differences: Vec<String> = task.differences.iter().map(worst).collect();
        text.push_str(&format!(
            "  {} values equal in real numbers and all kernels; largest difference from floating \
             point, and how many differ:\n  {}\n",
            thousands(task.verified_values),
            differences.join(", ")
        ));
    }
    text.push_str(&format!(
        "{}: {} bytes ({}), arena {} bytes, {:.0} s\n",
        report.artifact.display(),
        thousands(report.bytes as u64),
        report.flash.parts(),
        thousands(report.arena_bytes as u64),
        report.seconds
    ));
    text
}
