//! From sums of a tile to outputs, four at a time.

/// The sums of `$e` (0 and 2) and `$o` (1 and 3) by a rule: r0 scale, r2 shift. Those of 0 and 1 are then in r3
/// and r12. No flag changes.
macro_rules! scaled {
    ($e:literal, $o:literal) => {
        concat!(
            "smlawb r3, r0, ",
            $e,
            ", r2\n",
            "smlawt ",
            $e,
            ", r0, ",
            $e,
            ", r2\n",
            "smlawb r12, r0, ",
            $o,
            ", r2\n",
            "smlawt ",
            $o,
            ", r0, ",
            $o,
            ", r2\n",
        )
    };
}

/// Four outputs from the sums `$e` (0 and 2) and `$o` (1 and 3) into `$e` by a steep rule: r0 scale, r2
/// shift. No flag changes.
macro_rules! steep_activations {
    ($e:literal, $o:literal) => {
        concat!(
            scaled!($e, $o),
            "usat r3, #7, r3, asr #12\n",
            "usat ",
            $e,
            ", #7, ",
            $e,
            ", asr #12\n",
            "usat r12, #7, r12, asr #12\n",
            "usat ",
            $o,
            ", #7, ",
            $o,
            ", asr #12\n",
            "orr ",
            $e,
            ", r3, ",
            $e,
            ", lsl #16\n",
            "orr ",
            $o,
            ", r12, ",
            $o,
            ", lsl #16\n",
            "orr ",
            $e,
            ", ",
            $e,
            ", ",
            $o,
            ", lsl #8\n",
        )
    };
}

/// The same by a quick rule.
macro_rules! quick_activations {
    ($e:literal, $o:literal) => {
        concat!(
            scaled!($e, $o),
            "pkhtb ",
            $e,
            ", ",
            $e,
            ", r3, asr #16\n",
            "pkhtb ",
            $o,
            ", ",
            $o,
            ", r12, asr #16\n",
            "usat16 ",
            $e,
            ", #7, ",
            $e,
            "\n",
            "usat16 ",
            $o,
            ", #7, ",
            $o,
            "\n",
            "orr ",
            $e,
            ", ",
            $e,
            ", ",
            $o,
            ", lsl #8\n",
        )
    };
}

pub(super) use {quick_activations, scaled, steep_activations};
