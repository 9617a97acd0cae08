//! Reference and word kernels over the table: `cargo bench -p seedmask-benches`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use seedmask::kernel::{Kernels, Reference, Words};
use seedmask::layer::{Layer, Source};
use seedmask_benches::built::{Built, Run};
use seedmask_benches::cases::{Case, DENSITIES, Mask, SPEED, Variant};

const SEED: u64 = 1;

fn bench<K: Kernels>(criterion: &mut Criterion, kernels: &str, case: &Case, variant: Variant) {
    let Some(mut built) = Built::new(case, variant, SEED) else { return };
    let mut group = criterion.benchmark_group(case.name);
    group.throughput(Throughput::Elements(case.macs()));
    group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(200));
    group.sample_size(10);
    let mut run = Run::new(&mut built);
    let name =
        if case.weighted() { format!("{kernels}.{}", variant.name()) } else { kernels.into() };
    group.bench_function(name, |bencher| bencher.iter(|| black_box(&mut run).run::<K>()));
}

fn kernels(criterion: &mut Criterion) {
    for case in &SPEED {
        let densities = if case.weighted() { &DENSITIES[..] } else { &DENSITIES[..1] };
        for &density in densities {
            let raw = Variant::signs(Mask::Raw, density);
            bench::<Words>(criterion, "words", case, raw);
            if matches!(case.layer, Layer::Dense(_)) && density <= 30 {
                bench::<Words>(criterion, "words", case, Variant::signs(Mask::Gaps, density));
            }
            if density == 10 || density == 50 || !case.weighted() {
                bench::<Reference>(criterion, "reference", case, raw);
            }
            if density == 10 && case.weighted() {
                bench::<Words>(criterion, "words", case, Variant::signs(Mask::Rice, density));
                for source in [Source::SeededMagnitudes, Source::StoredInt8] {
                    bench::<Words>(criterion, "words", case, Variant { source, ..raw });
                }
            }
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
