//! The `seedmask` command: one file a subcommand, and what they share.
//!
//! Text for people goes to standard output, with `--json` one JSON object a line instead; what
//! went wrong goes to standard error in one line. Exit codes: 0 done, 1 a check failed, 2 the
//! command or a file that it names is at fault, 130 interrupted.

mod build;
mod data;
mod eval;
mod file;
mod image;
mod inspect;
mod output;
mod pack;
mod run;
mod select;
mod split;
mod table;
mod train;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::data::DataError;
use crate::evaluate::EvaluateError;
use crate::export::ExportError;
use crate::train::TrainError;
use output::{Output, printable};

/// What the words in the help of every command mean.
const WORDS: &str = "\
Words:
  artifact  A file for the device, F.smk: one backbone and any number of tasks
  backbone  The network without anything learned: its seed, its layers, the plan of its memory
  task      What was learned for one data set: masks, scales and shifts, the names of the classes
  patch     A file with one more task for the backbone of another file
  recipe    A TOML file that says what to train; trainer/recipes has some, and a text about the keys

Exit codes: 0 done; 1 a check failed; 2 the command or a file that it names is at fault;
130 interrupted by Ctrl-C";

/// Trains masks over seeded networks, and looks at, tests and rearranges the artifacts.
#[derive(Debug, Parser)]
#[command(name = "seedmask", version, max_term_width = 100, after_help = WORDS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print JSON, one object a line, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Train),
    Build(build::Build),
    Inspect(inspect::Inspect),
    Eval(eval::Eval),
    Run(run::Run),
    Verify(verify::Verify),
    Pack(pack::Pack),
    Split(split::Split),
    #[command(subcommand)]
    Data(data::Data),
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Everything could be read, and is not as it should be.
    #[error("{0}")]
    Check(String),
    /// The command line or a file is at fault; says what was found, expected, and what to do.
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The user wanted it so.
    #[error("{0}")]
    Interrupted(String),
}

impl Failure {
    /// As shells have it for a process that Ctrl-C ended.
    const INTERRUPTED: u8 = 130;

    fn code(&self) -> u8 {
        match self {
            Failure::Check(_) => 1,
            Failure::Interrupted(_) => Self::INTERRUPTED,
            _ => 2,
        }
    }
}

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are such errors too. Where nobody listens there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let mut output = Output::new(arguments.json);
    let result = match arguments.command {
        Command::Train(command) => command.execute(&mut output),
        Command::Build(command) => command.execute(&mut output),
        Command::Inspect(command) => command.execute(&mut output),
        Command::Eval(command) => command.execute(&mut output),
        Command::Run(command) => command.execute(&mut output),
        Command::Verify(command) => command.execute(&mut output),
        Command::Pack(command) => command.execute(&mut output),
        Command::Split(command) => command.execute(&mut output),
        Command::Data(command) => command.execute(&mut output),
    };
    match result.and_then(|()| Ok(output.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // `seedmask inspect F | head` has read all that it wanted.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(io::stderr(), "{}", printable(&format!("seedmask: {failure}")));
            ExitCode::from(failure.code())
        }
    }
}
