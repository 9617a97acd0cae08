//! Inputs for the case table: the same on every target, and nothing to carry along.

/// Inputs that a case is run with: seeds 0 to 3.
pub const INPUTS: u32 = 4;

/// Fills `input` with bytes 0..=127 that look random (top bits of a linear congruential generator,
/// Numerical Recipes' constants). `seed` chooses among them.
pub fn fill(input: &mut [u8], seed: u32) {
    let mut state = seed;
    for byte in input {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 25) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_bits_and_a_seed_each() {
        let (mut first, mut second) = ([0; 64], [0; 64]);
        fill(&mut first, 1);
        fill(&mut second, 2);
        assert!(first.iter().all(|&byte| byte <= 127));
        assert_ne!(first, second);
    }
}
