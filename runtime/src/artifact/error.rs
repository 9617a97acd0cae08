//! Why a file is refused. Small, `Copy`, and each names what was found and what was expected.

use core::fmt;

use crate::family::Family;
use crate::mask::MaskError;

/// A count with a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Limited {
    /// Layers of a backbone.
    Layers,
    /// Inputs of one row of weights.
    RowInputs,
    /// Bytes of the arena in a patch, which has none.
    ArenaBytes,
    /// Classes of a task.
    Classes,
    /// Tasks of a file.
    Tasks,
    /// Tasks of a patch.
    PatchTasks,
}

/// A part of the manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Part {
    /// Seed and counts.
    Header,
    /// The tensor of this index.
    Tensor(u8),
    /// The layer of this index.
    Layer(u8),
    /// The plan's entry of this index.
    Plan(u8),
    /// The task of this index.
    Task(u16),
    /// The task table's end.
    End,
}

/// Why bytes are not an artifact that this crate can run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ParseError {
    /// Fewer bytes than the prologue or its length field asks for.
    Truncated {
        /// Bytes needed.
        need: u32,
        /// Bytes there.
        have: u32,
    },
    /// Not an artifact at all.
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// Written by another version of the format.
    Version {
        /// The file's.
        found: u16,
        /// The only one that this crate reads.
        supported: u16,
    },
    /// Neither backbone nor patch, or the other of the two.
    Kind {
        /// The kind byte.
        found: u8,
    },
    /// The length field and the bytes given differ, or the parts do not add up to it.
    Length {
        /// Bytes there.
        found: u32,
        /// Bytes that the fields ask for.
        expected: u32,
    },
    /// The CRC-32 does not match: a damaged file.
    Checksum {
        /// Computed.
        found: u32,
        /// Written in the file.
        expected: u32,
    },
    /// The backbone's identity does not match its content, or a patch belongs to another backbone.
    Fingerprint {
        /// The file's.
        found: u64,
        /// The backbone's.
        expected: u64,
    },
    /// Bytes that are no such thing, or a layer, source or encoding that this version lacks.
    Malformed(Part),
    /// A layer, source or encoding that this build was told to leave out.
    Disabled(Family),
    /// A count beyond its limit.
    Limit {
        /// What is counted.
        what: Limited,
        /// Found.
        found: u32,
        /// The most that is allowed.
        most: u32,
    },
    /// A tensor that would take more than [`MAX_STORAGE`](crate::kernel::MAX_STORAGE) bytes.
    Storage {
        /// Index of the tensor.
        tensor: u8,
    },
    /// A tensor with a size 0, too many elements, or a zero point above 127.
    Tensor {
        /// Index of the tensor.
        tensor: u8,
    },
    /// A layer reads a tensor that is not written yet, or writes one that is.
    Order {
        /// Index of the layer.
        layer: u8,
        /// Index of the tensor.
        tensor: u8,
    },
    /// The shapes around a layer do not chain, or one of its numbers is out of range.
    Shape {
        /// Index of the layer.
        layer: u8,
    },
    /// A tensor or a layer's scratch lies outside the arena or at an offset that is not aligned.
    Placement {
        /// Index of the tensor or layer.
        index: u8,
        /// First byte behind it; of one beyond all, the largest number.
        end: u32,
        /// Bytes of the arena.
        arena: u32,
    },
    /// A tensor's halo is not the widest padding of the layers that read it.
    Halo {
        /// Index of the tensor.
        tensor: u8,
        /// The plan's.
        found: u8,
        /// The layer's.
        expected: u8,
    },
    /// Bands that are not 1, 2 or 4 (see [`Placement::bands`](super::Placement::bands)), that do not fit
    /// the map, or that a layer which touches it cannot use.
    Bands {
        /// Index of the tensor.
        tensor: u8,
        /// The plan's.
        found: u8,
    },
    /// Two tensors that live at the same time share bytes of the arena.
    Overlap {
        /// Index of the one tensor.
        first: u8,
        /// Index of the other tensor.
        second: u8,
    },
    /// A layer's scratch shares bytes with a tensor that lives at the same time.
    ScratchOverlap {
        /// Index of the layer.
        layer: u8,
        /// Index of the tensor.
        tensor: u8,
    },
    /// A mask that its layer cannot have.
    Mask {
        /// Index of the weighted layer.
        layer: u8,
        /// What is wrong with it.
        error: MaskError,
    },
    /// An epilogue of the wrong length, or a scale or shift that is not finite or |scale| ≥ 128.
    Epilogue {
        /// Index of the weighted layer.
        layer: u8,
    },
    /// `same as` names a task that is not there, that has no mask of its own for the layer, or
    /// whose mask is not the one that the file was made with.
    SameAs {
        /// Index of the weighted layer.
        layer: u8,
        /// The task named.
        task: u16,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { need, have } => write!(f, "{have} bytes where {need} are needed"),
            Self::Magic { found } => write!(f, "begins with {found:02x?}, not with \"SMSK\""),
            Self::Version { found, supported } => {
                write!(f, "format version {found}; this reader supports version {supported}")
            }
            Self::Kind { found: 0 } => write!(f, "a backbone where a patch is expected"),
            Self::Kind { found: 1 } => write!(f, "a patch where a backbone is expected"),
            Self::Kind { found } => write!(f, "kind {found}; 0 is a backbone, 1 a patch"),
            Self::Length { found, expected } => {
                write!(f, "{found} bytes where the fields ask for {expected}")
            }
            Self::Checksum { found, expected } => {
                write!(f, "CRC-32 {found:08x} where the file says {expected:08x}: damaged")
            }
            Self::Fingerprint { found, expected } => {
                write!(f, "fingerprint {found:016x} where the backbone is {expected:016x}")
            }
            Self::Malformed(part) => {
                write!(f, "malformed, or newer than this reader: {part:?}")
            }
            Self::Disabled(family) => write!(f, "needs {family} of seedmask, which is off"),
            Self::Limit { what, found, most } => {
                write!(
                    f,
                    "{what:?}: {found} where at most {most} are supported, and one where any must be"
                )
            }
            Self::Storage { tensor } => write!(
                f,
                "tensor {tensor} would take more than {} bytes",
                crate::kernel::MAX_STORAGE
            ),
            Self::Tensor { tensor } => write!(
                f,
                "tensor {tensor}: sizes must be 1..=65535 and zero point and element in range"
            ),
            Self::Order { layer, tensor } => {
                write!(f, "layer {layer}: tensor {tensor} is read before or written after its turn")
            }
            Self::Shape { layer } => write!(f, "layer {layer}: the shapes around it do not chain"),
            Self::Placement { index, end, arena } => {
                write!(
                    f,
                    "plan entry {index}: ends at byte {end} of an arena of {arena}, or is unaligned"
                )
            }
            Self::Halo { tensor, found, expected } => {
                write!(f, "tensor {tensor}: a halo of {found} where {expected} is expected")
            }
            Self::Bands { tensor, found } => {
                write!(
                    f,
                    "tensor {tensor}: {found} bands, which it or a layer around it cannot have"
                )
            }
            Self::Overlap { first, second } => {
                write!(f, "tensors {first} and {second} live at the same time and overlap")
            }
            Self::ScratchOverlap { layer, tensor } => {
                write!(f, "the scratch of layer {layer} overlaps tensor {tensor}, which lives")
            }
            Self::Mask { layer, error } => write!(f, "weighted layer {layer}: {error}"),
            Self::Epilogue { layer } => write!(
                f,
                "weighted layer {layer}: the epilogue's length or a value in it is out of range"
            ),
            Self::SameAs { layer, task } => write!(
                f,
                "weighted layer {layer}: the mask of task {task} is missing or another one"
            ),
        }
    }
}

impl core::error::Error for ParseError {}
