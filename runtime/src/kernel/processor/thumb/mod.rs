//! Dense rows in the instructions that every Cortex-M has, for cores without the DSP extension.

pub(in crate::kernel) mod epilogue;
pub(in crate::kernel) mod gaps;
pub(in crate::kernel) mod lanes;
pub(in crate::kernel) mod spread;
