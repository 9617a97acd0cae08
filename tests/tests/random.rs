//! Signs from a seed are like independent fair coins, in every way that a layer could notice.

use seedmask_benches::statistics::{Effort, measure};

#[test]
fn signs_are_like_independent_coins() {
    for measure in measure(Effort::Test) {
        assert!(measure.passes(), "{measure:?}");
    }
}
