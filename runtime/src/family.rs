//! What a build may leave out: families of layers, sources and encodings, each a cargo feature.

use core::fmt;

use crate::layer::{Layer, Source};
use crate::mask::Encoding;

/// A part of the runtime that a cargo feature links. Files that need one that is off are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Family {
    /// [`Layer::Conv2d`]: feature `conv2d`.
    Conv2d,
    /// [`Layer::Depthwise`]: feature `depthwise`.
    Depthwise,
    /// [`Layer::Pool`]: feature `pool`.
    Pool,
    /// [`Layer::Add`]: feature `add`.
    Add,
    /// [`Layer::Relayout`]: feature `relayout`, which those of all layers of maps bring along.
    Relayout,
    /// [`Source::SeededMagnitudes`]: feature `magnitudes`.
    Magnitudes,
    /// [`Source::StoredInt8`]: feature `stored`.
    Stored,
    /// [`Encoding::RiceGaps`]: feature `rice`.
    Rice,
    /// [`Encoding::SignedGaps`] and [`Encoding::SignedPositions`]: feature `gaps`.
    Gaps,
    /// [`Encoding::Seeded`]: feature `seeded-masks`.
    SeededMasks,
}

/// Whether any layer of maps is linked; without, no tensor has a halo, bands, or a place of another.
pub(crate) const MAPS: bool = Family::Relayout.is_linked();

impl Family {
    /// All of them.
    pub const ALL: [Family; 10] = [
        Family::Conv2d,
        Family::Depthwise,
        Family::Pool,
        Family::Add,
        Family::Relayout,
        Family::Magnitudes,
        Family::Stored,
        Family::Rice,
        Family::Gaps,
        Family::SeededMasks,
    ];

    /// Whether this build has it.
    #[inline(always)]
    pub const fn is_linked(self) -> bool {
        match self {
            Family::Conv2d => cfg!(feature = "conv2d"),
            Family::Depthwise => cfg!(feature = "depthwise"),
            Family::Pool => cfg!(feature = "pool"),
            Family::Add => cfg!(feature = "add"),
            Family::Relayout => cfg!(feature = "relayout"),
            Family::Magnitudes => cfg!(feature = "magnitudes"),
            Family::Stored => cfg!(feature = "stored"),
            Family::Rice => cfg!(feature = "rice"),
            Family::Gaps => cfg!(feature = "gaps"),
            Family::SeededMasks => cfg!(feature = "seeded-masks"),
        }
    }

    /// The cargo feature that links it.
    pub const fn feature(self) -> &'static str {
        match self {
            Family::Conv2d => "conv2d",
            Family::Depthwise => "depthwise",
            Family::Pool => "pool",
            Family::Add => "add",
            Family::Relayout => "relayout",
            Family::Magnitudes => "magnitudes",
            Family::Stored => "stored",
            Family::Rice => "rice",
            Family::Gaps => "gaps",
            Family::SeededMasks => "seeded-masks",
        }
    }

    /// The family that `layer` needs beside its weights; `None` where every build has it.
    #[inline(always)]
    pub const fn of_layer(layer: &Layer) -> Option<Self> {
        match layer {
            Layer::Dense(_) => None,
            Layer::Conv2d(_) => Some(Family::Conv2d),
            Layer::Depthwise(_) => Some(Family::Depthwise),
            Layer::Pool(_) => Some(Family::Pool),
            Layer::Add(_) => Some(Family::Add),
            Layer::Relayout(_) => Some(Family::Relayout),
        }
    }

    /// The family that weights of `source` need.
    #[inline(always)]
    pub const fn of_source(source: Source) -> Option<Self> {
        match source {
            Source::SeededSigns => None,
            Source::SeededMagnitudes => Some(Family::Magnitudes),
            Source::StoredInt8 => Some(Family::Stored),
        }
    }

    /// The family that masks of `encoding` need.
    #[inline(always)]
    pub const fn of_encoding(encoding: Encoding) -> Option<Self> {
        match encoding {
            Encoding::Full | Encoding::Raw | Encoding::CountedRaw => None,
            Encoding::RiceGaps { .. } => Some(Family::Rice),
            Encoding::SignedGaps | Encoding::SignedPositions { .. } => Some(Family::Gaps),
            Encoding::Seeded { .. } => Some(Family::SeededMasks),
        }
    }

    /// The family that weights of `source` need and this build lacks.
    pub(crate) fn missing_for_source(source: Source) -> Option<Self> {
        Self::of_source(source).filter(|family| !family.is_linked())
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "feature `{}`", self.feature())
    }
}
