//! Bad input: one clear message, exit code 2, never a panic.

use std::fs;
use std::path::Path;

use crate::support::{RECIPE, answer, command, fixture, ok, refused, repository, sample, seedmask};

#[test]
fn damaged_artifacts_are_refused_by_every_command() {
    let it = fixture();
    let good = fs::read(it.path("two.smk")).unwrap();
    let mut other_magic = good.clone();
    other_magic[0] = b'X';
    let mut newer = good.clone();
    newer[4] = 9;
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (bytes, expected) in [
        (Vec::new(), "0 bytes where 32 are needed"),
        (good[..20].to_vec(), "20 bytes where 32 are needed"),
        (good[..good.len() - 1].to_vec(), "bytes where"),
        ([good.as_slice(), b"x"].concat(), "bytes where the fields ask for"),
        (other_magic, "not with \"SMSK\"; expected an artifact"),
        (newer, "format version 9; this reader supports version 1"),
        (flipped, "damaged"),
    ] {
        let bad = it.path("bad.smk");
        fs::write(&bad, bytes).unwrap();
        let (base, third, out) = (it.path("two.smk"), it.path("third.smk"), it.path("never.smk"));
        for line in [
            format!("inspect {bad}"),
            format!("inspect {base} {bad}"),
            format!("eval {bad}"),
            format!("eval {base} --patch {bad}"),
            format!("run {bad} --index 0"),
            format!("verify {bad}"),
            format!("pack {bad} {third} -o {out}"),
            format!("pack {base} {bad} -o {out}"),
            format!("split {bad} --task clothes -o {out}"),
            format!("train {} -o {out} --backbone {bad}", it.path("third.toml")),
        ] {
            refused(&line, &["bad.smk", expected]);
            assert!(!fs::exists(&out).unwrap());
        }
    }
}

#[test]
fn flipped_bits_and_truncations_never_panic() {
    let it = fixture();
    let good = fs::read(repository("tests/golden/v1.smk")).unwrap();
    let bad = it.path("flip.smk");
    for place in (0..good.len()).step_by(29) {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 8);
        fs::write(&bad, &bytes).unwrap();
        assert_eq!(seedmask(["inspect", &bad]).code, Some(2), "bit of byte {place}");
        fs::write(&bad, &good[..place]).unwrap();
        assert_eq!(seedmask(["verify", &bad]).code, Some(2), "{place} bytes");
    }
}

#[test]
fn a_patch_is_bound_to_its_backbone() {
    let it = fixture();
    let (patch, golden) = (it.path("third.smk"), repository("tests/golden/v1.smk"));
    refused(&format!("eval {patch}"), &["a patch where a backbone is expected"]);
    let (base, out) = (it.path("two.smk"), it.path("never.smk"));
    refused(&format!("pack {base} {base} -o {out}"), &["a backbone where a patch is expected"]);
    let line = format!("eval {} --patch {patch}", golden.display());
    refused(&line, &["third.smk: a patch for backbone", "was trained on"]);
}

#[test]
fn missing_files_folders_and_tasks_are_named() {
    let it = fixture();
    let (base, recipe) = (it.path("two.smk"), it.path("two.toml"));
    refused("inspect nowhere.smk", &["nowhere.smk: No such file"]);
    refused(&format!("inspect {}", it.path("")), &["directory"]);
    refused("train nowhere.toml -o a.smk", &["nowhere.toml: No such file", "expected a recipe"]);
    let output = it.path("no/such/folder/a.smk");
    refused(
        &format!("train {recipe} -o {output}"),
        &["a.smk: there is no folder ", "/no/such/folder\n"],
    );
    refused(&format!("eval {base} --task cats"), &["no task `cats`; it has: clothes, digits"]);
    refused(&format!("split {base} --task cats -o x"), &["no task `cats`"]);
    refused(&format!("eval {base} --set cats"), &["`cats`", "clothes, clothes-rotated, digits"]);
    refused(&format!("run {base} {recipe}"), &["expected a binary PGM or PPM, or 1×28×28"]);
}

