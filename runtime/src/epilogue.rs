//! Per-channel scale, shift, rounding and clamping after the sums: the one rounding rule.
//!
//! A finite f16 is an integer times 2⁻²⁴, so with `S = s·2²⁴` (`i32`, |s| < 128) and `B = b·2²⁴`
//! (`i64`) the affine map is exact in integers: no float and no ambiguity on any target.

use half::f16;

/// Bytes of one channel in an epilogue section: scale, shift, f16 little-endian.
pub const CHANNEL: usize = 4;

/// What rounding half up adds, in units of 2⁻²⁴.
pub(crate) const HALF: i64 = 1 << 23;

/// Units of 2⁻²⁴ in a finite f16; `None` for NaN and infinities. |result| < 2⁴⁰.
const fn fixed_point(value: f16) -> Option<i64> {
    if !value.is_finite() {
        return None;
    }
    let (integer, power) = significant(value.to_bits());
    Some((integer as i64) << power)
}

/// A finite f16 in units of 2⁻²⁴, as an integer below 2¹¹ in magnitude and a power of two below 2³¹.
#[inline(always)]
const fn significant(bits: u16) -> (i32, u32) {
    let (exponent, fraction) = ((bits >> 10 & 0x1f) as u32, (bits & 0x3ff) as i32);
    let (magnitude, power) = match exponent {
        0 => (fraction, 0),
        _ => (fraction | 0x400, exponent - 1),
    };
    (if bits >> 15 == 1 { -magnitude } else { magnitude }, power)
}

/// `S` of a scale; `None` unless it is finite and |scale| < 128.
pub const fn scale(value: f16) -> Option<i32> {
    match fixed_point(value) {
        Some(units) if -(1 << 31) < units && units < 1 << 31 => Some(units as i32),
        _ => None,
    }
}

/// `B` of a shift; `None` unless it is finite.
pub const fn shift(value: f16) -> Option<i64> {
    fixed_point(value)
}

/// Whether a channel's scale is finite and below 128 in magnitude, and its shift finite: what
/// [`Affine::from_bytes`] accepts, without the conversion.
const fn in_range([s0, s1, b0, b1]: [u8; CHANNEL]) -> bool {
    const SIGN: u16 = 0x8000;
    let (scale, shift) = (u16::from_le_bytes([s0, s1]), u16::from_le_bytes([b0, b1]));
    scale & !SIGN < f16::from_f32_const(128.0).to_bits() && shift & !SIGN < f16::INFINITY.to_bits()
}

/// Scale and shift of one output channel, in units of 2⁻²⁴.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Affine {
    /// `S`.
    pub scale: i32,
    /// `B`, |B| < 2⁴⁰.
    pub shift: i64,
}

impl Affine {
    /// From four bytes of an epilogue section; `None` for values out of range.
    pub fn from_bytes(bytes: [u8; CHANNEL]) -> Option<Self> {
        let [s0, s1, b0, b1] = bytes;
        Some(Self {
            scale: scale(f16::from_le_bytes([s0, s1]))?,
            shift: shift(f16::from_le_bytes([b0, b1]))?,
        })
    }

    /// As [`Affine::from_bytes`], of bytes that it accepts; of others anything.
    #[inline(always)]
    const fn from_any(bytes: [u8; CHANNEL]) -> Self {
        let [s0, s1, b0, b1] = bytes;
        let (scale, scale_power) = significant(u16::from_le_bytes([s0, s1]));
        let (shift, shift_power) = significant(u16::from_le_bytes([b0, b1]));
        Self { scale: scale << scale_power, shift: shift as i64 * (1_i32 << shift_power) as i64 }
    }

    /// `clamp((sum·S + B + 2²³) >> 24, low, 127)`: rounds half up. `low` is at most 127.
    #[inline(always)]
    pub fn activation(self, sum: i32, low: u8) -> u8 {
        self.after(i64::from(sum) * i64::from(self.scale), low)
    }

    /// The rule for a product that is already formed, as a residual add needs it.
    #[inline(always)]
    pub fn after(self, product: i64, low: u8) -> u8 {
        let rounded = (product + self.shift + HALF) >> 24;
        rounded.max(i64::from(low)).min(127) as u8
    }

    /// `(sum·S + B) >> 8`, saturated: a logit in Q16.
    #[inline(always)]
    pub fn logit(self, sum: i32) -> i32 {
        let exact = (i64::from(sum) * i64::from(self.scale) + self.shift) >> 8;
        exact.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }
}

