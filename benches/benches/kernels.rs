//! Layers of the table on this computer's fastest kernels, beside a dense f32 product of the same
//! shape, the portable kernels and the plain ones. Whole networks too, where `SEEDMASK_PACK` names a
//! pack of them, as `cargo xtask bench` does.
//!
//! `cargo bench -p seedmask-benches --bench kernels [-- PATTERN]` measures times. With
//! `SEEDMASK_COUNT` set, everything with `native` in its name is run once, as valgrind's callgrind
//! wants it: each run is a call of [`counted`], and its name is printed.

use std::hint::black_box;
use std::time::Duration;
use std::{env, fs};

use criterion::Criterion;
use seedmask::kernel::{Kernels, Native, Reference, Words};
use seedmask::layer::{Layer, Source};
use seedmask_benches::built::{Built, Run};
use seedmask_benches::cases::{Case, DENSITIES, Mask, SPEED, Variant};
use seedmask_benches::network::{self, Network};
use seedmask_benches::pack::unpack;

#[path = "../common/product.rs"]
mod product;

use product::Product;

const SEED: u64 = 1;

/// Something that is measured.
struct Job {
    group: String,
    name: String,
    work: Box<dyn FnMut()>,
}

fn layer<K: Kernels>(kernels: &str, case: &Case, variant: Variant) -> Option<Job> {
    let mut run = Run::new(Box::leak(Box::new(Built::new(case, variant, SEED)?)));
    let name =
        if case.weighted() { format!("{kernels}.{}", variant.name()) } else { kernels.into() };
    let work = Box::new(move || black_box(&mut run).run::<K>());
    Some(Job { group: case.name.into(), name, work })
}

/// Everything about a layer of the table.
fn of_case(case: &Case) -> Vec<Job> {
    let mut jobs = Vec::new();
    jobs.extend(Product::new(case).map(|mut product| Job {
        group: case.name.into(),
        name: "gemm.f32".into(),
        work: Box::new(move || product.run()),
    }));
    let densities = if case.weighted() { &DENSITIES[..] } else { &DENSITIES[..1] };
    for &density in densities {
        let raw = Variant::signs(Mask::Raw, density);
        jobs.extend(layer::<Native>("native", case, raw));
        let dense = matches!(case.layer, Layer::Dense(_));
        if dense {
            jobs.extend(layer::<Native>("native", case, Variant::signs(Mask::CountedRaw, density)));
        }
        let convolution = matches!(case.layer, Layer::Conv2d(_));
        if dense && density <= 30 || convolution && density <= 10 {
            jobs.extend(layer::<Native>("native", case, Variant::signs(Mask::Gaps, density)));
        }
        if density == 10 || density == 50 || !case.weighted() {
            jobs.extend(layer::<Words>("words", case, raw));
            jobs.extend(layer::<Reference>("reference", case, raw));
        }
        if density == 10 && case.weighted() {
            jobs.extend(layer::<Native>("native", case, Variant::signs(Mask::Rice, density)));
            for source in [Source::SeededMagnitudes, Source::StoredInt8] {
                jobs.extend(layer::<Native>("native", case, Variant { source, ..raw }));
            }
        }
    }
    jobs
}

/// The networks of the pack.
fn networks() -> Vec<Job> {
    let Some(path) = env::var_os(network::PACK) else { return Vec::new() };
    let pack = fs::read(&path).expect("SEEDMASK_PACK names a file");
    let named = unpack(&pack).expect("SEEDMASK_PACK names a pack");
    let jobs = named.into_iter().map(|named| {
        let group = named.name.clone();
        let mut network = Network::new(named);
        let work = Box::new(move || {
            black_box(black_box(&mut network).run::<Native>());
        });
        Job { group, name: "native".into(), work }
    });
    jobs.collect()
}

/// The function whose instructions callgrind counts.
#[unsafe(no_mangle)]
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    black_box(work)();
}

fn main() {
    let jobs = SPEED.iter().flat_map(of_case).chain(networks());
    if env::var_os("SEEDMASK_COUNT").is_some() {
        for mut job in jobs.filter(|job| job.name.starts_with("native")) {
            counted(&mut job.work);
            println!("counted {} {}", job.group, job.name);
        }
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for mut job in jobs {
        let mut group = criterion.benchmark_group(job.group);
        group.measurement_time(Duration::from_millis(500)).warm_up_time(Duration::from_millis(100));
        group.sample_size(20);
        group.bench_function(job.name, |bencher| bencher.iter(|| (job.work)()));
        group.finish();
    }
    criterion.final_summary();
}
