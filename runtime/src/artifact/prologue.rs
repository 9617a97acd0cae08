//! The fixed bytes that begin every artifact. Readable in `const`, so that the arena's size is
//! known at compile time and a truncated file does not compile.

use super::error::ParseError;
use crate::mask::Encoding;

/// `SMSK`.
pub const MAGIC: [u8; 4] = *b"SMSK";
/// The format version that this crate writes and reads.
pub const VERSION: u16 = 1;
/// Bytes of the prologue.
pub const PROLOGUE: usize = 32;
/// Where the CRC-32 stands; it covers every other byte of the file.
pub(crate) const CHECKSUM_AT: usize = 20;

/// What an artifact holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// A backbone and any number of tasks.
    Backbone,
    /// One task for a backbone that is elsewhere.
    Patch,
}

/// The fixed bytes, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prologue {
    /// Backbone or patch.
    pub kind: Kind,
    /// Bytes of the whole file.
    pub length: u32,
    /// Bytes of RAM that a session needs; 0 in a patch.
    pub arena: u32,
    /// Bytes of the manifest, which follows the prologue.
    pub manifest: u32,
    /// CRC-32 (ISO-HDLC) of the file without these four bytes.
    pub checksum: u32,
    /// Identity of the backbone: over all that defines its weights and graph.
    pub fingerprint: u64,
    /// How many tasks the file holds.
    pub tasks: u8,
}

impl Prologue {
    /// Reads and checks the fixed bytes of `file`, which must be the whole file and nothing else.
    ///
    /// # Errors
    /// [`ParseError::Truncated`], [`ParseError::Magic`], [`ParseError::Version`],
    /// [`ParseError::Kind`], [`ParseError::Length`]. The checksum is not looked at.
    pub const fn parse(file: &[u8]) -> Result<Self, ParseError> {
        let Some((bytes, _)) = file.split_first_chunk::<PROLOGUE>() else {
            return Err(ParseError::Truncated { need: PROLOGUE as u32, have: file.len() as u32 });
        };
        let [
            m0,
            m1,
            m2,
            m3,
            v0,
            v1,
            kind,
            tasks,
            l0,
            l1,
            l2,
            l3,
            a0,
            a1,
            a2,
            a3,
            n0,
            n1,
            n2,
            n3,
            c0,
            c1,
            c2,
            c3,
            fingerprint @ ..,
        ] = *bytes;
        let magic = [m0, m1, m2, m3];
        if u32::from_le_bytes(magic) != u32::from_le_bytes(MAGIC) {
            return Err(ParseError::Magic { found: magic });
        }
        let version = u16::from_le_bytes([v0, v1]);
        if version != VERSION {
            return Err(ParseError::Version { found: version, supported: VERSION });
        }
        let kind = match kind {
            0 => Kind::Backbone,
            1 => Kind::Patch,
            found => return Err(ParseError::Kind { found }),
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if length as usize > file.len() {
            return Err(ParseError::Truncated { need: length, have: file.len() as u32 });
        }
        let manifest = u32::from_le_bytes([n0, n1, n2, n3]);
        let body = length.saturating_sub(PROLOGUE as u32);
        if length as usize != file.len() {
            return Err(ParseError::Length { found: file.len() as u32, expected: length });
        }
        if manifest > body {
            let expected = manifest.saturating_add(PROLOGUE as u32);
            return Err(ParseError::Length { found: length, expected });
        }
        Ok(Self {
            kind,
            length,
            arena: u32::from_le_bytes([a0, a1, a2, a3]),
            manifest,
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
            fingerprint: u64::from_le_bytes(fingerprint),
            tasks,
        })
    }

    /// The fixed bytes, with the checksum as it is.
    #[cfg(feature = "write")]
    pub(crate) fn to_bytes(self) -> [u8; PROLOGUE] {
        let mut bytes = [0; PROLOGUE];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6] = match self.kind {
            Kind::Backbone => 0,
            Kind::Patch => 1,
        };
        bytes[7] = self.tasks;
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.arena.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.manifest.to_le_bytes());
        bytes[CHECKSUM_AT..24].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[24..].copy_from_slice(&self.fingerprint.to_le_bytes());
        bytes
    }
}

/// CRC-32 of `file` without its four checksum bytes; 0 for a file shorter than a prologue.
pub(crate) fn checksum(file: &[u8]) -> u32 {
    let Some((before, rest)) = file.split_at_checked(CHECKSUM_AT) else { return 0 };
    let Some((_, after)) = rest.split_at_checked(4) else { return 0 };
    !crc(crc(!0, before), after)
}

/// CRC-32 of a mask: its encoding, its parameter, its section. What `same as` binds to.
pub(crate) fn mask_checksum(encoding: Encoding, section: &[u8]) -> u32 {
    !crc(crc(!0, &encoding.id()), section)
}

/// What the lowest four bits of a CRC-32 (ISO-HDLC, reflected) become when they are shifted out. A table
/// for bytes would make the check of a file a quarter faster and take 960 bytes more of flash.
static TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut index = 0;
    while index < table.len() {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 4 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// The CRC-32 of what came before and `bytes`, without the final complement.
fn crc(before: u32, bytes: &[u8]) -> u32 {
    let shift = |crc: u32| {
        let entry = TABLE.get(crc as usize % TABLE.len()).copied().unwrap_or(0);
        crc >> 4 ^ entry
    };
    bytes.iter().fold(before, |crc, byte| shift(shift(crc ^ u32::from(*byte))))
}

/// FNV-1a over 64 bits: an identity, not a defence against forgery.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn update(self, bytes: &[u8]) -> Self {
        let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.iter().fold(self.0, step))
    }

    pub(crate) const fn finish(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::crc;

    #[test]
    fn the_checksum_is_crc_32() {
        // Check value of CRC-32/ISO-HDLC.
        assert_eq!(!crc(!0, b"123456789"), 0xcbf4_3926);
        assert_eq!(!crc(crc(!0, b"12345"), b"6789"), 0xcbf4_3926);
    }
}
