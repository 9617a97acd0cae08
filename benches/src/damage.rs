//! Artifacts whose manifest is intact and whose sections are not: what [`Model::open`] lets pass, and
//! kernels must survive.

use std::fmt;
use std::ops::Range;

use seedmask::Model;
use seedmask::artifact::PROLOGUE;
use seedmask::random::{Generator, Stream};

/// What sections are filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// All bytes alike.
    Byte(u8),
    /// Random bytes.
    Random,
    /// Random bytes between long runs of 0: long gaps.
    Sparse,
    /// Single bytes become others.
    Edits,
    /// Single bytes become 0 or smaller: lists of distances stay within their rows.
    Less,
}

/// All kinds, and the bytes that are most likely to do harm.
pub const FILLINGS: [Filling; 9] = [
    Filling::Byte(0),
    Filling::Byte(0xff),
    Filling::Byte(0x7f),
    Filling::Byte(0x80),
    Filling::Byte(0x01),
    Filling::Random,
    Filling::Sparse,
    Filling::Edits,
    Filling::Less,
];

impl Filling {
    /// Fills `section`; `salt` chooses what is random.
    pub fn apply(self, section: &mut [u8], salt: u64) {
        let random = Generator::new(salt, Stream::Host(0x66));
        let length = section.len() as u32;
        for (index, byte) in (0..).zip(&mut *section) {
            let word = random.word(index);
            *byte = match self {
                Filling::Byte(byte) => byte,
                Filling::Random => word as u8,
                Filling::Sparse if word >> 8 & 0x3f == 0 => word as u8,
                Filling::Sparse => 0,
                Filling::Edits if word >> 8 & 0x1f == 0 => word as u8,
                Filling::Less if word >> 8 & 0x1f == 0 => (word as u8).min(*byte),
                Filling::Edits | Filling::Less => *byte,
            };
        }
        // The counts of lists and the first codes: what decides how the rest is read.
        if self == Filling::Less && length > 0 {
            let at = (random.word(length) % length.min(8)) as usize;
            section[at] = section[at].saturating_sub(1);
        }
    }
}

impl fmt::Display for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filling::Byte(byte) => write!(f, "{byte:02x}"),
            other => write!(f, "{}", format!("{other:?}").to_lowercase()),
        }
    }
}

/// Where masks, epilogues and stored weights lie in the artifact `file`, without what fills them up.
///
/// # Panics
/// Where `file` is none.
pub fn sections(file: &[u8]) -> Vec<Range<usize>> {
    let model = Model::parse(file).expect("damage is for whole files");
    let range = |section: &[u8]| {
        let start = section.as_ptr() as usize - file.as_ptr() as usize;
        start..start + section.len()
    };
    let mut all = Vec::new();
    for task in model.tasks() {
        for op in task.program(&model) {
            let Some((weights, _)) = &op.learned else { continue };
            let (_, mask) = weights.mask();
            if op.same_as.is_none() {
                all.push(range(mask));
            }
            if !op.step.stored.is_empty() {
                all.push(range(op.step.stored));
            }
        }
    }
    // Epilogues are what lies between these.
    let manifest = file[16..20].try_into().map_or(0, u32::from_le_bytes);
    let first = PROLOGUE + manifest as usize;
    all.push(first..first);
    all.push(file.len()..file.len());
    all.sort_by_key(|range| (range.start, range.end));
    // A mask without bytes may stand anywhere.
    all.retain(|range| range.start >= first);
    let between: Vec<_> = (all.windows(2))
        .map(|pair| pair[0].end.next_multiple_of(4)..pair[1].start)
        .filter(|range| range.start < range.end)
        .collect();
    all.extend(between);
    all
}

/// `file` with all of its sections filled.
pub fn filled(file: &[u8], filling: Filling) -> Vec<u8> {
    let mut damaged = file.to_vec();
    for (salt, section) in (0..).zip(sections(file)) {
        filling.apply(&mut damaged[section], salt);
    }
    damaged
}
