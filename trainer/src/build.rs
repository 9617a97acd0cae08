//! Networks with random masks: everything of a trained artifact but what it learned, for measuring
//! speed and size before there is anything to learn from.

use crate::method::seeded::{self, Source};
use crate::method::top_k::Ranking;
use crate::method::{Dense, EdgePopup, Parameters};
use crate::nn::{Mode, Network, Precision};
use crate::random::{Purpose, Stream};
use crate::recipe::Recipe;
use crate::trained::{Mask, Trained, TrainedLayer, TrainedTask};

/// Bytes of the images of noise from which the statistics of BatchNorm are taken: few large images,
/// or many small ones.
const NOISE: usize = 1 << 16;
/// A score above all random ones.
const CERTAIN: f32 = 2.0;

/// The network of `recipe` with every task under random masks, drawn from the recipe's seed, at the
/// densities of the recipe or, where given, at `density` in all layers. Every output channel keeps
/// at least one weight. Scales and shifts give every channel mean 0 and variance 1 before its
/// activation, on images of noise, so that activations neither die nor saturate.
pub fn random(recipe: &Recipe, density: Option<f32>) -> Trained {
    let mut recipe = recipe.clone();
    if let Some(density) = density {
        recipe.layers.iter_mut().for_each(|layer| layer.density = density);
    }
    let tasks = (0..recipe.tasks.len()).map(|task| random_task(&recipe, task)).collect();
    Trained { recipe, tasks }
}

fn random_task(recipe: &Recipe, task: usize) -> TrainedTask {
    let length = recipe.architecture.tensors[0].shape.len();
    let images = (NOISE / length).clamp(4, 64);
    let mut network = Network::new(recipe.architecture.clone(), images, Precision::Quantised);
    let places = seeded::places(&recipe.architecture);
    for (layer, place) in places.into_iter().enumerate() {
        let density = recipe.layers[layer].density.max(1.0 / place.fan_in as f32);
        parameters(recipe, task, layer, place).materialise(density, &mut network.layers[layer]);
    }
    let mut stream = Stream::new(recipe.seed, Purpose::Synthetic, task as u64);
    let noise: Vec<u8> = (0..images * length).map(|_| stream.below(128) as u8).collect();
    network.load(noise.chunks_exact(length));
    network.forward(Mode::Gather);
    network.layers.iter_mut().for_each(|layer| layer.epilogue.adopt_statistics());

    let layers = network.layers.iter().zip(&recipe.layers).map(|(layer, options)| {
        let name = &recipe.tasks[task].name;
        let mask = match (&options.share, recipe.source) {
            (Some(share), _) if share != name => Mask::SameAs(share.clone()),
            (_, Source::Trained) => Mask::Full,
            _ => Mask::Kept(layer.matrix.iter().map(|&weight| weight != 0.0).collect()),
        };
        let weights = match recipe.source {
            Source::Trained => layer.matrix.iter().map(|&weight| weight as i8).collect(),
            Source::Signs | Source::Magnitudes => Vec::new(),
        };
        TrainedLayer::new(mask, weights, layer)
    });
    let it = &recipe.tasks[task];
    TrainedTask {
        name: it.name.clone(),
        classes: it.classes.clone(),
        epochs: 0,
        layers: layers.collect(),
    }
}

