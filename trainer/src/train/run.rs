//! The training of one task.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rayon::prelude::*;

use super::{Event, Options, Progress, TrainError, data_of};
use crate::checkpoint::{self, Best, CheckpointError, Running, State, Values};
use crate::data::{self, Images, Split};
use crate::method::{Dense, EdgePopup, Frozen, Method, Parameters, affine, seeded};
use crate::nn::loss::cross_entropy;
use crate::nn::{Mode, Network, Precision};
use crate::optimiser::{Memory, Optimiser};
use crate::random::{Purpose, Stream};
use crate::recipe::Recipe;
use crate::trained::{Mask, Trained, TrainedLayer, TrainedTask, evaluate, resolve};

/// Training images from which the statistics of BatchNorm are taken in the end.
const STATISTICS_IMAGES: usize = 10_000;

/// The training of one task.
pub struct TaskRun<'a> {
    recipe: &'a Recipe,
    options: &'a Options<'a>,
    /// The task's place among the tasks.
    index: usize,
    images: Images,
    held_out: Option<Images>,
    network: Network,
    parameters: Vec<Parameters>,
    state: State,
    started: Instant,
    steps_before: u64,
    /// The images of a batch as they were varied, and their labels: buffers.
    varied: Vec<u8>,
    labels: Vec<u8>,
}

/// The images that task `index` learns from, and those held out.
///
/// # Errors
/// [`TrainError`] where they cannot be read or are too few.
pub fn images(
    recipe: &Recipe,
    index: usize,
    options: &Options,
) -> Result<(Images, Option<Images>), TrainError> {
    let data = data_of(&recipe.tasks[index])?;
    let all = data::load(data, Split::Train, options.data)?;
    let (images, held_out) = match recipe.train.early_stop {
        None => (all, None),
        Some(stop) if stop.held_out < all.len() => {
            let kept = all.len() - stop.held_out;
            (all.slice(0..kept), Some(all.slice(kept..all.len())))
        }
        Some(stop) => {
            let (held_out, data) = (stop.held_out, data.to_owned());
            return Err(TrainError::HeldOut { held_out, images: all.len(), data });
        }
    };
    let batch = recipe.train.batch;
    if images.len() < batch {
        let data = data.to_owned();
        return Err(TrainError::Batch { batch, images: images.len(), data });
    }
    Ok((images, held_out))
}

impl<'a> TaskRun<'a> {
    /// Starts the task after those that are `finished`, or goes on from a saved state.
    pub fn new(
        recipe: &'a Recipe,
        finished: Vec<TrainedTask>,
        options: &'a Options<'a>,
        resumed: Option<State>,
    ) -> Result<Self, TrainError> {
        let index = finished.len();
        let (images, held_out) = images(recipe, index, options)?;
        let batch = recipe.train.batch;
        let network = Network::new(recipe.architecture.clone(), batch, Precision::Quantised);
        let parameters = initial_parameters(recipe, &finished)?;
        let mut run = Self {
            recipe,
            options,
            index,
            images,
            held_out,
            network,
            parameters,
            state: State { finished, ..State::default() },
            started: Instant::now(),
            steps_before: 0,
            varied: Vec::new(),
            labels: Vec::new(),
        };
        run.state.values = run.values();
        run.prepare_memory();
        match resumed {
            Some(state) => run.resume(state)?,
            // The last epoch of the task before is not lost either.
            None if index > 0 => run.save()?,
            None => {}
        }
        Ok(run)
    }

    /// Goes on from a saved state, which fits the network.
    fn resume(&mut self, state: State) -> Result<(), TrainError> {
        let frozen = |run: &Self, state: &State| {
            let pairs = run.parameters.iter().zip(&state.values.trained);
            pairs.into_iter().all(|(p, v)| p.trained().map_or(0, <[f32]>::len) == v.len())
        };
        if !frozen(self, &state) || state.step > self.steps() {
            return Err(CheckpointError::Invalid {
                path: self.options.checkpoint.map(PathBuf::from).unwrap_or_default(),
                what: "the state",
                found: "another training's".to_owned(),
                expected: "one of this recipe".to_owned(),
            }
            .into());
        }
        self.steps_before = state.step;
        self.state = state;
        let values = self.state.values.clone();
        self.write_values(&values);
        Ok(())
    }

    /// The parameters as they are.
    fn values(&self) -> Values {
        let layers = &self.network.layers;
        Values {
            trained: self.parameters.iter().map(|p| p.trained().unwrap_or(&[]).to_vec()).collect(),
            gamma: layers.iter().map(|layer| layer.epilogue.gamma.clone()).collect(),
            beta: layers.iter().map(|layer| layer.epilogue.beta.clone()).collect(),
        }
    }

