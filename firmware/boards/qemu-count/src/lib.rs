//! `mps2-an386` as a bench: artifacts come in a *pack* that the emulator puts into memory, so that
//! one program measures any of them.
//!
//! A pack is, for each artifact: length of its name, the name, length of the artifact, the
//! artifact; lengths are four bytes, little-endian, and everything is filled up with zeros to a
//! multiple of four. A name of length 0 ends it.
#![no_std]

/// Where the pack lies.
pub const PACK: usize = 0x2100_0000;

/// Bytes of memory there.
pub const PACK_LEN: usize = 16 << 20;

/// The artifacts of a pack with their names, until the first that is malformed.
pub fn artifacts(mut pack: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    core::iter::from_fn(move || {
        let name = core::str::from_utf8(counted(&mut pack)?).ok()?;
        (!name.is_empty()).then_some(())?;
        Some((name, counted(&mut pack)?))
    })
}

/// Takes the next length and as many bytes.
fn counted<'p>(pack: &mut &'p [u8]) -> Option<&'p [u8]> {
    let (length, rest) = pack.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let bytes = rest.get(..length)?;
    *pack = rest.get(length.checked_next_multiple_of(4)?..)?;
    Some(bytes)
}
