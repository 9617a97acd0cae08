//! How a training is going: a bar on a terminal, a line an epoch elsewhere.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::data::Images;
use crate::train::{Event, Progress as Step};
use crate::trained::{self, Trained};

/// Images of a batch in floating point.
const BATCH: usize = 128;

/// Writes to standard error.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
    /// Accuracy of each task in floating point, where this run has seen it.
    float: Vec<Option<f64>>,
    /// The task that is being trained.
    task: usize,
}

impl Progress {
    /// For this many tasks.
    pub fn new(tasks: usize) -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{prefix} {bar:10} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, terminal: io::stderr().is_terminal(), float: vec![None; tasks], task: 0 }
    }

    /// Shows an event.
    pub fn tell(&mut self, event: Event) {
        match event {
            Event::Step(step) => {
                self.task = step.place[0] - 1;
                if self.terminal {
                    self.bar.set_length(step.step[1]);
                    self.bar.set_position(step.step[0]);
                    self.bar
                        .set_prefix(format!("{} ({}/{})", step.task, step.place[0], step.place[1]));
                    self.bar.set_message(numbers(&step));
                }
            }
            Event::Epoch(step, held_out) => {
                let held_out = held_out.map_or(String::new(), |outcome| {
                    format!(", {:.2} % of the images held out", 100.0 * outcome.accuracy())
                });
                if !self.terminal {
                    let speed = step.images_per_second;
                    let numbers = numbers(&step);
                    self.line(&format!("{}: {numbers}, {speed:.0} images/s{held_out}", step.task));
                }
            }
            Event::Task { name, epochs, test } => {
                let accuracy = test.accuracy();
                if let Some(float) = self.float.get_mut(self.task) {
                    *float = Some(accuracy);
                }
                let percent = 100.0 * accuracy;
                self.line(&format!(
                    "{name}: trained in {epochs} epochs, {percent:.2} % in floating point"
                ));
            }
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Accuracy of task `index` in floating point; computed now where it was trained by an earlier
    /// run.
    pub fn float_accuracy(&self, index: usize, trained: &Trained, images: &Images) -> f64 {
        self.float.get(index).copied().flatten().unwrap_or_else(|| {
            trained::evaluate(&mut trained.network(index, BATCH), images).accuracy()
        })
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| {
            // Where nobody listens there is nobody to tell.
            let _ = writeln!(io::stderr(), "{text}");
        });
    }
}

fn numbers(step: &Step) -> String {
    let seconds = step.seconds_left.round() as u64;
    let left = match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    };
    format!(
        "epoch {}/{}, loss {:.4}, accuracy {:.2} %, {left} left",
        step.epoch[0],
        step.epoch[1],
        step.loss,
        100.0 * step.accuracy
    )
}
