//! What others take for the same layers and networks, on a Cortex-M: cycles for each multiplication
//! of the dense layer, for each input element of a pool, for each element of an addition.
//!
//! CMSIS-NN 7 compiled with `-O3` and counted with this model; networks as the best published
//! figures on a NUCLEO-L4R5ZI (ST X-CUBE-AI 9 and Plumerai, MLPerf Tiny v1.1 and later) and with
//! CMSIS-NN; arenas of TensorFlow Lite for Microcontrollers, bytes of its int8 model files.

/// What another runtime takes for a case.
pub struct Anchor {
    /// Name of the case.
    pub case: &'static str,
    /// CMSIS-NN's cycles on an M4.
    pub cmsis_m4: f64,
    /// CMSIS-NN's cycles on an M0, for layers.
    pub cmsis_m0: Option<f64>,
    /// The best published cycles on an M4, for networks.
    pub published: Option<f64>,
    /// Arena, and model file, for networks.
    pub bytes: Option<[u64; 2]>,
}

const fn layer(case: &'static str, cmsis_m4: f64, cmsis_m0: f64) -> Anchor {
    Anchor { case, cmsis_m4, cmsis_m0: Some(cmsis_m0), published: None, bytes: None }
}

const fn network(case: &'static str, cmsis_m4: f64, published: f64, bytes: [u64; 2]) -> Anchor {
    Anchor { case, cmsis_m4, cmsis_m0: None, published: Some(published), bytes: Some(bytes) }
}

/// All that are known.
const ANCHORS: [Anchor; 13] = [
    layer("fc_784x256", 2.42, 8.5),
    layer("fc_256x64", 2.60, 9.0),
    layer("conv1x1_16x16x64_64", 2.41, 10.2),
    layer("conv3x3_16x16x16_32", 2.53, 10.4),
    layer("conv3x3_16x16x32_64", 2.17, 9.5),
    layer("conv3x3_32x32x3_16", 6.18, 17.3),
    layer("dw3x3_16x16x64", 10.4, 59.7),
    layer("maxpool2x2_16x16x64", 10.0, 65.0),
    layer("add_16384", 97.0, 343.0),
    network("kws", 3.51, 1.95, [22_800, 53_900]),
    network("ic", 2.85, 1.58, [55_000, 98_500]),
    network("vww", 3.99, 1.42, [100_700, 333_000]),
    network("ad", 2.74, 1.84, [2_600, 277_000]),
];

/// What others take for `case`.
pub fn of(case: &str) -> Option<&'static Anchor> {
    ANCHORS.iter().find(|anchor| anchor.case == case)
}
