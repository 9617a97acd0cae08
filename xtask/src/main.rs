//! The repository's chores: `cargo xtask CHORE`.

mod aarch64;
mod bench;
mod board;
mod command;
mod data;
mod demo;
mod elf;
mod emulated;
mod firmware;
mod host;
mod paths;
mod probe;
mod qemu;
mod readme;
mod run;
mod sample;
mod setup;
mod size;
mod test;
mod toolchain;
mod usage;

// Shared with the trainer, which is slow to build: chores begin at once.
#[allow(dead_code, reason = "the trainer uses the rest")]
#[path = "../../trainer/src/data/idx.rs"]
mod idx;
#[allow(dead_code, reason = "the trainer uses the rest")]
#[path = "../../trainer/src/data/places.rs"]
mod places;
// Shared with the firmware, which is a workspace of its own.
#[allow(dead_code, reason = "the firmware uses the rest")]
#[path = "../../firmware/app/src/images.rs"]
mod images;
#[path = "../../firmware/app/build/pack.rs"]
mod pack;
#[path = "../../firmware/app/src/pattern.rs"]
mod pattern;

use std::process::ExitCode;

use usage::Usage;

const USAGE: &str = "\
cargo xtask setup              install what is missing, or say what to type
cargo xtask demo               train two tasks over one seed and run them on emulated boards
cargo xtask test [PART]        every check of continuous integration, or those of `host` or `boards`
cargo xtask bench [OPTION …]   instructions and modelled cycles of layers, see benches/README.md:
    --only PATTERN   cases whose name contains it, as `conv3x3` or `fc_784x256.gaps@0.1`
    --target TARGET  m4, m0 or host; all without it
    --layers         the layers of networks too
    --hot N          the N instructions of each layer that take the most cycles
    --opt-level L    compile the runtime with 0, 1, 2, s or z instead of 3
    --bless          these instruction counts are the expected ones from now on
    --json FILE      the figures as JSON lines
cargo xtask size               flash and stack of the linked runtime against its budgets
cargo xtask run BOARD [BIN]    run a program of a board in the emulator (qemu-m4, qemu-m0; demo)
Exit codes: 0 done; 1 a check failed, or something could not be done; 2 what was typed is at fault";

/// Exit code of a command line that is at fault.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words.iter().any(|word| ["help", "--help", "-h"].contains(word)) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let result = match words[..] {
        ["setup"] => setup::setup(),
        ["demo"] => demo::demo(),
        ["test"] => test::test(test::Part::All),
        ["test", "host"] => test::test(test::Part::Host),
        ["test", "boards"] => test::test(test::Part::Boards),
        ["bench", ref options @ ..] => bench::bench(options),
        ["size"] => size::size(&firmware::Content::default()),
        ["run", board] => run::run(board, "demo"),
        ["run", board, bin] => run::run(board, bin),
        _ => {
            let unknown = if words.is_empty() { "nothing" } else { &words.join(" ") };
            eprintln!(
                "error: `{unknown}` is no command of `cargo xtask`; expected one of\n{USAGE}"
            );
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<Usage>() { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
        }
    }
}
