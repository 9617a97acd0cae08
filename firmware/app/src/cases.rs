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

/// What stands in the arena where no session has business.
const CANARY: u8 = 0xa7;

/// Runs every case with every kernel and prints the checksum of its logits; returns whether all
/// could be run and the kernels agree. Damaged cases are opened, and must do no harm.
pub fn run(cases: &[(&str, &[u8])], arena: &mut impl AsMut<[u8]>) -> bool {
    let mut ok = true;
    for &(name, artifact) in cases {
        if name.starts_with("damaged") {
            let survived = survives::<Reference>(artifact, arena)
                && survives::<Words>(artifact, arena)
                && survives::<Native>(artifact, arena);
            defmt::info!("case {=str} {=str}", name, if survived { "survived" } else { "failed" });
            ok &= survived;
            continue;
        }
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

/// Runs a case whose sections hold anything, unless it is refused; whether nothing was written behind the
/// session's memory.
fn survives<K: Kernels>(artifact: &[u8], arena: &mut impl AsMut<[u8]>) -> bool {
    let Ok(model) = Model::open(artifact) else { return true };
    arena.as_mut().fill(CANARY);
    for task in model.tasks() {
        let Ok(mut session) = Session::new(model, arena) else { return false };
        pattern::fill(session.input(), 0);
        // What comes out may be anything.
        let _ = session.infer_with::<K>(task);
    }
    let behind = arena.as_mut().get(model.arena_bytes()..).unwrap_or_default();
    behind.iter().all(|byte| *byte == CANARY)
}
