//! Training: the same bytes at any number of threads, resumable, and nothing lost.

use std::fs;

use crate::support::{Answer, RECIPE, fixture, ok, refused, repository};

#[test]
fn a_training_reports_what_it_gave() {
    let it = fixture();
    let Answer { out, err, .. } = &it.trained;
    assert!(out.contains("clothes: ") && out.contains("in floating point; 2 epochs"), "{out}");
    assert!(out.contains("values equal in real numbers and all kernels"), "{out}");
    assert!(err.contains("clothes: epoch 1/2, loss "), "{err}");
    let text = fs::read_to_string(it.path("two.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(report["command"].as_str().unwrap().starts_with("seedmask train "));
    assert_eq!(report["bytes"], fs::metadata(it.path("two.smk")).unwrap().len());
    assert_eq!(report["flash"]["total"], report["bytes"]);
    let eval = ok(&format!("eval {} --json", it.path("two.smk"))).json();
    for (task, eval) in report["tasks"].as_array().unwrap().iter().zip(&eval) {
        assert_eq!(task["accuracy"], eval["accuracy"]);
        let difference =
            task["accuracy"].as_f64().unwrap() - task["float_accuracy"].as_f64().unwrap();
        assert!(difference.abs() < 0.05, "{task}");
        // Rounded scales move a value by a step, and by one more through every layer.
        for layer in task["differences"].as_array().unwrap() {
            assert!(layer["largest"].as_f64().unwrap() <= 3.0, "{layer}");
        }
    }
    assert!(!fs::exists(it.path("two.smk.ckpt")).unwrap());
}

#[test]
fn the_same_bytes_at_one_and_two_threads() {
    let it = fixture();
    let expected = fs::read(it.path("two.smk")).unwrap();
    for threads in [1, 2] {
        let output = it.path(&format!("threads{threads}.smk"));
        ok(&format!("train {} -o {output} --threads {threads}", it.path("two.toml")));
        assert!(fs::read(output).unwrap() == expected, "{threads} threads");
    }
}

#[test]
fn every_source_and_method_makes_a_sound_artifact() {
    let it = fixture();
    let one = crate::support::one_task("clothes");
    for (name, from, to) in [
        ("magnitudes", "seed = 11", "seed = 11\nweights = \"magnitudes\""),
        ("affine", "[train]", "[train]\nmethod = \"affine\""),
        ("dense", "[train]", "weights = \"trained\"\n[train]\nmethod = \"dense\""),
    ] {
        let (recipe, file) = (it.path(&format!("{name}.toml")), it.path(&format!("{name}.smk")));
        fs::write(&recipe, one.replace(from, to)).unwrap();
        ok(&format!("train {recipe} -o {file} --masks fastest"));
        let verified = ok(&format!("verify {file} --json")).json();
        assert_eq!(verified[0]["equal"], true, "{name}");
    }
}

#[test]
fn the_recipe_for_one_more_task_goes_with_the_demo_s_model() {
    let folder = tempfile::tempdir().unwrap();
    let patch = folder.path().join("rotated.smk").display().to_string();
    let recipe = repository("trainer/recipes/clothes-rotated.toml").display().to_string();
    let base = repository("trainer/models/demo.smk").display().to_string();
    ok(&format!("train {recipe} --backbone {base} -o {patch} --epochs 1"));
    let out = ok(&format!("eval {base} --patch {patch} --set clothes-rotated")).out;
    assert!(out.starts_with("rotated: "), "{out}");
}

#[test]
fn a_patch_needs_the_same_network() {
    let it = fixture();
    let (base, recipe) = (it.path("two.smk"), it.path("other.toml"));
    let one = crate::support::one_task("other");
    let train = format!("train {recipe} -o {} --backbone {base}", it.path("other.smk"));
    let cases = [
        (one.replace("seed = 11", "seed = 12"), "the recipe's network is backbone"),
        (one.replace("conv = 6", "conv = 7"), "the recipe's network is backbone"),
        (one.replace("\"other\"", "\"digits\""), "has a task `digits` already"),
        (RECIPE.to_owned(), "2 tasks; a patch has one task"),
    ];
    for (text, expected) in cases {
        fs::write(&recipe, text).unwrap();
        refused(&train, &[expected]);
    }
}

#[cfg(unix)]
mod unix {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::support::{answer, command};

    #[test]
    fn interrupted_and_resumed_gives_the_same_bytes() {
        let it = fixture();
        let recipe = it.path("two.toml");
        let [whole, parts] = ["whole.smk", "parts.smk"].map(|name| it.path(name));
        ok(&format!("train {recipe} -o {whole} --epochs 40"));

        let train = format!("train {recipe} -o {parts} --epochs 40");
        let mut child = command()
            .args(train.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        assert!(first.starts_with("clothes: epoch 1/40"), "{first}");
        assert!(
            Command::new("kill")
                .args(["-INT", &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let last = rest.last().unwrap();
        assert!(last.contains("parts.smk.ckpt") && last.contains("--resume"), "{last}");

        refused(&train, &["parts.smk.ckpt: a training was stopped here", "--resume"]);
        let other = format!("train {recipe} -o {parts} --epochs 41 --resume");
        refused(&other, &["parts.smk.ckpt: belongs to the recipe"]);
        ok(&format!("{train} --resume"));
        assert!(fs::read(&whole).unwrap() == fs::read(&parts).unwrap());
        assert!(!fs::exists(format!("{parts}.ckpt")).unwrap());
    }

    /// Runs the command where no file may grow beyond a few blocks: a disk that fills up.
    fn on_a_full_disk(line: &str) -> Answer {
        let mut shell = Command::new("sh");
        let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
        shell.args(["-c", script, env!("CARGO_BIN_EXE_seedmask")]).args(line.split_whitespace());
        answer(shell.env("SEEDMASK_DATA", crate::support::sample()))
    }

    #[test]
    fn a_full_disk_leaves_the_old_file() {
        let it = fixture();
        let file = it.path("full.smk");
        fs::write(&file, "before").unwrap();
        let pack = format!("pack {} {} -o {file}", it.path("two.smk"), it.path("third.smk"));
        let train = format!("train {} -o {file}", it.path("two.toml"));
        for line in [pack, train] {
            let answer = on_a_full_disk(&line);
            assert_eq!(answer.code, Some(2), "{answer:?}");
            assert!(answer.err.contains("full.smk") && answer.err.contains("File too large"));
            assert_eq!(fs::read(&file).unwrap(), b"before");
        }
    }
}