#[test]
fn wrong_usage_is_told() {
    let it = fixture();
    let recipe = it.path("two.toml");
    refused("dance", &["dance"]);
    refused("train", &["required"]);
    refused(&format!("train {recipe}"), &["--output"]);
    refused(&format!("train {recipe} -o a.smk --threads 0"), &["--threads"]);
    refused(&format!("train {recipe} -o a.smk --epochs 0"), &["--epochs"]);
    refused(&format!("train {recipe} -o a.smk --masks tiny"), &["smallest, fastest"]);
    refused(&format!("run {}", it.path("two.smk")), &["IMAGE", "--index"]);
    refused(&format!("verify {} --images 0", it.path("two.smk")), &["--images"]);
}

#[test]
fn recipes_that_cannot_be_trained_are_refused() {
    let it = fixture();
    let path = it.path("bad.toml");
    for (from, to, expected) in [
        ("seed = 11", "sead = 11", "unknown field `sead`"),
        ("density = 0.3", "density = 0.0", "`network.density` is 0, expected"),
        ("density = 0.3", "density = 1.01", "`network.density` is 1.01, expected"),
        ("{ max_pool = 2 }", "{ max_pool = 40 }", "does not fit an input of"),
        ("{ flatten = true },", "", "a dense layer reads a vector"),
        ("conv = 6, stride = 2", "conv = 60000, stride = 2", "expected 1 to 1048576"),
        ("dense = 10", "dense = 9", "`task[0].data`"),
        ("batch = 32", "batch = 4096", "expected at most the"),
        ("data = \"digits\"", "data = \"cats\"", "`task[1].data` is cats, expected one of"),
        ("[network]", "[network", "TOML parse error"),
    ] {
        assert!(RECIPE.contains(from), "{from}");
        fs::write(&path, RECIPE.replace(from, to)).unwrap();
        let line = format!("train {path} -o {}", it.path("never2.smk"));
        let answer = seedmask(line.split_whitespace());
        assert_eq!(answer.code, Some(2), "{to}: {answer:?}");
        assert!(answer.err.contains(expected), "{to}: {}", answer.err);
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    refused(&format!("train {path} -o {}", it.path("never2.smk")), &["bad.toml: ", "UTF-8"]);
    let line = format!("build {} -o {}", it.path("two.smk"), it.path("never2.smk"));
    refused(&line, &["two.smk: an artifact; expected a recipe"]);
    let recipe = it.path("two.toml");
    refused(&line.replace("two.smk", "two"), &["two: No such file", &format!("{recipe} is there")]);
    for density in ["-1", "0", "1.5", "nan"] {
        let line = format!("build {recipe} -o {} --density {density}", it.path("never2.smk"));
        refused(&line, &["expected a fraction above 0 and at most 1"]);
    }
    assert!(!fs::exists(it.path("never2.smk")).unwrap());
}

#[test]
fn recipes_that_come_with_the_source_are_named() {
    let refused = |line: &str, expected: &str| {
        let mut command = command();
        command.current_dir(repository(".")).args(line.split_whitespace());
        let answer = answer(&mut command);
        assert_eq!(answer.code, Some(2), "{line}: {answer:?}");
        assert!(answer.err.contains(expected), "{line}: {}", answer.err);
    };
    refused("build ic -o never.smk", "trainer/recipes/ic.toml is there");
    refused("build cats -o never.smk", "trainer/recipes has ad.toml, ");
}

#[test]
fn a_network_that_cannot_be_exported_is_refused_before_training() {
    let it = fixture();
    let (path, out) = (it.path("average.toml"), it.path("never5.smk"));
    let text = RECIPE.replace("layers = [", "layers = [\n    { average_pool = 2 },");
    fs::write(&path, text).unwrap();
    let answer = seedmask(["train", &path, "-o", &out]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("average.toml: ") && answer.err.contains("network's input"));
    assert!(!answer.err.contains("epoch"), "{}", answer.err);
}

#[test]
fn no_output_replaces_an_input_or_another_output() {
    let it = fixture();
    let [recipe, third, base, patch, out] =
        ["two.toml", "third.toml", "two.smk", "third.smk", "never4.smk"].map(|name| it.path(name));
    for (line, expected) in [
        (format!("train {recipe} -o {recipe}"), "--output would replace the recipe"),
        (format!("train {third} -o {base} --backbone {base}"), "replace the backbone"),
        (format!("train {recipe} -o {out} --report {out}"), "--report would replace --output"),
        (format!("train {recipe} -o {out} --report {out}.ckpt"), "replace the checkpoint"),
        (format!("train {recipe} -o {out} --report {recipe}"), "--report would replace the recipe"),
        (format!("split {base} --task digits -o {base}"), "replace the artifact"),
        (format!("split {base} --task digits -o {out} --rest {base}"), "replace the artifact"),
        (format!("split {base} --task digits -o {out} --rest {out}"), "--rest would replace"),
        (format!("pack {base} {patch} -o {patch}"), "--output would replace a patch"),
    ] {
        refused(&line, &[expected]);
    }
    assert_eq!(fs::read_to_string(recipe).unwrap(), RECIPE);
    assert!(!fs::exists(out).unwrap());
}

#[test]
fn a_data_set_with_other_classes_is_refused() {
    let base = fixture().path("two.smk");
    let parts = ["clothes", "class 0", "`T-shirt`", "`0`", "task `digits`", "--set"];
    refused(&format!("eval {base} --task digits --set clothes"), &parts);
    refused(&format!("run {base} --task digits --set clothes --index 0"), &parts);
    // Any image will do to compare kernels.
    ok(&format!("verify {base} --task digits --set clothes --images 2"));
}

#[test]
fn a_way_on_is_named_where_a_data_set_is_missing() {
    let golden = repository("tests/golden/v1.smk");
    refused(&format!("eval {}", golden.display()), &["none that is known has images of 2×9×7"]);

    let base = fixture().path("two.smk");
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("fashion-mnist");
    fs::create_dir(&set).unwrap();
    copy_of_sample(&set);
    let line = format!("eval {base} --data {}", folder.path().display());
    let answer = seedmask(line.split_whitespace());
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.out.starts_with("clothes: "), "{answer:?}");
    assert!(answer.err.contains("`--task clothes` has its data"), "{}", answer.err);
}

