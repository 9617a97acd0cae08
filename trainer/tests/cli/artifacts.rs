//! Looking at, running, testing and rearranging artifacts.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{fixture, ok, refused, repository, seedmask};

/// A line of a table with single spaces.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn inspect_shows_what_everything_costs() {
    let golden = repository("tests/golden/v1.smk");
    let answer = ok(&format!("inspect {}", golden.display()));
    let lines: Vec<String> = answer.out.lines().map(words).collect();
    for expected in [
        "seed 104372000312062, input 2×9×7, 5 outputs, arena ",
        "layer kind input output weights source MACs",
        "1 conv2d 2×9×7 6×9×7 108 seeded signs 6,804",
        "5 conv2d 6×4×3 8×4×3 48 seeded magnitudes 576",
        "6 average pool 8×4×3 8",
        "7 dense 8 21 168 stored int8 168",
        "tensor 2 6×9×7 0 plain ",
        "scratch 1 0 ",
        "task mix, 5 classes: bag, boot, coat, dress, shirt",
        "layer kind rows×inputs mask kept density bytes bits/weight entropy epilogue MACs kept",
        "1 conv2d 6×18 rice 1 34 0.3148 17 1.2593 0.8987 24 2,142",
        "2 depthwise 6×9 raw 21 0.3889 24 3.5556 0.9641 24 1,323",
        "7 dense 21×8 full 168 1.0000 0 0.0000 0.0000 84 168",
        "8 dense 5×21 signed gaps 31 0.2952 ",
        "1 conv2d 6×18 as mix 34 0.3148 0 0.0000 0.8987 24 2,142",
        "stored weights 168",
        "masks ",
        "epilogues 552",
        "filling ",
        "in all ",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected}\n{}", answer.out);
    }
}

#[test]
fn the_parts_add_up_to_the_file() {
    let golden = repository("tests/golden/v1.smk");
    let report = &ok(&format!("inspect {} --json", golden.display())).json()[0];
    let flash = &report["flash"];
    let parts = ["prologue", "manifest", "stored", "masks", "epilogues", "filling"];
    let sum: u64 = parts.iter().map(|part| flash[part].as_u64().unwrap()).sum();
    assert_eq!(sum, flash["total"].as_u64().unwrap());
    assert_eq!(sum, fs::metadata(golden).unwrap().len());
    let features = [
        "add",
        "conv2d",
        "depthwise",
        "gaps",
        "magnitudes",
        "pool",
        "relayout",
        "rice",
        "seeded-masks",
        "stored",
    ];
    assert_eq!(report["features"], serde_json::json!(features));
    assert_eq!(report["tasks"].as_array().unwrap().len(), 3);
    assert_eq!(report["tasks"][2]["layers"][0]["same_as"], "mix");
}

#[test]
fn inspect_reads_a_patch_with_and_without_its_backbone() {
    let it = fixture();
    let (base, patch) = (it.path("two.smk"), it.path("third.smk"));
    let alone = ok(&format!("inspect {patch}")).out;
    assert!(alone.contains(": patch, ") && alone.contains("name its backbone first"), "{alone}");
    let both = &ok(&format!("inspect {base} {patch} --json")).json()[0];
    assert_eq!(both["tasks"][2]["task"], "third");
    assert_eq!(both["tasks"][2]["in_patch"], true);
    let bytes = fs::metadata(&patch).unwrap().len();
    assert_eq!(both["patch"]["flash"]["total"], bytes);
    assert_eq!(both["patch"]["flash"]["stored"], 0);
}

#[test]
fn eval_prints_an_object_a_task() {
    let it = fixture();
    let base = it.path("two.smk");
    let bytes = fs::metadata(&base).unwrap().len();
    let all = ok(&format!("eval {base} --json")).json();
    assert_eq!(all.len(), 2);
    for (line, (task, images)) in all.iter().zip([("clothes", 200), ("digits", 250)]) {
        assert_eq!(line["task"], task);
        assert_eq!(line["images"], images);
        assert_eq!(line["artifact_bytes"], bytes);
        let (correct, accuracy) = (line["correct"].as_f64(), line["accuracy"].as_f64());
        assert_eq!(correct.unwrap() / f64::from(images), accuracy.unwrap());
    }
    let one = ok(&format!("eval {base} --task digits --limit 10 --json")).json();
    assert_eq!((one.len(), &one[0]["images"]), (1, &10.into()));
    let text = ok(&format!("eval {base} --task digits")).out;
    assert!(
        text.starts_with("digits: ") && text.contains("of 250 test images of digits, the data set"),
        "{text}"
    );
    let text = ok(&format!("eval {base} --task digits --set digits")).out;
    assert!(text.contains("of 250 test images of digits)"), "{text}");
}

