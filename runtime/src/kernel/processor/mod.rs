//! Kernels in the instructions of one family of processors: the only module with `unsafe`.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
pub(super) mod columns;
#[cfg(seedmask_dsp)]
mod dsp;
#[cfg(seedmask_thumb)]
pub(super) mod thumb;
#[cfg(target_arch = "x86_64")]
mod vector;

#[cfg(seedmask_dsp)]
pub use dsp::Dsp;
#[cfg(target_arch = "x86_64")]
pub use vector::Vectors;