#[test]
fn where_nothing_can_be_downloaded_the_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command();
    // Nobody answers there.
    command.env("ALL_PROXY", "http://127.0.0.1:9");
    command.args(["data", "fetch", "digits", "--data"]).arg(folder.path());
    let answer = answer(&mut command);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    let target = format!("into {}", folder.path().join("mnist").display());
    for part in ["by hand: put train-images-idx3-ubyte.gz, ", &target] {
        assert!(answer.err.contains(part), "{}", answer.err);
    }
}

/// A copy of the sample of clothes.
fn copy_of_sample(folder: &Path) {
    let from = sample().join("fashion-mnist");
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
}

#[test]
fn damaged_data_is_refused() {
    let it = fixture();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display();
    let (base, recipe) = (it.path("two.smk"), it.path("two.toml"));
    let eval = format!("eval {base} --task clothes --data {data}");
    refused(&eval, &["seedmask data fetch clothes", "apt install dataset-fashion-mnist"]);
    let train = format!("train {recipe} -o {} --data {data}", it.path("never3.smk"));
    refused(&train, &["seedmask data fetch clothes"]);

    copy_of_sample(folder.path());
    let images = folder.path().join("t10k-images-idx3-ubyte.gz");
    let labels = folder.path().join("t10k-labels-idx1-ubyte.gz");
    let packed = fs::read(&images).unwrap();
    fs::write(&images, &packed[..packed.len() / 2]).unwrap();
    refused(&eval, &["t10k-images-idx3-ubyte.gz", "truncated gzip"]);
    fs::write(&images, fs::read(&labels).unwrap()).unwrap();
    refused(&eval, &["IDX magic 0x00000801, expected 0x00000803"]);
    fs::write(&images, &packed).unwrap();
    fs::copy(sample().join("mnist/t10k-labels-idx1-ubyte.gz"), &labels).unwrap();
    refused(&eval, &["200 images, but 250 labels"]);
    fs::remove_file(&labels).unwrap();
    refused(&eval, &["t10k-labels-idx1-ubyte"]);
}