/// The activation rule of an [`Affine`] in 32 bits, for sums of 16 bits: a scale of f16 has 11
/// significant bits, so `(sum·m + c) >> right` is the same number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Narrow {
    /// `m`, |m| < 2¹¹.
    pub scale: i32,
    /// `c`. `sum·m + c` does not overflow.
    pub shift: i32,
    /// 4..=24.
    pub right: u32,
}

impl Narrow {
    /// [`Affine::activation`] of a sum in −2¹⁵..=2¹⁵, bit for bit.
    #[inline(always)]
    pub fn activation(self, sum: i32, low: u8) -> u8 {
        let rounded = sum.wrapping_mul(self.scale).wrapping_add(self.shift) >> self.right;
        rounded.max(i32::from(low)).min(127) as u8
    }
}

impl Affine {
    /// The rule in 32 bits; `None` where it does not fit: a scale of more than 11 bits, or one below
    /// 2⁻¹³ beside a shift near the largest activation.
    pub fn narrow(self) -> Option<Narrow> {
        const SUM: i64 = 1 << 15;
        // S = m·2^e, so (sum·S + C) >> 24 = (sum·m + ⌊C / 2^e⌋) >> (24 − e), exactly.
        let power = if self.scale == 0 { 8 } else { self.scale.trailing_zeros().min(20) };
        let (scale, right) = (self.scale >> power, 24 - power);
        if scale.unsigned_abs() >= 1 << 11 {
            return None;
        }
        let product = i64::from(scale.unsigned_abs()) * SUM;
        let limit = i64::from(i32::MAX) - product;
        let shift = (self.shift + HALF) >> power;
        // Beyond the limit every sum gives 127, and below its negative none gives more than 0; then
        // the limit does as well.
        if shift > limit && (limit - product) >> right < 127 {
            return None;
        }
        Some(Narrow { scale, shift: shift.clamp(-limit, limit) as i32, right })
    }
}

/// An epilogue section: [`CHANNEL`] bytes an output channel, at any alignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epilogue<'a> {
    channels: &'a [[u8; CHANNEL]],
}

impl<'a> Epilogue<'a> {
    /// A view of `section`; `None` where its length is not `rows` channels or a value is out of
    /// range.
    pub fn new(section: &'a [u8], rows: usize) -> Option<Self> {
        let epilogue = Self::unchecked(section);
        let valid = section.len() == rows * CHANNEL && epilogue.is_valid();
        valid.then_some(epilogue)
    }

    /// Whether all values are in range.
    pub(crate) fn is_valid(&self) -> bool {
        self.channels.iter().all(|bytes| in_range(*bytes))
    }

    /// A view of a section of whole channels of whatever values; those out of range make wrong outputs.
    pub(crate) fn unchecked(section: &'a [u8]) -> Self {
        Self { channels: section.as_chunks().0 }
    }

    /// Scale and shift of `row`; of a channel beyond the last: zero.
    #[inline(never)]
    pub fn row(&self, row: usize) -> Affine {
        self.row_inline(row)
    }

    /// The same for kernels whose rows are short.
    #[cfg_attr(not(seedmask_small), inline(always))]
    pub(crate) fn row_inline(&self, row: usize) -> Affine {
        let bytes = self.channels.get(row).copied().unwrap_or_default();
        Affine::from_any(bytes)
    }

