//! Runs a layer of the table some times, for programs that count instructions where nothing else does:
//! `layer CASE KERNELS DENSITY MASK TIMES`, as in `layer fc_784x256 native 10 raw 3`. What two runs of
//! different times differ by is the layer's.

use std::env;
use std::error::Error;
use std::hint::black_box;

use seedmask::kernel::{Native, Reference, Words};
use seedmask_benches::built::{Built, Run};
use seedmask_benches::cases::{self, Mask, Variant};

/// Seed of the layer.
const SEED: u64 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [case, kernels, density, mask, times] = &arguments[..] else {
        return Err("usage: layer CASE native|words|reference DENSITY raw|rice|gaps TIMES".into());
    };
    let mask = match mask.as_str() {
        "raw" => Mask::Raw,
        "rice" => Mask::Rice,
        "gaps" => Mask::Gaps,
        other => return Err(format!("{other:?}; expected raw, rice or gaps").into()),
    };
    let run: fn(&mut Run) = match kernels.as_str() {
        "native" => |run| run.run::<Native>(),
        "words" => |run| run.run::<Words>(),
        "reference" => |run| run.run::<Reference>(),
        other => return Err(format!("{other:?}; expected native, words or reference").into()),
    };
    let found = cases::all().find(|known| known.name == case);
    let found = found.ok_or_else(|| format!("there is no case {case:?}"))?;
    let variant = Variant::signs(mask, density.parse()?);
    let built = Built::new(found, variant, SEED);
    let mut built = built.ok_or_else(|| format!("{} cannot say {case}", variant.name()))?;
    let mut ready = Run::new(&mut built);
    for _ in 0..times.parse::<u32>()? {
        run(black_box(&mut ready));
    }
    Ok(())
}
