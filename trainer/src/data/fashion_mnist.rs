//! Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747; MIT licence): 28×28 grey images
//! of ten kinds of clothes, 60,000 to train and 10,000 to test.

use super::catalog::{IdxSet, SourceFile};
use super::idx::FILES;

/// Where the set lies and what is in it.
pub const SET: IdxSet = IdxSet {
    folder: "fashion-mnist",
    home: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    package: Some("dataset-fashion-mnist"),
    train_images: SourceFile {
        name: FILES[0],
        sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    },
    train_labels: SourceFile {
        name: FILES[1],
        sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    test_images: SourceFile {
        name: FILES[2],
        sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    },
    test_labels: SourceFile {
        name: FILES[3],
        sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    sample_labels: [
        "f1f6578fccfdcbdf1df14156453126924fdc9ac78c7b77d08681c92122c7932e",
        "917f3dc1edaef97b3feb11cd8efd38ab95d9038ccccd2efaca468e935041743e",
    ],
    size: [28, 28],
    classes: &[
        "T-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ],
};
