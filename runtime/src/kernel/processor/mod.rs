//! Kernels in the instructions of one family of processors: the only module with `unsafe`.
#![allow(unsafe_code)]

#[cfg(all(seedmask_vectors, target_arch = "x86_64"))]
mod avx2;
pub(super) mod columns;
#[cfg(seedmask_dsp)]
mod dsp;
#[cfg(all(seedmask_vectors, target_arch = "aarch64"))]
mod neon;
#[cfg(seedmask_thumb)]
pub(super) mod thumb;
#[cfg(seedmask_vectors)]
mod vector;

#[cfg(seedmask_dsp)]
pub use dsp::Dsp;
#[cfg(seedmask_vectors)]
pub use vector::Vectors;
