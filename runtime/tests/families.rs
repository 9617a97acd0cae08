//! A build without a family refuses, by name, the artifacts that need it.
//! `cargo test -p seedmask --no-default-features --test families` is the smallest build.

use seedmask::{Family, Model, ParseError};

/// It has every kind of layer, source and encoding; a relayout comes first, then a convolution
/// and a depthwise layer.
const GOLDEN: &[u8] = include_bytes!("../../tests/golden/v1.smk");
/// A relayout, convolutions, a dense layer, all over ±1 weights, Rice gaps.
const DEMO: &[u8] = include_bytes!("../../trainer/models/demo.smk");

/// The first of some families that this build lacks, as an error.
fn first_missing<const N: usize>(needed: [Family; N]) -> Option<ParseError> {
    needed.into_iter().find(|family| !family.is_linked()).map(ParseError::Disabled)
}

#[test]
fn what_is_left_out_is_refused_by_name() {
    let expected = first_missing([Family::Relayout, Family::Conv2d, Family::Depthwise]);
    assert_eq!(Model::parse(GOLDEN).err(), expected);
    let expected = first_missing([Family::Relayout, Family::Conv2d, Family::Rice]);
    assert_eq!(Model::parse(DEMO).err(), expected);
}