    fn write_values(&mut self, values: &Values) {
        for (parameters, values) in self.parameters.iter_mut().zip(&values.trained) {
            if let Some(trained) = parameters.trained_mut() {
                trained.copy_from_slice(values);
            }
        }
        for (index, layer) in self.network.layers.iter_mut().enumerate() {
            layer.epilogue.gamma.copy_from_slice(&values.gamma[index]);
            layer.epilogue.beta.copy_from_slice(&values.beta[index]);
        }
    }

    fn prepare_memory(&mut self) {
        let train = &self.recipe.train;
        let values = &self.state.values;
        let memory = |optimiser: Optimiser, values: &[Vec<f32>]| {
            values.iter().map(|values| Memory::new(optimiser, values.len())).collect()
        };
        self.state.memory = memory(train.optimiser, &values.trained);
        self.state.gamma_memory = memory(train.affine_optimiser, &values.gamma);
        self.state.beta_memory = memory(train.affine_optimiser, &values.beta);
        if train.average > 0.0 {
            self.state.average = Some(values.clone());
        }
    }

    fn steps_per_epoch(&self) -> u64 {
        (self.images.len() / self.recipe.train.batch) as u64
    }

    fn steps(&self) -> u64 {
        self.steps_per_epoch() * self.recipe.tasks[self.index].epochs as u64
    }

