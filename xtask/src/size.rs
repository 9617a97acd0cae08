//! `cargo xtask size`: flash and stack of the linked runtime per board, against the budgets in
//! `firmware/budgets.toml`.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    board::{BOARDS, Board},
    elf::Elf,
    firmware::{self, Content},
    paths, qemu,
};

/// What a board may take, in bytes.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// Code and constants, without the artifact and the images.
    flash: u64,
    /// Peak of the stack.
    stack: u64,
}

/// What a board takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Code and constants, without the artifact and the images.
    pub flash: u64,
    /// Peak of the stack.
    pub stack: u64,
}

/// Prints the table; a board over its budget is an error.
pub fn size(content: &Content) -> Result<()> {
    let budgets = budgets()?;
    println!("{:<24} {:>8} {:>8}   {:>8} {:>8}", "bytes", "flash", "budget", "stack", "budget");
    let mut over = Vec::new();
    for board in &BOARDS {
        let budget = budgets
            .get(board.name)
            .with_context(|| format!("firmware/budgets.toml has no [{}]", board.name))?;
        let size = measure(board, content)?;
        println!(
            "{:<24} {:>8} {:>8}   {:>8} {:>8}",
            board.title, size.flash, budget.flash, size.stack, budget.stack
        );
        over.extend(excess(board, "flash", size.flash, budget.flash));
        over.extend(excess(board, "stack", size.stack, budget.stack));
    }
    if !over.is_empty() {
        bail!("over the budgets of firmware/budgets.toml:\n  {}", over.join("\n  "));
    }
    Ok(())
}

/// Links and runs the bin `size` of a board.
pub fn measure(board: &Board, content: &Content) -> Result<Size> {
    let elf = firmware::build(board, "size", content)?;
    let log = qemu::run_plain(board, &elf)?;
    Ok(Size { flash: Elf::read(&elf)?.program(), stack: qemu::number(&log, "stack")? })
}

fn budgets() -> Result<BTreeMap<String, Budget>> {
    let path = paths::root().join("firmware/budgets.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))
}

fn excess(board: &Board, what: &str, found: u64, budget: u64) -> Option<String> {
    (found > budget).then(|| format!("{}: {found} bytes of {what}, {budget} allowed", board.name))
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
        assert!(excess(&BOARDS[0], "flash", 10, 10).is_none());
        assert!(excess(&BOARDS[0], "flash", 11, 10).is_some());
    }
}
