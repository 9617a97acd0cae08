//! The arena as a timeline: what lives where while each layer runs.

use serde::Serialize;

use super::{Backbone, LayerReport, TensorReport};
use crate::cli::output::thousands;
use crate::cli::table::Table;

/// What lives during each layer.
#[derive(Serialize)]
pub struct Timeline {
    /// The most bytes that live during one layer: no plan with the same layers in place takes less.
    lower_bound: u64,
    /// The first layer during which that many live.
    peak_layer: u8,
    steps: Vec<Step>,
}

/// One layer at work.
#[derive(Serialize)]
struct Step {
    layer: u8,
    /// The tensors that live, the layer's output among them.
    tensors: Vec<u8>,
    scratch_bytes: u64,
    /// Of tensors and scratch; bytes that a layer works on in place count once.
    live_bytes: u64,
}

impl TensorReport {
    /// Whether its bytes are spoken for while `layer` runs.
    fn lives(&self, layer: u8) -> bool {
        (self.span[0]..=self.span[1]).contains(&layer)
    }

    fn range(&self) -> [u64; 2] {
        [self.offset.into(), u64::from(self.offset) + u64::from(self.bytes)]
    }
}

impl Timeline {
    pub fn new(layers: &[LayerReport], arena: &[TensorReport]) -> Self {
        let step = |layer: &LayerReport| {
            let live: Vec<_> = arena.iter().filter(|tensor| tensor.lives(layer.layer)).collect();
            let mut ranges: Vec<_> = live.iter().map(|tensor| tensor.range()).collect();
            let scratch = u64::from(layer.scratch_offset);
            ranges.push([scratch, scratch + layer.scratch_bytes]);
            Step {
                layer: layer.layer,
                tensors: live.iter().map(|tensor| tensor.tensor).collect(),
                scratch_bytes: layer.scratch_bytes,
                live_bytes: covered(ranges),
            }
        };
        let steps: Vec<Step> = layers.iter().map(step).collect();
        let lower_bound = steps.iter().map(|step| step.live_bytes).max().unwrap_or(0);
        let peak = steps.iter().find(|step| step.live_bytes == lower_bound);
        Self { lower_bound, peak_layer: peak.map_or(0, |step| step.layer), steps }
    }
}

/// Bytes in at least one of the ranges, which are from the first byte to the one behind the last.
fn covered(mut ranges: Vec<[u64; 2]>) -> u64 {
    ranges.sort_unstable();
    let (mut bytes, mut end) = (0, 0);
    for [from, to] in ranges {
        bytes += to.saturating_sub(from.max(end));
        end = end.max(to);
    }
    bytes
}

/// The timeline for people: a row for every tensor and scratch, a column for every layer, and a
/// line for every layer with the bytes that live.
pub fn text(backbone: &Backbone) -> String {
    let plan = &backbone.plan;
    let over = backbone.arena_bytes as u64 - plan.lower_bound.min(backbone.arena_bytes as u64);
    let verdict = match over {
        0 => "the least with these layers in place".to_owned(),
        over => format!("{} bytes above that lower bound", thousands(over)),
    };
    format!(
        "arena {} bytes; at its peak, layer {}, {} live: {verdict}\n\n{}\n{}",
        thousands(backbone.arena_bytes as u64),
        plan.peak_layer,
        thousands(plan.lower_bound),
        timeline(backbone),
        steps(backbone)
    )
}

fn timeline(backbone: &Backbone) -> Table {
    let mut table = Table::new(&["", "offset", "bytes", "over", "layers"], &[0, 3, 4]);
    let lives = |alive: &dyn Fn(u8) -> bool| -> String {
        let mark = |layer: &LayerReport| if alive(layer.layer) { '█' } else { '·' };
        backbone.layers.iter().map(mark).collect()
    };
    let tens = |layer: &LayerReport| match layer.layer % 10 {
        0 => char::from(b'0' + layer.layer / 10),
        _ => ' ',
    };
    let digits = |layer: &LayerReport| char::from(b'0' + layer.layer % 10);
    for line in [
        backbone.layers.iter().map(tens).collect::<String>(),
        backbone.layers.iter().map(digits).collect(),
    ] {
        table.row(vec![String::new(), String::new(), String::new(), String::new(), line]);
    }
    for tensor in &backbone.arena {
        table.row(vec![
            format!("tensor {}", tensor.tensor),
            thousands(tensor.offset.into()),
            thousands(tensor.bytes.into()),
            overwritten(&backbone.arena, tensor),
            lives(&|layer| tensor.lives(layer)),
        ]);
    }
    for layer in backbone.layers.iter().filter(|layer| layer.scratch_bytes > 0) {
        table.row(vec![
            format!("scratch {}", layer.layer),
            thousands(layer.scratch_offset.into()),
            thousands(layer.scratch_bytes),
            String::new(),
            lives(&|at| at == layer.layer),
        ]);
    }
    table
}

/// The tensor that the layer which writes `tensor` works over, in place.
fn overwritten(arena: &[TensorReport], tensor: &TensorReport) -> String {
    let over = |other: &&TensorReport| {
        let meet = tensor.written_by.is_some_and(|layer| other.lives(layer));
        let ([from, to], [other_from, other_to]) = (tensor.range(), other.range());
        other.tensor != tensor.tensor && meet && from < other_to && other_from < to
    };
    arena.iter().find(over).map_or(String::new(), |other| format!("tensor {}", other.tensor))
}

fn steps(backbone: &Backbone) -> Table {
    let headings = ["layer", "kind", "live", "scratch", "tensors", ""];
    let mut table = Table::new(&headings, &[1, 4, 5]);
    for (step, layer) in backbone.plan.steps.iter().zip(&backbone.layers) {
        let tensors: Vec<String> = step.tensors.iter().map(u8::to_string).collect();
        let peak = if step.layer == backbone.plan.peak_layer { "peak" } else { "" };
        table.row(vec![
            step.layer.to_string(),
            layer.kind.to_owned(),
            thousands(step.live_bytes),
            thousands(step.scratch_bytes),
            tensors.join(" "),
            peak.to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_several_ranges_count_once() {
        assert_eq!(covered(vec![]), 0);
        assert_eq!(covered(vec![[8, 12], [0, 4], [0, 4], [2, 6], [20, 20]]), 10);
        assert_eq!(covered(vec![[0, 100], [10, 20], [99, 101]]), 101);
    }
}
