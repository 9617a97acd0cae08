//! `cargo xtask bench`: what layers and networks cost (`benches/README.md`).

mod anchors;
mod count;
mod demo;
pub mod expected;
mod figures;
mod flash;
mod host;
mod subjects;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use count::{Counted, TARGETS};
pub use count::{SPEED, compiled};
use expected::Counts;
use host::Timed;
use subjects::Subject;

use crate::{
    board::Board,
    sample,
    usage::{self, Usage},
};

/// What to measure and what to show.
#[derive(Default)]
struct Options {
    /// Part of a case's name.
    only: Option<String>,
    /// A target's key.
    target: Option<String>,
    /// Whether to list the layers of networks.
    layers: bool,
    /// Instructions to list.
    hot: usize,
    /// Optimisation of the runtime, other than 3.
    opt_level: Option<String>,
    /// Where the lines go.
    json: Option<PathBuf>,
    /// Whether the counts are the ones to expect from now on.
    bless: bool,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(&option) = words.next() {
            let mut value =
                || words.next().copied().with_context(|| format!("{option} wants a value"));
            match option {
                "--only" => options.only = Some(value()?.to_owned()),
                "--target" => options.target = Some(value()?.to_owned()),
                "--layers" => options.layers = true,
                "--hot" => options.hot = value()?.parse().context("--hot wants a number")?,
                "--opt-level" => {
                    let level = value()?;
                    let known = ["0", "1", "2", "3", "s", "z"].contains(&level);
                    ensure!(known, "--opt-level {level}; expected 0, 1, 2, 3, s or z");
                    options.opt_level = Some(level.to_owned());
                }
                "--json" => options.json = Some(value()?.into()),
                "--bless" => options.bless = true,
                other => bail!("`{other}` is no option of `cargo xtask bench`"),
            }
        }
        let partly = options.only.is_some() || options.opt_level.is_some();
        ensure!(!options.bless || !partly, "--bless takes the whole table as it is");
        let keys = TARGETS.iter().map(|target| target.key);
        let known = |wanted: &String| wanted == "host" || keys.clone().any(|key| wanted == key);
        if let Some(wanted) = options.target.as_ref().filter(|wanted| !known(wanted)) {
            let keys: Vec<_> = keys.collect();
            bail!("--target {wanted}; expected {} or host", keys.join(", "));
        }
        ensure!(
            !options.bless || options.target.as_deref() != Some("host"),
            "--bless is for boards"
        );
        Ok(options)
    }

    /// Whether `name` has the part that is asked for.
    fn names(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }

    /// Whether what the boards run is asked for, as they compile it.
    fn wants_boards(&self) -> bool {
        self.target.as_deref() != Some("host") && self.opt_level.is_none()
    }

    /// Whether a target is asked for.
    fn wants(&self, key: &str) -> bool {
        self.target.as_deref().is_none_or(|wanted| wanted == key)
    }
}

/// The boards that count: the same program for each core.
pub fn boards() -> [&'static Board; 2] {
    TARGETS.each_ref().map(|target| &target.board)
}

/// Measures, prints tables, and writes the figures as JSON lines.
pub fn bench(words: &[&str]) -> Result<()> {
    let options = Options::parse(words).map_err(|error| Usage(error.to_string()))?;
    let subjects = subjects::all(options.only.as_deref().unwrap_or(""))?;
    let demo = demo::names()?.iter().any(|name| options.names(name));
    if subjects.is_empty() {
        ensure!(demo, unknown(options.only.as_deref().unwrap_or(""))?);
        let fault = "the demo is counted on boards as they compile it, without --opt-level";
        ensure!(options.wants_boards(), Usage(fault.to_owned()));
    }
    let sample = (demo && options.wants_boards()).then(sample::content).transpose()?;
    let mut figures = Vec::new();
    for target in TARGETS.iter().filter(|target| options.wants(target.key)) {
        let opt_level = options.opt_level.as_deref();
        let all = count::count(target, &subjects, options.hot, opt_level)?;
        if !all.is_empty() {
            println!("\n{}, modelled cycles at zero wait states", target.title);
            show(&all, target.key, options.layers || options.hot > 0);
        }
        let mut demo = Counts::new();
        if let Some(sample) = &sample {
            demo = demo::count(target.key, sample)?;
            demo.retain(|name, _| options.names(name));
            show_demo(target.key, &demo);
        }
        if options.bless {
            expected::bless(target.key, &all, demo)?;
        }
        if options.json.is_some() {
            let flash = flash::Flash::measure(target.key, &subjects)?;
            let bytes = |subject: &Subject| flash.of(subject);
            figures.extend(figures::of_board(target.key, &all, bytes));
        }
    }
    if options.wants("host") && options.hot == 0 && !options.bless && !subjects.is_empty() {
        let all = host::time(&subjects)?;
        println!("\nthis computer, one core");
        show_host(&all);
        figures.extend(figures::of_host(&all));
    }
    if let Some(path) = &options.json {
        figures::write(path, &figures)?;
    }
    Ok(())
}

