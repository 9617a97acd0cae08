//! `cargo xtask bench`: what layers and networks cost.

mod count;
mod subjects;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;

use count::{Counted, TARGETS};
use subjects::Subject;

/// What to measure and what to show.
#[derive(Default)]
struct Options {
    /// Part of a case's name.
    only: Option<String>,
    /// A target's key.
    target: Option<String>,
    /// Instructions to list.
    hot: usize,
    /// Where the lines go.
    json: Option<PathBuf>,
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
                "--hot" => options.hot = value()?.parse().context("--hot wants a number")?,
                "--json" => options.json = Some(value()?.into()),
                other => bail!("`{other}` is no option of `cargo xtask bench`"),
            }
        }
        Ok(options)
    }
}

/// Measures, prints a table, and writes the figures as JSON lines.
pub fn bench(words: &[&str]) -> Result<()> {
    let options = Options::parse(words)?;
    let only = options.only.as_deref().unwrap_or("");
    let subjects: Vec<Subject> =
        subjects::layers().into_iter().filter(|subject| subject.name.contains(only)).collect();
    if subjects.is_empty() {
        bail!("no case has `{only}` in its name");
    }
    let mut lines = Vec::new();
    for target in &TARGETS {
        if options.target.as_deref().is_some_and(|key| key != target.key) {
            continue;
        }
        println!("{}", target.title);
        println!("{:<34} {:>12} {:>12} {:>10}", "case", "instructions", "cycles", "per MAC");
        let all = count::count(target, &subjects, options.hot)?;
        all.iter().for_each(show);
        for counted in &all {
            for case in names(counted, &all) {
                lines.extend(figures(counted).map(|(metric, value)| {
                    json!({
                        "case": case, "density": counted.subject.density, "target": target.key,
                        "metric": metric, "value": value,
                    })
                }));
            }
        }
    }
    if let Some(path) = &options.json {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What a case's figures are called: by its encoding where there are several, and by its plain name
/// if it is the fastest of them.
fn names(counted: &Counted, all: &[Counted]) -> Vec<String> {
    let Subject { case, density, encoding, .. } = counted.subject;
    let rival = |other: &&Counted| other.subject.case == *case && other.subject.density == *density;
    let fastest = all.iter().filter(rival).all(|other| counted.cycles <= other.cycles);
    let by_encoding = encoding.map(|encoding| format!("{case}.{encoding}"));
    fastest.then(|| case.clone()).into_iter().chain(by_encoding).collect()
}

fn figures(counted: &Counted) -> impl Iterator<Item = (&'static str, f64)> {
    [
        ("instructions", counted.instructions as f64),
        ("cycles", counted.cycles as f64),
        ("cycles_per_mac", counted.cycles_per_mac()),
    ]
    .into_iter()
}

fn show(counted: &Counted) {
    println!(
        "{:<34} {:>12} {:>12} {:>10.3}",
        counted.subject.name,
        counted.instructions,
        counted.cycles,
        counted.cycles_per_mac()
    );
    for line in &counted.hot {
        println!("    {line}");
    }
}
