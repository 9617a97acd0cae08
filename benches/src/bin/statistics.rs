//! Prints the generator's statistics: `cargo run -p seedmask-benches --release --bin statistics`.

use std::process::ExitCode;

use seedmask_benches::statistics::{Effort, measure};

fn main() -> ExitCode {
    println!("{:<56} {:>9}   independent coins", "measure", "found");
    let mut failed = 0;
    for measure in measure(Effort::Report) {
        let [low, high] = measure.range;
        let verdict = if measure.passes() { "" } else { "   outside" };
        println!("{:<56} {:>9.4}   {low:.4} to {high:.4}{verdict}", measure.name, measure.found);
        failed += usize::from(!measure.passes());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
