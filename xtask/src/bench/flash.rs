//! Flash of the program that a subject needs: the bin `size` of the target's board, which is the
//! runtime and the loop of the demo, with just the families of the subject's artifact.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use anyhow::{Context, Result};
use seedmask::Family;

use super::subjects::Subject;
use crate::{
    board::Board,
    elf::Elf,
    firmware::{self, Content},
    host,
};

/// Bytes of code and constants by the features that are linked.
#[derive(Default)]
pub struct Flash(BTreeMap<BTreeSet<&'static str>, u64>);

impl Flash {
    /// Links a program for each set of families that `subjects` need on the board of this key.
    pub fn measure(key: &str, subjects: &[Subject]) -> Result<Self> {
        let board = Board::find(key).with_context(|| format!("no board is called {key}"))?;
        let mut sizes = BTreeMap::new();
        for subject in subjects {
            if let Entry::Vacant(entry) = sizes.entry(features(subject)?) {
                let bytes = link(board, entry.key())?;
                entry.insert(bytes);
            }
        }
        Ok(Self(sizes))
    }

    /// Bytes for `subject`, if it was measured.
    pub fn of(&self, subject: &Subject) -> Option<u64> {
        self.0.get(&features(subject).ok()?).copied()
    }
}

fn link(board: &Board, features: &BTreeSet<&'static str>) -> Result<u64> {
    let features: Vec<String> =
        features.iter().map(|feature| format!("seedmask/{feature}")).collect();
    let features = features.join(",");
    let arguments = ["--no-default-features", "--features", &features];
    let elf = firmware::build_with(board, "size", &Content::default(), &arguments)?;
    Ok(Elf::read(&elf)?.program())
}

/// The runtime's features that a subject's artifact needs.
fn features(subject: &Subject) -> Result<BTreeSet<&'static str>> {
    let model = host::parse(&subject.artifact)?;
    let task = model.tasks().next().context("an artifact without a task")?;
    let mut features = BTreeSet::new();
    for op in task.program(&model) {
        features.extend(Family::of_layer(&op.step.layer).map(Family::feature));
        if let Some((weights, _)) = op.learned {
            let source = Family::of_source(weights.weights().source);
            let encoding = Family::of_encoding(weights.mask().0);
            features.extend([source, encoding].into_iter().flatten().map(Family::feature));
        }
    }
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::subjects;

    #[test]
    fn layers_need_their_families() {
        let features = |name: &str| {
            let subjects = subjects::all(name).unwrap();
            features(&subjects[0]).unwrap().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(features("fc_256x64.counted@0.1"), ["relayout"]);
        assert_eq!(features("fc_256x64.gaps@0.1"), ["gaps", "relayout"]);
        assert_eq!(features("maxpool2x2_16x16x64"), ["pool", "relayout"]);
    }
}
