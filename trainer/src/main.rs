//! The `seedmask` command.

fn main() -> std::process::ExitCode {
    seedmask_trainer::cli::main()
}
