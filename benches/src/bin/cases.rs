//! Writes layers of the table as artifacts: `cases FOLDER [small]`. With `small`, those that a
//! board with 8 KB for the arena can hold.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use seedmask::layer::{Layer, Source};
use seedmask_benches::artifact::{artifact, isolated};
use seedmask_benches::cases::{self, Case, Mask, Variant};
use seedmask_benches::damage::{Filling, filled};

/// What each weighted case is written with.
const VARIANTS: [Variant; 10] = [
    Variant::signs(Mask::Raw, 10),
    Variant::signs(Mask::Raw, 50),
    Variant::signs(Mask::CountedRaw, 30),
    Variant::signs(Mask::Rice, 10),
    Variant::signs(Mask::Gaps, 10),
    Variant::signs(Mask::Positions, 30),
    Variant::signs(Mask::Full, 100),
    Variant::signs(Mask::Seeded, 25),
    Variant { source: Source::SeededMagnitudes, mask: Mask::Raw, density: 10 },
    Variant { source: Source::StoredInt8, mask: Mask::Rice, density: 20 },
];

/// What is also written with sections that are filled with anything. Their names begin with `damaged`: they
/// are to be opened, and to do no harm.
const DAMAGED: [(Variant, Filling); 9] = [
    (Variant::signs(Mask::Raw, 50), Filling::Byte(0xff)),
    (Variant::signs(Mask::CountedRaw, 30), Filling::Random),
    // Codes of one bit, every weight kept, far beyond the last one.
    (Variant::signs(Mask::Rice, 97), Filling::Byte(0xff)),
    (Variant::signs(Mask::Rice, 10), Filling::Random),
    (Variant::signs(Mask::Gaps, 10), Filling::Edits),
    (Variant::signs(Mask::Gaps, 10), Filling::Less),
    (Variant::signs(Mask::Positions, 30), Filling::Random),
    (Variant::signs(Mask::Positions, 30), Filling::Byte(0xff)),
    (Variant { source: Source::StoredInt8, mask: Mask::Rice, density: 20 }, Filling::Byte(0x80)),
];

/// Bytes of the largest damaged artifact for a small board.
const LARGEST_DAMAGED: usize = 500;

/// Bytes of the largest artifact for a small board.
const LARGEST_SMALL: usize = 5_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: cases FOLDER [small]")?);
    let small = match arguments.next().as_deref() {
        None => false,
        Some("small") => true,
        Some(other) => return Err(format!("{other:?}; expected \"small\" or nothing").into()),
    };
    fs::create_dir_all(&folder)?;
    let wanted = |case: &&Case| case.small || !small;
    let mut count = 0;
    for (index, case) in cases::all().filter(wanted).enumerate() {
        let variants = if case.weighted() { &VARIANTS[..] } else { &VARIANTS[..1] };
        for &variant in variants {
            let Some(bytes) = artifact(case, variant) else { continue };
            // All of them must fit the smallest board's flash together.
            if small && bytes.len() > LARGEST_SMALL {
                continue;
            }
            let name = match case.weighted() {
                true => format!("{}.{}.smk", case.name, variant.name()),
                false => format!("{}.smk", case.name),
            };
            fs::write(folder.join(name), bytes)?;
            count += 1;
        }
        // On a small board there is room for one of them, another in each case.
        let some = if small { 1 } else { DAMAGED.len() };
        for (variant, filling) in DAMAGED.into_iter().cycle().skip(index).take(some) {
            let Some(bytes) = artifact(case, variant).filter(|_| case.weighted()) else { continue };
            if small && bytes.len() > LARGEST_DAMAGED {
                continue;
            }
            let name = format!("damaged.{}.{}.{filling}.smk", case.name, variant.name());
            fs::write(folder.join(name), filled(&bytes, filling))?;
            count += 1;
        }
        // Between two relayouts maps may be banded, or have planes of whole words.
        if matches!(case.layer, Layer::Conv2d(_)) {
            for &variant in &VARIANTS[..2] {
                let Some((bytes, _)) = isolated(case, variant) else { continue };
                if small && bytes.len() > LARGEST_SMALL {
                    continue;
                }
                let name = format!("{}.{}.between.smk", case.name, variant.name());
                fs::write(folder.join(name), bytes)?;
                count += 1;
            }
        }
    }
    println!("{count} artifacts in {}", folder.display());
    Ok(())
}
