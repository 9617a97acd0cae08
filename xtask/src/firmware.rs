//! Building a board's programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{board::Board, command, paths, toolchain::Toolchain};

/// What the firmware is to carry; `None` leaves the default of `firmware/app/build.rs`.
#[derive(Clone, Default)]
pub struct Content {
    /// The model.
    pub artifact: Option<PathBuf>,
    /// The file of images.
    pub images: Option<PathBuf>,
    /// A folder of artifacts for the bin `cases`.
    pub cases: Option<PathBuf>,
    /// Log every logit.
    pub logits: bool,
}

impl Content {
    /// Passes the choice on to a build.
    fn set(&self, command: &mut std::process::Command) {
        let paths = [
            ("SEEDMASK_ARTIFACT", &self.artifact),
            ("SEEDMASK_IMAGES", &self.images),
            ("SEEDMASK_CASES", &self.cases),
        ];
        for (variable, path) in paths {
            if let Some(path) = path {
                command.env(variable, path);
            }
        }
        if self.logits {
            command.env("DEFMT_LOG", "debug");
        }
    }
}

/// Builds one of a board's programs, optimised; returns the ELF file.
pub fn build(board: &Board, bin: &str, content: &Content) -> Result<PathBuf> {
    build_with(board, bin, content, &[])
}

/// Like [`build`], with more arguments for cargo.
pub fn build_with(
    board: &Board,
    bin: &str,
    content: &Content,
    arguments: &[&str],
) -> Result<PathBuf> {
    let toolchain = Toolchain::require()?;
    let mut cargo = toolchain.cargo("build");
    cargo
        .args(["--release", "--quiet", "--locked", "--bin", bin])
        .args(arguments)
        .current_dir(board.folder());
    content.set(&mut cargo);
    command::run(&mut cargo).with_context(|| format!("{}: {bin} does not build", board.name))?;
    Ok(toolchain.target_dir().join(board.target).join("release").join(bin))
}

/// Denies clippy's warnings in a board's programs and the libraries under them.
pub fn clippy(board: &Board, content: &Content) -> Result<()> {
    let mut cargo = Toolchain::require()?.cargo("clippy");
    cargo
        .args(["--release", "--quiet", "--locked", "--bins", "--target", board.target])
        .args(["--", "-Dwarnings"])
        .current_dir(board.folder());
    content.set(&mut cargo);
    command::run(&mut cargo)
}

/// Path of a file that a chore leaves behind; its folder is made.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let path = paths::target().join("xtask").join(name);
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(path)
}