/// The fault of asking for cases that are not there.
fn unknown(only: &str) -> Result<Usage> {
    let mut names: Vec<String> = subjects::names()?;
    names.extend(demo::names()?);
    let near = usage::near(only, &names);
    let instead = match near.is_empty() {
        true => format!("there are {} and demo", subjects::cases().join(", ")),
        false => format!("near it are {}", near.join(", ")),
    };
    Ok(Usage(format!("no case's name contains `{only}`; {instead}")))
}

/// Counts of the demo on the board of this key.
fn show_demo(key: &str, counts: &Counts) {
    let board = Board::find(key).map_or(key, |board| board.title);
    println!("\n{board}, compiled for size as its programs are");
    for (name, instructions) in counts {
        println!("{name:<24} {instructions:>12} instructions");
    }
}

/// The table of a core. Networks' arena and artifact stand beside those of an int8 engine; if
/// `detailed`, their layers below.
fn show(all: &[Counted], target: &str, detailed: bool) {
    println!(
        "{:<24} {:>12} {:>12} {:>8} {:>10} {:>10} {:>9} {:>9} {:>16} {:>16}",
        "case",
        "instructions",
        "cycles",
        "per MAC",
        "CMSIS-NN",
        "published",
        "check",
        "start-up",
        "arena",
        "artifact"
    );
    for counted in all {
        let Counted { subject, run, check, startup, layers } = counted;
        let anchor = anchors::of(&subject.case);
        let (cmsis, published) = match (anchor, target) {
            (Some(anchor), "m4") => (Some(anchor.cmsis_m4), anchor.published),
            (Some(anchor), _) => (anchor.cmsis_m0, None),
            (None, _) => (None, None),
        };
        let bytes = anchor.and_then(|anchor| anchor.bytes);
        let per_mac = counted.cycles_per_mac();
        println!(
            "{:<24} {:>12} {:>12} {:>8.3} {:>10} {:>10} {:>9} {:>9} {:>16} {:>16}",
            subject.name,
            run.instructions,
            run.cycles,
            per_mac,
            times(cmsis, per_mac),
            times(published, per_mac),
            check.cycles,
            startup.cycles,
            share(subject.arena, bytes.map(|[arena, _]| arena)),
            share(subject.artifact.len(), bytes.map(|[_, file]| file)),
        );
        run.hot.iter().for_each(|line| println!("    {line}"));
        let starts = [("check", check), ("start-up", startup)];
        let layers = layers.iter().map(|(layer, cost)| (layer.as_str(), cost));
        for (part, cost) in starts.into_iter().chain(layers).filter(|_| detailed) {
            println!("  {part:<40} {:>12} {:>12}", cost.instructions, cost.cycles);
            cost.hot.iter().for_each(|line| println!("    {line}"));
        }
    }
}

/// The table of this computer.
fn show_host(all: &[Timed]) {
    println!(
        "{:<24} {:>12} {:>12} {:>12} {:>10}",
        "case", "instructions", "ns", "f32 gemm, ns", "faster"
    );
    for Timed { subject, nanoseconds, gemm, instructions } in all {
        println!(
            "{:<24} {:>12} {nanoseconds:>12.0} {:>12} {:>10}",
            subject.name,
            instructions.map(|count| count.to_string()).unwrap_or_default(),
            gemm.map(|gemm| format!("{gemm:.0}")).unwrap_or_default(),
            times(*gemm, *nanoseconds),
        );
    }
}

/// Bytes, and the part that they are of another's, where that is known.
fn share(ours: usize, other: Option<u64>) -> String {
    match other {
        Some(other) => format!("{ours} ({:.3})", ours as f64 / other as f64),
        None => ours.to_string(),
    }
}

/// How many times as long another runtime takes, or nothing where it is not known.
fn times(other: Option<f64>, ours: f64) -> String {
    other.map(|other| format!("{:.2} ×", other / ours)).unwrap_or_default()
}
