//! Seedmask: inference for networks whose weights are never stored.
#![no_std]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "write"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod epilogue;
pub mod kernel;
pub mod layer;
pub mod mask;
pub mod random;
