//! MNIST (LeCun, Bottou, Bengio and Haffner 1998; CC BY-SA 3.0): 28×28 grey images of handwritten
//! digits, 60,000 to train and 10,000 to test.

use super::catalog::{IdxSet, SourceFile};
use super::idx::FILES;

/// Where the set lies and what is in it.
pub const SET: IdxSet = IdxSet {
    folder: "mnist",
    home: "http://ossci-datasets.s3.amazonaws.com/mnist/",
    package: None,
    train_images: SourceFile {
        name: FILES[0],
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
    train_labels: SourceFile {
        name: FILES[1],
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    test_images: SourceFile {
        name: FILES[2],
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    test_labels: SourceFile {
        name: FILES[3],
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    sample_labels: [
        "17fbd00b4e9fc9c738df599f711b398e15d7350da7b6ae775984883cbba5de44",
        "5b32734f83eadd37ac7b806484c7cf8a1891d6e54daf4221074d6aaaccd1ae75",
    ],
    size: [28, 28],
    classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
};
