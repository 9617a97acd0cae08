//! Artifacts for the board that counts, in one file (`firmware/boards/qemu-count/src/lib.rs`).

/// An artifact and the name that the board prints beside its figures: one word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// What it is called.
    pub name: String,
    /// The file.
    pub artifact: Vec<u8>,
}

/// Packs artifacts in their order.
///
/// # Panics
/// Where a length does not fit 32 bits.
pub fn pack(artifacts: &[Named]) -> Vec<u8> {
    let mut pack = Vec::new();
    for Named { name, artifact } in artifacts {
        counted(&mut pack, name.as_bytes());
        counted(&mut pack, artifact);
    }
    counted(&mut pack, &[]);
    pack
}

/// The artifacts of a pack; `None` where it is malformed.
pub fn unpack(mut pack: &[u8]) -> Option<Vec<Named>> {
    let mut artifacts = Vec::new();
    loop {
        let name = String::from_utf8(take(&mut pack)?.to_vec()).ok()?;
        if name.is_empty() {
            return Some(artifacts);
        }
        artifacts.push(Named { name, artifact: take(&mut pack)?.to_vec() });
    }
}

/// Takes the next length and as many bytes.
fn take<'p>(pack: &mut &'p [u8]) -> Option<&'p [u8]> {
    let (length, rest) = pack.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let bytes = rest.get(..length)?;
    *pack = rest.get(length.checked_next_multiple_of(4)?..)?;
    Some(bytes)
}

/// Appends a length and as many bytes, filled up to a multiple of four.
fn counted(pack: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("artifacts are small");
    pack.extend(length.to_le_bytes());
    pack.extend(bytes);
    pack.resize(pack.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_stand_before_what_they_count() {
        let artifacts = [Named { name: "one".into(), artifact: vec![7; 5] }];
        let packed = pack(&artifacts);
        let expected = b"\x03\0\0\0one\0\x05\0\0\0\x07\x07\x07\x07\x07\0\0\0\0\0\0\0";
        assert_eq!(packed, expected);
        assert_eq!(unpack(&packed).unwrap(), artifacts);
        assert!(unpack(&packed[..8]).is_none());
    }
}
