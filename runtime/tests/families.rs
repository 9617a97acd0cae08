//! A build without a family refuses, by name, the artifacts that need it.
//! `cargo test -p seedmask --no-default-features --test families` is the smallest build.

use seedmask::{Family, Model, ParseError};

/// It has every kind of layer, source and encoding; the depthwise layer comes first.
const GOLDEN: &[u8] = include_bytes!("../../tests/golden/v1.smk");
/// Dense layers and convolutions over ±1 weights, Rice gaps.
const DEMO: &[u8] = include_bytes!("../../trainer/models/demo.smk");

#[test]
fn what_is_left_out_is_refused_by_name() {
    let refused = Model::parse(GOLDEN).err();
    let expected = match cfg!(feature = "depthwise") {
        true => None,
        false => Some(ParseError::Disabled(Family::Depthwise)),
    };
    assert_eq!(refused, expected);

    let refused = Model::parse(DEMO).err();
    let expected = match cfg!(feature = "rice") {
        true => None,
        false => Some(ParseError::Disabled(Family::Rice)),
    };
    assert_eq!(refused, expected);
}
