//! Times the training step that the comparison with PyTorch uses (`benches/torch_compare.py`):
//! 28×28 images, 3×3 convolutions 1→32→32, pool, →64→64, pool, dense 128, dense 10; edge-popup,
//! BatchNorm, seven-bit activations, SGD, batch 128.
//!
//! `step [--steps N] [--threads N] [--density D]` prints one JSON object: wall time and processor
//! time a step, and how often memory was allocated after the first steps. On one thread any
//! allocation is a failure; several may need one more buffer when they first meet.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use seedmask_trainer::method::seeded::{self, Source};
use seedmask_trainer::method::top_k::Ranking;
use seedmask_trainer::method::{EdgePopup, Parameters};
use seedmask_trainer::nn::loss::cross_entropy;
use seedmask_trainer::nn::{Mode, Network, Precision};
use seedmask_trainer::optimiser::{Memory, Optimiser};
use seedmask_trainer::random::{Purpose, Stream};
use seedmask_trainer::recipe::Recipe;

const RECIPE: &str = r#"
    [network]
    input = [1, 28, 28]
    seed = 1
    layers = [
        { conv = 32 }, { conv = 32 }, { max_pool = 2 },
        { conv = 64 }, { conv = 64 }, { max_pool = 2 },
        { flatten = true }, { dense = 128 }, { dense = 10 },
    ]
    [train]
    epochs = 1
    [[task]]
    name = "clothes"
    data = "clothes"
"#;
/// Counts allocations.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH: usize = 128;
const WARM_UP: u64 = 5;
/// Ticks of a second in Linux's accounts of processes.
const TICKS: f64 = 100.0;

/// A network with everything that changes during training.
struct Trainer {
    network: Network,
    parameters: Vec<Parameters>,
    memories: Vec<[Memory; 3]>,
    optimiser: Optimiser,
    density: f32,
}

impl Trainer {
    fn new(density: f32) -> Self {
        let recipe = match Recipe::parse(RECIPE) {
            Ok(recipe) => recipe,
            Err(error) => panic!("the recipe above: {error}"),
        };
        let network = Network::new(recipe.architecture.clone(), BATCH, Precision::Quantised);
        let optimiser = Optimiser::Sgd { momentum: 0.9, weight_decay: 1e-4 };
        let mut parameters = Vec::new();
        let mut memories = Vec::new();
        for (layer, place) in seeded::places(&recipe.architecture).into_iter().enumerate() {
            let weights = seeded::weights(recipe.seed, Source::Signs, place);
            let sizes = [weights.len(), place.rows, place.rows];
            memories.push(sizes.map(|size| Memory::new(optimiser, size)));
            let (seed, address) = (recipe.seed, [0, layer as u64]);
            let ranking = Ranking::Magnitude;
            let it = EdgePopup::new(weights, 1.0, ranking, seed, address, place.fan_in);
            parameters.push(Parameters::EdgePopup(it));
        }
        Self { network, parameters, memories, optimiser, density }
    }

    /// One step; returns the loss.
    fn step(&mut self, number: u64, images: &[u8], labels: &[u8]) -> f64 {
        self.network.load(images.chunks_exact(28 * 28));
        for (layer, parameters) in self.network.layers.iter_mut().zip(&self.parameters) {
            parameters.materialise(self.density, layer);
        }
        self.network.forward(Mode::Train);
        let (logits, gradient) = self.network.head();
        let outcome = cross_entropy(logits, labels, 10, 0.0, Some(gradient));
        self.network.backward();
        let layers = self.network.layers.iter_mut().zip(&mut self.parameters);
        for ((layer, parameters), [memory, gamma, beta]) in layers.zip(&mut self.memories) {
            parameters.gradient(layer);
            if let Some(values) = parameters.trained_mut() {
                self.optimiser.update(number, 0.1, values, &layer.matrix_gradient, memory);
            }
            let it = &mut layer.epilogue;
            self.optimiser.update(number, 0.1, &mut it.gamma, &it.gamma_gradient, gamma);
            self.optimiser.update(number, 0.1, &mut it.beta, &it.beta_gradient, beta);
        }
        outcome.mean_loss()
    }
}

/// The number after `name` among the arguments.
fn argument(name: &str, default: f32) -> Result<f32, String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    match arguments.next() {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("{name} is {text}, expected a number")),
    }
}

fn run() -> Result<(), String> {
    let steps = (argument("--steps", 20.0)? as usize).max(1);
    let threads = argument("--threads", 0.0)? as usize;
    let density = argument("--density", 0.5)?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| error.to_string())?
        .install(|| measure(steps, threads, density))
}

/// Runs the steps and prints what they took.
fn measure(steps: usize, threads: usize, density: f32) -> Result<(), String> {
    let mut stream = Stream::new(1, Purpose::Synthetic, 0);
    let images: Vec<u8> = (0..BATCH * 28 * 28).map(|_| stream.below(128) as u8).collect();
    let labels: Vec<u8> = (0..BATCH).map(|_| stream.below(10) as u8).collect();
    let mut trainer = Trainer::new(density);
    let mut times = Vec::with_capacity(steps);
    let mut loss = 0.0;
    for number in 1..=WARM_UP {
        trainer.step(number, &images, &labels);
    }
    let processor = processor_seconds();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for number in (WARM_UP + 1..).take(steps) {
        let start = Instant::now();
        loss = trainer.step(number, &images, &labels);
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let processor = (processor_seconds() - processor) * 1e3 / steps as f64;
    times.sort_by(f64::total_cmp);
    let (median, least) = (times[times.len() / 2], times[0]);
    println!(
        "{{\"threads\": {threads}, \"density\": {density}, \"steps\": {steps}, \
         \"median_ms\": {median:.1}, \"least_ms\": {least:.1}, \"processor_ms\": {processor:.1}, \
         \"allocations\": {allocations}, \"loss\": {loss:.9}}}"
    );
    if threads == 1 && allocations > 0 {
        return Err(format!("{allocations} allocations in {steps} steps, expected none"));
    }
    Ok(())
}

/// Seconds that all threads of this process have run, as Linux counts them; 0 elsewhere.
fn processor_seconds() -> f64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/stat") else { return 0.0 };
    // The name, in parentheses, may have spaces. Ticks of user and system time are 11 fields on.
    let fields = text.rsplit(')').next().unwrap_or("").split_whitespace().skip(11);
    fields.take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
