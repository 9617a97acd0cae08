//! Inference for networks whose weights are never stored.
//!
//! A *backbone* is an architecture and a seed; a counter-based generator gives every weight back
//! while its layer runs. A *task* is what was learned on it: a mask of at most one bit a weight, and
//! a scale and shift a channel. Running a layer means adding and subtracting the inputs that the
//! mask keeps: no weight memory, no multiplication per weight. Many tasks share one backbone; a new one is a
//! patch of a few kilobytes.
//!
//! ```
//! use seedmask::{Arena, Model, Session};
//!
//! static ARTIFACT: &[u8] = include_bytes!("../../tests/golden/v1.smk"); // stays in flash
//! const ARENA: usize = Model::arena_len(ARTIFACT); // known when compiling
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let mut arena = Arena::<ARENA>::new();
//!
//! let model = Model::parse(ARTIFACT)?; // everything is checked here
//! let mut session = Session::new(model, &mut arena)?;
//! let task = model.task("mix").ok_or("no such task")?; // a Copy handle
//! session.input().fill(64); // bytes of 0..=127
//! let output = session.infer(task)?;
//! println!("class {} of {:?}", output.argmax(), output.logits());
//! # Ok(())
//! # }
//! ```
//!
//! # The rooms, in the order of the data
//! - [`random`]: seed → weights.
//! - [`mask`]: which weights a task keeps.
//! - [`artifact`]: the file, its checks, and, with feature `write`, its making.
//! - [`plan`]: where tensors lie in the arena.
//! - [`layer`]: what a backbone is made of.
//! - [`kernel`]: the sums; the plain reference is the truth, the others equal it bit for bit.
//! - [`epilogue`]: scale, shift, and the one rounding rule.
//! - [`Session`]: a model and the RAM that it works in.
//!
//! # Promises
//! Integers only, the same bits on every target. No allocator, no copy of a mask to RAM, `unsafe` in
//! one module alone: kernels in the instructions of one processor. [`Model::parse`] takes bytes that
//! nobody vouches for; what it returns neither panics nor fails for reasons of content. [`Model::open`]
//! takes bytes that were parsed before in a fraction of the time, and is as safe with any others.
//!
//! # Features
//! All families of layers, sources and encodings are linked by default. `default-features = false`
//! leaves dense layers over ±1 weights with full or raw masks; `conv2d`, `depthwise`, `pool`, `add`,
//! `relayout` (which layers of maps bring along), `magnitudes`, `stored`, `rice`, `gaps` and
//! `seeded-masks` link a [`Family`] each. A file that needs one that is off is refused with [`ParseError::Disabled`].
//!
//! `dsp`: use the DSP extension of an Armv8-M core that has it (most Cortex-M33, all M55 and M85); a
//! Cortex-M4 or M7 always does. `write`: make artifacts (needs an allocator). `defmt`: `Format` for errors and outputs.
#![no_std]
#![deny(unsafe_code)]

// Lengths and offsets of artifacts are 32 bits.
const _: () = assert!(usize::BITS >= 32, "targets of 16 bits are not supported");

#[cfg(any(test, feature = "write"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod artifact;
pub mod epilogue;
mod family;
pub mod kernel;
pub mod layer;
pub mod mask;
pub mod plan;
pub mod random;
mod session;

pub use artifact::{Model, ParseError, Task};
pub use family::Family;
pub use session::{Arena, ArenaError, InferError, Output, Session};
