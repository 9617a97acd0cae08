//! The case table: small artifacts that between them use every layer and every kind of mask, run
//! with the plain kernels, the portable ones and the fastest of the target.

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use seedmask::{
    Model, Session,
    kernel::{Kernels, Native, Reference, Words},
};

use crate::pattern;

/// The checksum that stands for all logits of a case.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// Runs every case with every kernel and prints the checksum of its logits; returns whether all
/// could be run and the kernels agree.
pub fn run(cases: &[(&str, &[u8])], arena: &mut impl AsMut<[u8]>) -> bool {
    let mut ok = true;
    for &(name, artifact) in cases {
        let sums = (
            checksum::<Reference>(artifact, arena),
            checksum::<Words>(artifact, arena),
            checksum::<Native>(artifact, arena),
        );
        if let (Some(reference), Some(words), Some(native)) = sums {
            defmt::info!(
                "case {=str} reference {=u32:08x} words {=u32:08x} native {=u32:08x}",
                name,
                reference,
                words,
                native
            );
            ok &= reference == words && reference == native;
        } else {
            defmt::error!("case {=str} cannot be run", name);
            ok = false;
        }
    }
    ok
}

/// CRC-32 over the logits, little-endian, of every task and input; `None` where the case cannot be
/// run.
pub fn checksum<K: Kernels>(artifact: &[u8], arena: &mut impl AsMut<[u8]>) -> Option<u32> {
    let model = Model::parse(artifact).ok()?;
    let mut session = Session::new(model, arena).ok()?;
    let mut digest = CRC.digest();
    for task in model.tasks() {
        for seed in 0..pattern::INPUTS {
            pattern::fill(session.input(), seed);
            for logit in session.infer_with::<K>(task).ok()?.logits() {
                digest.update(&logit.to_le_bytes());
            }
        }
    }
    Some(digest.finalize())
}
