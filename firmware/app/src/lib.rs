//! The board-free part of the firmware: a board gives RAM and a counter of instructions, and says
//! what to run.
//!
//! - [`content`]: the artifact, images and cases that the firmware carries
//! - [`images`]: the format of the images; [`pattern`]: inputs made on the spot
//! - [`demo`]: every image through every task
//! - [`cases`]: the case table through every kernel
//! - [`quiet`]: the demo without messages, for measuring; [`probe`]: every entry to the runtime
#![no_std]

pub mod cases;
pub mod content;
pub mod demo;
pub mod images;
pub mod pattern;
pub mod probe;
pub mod quiet;
