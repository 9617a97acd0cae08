//! The layers that tests and benchmarks share.
//!
//! [`cases`] is the one table of shapes, masks and densities; [`built`] makes a layer of it that
//! kernels can run; [`artifact`] makes a file of it for a board, [`pack`] one of many files for the
//! board that counts; [`damage`] spoils the sections of a file; [`network`] runs whole artifacts here; [`statistics`] measures the generator.

pub mod artifact;
pub mod built;
pub mod cases;
pub mod damage;
pub mod network;
pub mod pack;
pub mod statistics;
