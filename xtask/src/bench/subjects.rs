//! What is measured: layers of the one table, and networks, as artifacts.

use std::{fs, process::Command};

use anyhow::{Context, Result};
use seedmask::layer::{Layer, Source};
use seedmask_benches::{
    artifact,
    cases::{Case, DENSITIES, Mask, SPEED, Variant},
};
use serde::Deserialize;

use crate::{command, firmware, host, paths, test::cargo};

/// Recipes of the networks, in `trainer/recipes`.
const NETWORKS: [&str; 4] = ["kws", "ic", "vww", "ad"];

/// Densities that networks are measured at.
const NETWORK_DENSITIES: [&str; 4] = ["0.1", "0.2", "0.3", "0.5"];

/// Something that is measured.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Unique: `fc_784x256.raw@0.1`.
    pub name: String,
    /// Name of the case: `fc_784x256`.
    pub case: String,
    /// How masks are stored, where a case is measured with several encodings.
    pub encoding: Option<&'static str>,
    /// Share of the weights that is kept; 1 for a layer without.
    pub density: f64,
    /// What cycles are divided by: multiplications of the dense layer or network, input elements of
    /// a pool, elements of an addition.
    pub macs: u64,
    /// The file.
    pub artifact: Vec<u8>,
    /// Bytes of RAM that a session of it works in.
    pub arena: usize,
    /// The layer that is measured; `None` for a whole network.
    pub layer: Option<usize>,
}

/// Every layer at every density, and every network, whose name contains `only`.
pub fn all(only: &str) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for case in &SPEED {
        subjects.extend(layers(case)?.into_iter().filter(|subject| subject.name.contains(only)));
    }
    for (network, density, encoding) in networks() {
        if name(network, encoding, density).contains(only) {
            subjects.push(build(network, density, encoding)?);
        }
    }
    Ok(subjects)
}

/// The names of all of them.
pub fn names() -> Result<Vec<String>> {
    let layers: Result<Vec<_>> = SPEED.iter().map(layers).collect();
    let layers = layers?.into_iter().flatten().map(|subject| subject.name);
    let networks = networks().map(|(network, density, encoding)| name(network, encoding, density));
    Ok(layers.chain(networks).collect())
}

/// The names of layers and networks, without density and encoding.
pub fn cases() -> Vec<&'static str> {
    SPEED.iter().map(|case| case.name).chain(NETWORKS).collect()
}

/// Every network with its density and encoding, where that is not the fastest.
fn networks() -> impl Iterator<Item = (&'static str, &'static str, Option<&'static str>)> {
    let densities = |network| NETWORK_DENSITIES.map(|density| (network, density));
    let networks = NETWORKS.into_iter().flat_map(densities);
    networks
        .flat_map(|(network, density)| [None, Some("smallest")].map(|it| (network, density, it)))
}

fn name(case: &str, encoding: Option<&str>, density: &str) -> String {
    let encoding = encoding.map(|encoding| format!(".{encoding}")).unwrap_or_default();
    format!("{case}{encoding}@{density}")
}

/// A case with the masks that the exporter would choose for speed. Dense layers and sparse convolutions
/// have two.
fn layers(case: &Case) -> Result<Vec<Subject>> {
    let whole = Variant { source: Source::SeededSigns, mask: Mask::Raw, density: 100 };
    if !case.weighted() {
        return Ok(vec![layer(case, whole, None)?]);
    }
    let dense = matches!(case.layer, Layer::Dense(_));
    let mut layers = Vec::new();
    for density in DENSITIES {
        let raw = Variant { density, ..whole };
        if dense {
            layers.push(layer(case, Variant { mask: Mask::CountedRaw, ..raw }, Some("counted"))?);
        } else {
            layers.push(layer(case, raw, None)?);
        }
        if dense && density <= 30 {
            layers.push(layer(case, Variant { mask: Mask::Gaps, ..raw }, Some("gaps"))?);
        }
        if matches!(case.layer, Layer::Conv2d(_)) && density <= 10 {
            layers.push(layer(case, Variant { mask: Mask::Gaps, ..raw }, Some("gaps"))?);
        }
    }
    Ok(layers)
}

fn layer(case: &Case, variant: Variant, encoding: Option<&'static str>) -> Result<Subject> {
    let density = f64::from(variant.density) / 100.0;
    let elements = u64::from(case.input.elements().unwrap_or(0));
    let (artifact, index) = artifact::isolated(case, variant)
        .with_context(|| format!("{} cannot be written as {}", case.name, variant.name()))?;
    Ok(Subject {
        name: match case.weighted() {
            true => name(case.name, encoding, &density.to_string()),
            false => case.name.to_owned(),
        },
        case: case.name.to_owned(),
        encoding,
        density,
        macs: if case.weighted() { case.macs() } else { elements },
        arena: host::parse(&artifact)?.arena_bytes(),
        artifact,
        layer: Some(index),
    })
}

/// What `seedmask build --json` reports.
#[derive(Deserialize)]
struct Built {
    macs: u64,
}

/// A network with random masks.
fn build(network: &str, density: &str, encoding: Option<&'static str>) -> Result<Subject> {
    let masks = encoding.unwrap_or("fastest");
    let file = firmware::scratch(&format!("bench/{network}-{masks}-{density}.smk"))?;
    let recipe = paths::root().join(format!("trainer/recipes/{network}.toml"));
    let mut seedmask = Command::new(seedmask()?);
    seedmask.arg("build").arg(recipe).arg("--output").arg(&file);
    seedmask.args(["--density", density, "--masks", masks, "--json"]);
    let report = command::output(&mut seedmask)?;
    let Built { macs } = serde_json::from_str(&report)
        .with_context(|| format!("cannot read what `seedmask build` printed:\n{report}"))?;
    let artifact = fs::read(&file)?;
    Ok(Subject {
        name: name(network, encoding, density),
        case: network.to_owned(),
        encoding,
        density: density.parse()?,
        macs,
        arena: host::parse(&artifact)?.arena_bytes(),
        artifact,
        layer: None,
    })
}

/// The command `seedmask`, as the tests build it: networks are made in no time.
fn seedmask() -> Result<std::path::PathBuf> {
    let package = ["-p", "seedmask-trainer", "--bin", "seedmask"];
    command::run(cargo().args(["build", "--quiet", "--locked"]).args(package))?;
    Ok(paths::target().join("debug/seedmask"))
}
