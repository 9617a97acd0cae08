//! `cargo xtask size`: flash and stack of the linked runtime per board, against the budgets in
//! `firmware/budgets.toml`. The runtime's flash is what the bin `size` takes beyond the bin `bare`, which
//! has the same start-up code, vectors, printing and loop over images, but infers nothing.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};
use seedmask::layer::Layer;
use seedmask_benches::{
    artifact,
    cases::{Mask, SMALL, Variant},
};
use serde::Deserialize;

use crate::{
    board::{BOARDS, Board},
    elf::Elf,
    firmware::{self, Content},
    paths, qemu,
};

/// Which families of the runtime are linked.
#[derive(Clone, Copy, Debug)]
pub enum Families {
    /// Dense layers with a mask bit a weight; compiled for the least flash.
    Dense,
    /// What the demo's artifact needs: dense layers, convolutions, Rice codes; compiled for the
    /// least flash.
    Small,
    /// Every layer, source and encoding.
    All,
}

/// Setting of cargo for the least flash.
const SMALLEST: &str = "profile.release.opt-level=\"z\"";

impl Families {
    /// Name of the set in `firmware/budgets.toml`.
    fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Small => "small",
            Self::All => "all",
        }
    }

    /// Cargo's arguments for it.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Dense => &["--no-default-features", "--config", SMALLEST],
            Self::Small => &["--no-default-features", "--features", "demo", "--config", SMALLEST],
            Self::All => &[],
        }
    }
}

/// A network of one dense layer, for programs that can run nothing else.
fn dense() -> Result<Content> {
    let case = SMALL.iter().find(|case| matches!(case.layer, Layer::Dense(_)));
    let case = case.context("the case table has no small dense layer")?;
    let artifact = artifact::artifact(case, Variant::signs(Mask::CountedRaw, 50));
    let path = firmware::scratch("dense.smk")?;
    fs::write(&path, artifact.context("no artifact of the case")?)?;
    Ok(Content { artifact: Some(path), ..Content::default() })
}

/// What a board may take with each set of families.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budgets {
    dense: Budget,
    small: Budget,
    all: Budget,
}

/// What a board may take, in bytes.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// Code and constants of the runtime.
    flash: u64,
    /// Peak of the stack.
    stack: u64,
}

/// What a board takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Code and constants, without the artifact and the images.
    pub flash: u64,
    /// The same of the program without the runtime.
    pub bare: u64,
    /// Peak of the stack.
    pub stack: u64,
}

impl Size {
    /// Code and constants of the runtime.
    fn runtime(self) -> u64 {
        self.flash.saturating_sub(self.bare)
    }
}

/// Prints the table; a board over its budget is an error.
pub fn size(content: &Content) -> Result<()> {
    let (budgets, dense) = (budgets()?, dense()?);
    println!("flash: the program linked, the same program without the runtime, and the difference");
    println!(
        "{:<24} {:<8} {:>8} {:>8} {:>8} {:>8}   {:>8} {:>8}",
        "bytes", "families", "linked", "without", "runtime", "budget", "stack", "budget"
    );
    let mut over = Vec::new();
    for board in &BOARDS {
        let budgets = budgets
            .get(board.name)
            .with_context(|| format!("firmware/budgets.toml has no [{}]", board.name))?;
        for (families, content, budget) in [
            (Families::Dense, &dense, budgets.dense),
            (Families::Small, content, budgets.small),
            (Families::All, content, budgets.all),
        ] {
            let name = families.name();
            let size = measure(board, content, families)?;
            println!(
                "{:<24} {name:<8} {:>8} {:>8} {:>8} {:>8}   {:>8} {:>8}",
                board.title,
                size.flash,
                size.bare,
                size.runtime(),
                budget.flash,
                size.stack,
                budget.stack
            );
            let what = |what| format!("{}, {name} families: {what}", board.name);
            over.extend(excess(&what("flash"), size.runtime(), budget.flash));
            over.extend(excess(&what("stack"), size.stack, budget.stack));
        }
    }
    if !over.is_empty() {
        bail!("over the budgets of firmware/budgets.toml:\n  {}", over.join("\n  "));
    }
    Ok(())
}

/// Links and runs the bin `size` of a board with a set of families.
pub fn measure(board: &Board, content: &Content, families: Families) -> Result<Size> {
    let build = |bin| firmware::build_with(board, bin, content, families.arguments());
    let bare = Elf::read(&build("bare")?)?.program();
    let elf = build("size")?;
    let log = qemu::run_plain(board, &elf)?;
    Ok(Size { flash: Elf::read(&elf)?.program(), bare, stack: qemu::number(&log, "stack")? })
}

fn budgets() -> Result<BTreeMap<String, Budgets>> {
    let path = paths::root().join("firmware/budgets.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))
}

fn excess(what: &str, found: u64, budget: u64) -> Option<String> {
    (found > budget).then(|| format!("{what} of {found} bytes, {budget} allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_has_a_budget() {
        let budgets = budgets().unwrap();
        assert!(BOARDS.iter().all(|board| budgets.contains_key(board.name)));
    }

    #[test]
    fn a_byte_over_is_over() {
        assert!(excess("flash", 10, 10).is_none());
        assert!(excess("flash", 11, 10).is_some());
    }
}
