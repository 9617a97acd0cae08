//! Instruction counts in git: a rise is a failure, and a fall is welcome.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::count::{self, Counted, TARGETS};
use super::demo;
use super::subjects::{self, Subject};
use crate::{firmware::Content, paths, toolchain::Toolchain};

/// Instructions by name.
pub type Counts = BTreeMap<String, u64>;

/// A file of expected counts.
#[derive(Serialize, Deserialize)]
struct Expected {
    /// The compiler that the counts are of.
    compiler: String,
    instructions: Counts,
}

/// A count may rise by this much.
const TOLERANCE: f64 = 0.02;

/// … with another compiler than the file's, which makes other code of the same source.
const OTHER_COMPILER: f64 = 0.15;

fn path(target: &str) -> PathBuf {
    paths::root().join(format!("benches/expected/{target}.json"))
}

/// Densities whose counts are in the files, and layers without weights: a minute for both cores.
const DENSITIES: [f64; 3] = [0.1, 0.5, 1.0];

fn is_expected(subject: &Subject) -> bool {
    DENSITIES.contains(&subject.density) && subject.encoding != Some("smallest")
}

/// Measures what is in the files and compares. `content` is the sample's, as the boards carry it.
pub fn check(content: &Content) -> Result<()> {
    let mut subjects = subjects::all("")?;
    subjects.retain(is_expected);
    let compiler = Toolchain::require()?.version()?;
    let mut worse = Vec::new();
    for target in &TARGETS {
        let counted = count::count(target, &subjects, 0, None)?;
        let path = path(target.key);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let expected: Expected = serde_json::from_str(&text)
            .with_context(|| format!("{} is malformed", path.display()))?;
        let tolerance = if expected.compiler == compiler {
            TOLERANCE
        } else {
            println!("{}: the counts are of {}, here is {compiler}", target.key, expected.compiler);
            OTHER_COMPILER
        };
        let found = counts(&counted, demo::count(target.key, content)?);
        worse.extend(differences(target.key, &expected.instructions, &found, tolerance));
    }
    if !worse.is_empty() {
        bail!(
            "other instructions than in benches/expected (`cargo xtask bench --bless` accepts \
             them):\n  {}",
            worse.join("\n  ")
        );
    }
    Ok(())
}

/// Writes what was counted on a target, and of the demo on its board.
pub fn bless(target: &str, counted: &[Counted], demo: Counts) -> Result<()> {
    let compiler = Toolchain::require()?.version()?;
    let expected = Expected { compiler, instructions: counts(counted, demo) };
    let text = serde_json::to_string_pretty(&expected)? + "\n";
    let path = path(target);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn counts(counted: &[Counted], demo: Counts) -> Counts {
    let expected = counted.iter().filter(|counted| is_expected(counted.subject));
    expected
        .flat_map(|counted| {
            let Counted { subject, run, check, startup, .. } = counted;
            let starts = [("check", check), ("start-up", startup)]
                .map(|(part, cost)| (format!("{} {part}", subject.name), cost.instructions));
            let starts = starts.into_iter().filter(|_| subject.layer.is_none());
            [(subject.name.clone(), run.instructions)].into_iter().chain(starts)
        })
        .chain(demo)
        .collect()
}

/// A line for each count that rose by more than `tolerance`, or that stands on one side only.
fn differences(target: &str, expected: &Counts, found: &Counts, tolerance: f64) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, &found) in found {
        match expected.get(name) {
            None => lines.push(format!("{target} {name}: {found} found, none expected")),
            Some(&expected) if found as f64 > expected as f64 * (1.0 + tolerance) => {
                lines.push(format!(
                    "{target} {name}: {expected} expected, {found} found, {:.1} % more",
                    100.0 * (found as f64 / expected as f64 - 1.0)
                ))
            }
            Some(&expected) if (found as f64) < expected as f64 * (1.0 - tolerance) => {
                println!("{target} {name}: {expected} expected, only {found} found: bless them");
            }
            Some(_) => {}
        }
    }
    let gone = expected.keys().filter(|name| !found.contains_key(*name));
    lines.extend(gone.map(|name| format!("{target} {name}: expected, and no longer measured")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rise_is_a_difference() {
        let counts = |pairs: &[(&str, u64)]| -> Counts {
            pairs.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
        };
        let expected = counts(&[("add", 1000), ("fc", 1000), ("pool", 1000)]);
        let found = counts(&[("add", 1020), ("fc", 1021), ("pool", 500)]);
        assert_eq!(
            differences("m4", &expected, &found, TOLERANCE),
            ["m4 fc: 1000 expected, 1021 found, 2.1 % more"]
        );
        let other = counts(&[("add", 1000), ("fc", 1000), ("conv", 5)]);
        assert_eq!(
            differences("m0", &expected, &other, TOLERANCE),
            ["m0 conv: 5 found, none expected", "m0 pool: expected, and no longer measured"]
        );
    }
}