    /// Scale and shift of `row` and those behind it, as they are stored.
    #[cfg(any(seedmask_dsp, seedmask_thumb))]
    #[inline(always)]
    pub(crate) fn bytes_from(&self, row: usize) -> &'a [[u8; CHANNEL]] {
        self.channels.get(row..).unwrap_or_default()
    }

    /// Scale and shift of `row` and those behind it.
    #[cfg(seedmask_vectors)]
    #[inline(always)]
    pub(crate) fn from(&self, row: usize) -> impl Iterator<Item = Affine> {
        let channels = self.channels.get(row..).unwrap_or_default();
        channels.iter().map(|bytes| Affine::from_any(*bytes))
    }

    /// Scale and shift of every channel, two f16 each.
    #[cfg(seedmask_dsp)]
    pub(crate) fn as_bytes(&self) -> &'a [u8] {
        self.channels.as_flattened()
    }

    /// Scale and shift of every channel, as they are stored.
    #[cfg(feature = "write")]
    pub fn to_pairs(&self) -> alloc::vec::Vec<(f16, f16)> {
        let pair = |&[s0, s1, b0, b1]: &[u8; CHANNEL]| {
            (f16::from_le_bytes([s0, s1]), f16::from_le_bytes([b0, b1]))
        };
        self.channels.iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_f16_is_exact() {
        for bits in 0..=u16::MAX {
            let value = f16::from_bits(bits);
            let units = f64::from(value.to_f32()) * f64::from(1u32 << 24);
            match fixed_point(value) {
                Some(exact) => {
                    assert_eq!(exact as f64, units, "{bits:04x}");
                    let (integer, power) = significant(bits);
                    assert!(integer.abs() < 1 << 11 && power < 31, "{bits:04x}");
                    assert_eq!(i64::from(integer) << power, exact, "{bits:04x}");
                }
                None => assert!(!value.is_finite(), "{bits:04x}"),
            }
        }
    }

    #[test]
    fn scales_of_128_and_more_are_refused() {
        assert_eq!(scale(f16::from_f32(127.9375)), Some(127 * (1 << 24) + 15 * (1 << 20)));
        assert_eq!(scale(f16::from_f32(128.0)), None);
        assert_eq!(scale(f16::from_f32(-128.0)), None);
        assert_eq!(scale(f16::NAN), None);
        assert_eq!(shift(f16::INFINITY), None);
        assert_eq!(shift(f16::MAX), Some(65504 << 24));
    }

    #[test]
    fn the_range_is_that_of_the_conversion() {
        for bits in 0..=u16::MAX {
            let [b0, b1] = bits.to_le_bytes();
            for bytes in [[b0, b1, 0, 0], [0, 0, b0, b1]] {
                assert_eq!(in_range(bytes), Affine::from_bytes(bytes).is_some(), "{bytes:x?}");
            }
        }
    }

    #[test]
    fn rounds_half_up_and_clamps() {
        let half = Affine { scale: 1 << 23, shift: 0 };
        let rounded: std::vec::Vec<u8> = (-3..=5).map(|sum| half.activation(sum, 0)).collect();
        assert_eq!(rounded, [0, 0, 0, 0, 1, 1, 2, 2, 3]);
        assert_eq!(half.activation(1000, 0), 127);
        assert_eq!(half.activation(-1000, 64), 64);
    }

    #[test]
    fn logits_saturate() {
        let steep = Affine { scale: i32::MAX, shift: 0 };
        assert_eq!(steep.logit(i32::MAX), i32::MAX);
        assert_eq!(steep.logit(i32::MIN), i32::MIN);
        assert_eq!(Affine { scale: 1 << 24, shift: -(3 << 23) }.logit(2), 1 << 15);
    }

    #[test]
    fn the_narrow_rule_is_the_rule() {
        let shifts: std::vec::Vec<i64> =
            (0..=u16::MAX).step_by(61).filter_map(|bits| shift(f16::from_bits(bits))).collect();
        let near = [-40, -1, 0, 1, 64, 120, 122, 123, 124, 127, 128, 200].map(|b| b << 24);
        let mut refused = 0;
        for bits in (0..=u16::MAX).step_by(23) {
            let Some(scale) = scale(f16::from_bits(bits)) else { continue };
            for shift in shifts.iter().chain(&near) {
                let affine = Affine { scale, shift: *shift };
                let Some(narrow) = affine.narrow() else {
                    assert!(scale.unsigned_abs() < 1 << 11 && *shift > 119 << 24, "{affine:?}");
                    refused += 1;
                    continue;
                };
                // Where the output steps from 126 to 127 and from 0 to 1, and both ends.
                let step = |y: i64| (((y << 24) - HALF - shift) / i64::from(scale).max(1)) as i32;
                for sum in [-32768, -32767, -255, -1, 0, 1, 77, 32767, 32768, step(127), step(1)] {
                    for sum in [sum - 1, sum, sum + 1] {
                        let sum = sum.clamp(-(1 << 15), 1 << 15);
                        let expected = affine.activation(sum, 0);
                        assert_eq!(narrow.activation(sum, 0), expected, "{affine:?} {sum}");
                        assert_eq!(narrow.activation(sum, 64), affine.activation(sum, 64));
                    }
                }
            }
        }
        assert!(refused > 0, "the test reaches what does not fit");
        assert_eq!(Affine { scale: 0x1001, shift: 0 }.narrow(), None);
    }

    #[test]
    fn a_section_is_checked_whole() {
        let one = [0x00, 0x3c, 0x00, 0x00];
        assert_eq!(Epilogue::new(&one, 1).unwrap().row(0), Affine { scale: 1 << 24, shift: 0 });
        assert_eq!(Epilogue::new(&one, 1).unwrap().row(1), Affine::default());
        assert!(Epilogue::new(&one, 2).is_none());
        assert!(Epilogue::new(&one[..3], 1).is_none());
        assert!(Epilogue::new(&[0x00, 0x7c, 0, 0], 1).is_none(), "infinite scale");
    }
}
