//! What must not be in a linked runtime: a panic, formatting, float helpers on a core without
//! floating point. The symbols of the bin `probe`, which calls every public function, tell.

use anyhow::{Result, bail};

use crate::{
    board::Board,
    elf::Elf,
    firmware::{self, Content},
};

/// Marks of a reachable panic: the handler's own function, and the library's.
const PANIC: &[&str] = &["a_panic_is_reachable", "4core9panicking"];

/// Marks of the formatting machinery.
const FORMATTING: &[&str] = &["4core3fmt"];

/// Marks of floating point in software: ARM's names and the compiler's.
const FLOAT: &[&str] = &["__aeabi_f", "__aeabi_d", "compiler_builtins5float"];

/// The kinds of faults that a faulty probe has.
const PANICS: &str = "panics";
const FLOAT_HELPERS: &str = "float helpers";

/// Targets whose core has no floating point.
const WITHOUT_FLOAT: &[&str] = &["thumbv6m-none-eabi"];

/// Links the probe of a board and looks for what must not be in it.
pub fn check(board: &Board, content: &Content) -> Result<()> {
    let found = find(board, content, &[])?;
    if !found.is_empty() {
        bail!("the runtime links what it must not:\n  {}", found.join("\n  "));
    }
    // Proof that the marks are the right ones: a probe with each fault is caught.
    let faulty = find(board, content, &["--features", "faulty-probe"])?;
    let mut faults = vec![PANICS];
    faults.extend(WITHOUT_FLOAT.contains(&board.target).then_some(FLOAT_HELPERS));
    match faults.iter().find(|fault| !faulty.iter().any(|found| found.starts_with(**fault))) {
        Some(fault) => bail!("a probe with {fault} was found to have these only: {faulty:?}"),
        None => Ok(()),
    }
}

/// One line a kind of fault, with the symbols that show it.
fn find(board: &Board, content: &Content, arguments: &[&str]) -> Result<Vec<String>> {
    let elf = Elf::read(&firmware::build_with(board, "probe", content, arguments)?)?;
    let mut kinds = vec![(PANICS, PANIC), ("formatting", FORMATTING)];
    if WITHOUT_FLOAT.contains(&board.target) {
        kinds.push((FLOAT_HELPERS, FLOAT));
    }
    let faults = kinds.into_iter().filter_map(|(kind, marks)| {
        let symbols = elf.matching(marks);
        (!symbols.is_empty()).then(|| format!("{kind}: {}", symbols.join(" ")))
    });
    Ok(faults.collect())
}