#[test]
fn a_patch_brings_its_task() {
    let it = fixture();
    let (base, patch) = (it.path("two.smk"), it.path("third.smk"));
    let line = format!("eval {base} --patch {patch} --set clothes-rotated --json");
    let answer = ok(&line).json();
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0]["task"], "third");
    assert_eq!(answer[0]["set"], "clothes-rotated");
    assert_eq!(answer[0]["patch_bytes"], fs::metadata(&patch).unwrap().len());
    refused(&format!("eval {base} --patch {patch}"), &["task `third`", "--set", "clothes-rotated"]);
}

#[test]
fn run_classifies_images_from_files_and_from_the_test_set() {
    let it = fixture();
    let base = it.path("two.smk");
    let by_index = ok(&format!("run {base} --task digits --index 3,7 --json")).json();
    assert_eq!(by_index.len(), 2);
    assert_eq!(by_index[0]["logits_q16"].as_array().unwrap().len(), 10);
    let class = by_index[0]["class"].as_u64().unwrap() as usize;
    let logits = by_index[0]["logits_q16"].as_array().unwrap();
    assert!(logits.iter().all(|logit| logit.as_i64() <= logits[class].as_i64()));
    assert_eq!(by_index[0]["label"], class.to_string());

    // The same image in all three formats: white noise that ends in the same device bytes.
    let camera: Vec<u8> = (0..784u32).map(|i| (i * 37 % 256) as u8).collect();
    let pgm = [b"P5\n# noise\n28 28\n255\n".as_slice(), &camera].concat();
    fs::write(it.path("noise.raw"), &camera).unwrap();
    fs::write(it.path("noise.pgm"), pgm).unwrap();
    let (raw, pgm) = (it.path("noise.raw"), it.path("noise.pgm"));
    let answers = ok(&format!("run {base} --task clothes {raw} {pgm} --json")).json();
    assert_eq!(answers[0]["logits_q16"], answers[1]["logits_q16"]);
    let text = ok(&format!("run {base} --task clothes {raw}")).out;
    assert!(
        text.starts_with(&format!("{raw}, clothes: ")) && text.contains("\n  logits "),
        "{text}"
    );

    refused(&format!("run {base} --index 250 --task digits"), &["no test image 250", "250"]);
    let golden = repository("tests/golden/v1.smk");
    let line = format!("run {} {raw}", golden.display());
    refused(&line, &["784 bytes", "2×9×7 camera bytes"]);
}

#[test]
fn verify_finds_no_difference() {
    let golden = repository("tests/golden/v1.smk");
    let answer = ok(&format!("verify {}", golden.display()));
    assert_eq!(answer.out.lines().count(), 3);
    assert!(answer.out.starts_with(
        "mix: real numbers = plain = portable = native kernels in 29,240 values of 20"
    ));
    let line = format!(
        "verify {} --task clothes --set clothes --images 5 --json",
        fixture().path("two.smk")
    );
    let answer = ok(&line).json();
    assert_eq!((&answer[0]["equal"], &answer[0]["images"]), (&true.into(), &5.into()));
    assert_eq!(answer[0]["inputs"], "clothes");
}

#[test]
fn what_is_split_can_be_packed_again() {
    let it = fixture();
    let [base, patch, rest, again] =
        ["two.smk", "digits.smk", "rest.smk", "again.smk"].map(|name| it.path(name));
    let report = ok(&format!("split {base} --task digits -o {patch} --rest {rest} --json")).json();
    assert_eq!(report[0]["patch_bytes"], fs::metadata(&patch).unwrap().len());
    let tasks = &ok(&format!("inspect {rest} --json")).json()[0]["tasks"];
    assert_eq!((tasks.as_array().unwrap().len(), &tasks[0]["task"]), (1, &"clothes".into()));
    ok(&format!("pack {rest} {patch} -o {again}"));
    assert_eq!(fs::read(&again).unwrap(), fs::read(&base).unwrap());
    refused(&format!("pack {base} {patch} -o {again}"), &["task `digits` is there already"]);
}

