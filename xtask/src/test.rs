//! `cargo xtask test`: all that continuous integration checks.

use std::{env, fs, path::PathBuf, process::Command, time::Instant};

use anyhow::{Result, anyhow, bail};
use seedmask::Family;

use crate::{
    aarch64, bench,
    board::BOARDS,
    command, emulated,
    firmware::{self, Content},
    paths, probe, readme, sample, setup, size,
};

/// The checks so far.
#[derive(Default)]
struct Checks {
    passed: usize,
    failed: Vec<String>,
    left_out: Vec<String>,
}

impl Checks {
    /// Makes one check, prints how it went, and goes on.
    fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        println!("== {name}");
        let start = Instant::now();
        let result = check();
        let seconds = start.elapsed().as_secs_f32();
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("ok: {name} ({seconds:.1} s)");
            }
            Err(error) => {
                println!("FAILED: {name} ({seconds:.1} s)\n{error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// Says that a check cannot be made here.
    fn leave_out(&mut self, name: &str, why: &str) {
        println!("== {name}\nleft out: {why}");
        self.left_out.push(name.to_owned());
    }
}

/// Which checks to make.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    All,
    /// Those that need no board.
    Host,
    /// Those on emulated boards.
    Boards,
}

/// Runs every check of `part`, also after one failed; any failure is an error.
pub fn test(part: Part) -> Result<()> {
    setup::for_tests()?;
    let mut checks = Checks::default();
    if part != Part::Boards {
        host(&mut checks);
    }
    if part != Part::Host {
        boards(&mut checks)?;
    }
    print_summary(&checks)
}

/// Prints how many checks passed; any that failed is an error.
fn print_summary(checks: &Checks) -> Result<()> {
    println!("\nchecks: {} passed, {} failed", checks.passed, checks.failed.len());
    if !checks.left_out.is_empty() {
        println!("left out: {}", checks.left_out.join(", "));
    }
    if !checks.failed.is_empty() {
        bail!("failed:\n  {}", checks.failed.join("\n  "));
    }
    Ok(())
}

/// Format, lints and tests of what runs on the host.
fn host(checks: &mut Checks) {
    checks.check("format", || {
        command::run(cargo().args(["fmt", "--all", "--check"]))?;
        command::run(cargo().args(["fmt", "--all", "--check"]).current_dir(firmware_folder()))
    });
    checks.check("lints of the host's crates", || {
        command::run(cargo().args(["clippy", "--quiet", "--locked", "--workspace"]).args([
            "--all-targets",
            "--",
            "-Dwarnings",
        ]))
    });
    checks.check("feature sets of the runtime", || {
        let with_all = ["", "defmt", "write", "write,defmt"].map(|features| (true, features));
        let alone = Family::ALL.map(|family| (false, family.feature()));
        for (all, features) in with_all.into_iter().chain([(false, "")]).chain(alone) {
            let mut check = cargo();
            check.args(["check", "--quiet", "--locked", "-p", "seedmask", "--features", features]);
            if !all {
                check.arg("--no-default-features");
            }
            command::run(&mut check)?;
        }
        let smallest = ["-p", "seedmask", "--no-default-features", "--test", "families"];
        command::run(cargo().args(["test", "--quiet", "--locked"]).args(smallest))
    });
    checks.check("tests of the host's crates", || {
        command::run(cargo().args(["test", "--quiet", "--locked", "--workspace"]))
    });
    kernels_on_aarch64(checks);
    if command::exists("cargo-deny") {
        checks.check("licences and sources of dependencies", || {
            let what = ["deny", "--offline", "check", "bans", "licenses", "sources"];
            command::run(cargo().args(what))
        });
    }
}

/// The kernels that this host does not run.
fn kernels_on_aarch64(checks: &mut Checks) {
    let name = "host kernels on aarch64, emulated";
    if aarch64::IS_HOST {
        return;
    }
    match aarch64::missing() {
        Ok(missing) if missing.is_empty() => checks.check(name, aarch64::kernels),
        Ok(missing) => {
            let missing = missing.join(" and ");
            checks.leave_out(
                name,
                &format!("{missing} missing; `cargo xtask setup` tells how to get it"),
            );
        }
        Err(error) => checks.check(name, || Err(error)),
    }
}

/// Everything about the boards.
fn boards(checks: &mut Checks) -> Result<()> {
    let content = Content { cases: Some(cases()?), ..sample::content()? };
    for board in &BOARDS {
        let name = board.name;
        checks.check(&format!("{name}: lints"), || firmware::clippy(board, &content));
        checks.check(&format!("{name}: counter of instructions"), || {
            emulated::counter(board, &content)
        });
        // Some ways are there only where the runtime is compiled for speed.
        let setting = bench::compiled(bench::SPEED);
        let speed = ["--config", setting.as_str()];
        for (how, arguments) in [("", &[][..]), (", compiled for speed", &speed)] {
            checks.check(&format!("{name}: the case table, bit for bit{how}"), || {
                match emulated::cases(board, &content, arguments)? {
                    0 => Err(anyhow!("the case table is empty")),
                    cases => {
                        println!("{cases} cases, two kernels each, as on the host");
                        Ok(())
                    }
                }
            });
        }
        checks.check(&format!("{name}: the demo, bit for bit"), || {
            let demo = emulated::demo(board, &content)?;
            println!("{} images, all logits as on the host", demo.compared);
            Ok(())
        });
        checks.check(&format!("{name}: no panic, no formatting, no float helper"), || {
            probe::check(board, &content)
        });
    }
    checks.check("the programs in the texts, as printed there", readme::check);
    checks.check("counting board: lints", || {
        bench::boards().iter().try_for_each(|board| firmware::clippy(board, &content))
    });
    checks.check("instructions of layers and networks", || bench::expected::check(&content));
    checks.check("flash and stack within budgets", || size::size(&content));
    Ok(())
}

/// The cases that fit the smallest board, as a folder of artifacts.
fn cases() -> Result<PathBuf> {
    let folder = firmware::scratch("cases")?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut write = cargo();
    write.args(["run", "--quiet", "--locked", "-p", "seedmask-benches", "--bin", "cases", "--"]);
    command::run(write.arg(&folder).arg("small"))?;
    Ok(folder)
}

/// The cargo that runs this program, in the repository's root.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(paths::root());
    cargo
}

fn firmware_folder() -> PathBuf {
    paths::root().join("firmware")
}
