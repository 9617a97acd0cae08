//! Dense rows in the instructions that every Cortex-M has, for cores without the DSP extension.

/// Brings the registers that only some instructions reach to those that can be pushed.
macro_rules! high_to_low {
    () => {
        "mov r4, r8\nmov r5, r9\nmov r6, r10\nmov r7, r11\n"
    };
}
pub(in crate::kernel::processor) use high_to_low;

/// The way back.
macro_rules! low_to_high {
    () => {
        "mov r8, r4\nmov r9, r5\nmov r10, r6\nmov r11, r7\n"
    };
}
pub(in crate::kernel::processor) use low_to_high;

pub(in crate::kernel) mod epilogue;
pub(in crate::kernel) mod gaps;
pub(in crate::kernel) mod lanes;
pub(in crate::kernel) mod spread;
