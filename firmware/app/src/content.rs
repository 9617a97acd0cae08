//! What the firmware carries, as chosen by `build.rs`. Statics of known names, so that their bytes
//! can be told from the program's.

use seedmask::Model;

/// The model.
#[unsafe(export_name = "SEEDMASK_ARTIFACT")]
pub static ARTIFACT: [u8; include_bytes!(env!("SEEDMASK_ARTIFACT")).len()] =
    *include_bytes!(env!("SEEDMASK_ARTIFACT"));

/// Bytes of RAM that a session of the model works in.
pub const ARENA: usize = Model::arena_len(include_bytes!(env!("SEEDMASK_ARTIFACT")));

/// The images, to be read by [`crate::images::Images::parse`].
#[unsafe(export_name = "SEEDMASK_IMAGES")]
pub static IMAGES: [u8; include_bytes!(env!("SEEDMASK_IMAGES")).len()] =
    *include_bytes!(env!("SEEDMASK_IMAGES"));

/// Name and artifact of each case.
pub static CASES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// Bytes of RAM for the hungriest case.
pub const CASES_ARENA: usize = {
    const CASES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/cases.rs"));
    let mut most = 0;
    let mut i = 0;
    while i < CASES.len() {
        let bytes = Model::arena_len(CASES[i].1);
        if bytes > most {
            most = bytes;
        }
        i += 1;
    }
    most
};