/// Parameters as a training starts from them, but that every row has one weight that is kept.
fn parameters(recipe: &Recipe, task: usize, layer: usize, place: seeded::Place) -> Parameters {
    let (seed, fan_in) = (recipe.seed, place.fan_in);
    if recipe.source == Source::Trained {
        return Parameters::Dense(Dense::new(place.rows * fan_in, seed, layer as u64, fan_in));
    }
    // A shared mask is drawn like that of the task that it is shared with.
    let share = recipe.layers[layer].share.as_deref();
    let owner = share.and_then(|share| recipe.tasks.iter().position(|task| task.name == share));
    let address = [owner.unwrap_or(task) as u64, layer as u64];
    let weights = seeded::weights(seed, recipe.source, place);
    let mean_square = recipe.source.mean_square();
    let mut it = EdgePopup::new(weights, mean_square, Ranking::Value, seed, address, fan_in);
    for row in it.scores.chunks_exact_mut(fan_in) {
        if let Some(best) = row.iter_mut().max_by(|a, b| a.total_cmp(b)) {
            *best = CERTAIN;
        }
    }
    Parameters::EdgePopup(it)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use seedmask::artifact::Model;
    use seedmask::kernel::Words;

    use super::*;
    use crate::evaluate::HostArena;
    use crate::export::{self, Arena, Masks};
    use crate::verify::{trace, verify};

    fn recipe(name: &str) -> Recipe {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        Recipe::read(&folder.join(name)).unwrap()
    }

    #[test]
    fn the_networks_are_those_of_mlperf_tiny() {
        for (name, weights, macs) in [
            ("kws.toml", 22_016, 2_656_768),
            ("ic.toml", 77_360, 12_501_632),
            ("vww.toml", 208_112, 7_489_664),
            ("ad.toml", 264_192, 264_192),
        ] {
            let architecture = recipe(name).architecture;
            let found: usize = architecture.weighted().map(|(_, w)| w.rows * w.fan_in).sum();
            assert_eq!((found, architecture.macs()), (weights, macs), "{name}");
        }
    }

    #[test]
    fn densities_are_met_and_no_channel_is_empty() {
        let trained = random(&recipe("kws.toml"), Some(0.1));
        let places = seeded::places(&trained.recipe.architecture);
        for (layer, place) in places.into_iter().enumerate() {
            let mask = trained.mask(0, layer);
            let kept = mask.iter().filter(|&&kept| kept).count() as f64 / mask.len() as f64;
            let expected = f64::max(0.1, 1.0 / place.fan_in as f64);
            assert!((kept - expected).abs() < 0.002, "layer {layer}: {kept}");
            assert!(mask.chunks(place.fan_in).all(|row| row.contains(&true)), "layer {layer}");
        }
    }

    #[test]
    fn activations_neither_die_nor_saturate() {
        for name in ["kws.toml", "ic.toml", "ad.toml"] {
            let trained = random(&recipe(name), Some(0.1));
            let file = export::artifact(&trained, Masks::Fastest, Arena::Fastest).unwrap();
            let model = Model::parse(&file).unwrap();
            let task = model.tasks().next().unwrap();
            let length = model.input().elements().unwrap() as usize;
            let mut stream = Stream::new(1, Purpose::Synthetic, 0);
            let image: Vec<u8> = (0..length).map(|_| stream.below(128) as u8).collect();
            let mut arena = HostArena::new(&model).unwrap();
            let tensors = trace::<Words>(&model, task, &mut arena, &image).unwrap();
            for step in model.steps().filter(|step| step.weights.is_some()) {
                let values = &tensors[usize::from(step.layer.output())];
                // A convolution that is joined with the sum behind it never exists as a whole.
                if values.is_empty() {
                    continue;
                }
                let share = |wanted: &dyn Fn(i32) -> bool| {
                    values.iter().filter(|&&value| wanted(value)).count() as f64
                        / values.len() as f64
                };
                let (low, high) = (share(&|value| value <= 0), share(&|value| value >= 127));
                assert!(low < 0.9, "{name}, layer {}: {low} are 0", step.index);
                let last = step.index + 1 == model.layer_count();
                assert!(last || high < 0.1, "{name}, layer {}: {high} are 127", step.index);
            }
            let found = verify(&model, task, 1, |_| image.clone()).unwrap();
            assert_eq!(found.difference, None, "{name}");
        }
    }

    #[test]
    fn artifacts_are_a_twelfth_of_int8_files_and_arenas_fit_those_of_tflm() {
        // Model file and TFLM's arena of the int8 reference models of MLPerf Tiny, in bytes.
        for (name, model_file, tflm) in [
            ("kws.toml", 53_900, 22_800),
            ("ic.toml", 98_500, 55_000),
            ("vww.toml", 333_000, 100_700),
            ("ad.toml", 277_000, 2_600),
        ] {
            let trained = random(&recipe(name), Some(0.1));
            for (arena, percent) in [(Arena::Fastest, 90), (Arena::Smallest, 80)] {
                let file = export::artifact(&trained, Masks::Smallest, arena).unwrap();
                assert!(12 * file.len() <= model_file, "{name}: {} bytes", file.len());
                let found = Model::arena_len(&file);
                assert!(100 * found <= percent * tflm, "{name}: an arena of {found} bytes");
            }
        }
    }

    #[test]
    fn the_same_recipe_gives_the_same_bytes() {
        let trained = || random(&recipe("ad.toml"), None);
        let bytes = || export::artifact(&trained(), Masks::Smallest, Arena::Smallest);
        assert_eq!(bytes().unwrap(), bytes().unwrap());
    }
}
