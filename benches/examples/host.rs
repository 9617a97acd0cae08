//! Layers of the table on this computer, in turns with dense products of the same shapes:
//! `cargo run --release -p seedmask-benches --example host`, with `-- --density PER_CENT`, and
//! `--json` for a figure a line. With artifacts named behind the options: whole inferences of their
//! first tasks instead.
//!
//! What is compared runs in turns, so that both meet the same clock, and every number is the lower
//! quartile of single runs: on a busy computer the median is that of runs that were interrupted.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use seedmask::kernel::{Kernels, Native, Words};
use seedmask_benches::built::{Built, Run};
use seedmask_benches::cases::{Case, Mask, SPEED, Variant};
use seedmask_benches::network::Network;
use seedmask_benches::pack::Named;

#[path = "../common/product.rs"]
mod product;

use product::Product;

/// Seed of the layers.
const SEED: u64 = 1;

/// Time of a row of the table.
const PATIENCE: Duration = Duration::from_millis(600);

/// Fewest turns, however slow.
const TURNS: usize = 15;

struct Arguments {
    density: u8,
    json: bool,
    artifacts: Vec<String>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments { density: 10, json: false, artifacts: Vec::new() };
    let mut rest = env::args().skip(1);
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--json" => arguments.json = true,
            "--density" => {
                arguments.density = rest.next().ok_or("--density wants a number")?.parse()?;
            }
            option if option.starts_with("--") => return Err(format!("what is {option}?").into()),
            _ => arguments.artifacts.push(argument),
        }
    }
    Ok(arguments)
}

/// Lower quartiles of nanoseconds of each of `works`, run in turns.
fn quartiles(works: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let mut times = vec![Vec::new(); works.len()];
    let start = Instant::now();
    while times[0].len() < TURNS || start.elapsed() < PATIENCE {
        for (work, times) in works.iter_mut().zip(&mut times) {
            // The first of two is for the caches.
            work();
            let begin = Instant::now();
            work();
            times.push(begin.elapsed().as_nanos() as f64);
        }
    }
    let quartile = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 4]
    };
    times.iter_mut().map(quartile).collect()
}

fn line(case: &str, density: f64, metric: &str, value: f64) {
    println!(
        "{{\"case\":\"{case}\",\"density\":{density},\"target\":\"host\",\
         \"metric\":\"{metric}\",\"value\":{value:.1}}}"
    );
}

/// What was measured of a layer or network: microseconds.
struct Row<'r> {
    name: &'r str,
    encoding: &'r str,
    density: f64,
    native: f64,
    words: f64,
    product: Option<f64>,
}

impl Row<'_> {
    const HEAD: &'static str =
        "case                      masks      native µs  words µs   gemm µs  gemm / native";

    fn print(&self, json: bool) {
        let Self { name, encoding, density, native, words, product } = self;
        let ratio = product.map(|product| product / native);
        if json {
            let case = match *encoding {
                "" => (*name).to_owned(),
                encoding => format!("{name}.{encoding}"),
            };
            line(&case, *density, "ns", 1e3 * native);
            ratio.iter().for_each(|ratio| line(&case, *density, "gemm_ratio", *ratio));
            return;
        }
        print!("{name:26}{encoding:10}{native:10.2}{words:10.2}");
        match product.zip(ratio) {
            Some((product, ratio)) => println!("{product:10.2}{ratio:15.2}"),
            None => println!(),
        }
    }
}

/// A layer in each encoding.
fn layer(case: &Case, arguments: &Arguments) {
    let all =
        [(Mask::Raw, "raw"), (Mask::Gaps, "gaps"), (Mask::Rice, "rice"), (Mask::Seeded, "seeded")];
    let (masks, density) = match case.weighted() {
        true => (&all[..], f64::from(arguments.density) / 100.0),
        false => (&[(Mask::Raw, "")][..], 1.0),
    };
    for &(mask, encoding) in masks {
        let variant = Variant::signs(mask, arguments.density);
        let Some(mut native) = Built::new(case, variant, SEED) else { continue };
        let mut words = native.clone();
        let (mut native, mut words) = (Run::new(&mut native), Run::new(&mut words));
        let mut product = Product::new(case);
        let has_product = product.is_some();
        let mut multiply = || {
            if let Some(product) = &mut product {
                product.run();
            }
        };
        let times = quartiles(&mut [
            &mut || run::<Native>(&mut native),
            &mut || run::<Words>(&mut words),
            &mut multiply,
        ]);
        let [native, words, product] = [times[0], times[1], times[2]].map(|time| time / 1e3);
        let product = has_product.then_some(product);
        Row { name: case.name, encoding, density, native, words, product }.print(arguments.json);
    }
}

fn run<K: Kernels>(layer: &mut Run) {
    black_box(layer).run::<K>();
}

/// Whole inferences of an artifact's first task.
fn network(path: &str, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let name = Path::new(path).file_stem().and_then(|name| name.to_str()).unwrap_or(path);
    let artifact = fs::read(path)?;
    let [mut native, mut words] =
        [(); 2].map(|()| Network::new(Named { name: name.into(), artifact: artifact.clone() }));
    let mut native = || {
        black_box(native.run::<Native>());
    };
    let mut words = || {
        black_box(words.run::<Words>());
    };
    let times = quartiles(&mut [&mut native, &mut words]);
    let [native, words] = [times[0], times[1]].map(|time| time / 1e3);
    Row { name, encoding: "", density: 1.0, native, words, product: None }.print(arguments.json);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    if !arguments.json {
        println!("{}", Row::HEAD);
    }
    if arguments.artifacts.is_empty() {
        SPEED.iter().for_each(|case| layer(case, &arguments));
    }
    arguments.artifacts.iter().try_for_each(|path| network(path, &arguments))
}
