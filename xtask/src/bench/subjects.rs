//! What is measured: layers of the one table, as artifacts.

use seedmask::layer::{Layer, Source};
use seedmask_benches::{
    artifact,
    cases::{Case, DENSITIES, Mask, SPEED, Variant},
};

/// Something that is measured.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Unique: `fc_784x256.raw@0.1`.
    pub name: String,
    /// Name of the case: `fc_784x256`.
    pub case: String,
    /// How the mask is stored, where a case is measured with several.
    pub encoding: Option<&'static str>,
    /// Share of the weights that is kept; 1 for a layer without.
    pub density: f64,
    /// What cycles are divided by: multiplications of the dense layer, input elements of a pool,
    /// elements of an addition.
    pub macs: u64,
    /// The file.
    pub artifact: Vec<u8>,
    /// The layer that is measured; `None` for a whole network.
    pub layer: Option<usize>,
}

/// Every layer of the table at every density.
pub fn layers() -> Vec<Subject> {
    SPEED.iter().flat_map(of_case).collect()
}

fn of_case(case: &'static Case) -> Vec<Subject> {
    let whole = Variant { source: Source::SeededSigns, mask: Mask::Raw, density: 100 };
    if !case.weighted() {
        return subject(case, whole, None).into_iter().collect();
    }
    let dense = matches!(case.layer, Layer::Dense(_));
    let variants = DENSITIES.iter().flat_map(|&density| {
        let raw = (Variant { density, ..whole }, dense.then_some("raw"));
        let gaps = (Variant { density, mask: Mask::Gaps, ..whole }, Some("gaps"));
        [Some(raw), (dense && density <= 30).then_some(gaps)].into_iter().flatten()
    });
    variants.filter_map(|(variant, encoding)| subject(case, variant, encoding)).collect()
}

fn subject(case: &Case, variant: Variant, encoding: Option<&'static str>) -> Option<Subject> {
    let density = f64::from(variant.density) / 100.0;
    let suffix = encoding.map(|encoding| format!(".{encoding}")).unwrap_or_default();
    let elements = u64::from(case.input.elements().unwrap_or(0));
    Some(Subject {
        name: match case.weighted() {
            true => format!("{}{suffix}@{density}", case.name),
            false => case.name.to_owned(),
        },
        case: case.name.to_owned(),
        encoding,
        density,
        macs: if case.weighted() { case.macs() } else { elements },
        artifact: artifact::isolated(case, variant)?,
        layer: Some(artifact::ISOLATED),
    })
}
