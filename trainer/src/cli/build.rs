//! `seedmask build`: from a recipe to an artifact with random masks, for measuring speed and size.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Failure;
use super::file::{self, ArtifactFile};
use super::inspect::{self, Flash, TaskReport};
use super::output::{Output, thousands};
use crate::build;
use crate::export::{self, Arena, Masks};

/// Write the network of a recipe with random masks, without any training
#[derive(Debug, Args)]
pub struct Build {
    /// The network, as a TOML file
    recipe: PathBuf,
    /// The new artifact
    #[arg(short, long, value_name = "F.smk")]
    output: PathBuf,
    /// Fraction of the weights that every layer keeps, above 0 and at most 1; every output channel
    /// keeps at least one weight [default: the recipe's]
    #[arg(long, value_name = "D", value_parser = density, allow_negative_numbers = true)]
    density: Option<f32>,
    /// How masks are written
    #[arg(long, value_enum, default_value_t = Masks::Fastest)]
    masks: Masks,
    /// How maps lie in the arena
    #[arg(long, value_enum, default_value_t)]
    arena: Arena,
}

#[derive(Serialize)]
struct Report {
    artifact: PathBuf,
    bytes: usize,
    arena_bytes: usize,
    weights: u64,
    /// Of the weights of all tasks together: how many their masks keep.
    kept: u64,
    density: f64,
    macs: u64,
    flash: Flash,
}

impl Build {
    pub fn execute(&self, output: &mut Output) -> Result<(), Failure> {
        let outputs = [("--output", Some(self.output.as_path()))];
        file::check_outputs(&outputs, &[("the recipe", Some(&self.recipe))])?;
        let recipe = file::recipe(&self.recipe)?;
        export::check(&recipe)
            .map_err(|error| Failure::Input(format!("{}: {error}", self.recipe.display())))?;
        file::check_writable(&self.output)?;
        let bytes =
            export::artifact(&build::random(&recipe, self.density), self.masks, self.arena)?;
        let file = ArtifactFile { path: self.output.clone(), bytes };
        let backbone = inspect::backbone(&file, None)?;
        let sum = |count: fn(&TaskReport) -> u64| backbone.tasks.iter().map(count).sum::<u64>();
        let kept = sum(|task| task.kept);
        let report = Report {
            artifact: self.output.clone(),
            bytes: file.bytes.len(),
            arena_bytes: backbone.arena_bytes,
            weights: crate::evaluate::count_weights(&file.model()?)?,
            kept,
            density: kept as f64 / sum(|task| task.weights) as f64,
            macs: recipe.architecture.macs(),
            flash: backbone.flash,
        };
        file::write(&self.output, &file.bytes)?;
        output.report(&report, text)?;
        Ok(())
    }
}

fn density(text: &str) -> Result<f32, String> {
    let density: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    let valid = density > 0.0 && density <= 1.0;
    valid.then_some(density).ok_or_else(|| "expected a fraction above 0 and at most 1".to_owned())
}

fn text(report: &Report) -> String {
    format!(
        "{}: {} bytes ({}), arena {} bytes, {} weights, {} kept by the masks (density {:.4}), {} \
         MACs\n",
        report.artifact.display(),
        thousands(report.bytes as u64),
        report.flash.parts(),
        thousands(report.arena_bytes as u64),
        thousands(report.weights),
        thousands(report.kept),
        report.density,
        thousands(report.macs)
    )
}