    /// Trains to the last epoch, an early stop (true) or the stop flag (false).
    pub fn learn(&mut self, report: &mut dyn FnMut(Event)) -> Result<bool, TrainError> {
        let mut order = Vec::new();
        while self.state.step < self.steps() {
            let epoch = self.state.step / self.steps_per_epoch();
            let place = self.state.step % self.steps_per_epoch();
            if place == 0 || order.is_empty() {
                order = self.order(epoch);
            }
            self.step(epoch, &order[place as usize * self.recipe.train.batch..])?;
            report(Event::Step(self.progress(epoch)));
            if place + 1 == self.steps_per_epoch() && self.end_epoch(epoch, report)? {
                return Ok(true);
            }
            if self.options.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                self.save()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The order of the images in `epoch`.
    fn order(&self, epoch: u64) -> Vec<u32> {
        let index = ((self.index as u64) << 32) | epoch;
        Stream::new(self.recipe.seed, Purpose::Order, index).permutation(self.images.len())
    }

    /// One step on the first images of `order`.
    fn step(&mut self, epoch: u64, order: &[u32]) -> Result<(), TrainError> {
        let train = &self.recipe.train;
        let order = &order[..train.batch];
        self.load(epoch, order);
        self.materialise();
        self.network.forward(Mode::Train);
        self.labels.clear();
        self.labels.extend(order.iter().map(|&index| self.images.labels[index as usize]));
        let classes = self.images.classes.len();
        let (logits, gradient) = self.network.head();
        let outcome =
            cross_entropy(logits, &self.labels, classes, train.label_smoothing, Some(gradient));
        if !outcome.loss.is_finite() {
            let task = self.recipe.tasks[self.index].name.clone();
            let (step, loss) = (self.state.step, outcome.loss);
            return Err(TrainError::Diverged { task, step, loss });
        }
        self.network.backward();
        self.descend();
        self.state.running.add(outcome);
        self.state.step += 1;
        Ok(())
    }

    /// Varies the images of a batch and puts them into the network.
    fn load(&mut self, epoch: u64, order: &[u32]) {
        let augment = self.recipe.tasks[self.index].augment;
        let size = [self.images.height, self.images.width];
        let length = self.images.image_len();
        self.varied.resize(length * order.len(), 0);
        self.varied.par_chunks_mut(length).zip(order).for_each(|(output, &index)| {
            // Tasks on the same images vary them differently.
            let seed = self.recipe.seed.wrapping_add(self.index as u64);
            augment.apply(self.images.image(index as usize), output, size, seed, epoch, index);
        });
        self.network.load(self.varied.chunks_exact(length));
    }

    /// Puts the weights in force, as the parameters have them now.
    fn materialise(&mut self) {
        let progress = self.state.step as f32 / self.steps() as f32;
        let train = &self.recipe.train;
        let layers = self.network.layers.par_iter_mut().zip(&self.parameters);
        layers.zip(&self.recipe.layers).for_each(|((layer, parameters), options)| {
            let density = match train.anneal {
                Some(anneal) => anneal.density(options.density, progress),
                None => options.density,
            };
            parameters.materialise(density, layer);
        });
    }

    /// Changes all parameters by their gradients.
    fn descend(&mut self) {
        let train = &self.recipe.train;
        let warmup = (f64::from(train.warmup) * self.steps() as f64).round() as u64;
        let factor = train.schedule.factor(self.state.step, self.steps(), warmup);
        let number = self.state.step + 1;
        let state = &mut self.state;
        for (index, layer) in self.network.layers.iter_mut().enumerate() {
            let parameters = &mut self.parameters[index];
            parameters.gradient(layer);
            if let Some(values) = parameters.trained_mut() {
                let rate = train.learning_rate * factor;
                let (gradient, memory) = (&layer.matrix_gradient, &mut state.memory[index]);
                train.optimiser.update(number, rate, values, gradient, memory);
            }
            let rate = train.affine_learning_rate * factor;
            let optimiser = train.affine_optimiser;
            let epilogue = &mut layer.epilogue;
            let (gamma, beta) = (&mut epilogue.gamma, &mut epilogue.beta);
            let memory = &mut state.gamma_memory[index];
            optimiser.update(number, rate, gamma, &epilogue.gamma_gradient, memory);
            let memory = &mut state.beta_memory[index];
            optimiser.update(number, rate, beta, &epilogue.beta_gradient, memory);
            if let Some(average) = &mut state.average {
                // A short memory at first, so that the start is forgotten.
                let decay = train.average.min(number as f32 / (number as f32 + 9.0));
                approach(&mut average.gamma[index], gamma, decay);
                approach(&mut average.beta[index], beta, decay);
                if let Some(values) = parameters.trained() {
                    approach(&mut average.trained[index], values, decay);
                }
            }
        }
    }

    /// Reports, measures on the images held out, saves. Whether to stop early.
    fn end_epoch(&mut self, epoch: u64, report: &mut dyn FnMut(Event)) -> Result<bool, TrainError> {
        let progress = self.progress(epoch);
        self.state.running = Running::default();
        let mut stop = false;
        let mut outcome = None;
        if let (Some(held_out), Some(early)) = (self.held_out.take(), self.recipe.train.early_stop)
        {
            let (task, found) = self.snapshot(|network| evaluate(network, &held_out));
            self.held_out = Some(held_out);
            outcome = Some(found);
            let done = self.state.step as f32 / self.steps() as f32;
            let final_density = self.recipe.train.anneal.is_none_or(|anneal| done >= anneal.over);
            if final_density {
                let best = self.state.best.as_ref().map(|best| best.correct);
                if best.is_none_or(|best| found.correct > best) {
                    self.state.best = Some(Best { correct: found.correct, task });
                    self.state.stale = 0;
                } else {
                    self.state.stale += 1;
                    stop = self.state.stale >= early.patience;
                }
            }
        }
        report(Event::Epoch(progress, outcome));
        if self.state.step < self.steps() && !stop {
            self.save()?;
        }
        Ok(stop)
    }

    /// The finished tasks with this one, after its best epoch (or the last) is evaluated.
    pub fn finish(mut self, report: &mut dyn FnMut(Event)) -> Result<Vec<TrainedTask>, TrainError> {
        let task = match self.state.best.take() {
            Some(best) => best.task,
            None => self.snapshot(|_| ()).0,
        };
        let options = &self.recipe.tasks[self.index];
        let test = data::load(data_of(options)?, Split::Test, self.options.data)?;
        let (name, epochs) = (task.name.clone(), task.epochs);
        let mut finished = self.state.finished;
        finished.push(task);
        let trained = Trained { recipe: self.recipe.clone(), tasks: finished };
        let mut network = trained.network(self.index, self.recipe.train.batch);
        report(Event::Task { name, epochs, test: evaluate(&mut network, &test) });
        Ok(trained.tasks)
    }

    /// The task as it is now (or its running mean), with statistics taken from the training
    /// images, and what `look` makes of the network that computes with just these.
    fn snapshot<R>(&mut self, look: impl FnOnce(&mut Network) -> R) -> (TrainedTask, R) {
        let present = self.values();
        if let Some(average) = self.state.average.clone() {
            self.write_values(&average);
        }
        self.materialise();
        self.take_statistics();
        let layers = (0..self.parameters.len()).map(|index| self.trained_layer(index)).collect();
        let seen = look(&mut self.network);
        self.write_values(&present);
        let task = TrainedTask {
            name: self.recipe.tasks[self.index].name.clone(),
            classes: self.images.classes.clone(),
            epochs: (self.state.step / self.steps_per_epoch()) as usize,
            layers,
        };
        (task, seen)
    }

    /// BatchNorm's statistics from training images, varied as in training: statistics of unvaried
    /// images, which the scales and shifts were not trained with, can cost accuracy.
    fn take_statistics(&mut self) {
        self.network.layers.iter_mut().for_each(|layer| layer.epilogue.reset_statistics());
        let batch = self.recipe.train.batch;
        let count = self.images.len().min(STATISTICS_IMAGES).max(batch) as u32;
        let images: Vec<u32> = (0..count).collect();
        for order in images.chunks_exact(batch) {
            self.load(u64::from(u32::MAX), order);
            self.network.forward(Mode::Gather);
        }
        self.network.layers.iter_mut().for_each(|layer| layer.epilogue.adopt_statistics());
    }

    fn trained_layer(&self, index: usize) -> TrainedLayer {
        let layer = &self.network.layers[index];
        let options = &self.recipe.layers[index];
        let stored = |matrix: &[f32]| matrix.iter().map(|&weight| weight as i8).collect();
        let (mask, weights) = match &self.parameters[index] {
            Parameters::EdgePopup(_) if options.density >= 1.0 => (Mask::Full, Vec::new()),
            Parameters::EdgePopup(_) => {
                let kept = layer.matrix.iter().map(|&weight| weight != 0.0).collect();
                (Mask::Kept(kept), Vec::new())
            }
            Parameters::Dense(_) => (Mask::Full, stored(&layer.matrix)),
            Parameters::Frozen(_) => {
                let mask = match (
                    shared(self.recipe, self.index, index),
                    affine::seeded_density(options.density),
                ) {
                    (Some(share), _) => Mask::SameAs(share.to_owned()),
                    (None, Some(q)) => Mask::Seeded(q),
                    (None, None) => Mask::Full,
                };
                (mask, Vec::new())
            }
        };
        TrainedLayer::new(mask, weights, layer)
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let Some(path) = self.options.checkpoint else { return Ok(()) };
        self.state.values = self.values();
        checkpoint::save(path, self.recipe, &self.state)?;
        Ok(())
    }

    fn progress(&self, epoch: u64) -> Progress {
        let task = &self.recipe.tasks[self.index];
        let seconds = self.started.elapsed().as_secs_f64();
        let done = (self.state.step - self.steps_before).max(1) as f64;
        let per_step = seconds / done;
        let outcome = self.state.running.outcome();
        Progress {
            task: task.name.clone(),
            place: [self.index + 1, self.recipe.tasks.len()],
            epoch: [epoch as usize + 1, task.epochs],
            step: [self.state.step, self.steps()],
            loss: outcome.mean_loss(),
            accuracy: outcome.accuracy(),
            images_per_second: self.recipe.train.batch as f64 / per_step.max(1e-9),
            seconds_left: (self.steps() - self.state.step) as f64 * per_step,
        }
    }
}

/// `mean ← decay·mean + (1 − decay)·values`.
fn approach(mean: &mut [f32], values: &[f32], decay: f32) {
    for (mean, value) in mean.iter_mut().zip(values) {
        *mean += (1.0 - decay) * (value - *mean);
    }
}

/// The task whose mask task number `task` takes over in layer `layer`, if any.
fn shared(recipe: &Recipe, task: usize, layer: usize) -> Option<&str> {
    recipe.layers[layer].share.as_deref().filter(|&share| share != recipe.tasks[task].name)
}

/// The parameters that the next task starts from.
fn initial_parameters(
    recipe: &Recipe,
    finished: &[TrainedTask],
) -> Result<Vec<Parameters>, TrainError> {
    let task = finished.len();
    let places = seeded::places(&recipe.architecture);
    let (seed, source) = (recipe.seed, recipe.source);
    places
        .into_iter()
        .enumerate()
        .map(|(layer, place)| {
            let count = place.rows * place.fan_in;
            if recipe.train.method == Method::Dense {
                return Ok(Parameters::Dense(Dense::new(count, seed, layer as u64, place.fan_in)));
            }
            let weights = seeded::weights(seed, source, place);
            let options = &recipe.layers[layer];
            let frozen = |mask: &Mask| {
                let mask = resolve(recipe, finished, mask, layer);
                Frozen::masked(&weights, &mask, place.rows, source.mean_square())
            };
            if let Some(share) = shared(recipe, task, layer) {
                if !finished.iter().any(|task| task.name == share) {
                    let (task, share) = (recipe.tasks[task].name.clone(), share.to_owned());
                    return Err(TrainError::ShareOrder { task, share });
                }
                return Ok(Parameters::Frozen(frozen(&Mask::SameAs(share.to_owned()))));
            }
            if recipe.train.method == Method::Affine {
                let mask = affine::seeded_density(options.density).map_or(Mask::Full, Mask::Seeded);
                return Ok(Parameters::Frozen(frozen(&mask)));
            }
            let address = [task as u64, layer as u64];
            let mean_square = source.mean_square();
            let ranking = recipe.train.ranking;
            let it = EdgePopup::new(weights, mean_square, ranking, seed, address, place.fan_in);
            Ok(Parameters::EdgePopup(it))
        })
        .collect()
}
