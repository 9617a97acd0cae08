//! Trains masks over seeded networks.
//!
//! The data flows through the folders in this order:
//! - [`data`]: images from files;
//! - [`recipe`]: what to train, as TOML;
//! - [`nn`]: the layers, forward and backward;
//! - [`method`]: how weights and masks come about;
//! - [`train`]: the loop that puts them together, and [`checkpoint`], its state on disk;
//! - [`build`]: random masks instead, for measuring speed and size;
//! - [`export`]: what was learned, as an artifact;
//! - [`evaluate`]: artifacts at work on this computer, and [`verify`], which compares their kernels
//!   with [`twin`];
//! - [`cli`]: the `seedmask` command.

pub mod build;
pub mod checkpoint;
pub mod cli;
pub mod data;
pub mod evaluate;
pub mod export;
pub mod method;
pub mod nn;
pub mod optimiser;
pub mod random;
pub mod recipe;
mod replace;
pub mod schedule;
pub mod train;
pub mod trained;
pub mod twin;
mod vectorised;
pub mod verify;
