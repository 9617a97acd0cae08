//! Time and instructions on this computer: criterion measures, callgrind counts.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use seedmask_benches::{
    network,
    pack::{self, Named},
};
use serde::Deserialize;

use super::subjects::Subject;
use crate::{command, firmware, paths, test::cargo};

/// The bench target of `seedmask-benches`.
const BENCH: &str = "kernels";

/// What a subject came to.
pub struct Timed<'s> {
    /// What was measured.
    pub subject: &'s Subject,
    /// Median, one core.
    pub nanoseconds: f64,
    /// The same product in f32 with every weight, by the crate `gemm` in the same process.
    pub gemm: Option<f64>,
    /// As callgrind counts; `None` without valgrind.
    pub instructions: Option<u64>,
}

/// Times all `subjects`, and counts their instructions where valgrind is installed.
pub fn time(subjects: &[Subject]) -> Result<Vec<Timed<'_>>> {
    let networks = subjects.iter().filter(|subject| subject.layer.is_none());
    let networks = networks
        .map(|subject| Named { name: subject.name.clone(), artifact: subject.artifact.clone() });
    let pack = firmware::scratch("bench/host.pack")?;
    fs::write(&pack, pack::pack(&networks.collect::<Vec<_>>()))?;

    let jobs = subjects.iter().map(job);
    let products = subjects.iter().map(|subject| (subject.case.clone(), "gemm.f32".to_owned()));
    let filter: Vec<String> = jobs
        .chain(products)
        .map(|(group, name)| format!("{group}/{name}").replace('.', "\\."))
        .collect();
    let filter = format!("^({})$", filter.join("|"));
    // What an earlier run measured must not pass for this one's.
    for subject in subjects {
        let (group, name) = job(subject);
        for name in [name.as_str(), "gemm.f32"] {
            let folder = estimates(&group, name);
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
        }
    }
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--locked", "-p", "seedmask-benches", "--bench", BENCH, "--"]);
    bench.args(["--noplot", &filter]).env(network::PACK, &pack);
    command::output(&mut bench)?;

    let counts = if command::exists("valgrind") {
        count(&pack)?
    } else {
        println!("  without valgrind, no instructions of this computer");
        BTreeMap::new()
    };
    subjects
        .iter()
        .map(|subject| {
            let (group, name) = job(subject);
            let product = estimate(&subject.case, "gemm.f32");
            let dense = subject.case.starts_with("fc") || subject.case.starts_with("conv");
            Ok(Timed {
                subject,
                nanoseconds: estimate(&group, &name)?,
                gemm: if dense { Some(product?) } else { None },
                instructions: counts.get(&(group, name)).copied(),
            })
        })
        .collect()
}

/// Group and name of a subject in `benches/benches/kernels.rs`.
fn job(subject: &Subject) -> (String, String) {
    let name = match subject.layer {
        Some(_) if subject.name.contains('@') => {
            let encoding = subject.encoding.unwrap_or("raw");
            format!("native.signs.{encoding}.d{:.0}", 100.0 * subject.density)
        }
        _ => "native".to_owned(),
    };
    let group = if subject.layer.is_some() { &subject.case } else { &subject.name };
    (group.clone(), name)
}

/// What criterion leaves behind, as far as it is read.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

/// One of its estimates.
#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// Where criterion leaves what it measured last.
fn estimates(group: &str, name: &str) -> PathBuf {
    paths::target().join("criterion").join(group).join(name).join("new")
}

/// The median that criterion measured last, in nanoseconds.
fn estimate(group: &str, name: &str) -> Result<f64> {
    let path = estimates(group, name).join("estimates.json");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Estimates { median } = serde_json::from_str(&text)
        .with_context(|| format!("{} is not criterion's", path.display()))?;
    Ok(median.point_estimate)
}

/// Instructions by group and name, as callgrind counts them: a run each.
fn count(pack: &Path) -> Result<BTreeMap<(String, String), u64>> {
    let folder = firmware::scratch("bench/callgrind/out")?;
    let folder = folder.parent().context("a file has a folder")?;
    fs::remove_dir_all(folder)?;
    fs::create_dir_all(folder)?;
    let out = folder.join("out");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args(["--toggle-collect=counted", "--dump-after=counted"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program()?)
        .env("SEEDMASK_COUNT", "1")
        .env(network::PACK, pack);
    let log = command::output(&mut valgrind)?;
    let names = log.lines().filter_map(|line| line.strip_prefix("counted ")?.split_once(' '));
    // One file for each call, numbered from 1.
    let counts = (1..).zip(names).map(|(number, (group, name))| {
        let path = folder.join(format!("out.{number}"));
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.parse().ok());
        let total = total.with_context(|| format!("no total in {}", path.display()))?;
        Ok(((group.to_owned(), name.to_owned()), total))
    });
    counts.collect()
}

/// The bench target as a program.
fn program() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["bench", "--quiet", "--locked", "-p", "seedmask-benches", "--bench", BENCH]);
    let messages = command::output(build.args(["--no-run", "--message-format=json"]))?;
    let mut paths = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == BENCH;
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    });
    let path = paths.next_back().context("cargo names no program")?;
    ensure!(path.is_file(), "{} is not there", path.display());
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_named_as_the_bench_names_them() {
        let subject = |name: &str, case: &str, encoding, density, layer| Subject {
            name: name.into(),
            case: case.into(),
            encoding,
            density,
            macs: 1,
            artifact: Vec::new(),
            arena: 0,
            layer,
        };
        let named = |group: &str, name: &str| (group.to_owned(), name.to_owned());
        let gaps = subject("fc.gaps@0.05", "fc", Some("gaps"), 0.05, Some(1));
        assert_eq!(job(&gaps), named("fc", "native.signs.gaps.d5"));
        let conv = subject("conv@0.3", "conv", None, 0.3, Some(1));
        assert_eq!(job(&conv), named("conv", "native.signs.raw.d30"));
        assert_eq!(job(&subject("add", "add", None, 1.0, Some(1))), named("add", "native"));
        let network = subject("ad.smallest@0.1", "ad", Some("smallest"), 0.1, None);
        assert_eq!(job(&network), named("ad.smallest@0.1", "native"));
    }
}
