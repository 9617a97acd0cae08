//! Figures for programs: one a line.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{count::Counted, host::Timed, subjects::Subject};

/// A measured number.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Figure {
    /// Name of the layer or network.
    pub case: String,
    /// Share of the weights that is kept.
    pub density: f64,
    /// `m4`, `m0` or `host`.
    pub target: &'static str,
    /// What is measured.
    pub metric: &'static str,
    /// How much.
    pub value: f64,
}

/// The figures of what was counted on `target`. `flash` is the size of the program that runs a
/// subject.
pub fn of_board(
    target: &'static str,
    all: &[Counted],
    flash: impl Fn(&Subject) -> Option<u64>,
) -> Vec<Figure> {
    let speed = |counted: &Counted| counted.run.cycles as f64;
    let named = named(all, |counted| counted.subject, speed);
    let figures = named.into_iter().flat_map(|(case, counted)| {
        let Counted { subject, run, check, startup, .. } = counted;
        let network = subject.layer.is_none();
        let metrics = [
            ("instructions", Some(run.instructions as f64)),
            ("cycles", Some(run.cycles as f64)),
            ("cycles_per_mac", Some(counted.cycles_per_mac())),
            ("check_cycles", network.then_some(check.cycles as f64)),
            ("startup_cycles", network.then_some(startup.cycles as f64)),
            ("flash_bytes", flash(subject).map(|bytes| bytes as f64)),
            ("arena_bytes", Some(subject.arena as f64)),
            ("artifact_bytes", Some(subject.artifact.len() as f64)),
        ];
        let density = subject.density;
        metrics.into_iter().filter_map(move |(metric, value)| {
            Some(Figure { case: case.clone(), density, target, metric, value: value? })
        })
    });
    figures.collect()
}

/// The figures of this computer.
pub fn of_host(all: &[Timed]) -> Vec<Figure> {
    let named = named(all, |timed| timed.subject, |timed| timed.nanoseconds);
    let figures = named.into_iter().flat_map(|(case, timed)| {
        let subject = timed.subject;
        let metrics = [
            ("ns", Some(timed.nanoseconds)),
            ("gemm_ns", timed.gemm),
            ("instructions", timed.instructions.map(|count| count as f64)),
            ("arena_bytes", Some(subject.arena as f64)),
            ("artifact_bytes", Some(subject.artifact.len() as f64)),
        ];
        let (density, target) = (subject.density, "host");
        metrics.into_iter().filter_map(move |(metric, value)| {
            Some(Figure { case: case.clone(), density, target, metric, value: value? })
        })
    });
    figures.collect()
}

/// What each case's figures are called: by its encoding where there are several, and by its plain
/// name if it is the one of its density for which `cost` is least.
pub fn named<T>(
    all: &[T],
    subject: impl Fn(&T) -> &Subject,
    cost: impl Fn(&T) -> f64,
) -> Vec<(String, &T)> {
    let mut names = Vec::new();
    for one in all {
        let Subject { case, density, encoding, .. } = subject(one);
        let rivals = all.iter().filter(|&other| {
            let other = subject(other);
            other.case == *case && other.density == *density
        });
        // Of equal ones the first.
        let best = rivals.min_by(|a, b| cost(a).total_cmp(&cost(b)));
        if best.is_some_and(|best| std::ptr::eq(best, one)) {
            names.push((case.clone(), one));
        }
        names.extend(encoding.map(|encoding| (format!("{case}.{encoding}"), one)));
    }
    names
}

/// Writes JSON lines.
pub fn write(path: &Path, figures: &[Figure]) -> Result<()> {
    let lines: Result<Vec<String>, _> = figures.iter().map(serde_json::to_string).collect();
    let text: String = lines?.iter().map(|line| format!("{line}\n")).collect();
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(encoding: Option<&'static str>, density: f64) -> Subject {
        Subject {
            name: String::new(),
            case: "fc".into(),
            encoding,
            density,
            macs: 1,
            artifact: Vec::new(),
            arena: 0,
            layer: None,
        }
    }

    #[test]
    fn the_fastest_encoding_has_the_plain_name() {
        let all = [
            (subject(Some("raw"), 0.1), 5.0),
            (subject(Some("gaps"), 0.1), 3.0),
            (subject(Some("raw"), 0.5), 4.0),
        ];
        let names: Vec<_> = named(&all, |one| &one.0, |one| one.1)
            .into_iter()
            .map(|(name, one)| (name, one.1))
            .collect();
        let expected =
            [("fc.raw", 5.0), ("fc", 3.0), ("fc.gaps", 3.0), ("fc", 4.0), ("fc.raw", 4.0)];
        assert_eq!(names, expected.map(|(name, cost)| (name.to_owned(), cost)));
    }

    #[test]
    fn a_line_has_the_five_keys() {
        let figure =
            Figure { case: "fc".into(), density: 0.1, target: "m4", metric: "cycles", value: 7.0 };
        let line = serde_json::to_string(&figure).unwrap();
        assert_eq!(
            line,
            r#"{"case":"fc","density":0.1,"target":"m4","metric":"cycles","value":7.0}"#
        );
    }
}