#[test]
fn shared_masks_survive_a_split_of_their_owner() {
    let it = fixture();
    let golden = repository("tests/golden/v1.smk").display().to_string();
    let [patch, rest, again] = ["mix.smk", "no-mix.smk", "with-mix.smk"].map(|name| it.path(name));
    ok(&format!("split {golden} --task mix -o {patch} --rest {rest}"));
    let tasks = &ok(&format!("inspect {rest} --json")).json()[0]["tasks"];
    assert_eq!(tasks[1]["task"], "shared");
    assert_eq!(tasks[1]["layers"][0]["same_as"], serde_json::Value::Null);
    ok(&format!("pack {rest} {patch} -o {again}"));
    let tasks = &ok(&format!("inspect {again} --json")).json()[0]["tasks"];
    assert_eq!(tasks[2]["task"], "mix");
    // The same logits as before, whoever holds the mask.
    let image = it.path("golden.raw");
    fs::write(&image, (0..126).map(|i| i * 2).collect::<Vec<u8>>()).unwrap();
    for task in ["mix", "drawn", "shared"] {
        let logits = |file: &str| {
            let answer = ok(&format!("run {file} --task {task} {image} --json"));
            answer.json()[0]["logits_q16"].clone()
        };
        assert_eq!(logits(&golden), logits(&again), "{task}");
    }
}

#[test]
fn data_sets_are_listed_and_not_fetched_twice() {
    let answer = &ok("data list --json").json()[0];
    let names: Vec<&str> =
        answer.as_array().unwrap().iter().map(|set| set["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["clothes", "clothes-rotated", "digits"]);
    assert!(answer[2]["folder"].as_str().unwrap().ends_with("mnist"));
    let fetched = ok("data fetch digits --json").json();
    assert_eq!(fetched[0]["folder"], answer[2]["folder"]);
    refused("data fetch cats", &["`cats`", "clothes, clothes-rotated, digits"]);
}

#[test]
fn a_network_is_built_with_random_masks_and_without_data() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = repository("trainer/recipes/kws.toml").display().to_string();
    let file = folder.path().join("kws.smk").display().to_string();
    let built = &ok(&format!("build {recipe} --density 0.2 -o {file} --json")).json()[0];
    assert_eq!(built["bytes"], fs::metadata(&file).unwrap().len());
    assert_eq!((&built["weights"], &built["macs"]), (&22_016.into(), &2_656_768.into()));
    let task = &ok(&format!("inspect {file} --json")).json()[0]["tasks"][0];
    assert_eq!((&task["task"], &task["classes"]), (&"words".into(), &12.into()));
    assert_eq!((&task["kept"], &task["density"]), (&built["kept"], &built["density"]));
    assert!((task["density"].as_f64().unwrap() - 0.2).abs() < 0.001);
    assert!(ok(&format!("verify {file} --images 1")).out.starts_with("words: real numbers ="));

    refused(&format!("train {recipe} -o {file}"), &["task words", "no data set", "seedmask build"]);
    refused(&format!("build {recipe} --density 1.5 -o {file}"), &["--density", "at most 1"]);
    refused(&format!("build {recipe} -o {recipe}"), &["would replace the recipe"]);
}

#[test]
fn the_arena_is_shown_as_a_timeline() {
    let golden = repository("tests/golden/v1.smk").display().to_string();
    let report = &ok(&format!("inspect {golden} --json")).json()[0];
    let [arena, bound] = [&report["arena_bytes"], &report["plan"]["lower_bound"]];
    let steps = report["plan"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), report["layers"].as_array().unwrap().len());
    let live = |step: &serde_json::Value| step["live_bytes"].as_u64().unwrap();
    assert_eq!(steps.iter().map(live).max(), bound.as_u64());
    assert!(bound.as_u64() <= arena.as_u64());
    for step in steps {
        // The output of a layer lives while it is written; the last tensor is the network's output.
        let tensors = step["tensors"].as_array().unwrap();
        let written = |tensor: &serde_json::Value| tensor["written_by"] == step["layer"];
        let output = report["arena"].as_array().unwrap().iter().find(|t| written(t)).unwrap();
        assert!(tensors.contains(&output["tensor"]), "{step}");
    }

    let text = ok(&format!("inspect {golden} --plan")).out;
    let rows = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    assert!(text.starts_with("arena ") && text.contains(" live: "), "{text}");
    assert_eq!(rows("tensor "), report["arena"].as_array().unwrap().len());
    assert_eq!(text.lines().filter(|line| line.ends_with("peak")).count(), 1);
    let first = text.lines().find(|line| line.starts_with("tensor 0 ")).unwrap();
    assert!(first.contains("█"), "{first}");
}

