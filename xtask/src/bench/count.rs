//! Instructions and cycles on an emulated core.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use seedmask::{artifact::Step, layer::Tensor};
use seedmask_benches::pack::{self, Named};
use seedmask_profiler::{Code, Core, Profile, plugin, record};

use super::subjects::Subject;
use crate::{
    board::Board,
    command,
    firmware::{self, Content},
    host,
};

/// Where the emulated memory for artifacts begins (`firmware/boards/qemu-count/src/lib.rs`).
const PACK: u32 = 0x2100_0000;

/// All cases with the plugin take half a minute.
const LIMIT: Duration = Duration::from_secs(600);

/// A core that is measured.
pub struct Target {
    /// As in the JSON lines.
    pub key: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// How long instructions take.
    core: Core,
    /// The machine that counts.
    pub board: Board,
}

/// All of them. A program of the M0 is the same instructions on the larger machine.
pub const TARGETS: [Target; 2] = [
    Target {
        key: "m4",
        title: "Cortex-M4",
        core: Core::M4,
        board: counting("thumbv7em-none-eabihf"),
    },
    Target {
        key: "m0",
        title: "Cortex-M0+",
        core: Core::M0Plus,
        board: counting("thumbv6m-none-eabi"),
    },
];

const fn counting(target: &'static str) -> Board {
    Board {
        name: "qemu-count",
        title: "counting board",
        key: "count",
        target,
        machine: "mps2-an386",
    }
}

/// What a region came to.
pub struct Cost {
    /// Exact.
    pub instructions: u64,
    /// Modelled.
    pub cycles: i64,
    /// Lines for people: where the cycles go.
    pub hot: Vec<String>,
}

/// What a subject came to.
pub struct Counted<'s> {
    /// What was measured.
    pub subject: &'s Subject,
    /// The layer, or the whole inference.
    pub run: Cost,
    /// `Model::parse`: what bytes cost once, when they have arrived.
    pub check: Cost,
    /// `Model::open` and `Session::new`: what every start costs.
    pub startup: Cost,
    /// Every layer of a network with its cost, in their order. Layers that run in turns are one,
    /// described as the last of them.
    pub layers: Vec<(String, Cost)>,
}

impl Counted<'_> {
    /// Cycles for each multiplication of the dense layer.
    pub fn cycles_per_mac(&self) -> f64 {
        self.run.cycles as f64 / self.subject.macs as f64
    }
}

/// How the runtime is compiled where its speed is measured, as the kernels are beside which it stands.
pub const SPEED: &str = "3";

/// Cargo's setting for a runtime that is compiled so: digits are numbers there, letters texts.
pub fn compiled(level: &str) -> String {
    let level = if level.parse::<u8>().is_ok() { level } else { &format!("\"{level}\"") };
    format!("profile.release.package.seedmask.opt-level={level}")
}

/// Runs all `subjects` on `target`; lists the `hot` instructions of each that take the most cycles.
/// `opt_level` compiles the runtime with another one than [`SPEED`].
pub fn count<'s>(
    target: &Target,
    subjects: &'s [Subject],
    hot: usize,
    opt_level: Option<&str>,
) -> Result<Vec<Counted<'s>>> {
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let opt_level = compiled(opt_level.unwrap_or(SPEED));
    let arguments = ["--target", target.board.target, "--config", &opt_level];
    let elf = firmware::build_with(&target.board, "count", &Content::default(), &arguments)?;
    let named = subjects
        .iter()
        .map(|subject| Named { name: subject.name.clone(), artifact: subject.artifact.clone() });
    let pack_file = firmware::scratch(&format!("bench/{}.pack", target.key))?;
    fs::write(&pack_file, pack::pack(&named.collect::<Vec<_>>()))?;
    let record_file = firmware::scratch(&format!("bench/{}.record", target.key))?;
    let library = plugin::compile(record_file.parent().context("a file has a folder")?)?;
    let machine = target.board.machine;
    let pack = (pack_file.as_path(), PACK);
    let mut emulator = plugin::emulator(&library, machine, &elf, pack, &record_file);
    let log = command::output_within(&mut emulator, LIMIT)?;
    let regions = record::parse(&fs::read_to_string(&record_file)?)?;
    let titles: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("region ")).collect();
    ensure!(
        titles.len() == regions.len(),
        "{} regions were named and {} recorded",
        titles.len(),
        regions.len()
    );
    let regions: BTreeMap<&str, &record::Region> = titles.into_iter().zip(&regions).collect();
    let mut code = Code::read(&fs::read(&elf)?)?;
    let mut cost = |subject: &Subject, part: &str, hot: usize| {
        let title = format!("{} {part}", subject.name);
        let region = regions.get(title.as_str());
        let region = region.with_context(|| format!("the board measured no `{title}`"))?;
        let profile = Profile::new(region, &mut code, target.core).context(title)?;
        Ok::<_, anyhow::Error>(Cost {
            instructions: profile.instructions,
            cycles: profile.cycles.nominal,
            hot: where_spent(&profile, &mut code, hot),
        })
    };
    let mut counted = Vec::new();
    for subject in subjects {
        let (run, layers) = match subject.layer {
            Some(layer) => (cost(subject, &format!("layer {layer}"), hot)?, Vec::new()),
            None => {
                let mut layers = Vec::new();
                for step in host::parse(&subject.artifact)?.steps() {
                    let part = format!("layer {}", step.index);
                    if regions.contains_key(format!("{} {part}", subject.name).as_str()) {
                        layers.push((describe(&step), cost(subject, &part, hot)?));
                    }
                }
                (cost(subject, "infer 0", 0)?, layers)
            }
        };
        let check = cost(subject, "check 0", hot)?;
        let startup = cost(subject, "startup 0", hot)?;
        counted.push(Counted { subject, run, check, startup, layers });
    }
    Ok(counted)
}

/// A layer in a line: `3 conv2d 64×25×5 → 64×25×5`.
fn describe(step: &Step) -> String {
    let shape = |tensor: &Tensor| format!("{}×{}×{}", tensor.channels, tensor.height, tensor.width);
    let kind = step.layer.kind();
    format!("{:>2} {kind:<12} {} → {}", step.index, shape(&step.input), shape(&step.output))
}

/// Functions and instructions by cycles.
fn where_spent(profile: &Profile, code: &mut Code, hot: usize) -> Vec<String> {
    if hot == 0 {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for (name, instructions, cycles) in profile.functions(code).into_iter().take(6) {
        lines.push(format!("{instructions:>10} instructions {cycles:>10} cycles  {name}"));
    }
    for hot in profile.hottest(code, hot) {
        let (address, times, cycles) = (hot.address, hot.times, hot.cycles);
        lines.push(format!("{address:>8x} {times:>9} × {cycles:5.2}  {}", hot.text));
    }
    lines
}
