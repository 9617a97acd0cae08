//! The report for people.

use super::{Backbone, Flash, Report, TaskReport};
use crate::cli::output::thousands;
use crate::cli::table::Table;

pub fn report(report: &Report) -> String {
    let mut text = format!(
        "{}: {}, {} bytes, format {}, fingerprint {}\n",
        report.file.display(),
        report.kind,
        bytes(report.bytes),
        report.format_version,
        report.fingerprint
    );
    match &report.backbone {
        Some(backbone) => text.push_str(&body(backbone)),
        None => {
            text.push_str("name its backbone first for more: seedmask inspect BASE.smk PATCH\n")
        }
    }
    text
}

fn body(backbone: &Backbone) -> String {
    let mut text = format!(
        "seed {}, input {}, {} outputs, arena {} bytes\n{}\n\n{}\narena\n{}",
        backbone.seed,
        size(backbone.input),
        backbone.outputs,
        bytes(backbone.arena_bytes),
        features(&backbone.features),
        layers(backbone),
        arena(backbone)
    );
    for task in &backbone.tasks {
        text.push_str(&format!("\n{}", self::task(task)));
    }
    text.push_str(&format!("\nflash\n{}", flash(&backbone.flash)));
    if let Some(patch) = &backbone.patch {
        text.push_str(&format!("\n{}\n{}", patch.file.display(), flash(&patch.flash)));
    }
    text
}

/// What stands beside `default-features = false`.
fn features(names: &[&str]) -> String {
    if names.is_empty() {
        return "features of the runtime: none".to_owned();
    }
    format!("features of the runtime: {}", names.join(", "))
}

fn layers(backbone: &Backbone) -> Table {
    let headings = ["layer", "kind", "input", "output", "weights", "source", "MACs"];
    let mut table = Table::new(&headings, &[1, 2, 3, 5]);
    for layer in &backbone.layers {
        table.row(vec![
            layer.layer.to_string(),
            layer.kind.to_owned(),
            size(layer.input),
            size(layer.output),
            some(layer.weights),
            layer.source.unwrap_or("").to_owned(),
            some(layer.macs),
        ]);
    }
    table
}

fn arena(backbone: &Backbone) -> Table {
    let mut table =
        Table::new(&["", "size", "halo", "layout", "offset", "bytes", "layers"], &[0, 1, 3, 6]);
    for tensor in &backbone.arena {
        let from = tensor.written_by.map_or("input".to_owned(), |layer| layer.to_string());
        let until = tensor.read_until.map_or("output".to_owned(), |layer| layer.to_string());
        table.row(vec![
            format!("tensor {}", tensor.tensor),
            size(tensor.size),
            tensor.halo.to_string(),
            tensor.layout.to_owned(),
            thousands(tensor.offset.into()),
            thousands(tensor.bytes.into()),
            format!("{from} to {until}"),
        ]);
    }
    for layer in backbone.layers.iter().filter(|layer| layer.scratch_bytes > 0) {
        table.row(vec![
            format!("scratch {}", layer.layer),
            String::new(),
            String::new(),
            String::new(),
            thousands(layer.scratch_offset.into()),
            thousands(layer.scratch_bytes),
            layer.layer.to_string(),
        ]);
    }
    table
}

fn task(task: &TaskReport) -> String {
    let origin = if task.in_patch { ", from the patch" } else { "" };
    let mut text = format!("task {}, {} classes{origin}", task.task, task.classes);
    if !task.labels.is_empty() {
        text.push_str(&format!(": {}", task.labels.join(", ")));
    }
    let headings = [
        "layer",
        "kind",
        "rows×inputs",
        "mask",
        "kept",
        "density",
        "bytes",
        "bits/weight",
        "entropy",
        "epilogue",
        "MACs kept",
    ];
    let mut table = Table::new(&headings, &[1, 2, 3]);
    for layer in &task.layers {
        let [rows, inputs] = layer.shape;
        let mask = match &layer.same_as {
            Some(task) => format!("as {task}"),
            None => layer.encoding.clone(),
        };
        table.row(vec![
            layer.layer.to_string(),
            layer.kind.to_owned(),
            format!("{rows}×{inputs}"),
            mask,
            thousands(layer.kept),
            format!("{:.4}", layer.density),
            bytes(layer.bytes),
            format!("{:.4}", layer.bits_per_weight),
            format!("{:.4}", layer.entropy),
            bytes(layer.epilogue_bytes),
            thousands(layer.macs_kept),
        ]);
    }
    table.row(vec![
        String::new(),
        "in all".to_owned(),
        thousands(task.weights),
        String::new(),
        thousands(task.kept),
        format!("{:.4}", task.density),
        bytes(task.mask_bytes),
        format!("{:.4}", task.bits_per_weight),
        format!("{:.4}", task.entropy),
        bytes(task.epilogue_bytes),
        thousands(task.macs_kept),
    ]);
    format!("{text}\n{table}")
}

fn flash(flash: &Flash) -> Table {
    let mut table = Table::new(&["part", "bytes"], &[0]);
    let parts = [
        ("prologue", flash.prologue),
        ("manifest", flash.manifest),
        ("stored weights", flash.stored),
        ("masks", flash.masks),
        ("epilogues", flash.epilogues),
        ("filling", flash.filling),
        ("in all", flash.total),
    ];
    for (part, size) in parts {
        table.row(vec![part.to_owned(), bytes(size)]);
    }
    table
}

fn size([channels, height, width]: [usize; 3]) -> String {
    match (height, width) {
        (1, 1) => channels.to_string(),
        _ => format!("{channels}×{height}×{width}"),
    }
}

fn some(number: u64) -> String {
    if number > 0 { thousands(number) } else { String::new() }
}

fn bytes(count: usize) -> String {
    thousands(count as u64)
}