#[test]
fn the_layout_of_every_map_is_told_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let layouts = |name: &str| {
        let recipe = repository(&format!("trainer/recipes/{name}.toml")).display().to_string();
        let file = folder.path().join(format!("{name}.smk")).display().to_string();
        ok(&format!("build {recipe} --density 0.1 -o {file}"));
        let report = &ok(&format!("inspect {file} --json")).json()[0];
        let tensors = report["arena"].as_array().unwrap();
        let layouts: Vec<String> =
            tensors.iter().map(|it| it["layout"].as_str().unwrap().to_owned()).collect();
        let text = ok(&format!("inspect {file}")).out;
        for (place, layout) in layouts.iter().enumerate() {
            let start = format!("tensor {place} ");
            let row = text.lines().find(|line| line.starts_with(&start)).unwrap();
            assert!(words(row).contains(&format!(" {layout} ")), "{row}");
        }
        layouts
    };
    let found: BTreeSet<String> = ["kws", "ic", "vww"].into_iter().flat_map(layouts).collect();
    let all = ["four bands", "plain", "split columns", "whole words"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(all));
}

#[test]
fn a_plan_for_memory_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("map.toml");
    let text = "[network]\ninput = [3, 16, 16]\nseed = 1\nlayers = [{ conv = 8 }, { conv = 8 }, \
                { global_average_pool = true }, { dense = 4 }]\n[train]\nepochs = 1\n\
                [[task]]\nname = \"a\"\n[[task]]\nname = \"b\"\n";
    fs::write(&recipe, text).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let arena = |name: &str, more: &str| {
        let (recipe, file) = (recipe.display(), path(name));
        let built = ok(&format!("build {recipe} -o {file} --json {more}")).json();
        let inspected = ok(&format!("inspect {file} --json")).json();
        let bound = &inspected[0]["plan"]["lower_bound"];
        assert_eq!(&built[0]["arena_bytes"], bound);
        bound.as_u64().unwrap()
    };
    let fastest = arena("fastest.smk", "");
    let smallest = arena("smallest.smk", "--arena smallest");
    assert!(smallest < fastest, "{smallest} {fastest}");
    // Written again without one of its tasks, it has the same plan.
    for (name, expected) in [("fastest.smk", fastest), ("smallest.smk", smallest)] {
        let (file, patch, rest) = (path(name), path("b.smk"), path("rest.smk"));
        ok(&format!("split {file} --task b -o {patch} --rest {rest}"));
        let found = &ok(&format!("inspect {rest} --json")).json()[0]["arena_bytes"];
        assert_eq!(found.as_u64(), Some(expected), "{name}");
    }
}

#[test]
fn an_auto_encoder_gives_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = repository("trainer/recipes/ad.toml").display().to_string();
    let [file, sound] = ["ad.smk", "sound.raw"].map(|name| folder.path().join(name));
    ok(&format!("build {recipe} -o {}", file.display()));
    fs::write(&sound, (0..640u32).map(|i| (i * 89 % 256) as u8).collect::<Vec<_>>()).unwrap();
    let answer = &ok(&format!("run {} {} --json", file.display(), sound.display())).json()[0];
    assert_eq!(answer["class"], serde_json::Value::Null);
    assert_eq!(answer["logits_q16"].as_array().unwrap().len(), 0);
    let bytes = answer["activations"].as_array().unwrap();
    assert!(bytes.len() == 640 && bytes.iter().any(|byte| *byte != bytes[0]));
    let text = ok(&format!("run {} {}", file.display(), sound.display())).out;
    assert!(text.contains("machine: activations\n"), "{text}");
    ok(&format!("verify {} --images 2", file.display()));
}

#[test]
fn help_and_version_are_no_faults() {
    for line in ["--help", "train --help", "data --help", "--version"] {
        assert!(!ok(line).out.is_empty());
    }
    for word in ["artifact", "backbone", "task", "patch", "recipe", "Exit codes:"] {
        assert!(ok("--help").out.contains(&format!("{word} ")), "{word}");
    }
    assert_eq!(seedmask::<&str>([]).code, Some(2));
}
