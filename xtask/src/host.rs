//! The host's side of a comparison: the same artifact and images through the same runtime.

use anyhow::{Context, Result, anyhow, bail};
use seedmask::{
    Model, Session,
    kernel::{Kernels, Reference},
};

use crate::{images::Images, pattern};

/// Logits of a run: `[task][image][class]`.
pub type Logits = Vec<Vec<Vec<i32>>>;

/// The logits that the plain kernels give for every image under every task.
pub fn logits(artifact: &[u8], images: &[u8]) -> Result<Logits> {
    let model = parse(artifact)?;
    let images = Images::parse(images).context("the file of images is malformed")?;
    with_session(model, |session| {
        model
            .tasks()
            .map(|task| {
                let each = images.iter().map(|image| {
                    let input = session.input();
                    if input.len() != image.pixels.len() {
                        bail!("images of {} bytes, expected {}", image.pixels.len(), input.len());
                    }
                    input.copy_from_slice(image.pixels);
                    let output =
                        session.infer_with::<Reference>(task).map_err(|e| anyhow!("{e}"))?;
                    Ok(output.logits().to_vec())
                });
                each.collect()
            })
            .collect()
    })
}

/// The logits in what a board logged: lines `logits TASK IMAGE [a, b, …]`.
pub fn logged(log: &str) -> Result<Logits> {
    let mut logits = Logits::new();
    for line in log.lines() {
        let Some(rest) = line.strip_prefix("logits ") else { continue };
        let read = || {
            let (task, rest) = rest.split_once(' ')?;
            let (image, values) = rest.split_once(' ')?;
            let values = values.strip_prefix('[')?.strip_suffix(']')?;
            let values: Result<Vec<i32>, _> = values.split(", ").map(str::parse).collect();
            Some((task.parse::<usize>().ok()?, image.parse::<usize>().ok()?, values.ok()?))
        };
        let (task, image, values) = read().with_context(|| format!("cannot read `{line}`"))?;
        if task == logits.len() {
            logits.push(Vec::new());
        }
        let images =
            logits.get_mut(task).with_context(|| format!("task out of order: `{line}`"))?;
        if image != images.len() {
            bail!("image {} expected: `{line}`", images.len());
        }
        images.push(values);
    }
    Ok(logits)
}

/// Compares bit for bit. Returns the number of images compared, each under every task; the first
/// difference is an error.
pub fn compare(host: &Logits, device: &Logits) -> Result<usize> {
    if host.len() != device.len() {
        bail!("{} tasks on the host, {} on the device", host.len(), device.len());
    }
    for (task, (host, device)) in host.iter().zip(device).enumerate() {
        if host.len() != device.len() {
            bail!("task {task}: {} images on the host, {} on the device", host.len(), device.len());
        }
        if let Some(image) = (0..host.len()).find(|&image| host[image] != device[image]) {
            bail!(
                "task {task}, image {image}: the host's logits are {:?}, the device's {:?}",
                host[image],
                device[image]
            );
        }
    }
    Ok(host.first().map_or(0, Vec::len))
}

/// Runs `work` in a session with an arena of its own.
fn with_session<T>(model: Model, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
    let mut arena = vec![0u128; model.arena_bytes().div_ceil(size_of::<u128>())];
    let arena: &mut [u8] = bytemuck::cast_slice_mut(&mut arena);
    let mut session = Session::new(model, arena).map_err(|error| anyhow!("{error}"))?;
    work(&mut session)
}

/// Checks an artifact.
pub fn parse(artifact: &[u8]) -> Result<Model<'_>> {
    Model::parse(artifact).map_err(|error| anyhow!("the artifact was refused: {error}"))
}

/// CRC-32 over the logits of a case, as `firmware/app/src/cases.rs` makes it.
pub fn checksum<K: Kernels>(artifact: &[u8]) -> Result<u32> {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let model = parse(artifact)?;
    with_session(model, |session| {
        let mut digest = crc.digest();
        for task in model.tasks() {
            for seed in 0..pattern::INPUTS {
                pattern::fill(session.input(), seed);
                let output = session.infer_with::<K>(task).map_err(|error| anyhow!("{error}"))?;
                for logit in output.logits() {
                    digest.update(&logit.to_le_bytes());
                }
            }
        }
        Ok(digest.finalize())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "artifact of 9 bytes\nlogits 0 0 [1, -2]\nlogits 0 1 [3, 4]\nlogits 1 0 [5]\nlogits 1 1 [6]";

    #[test]
    fn logs_are_read_back() {
        let expected = vec![vec![vec![1, -2], vec![3, 4]], vec![vec![5], vec![6]]];
        assert_eq!(logged(LOG).unwrap(), expected);
        assert!(logged("logits 0 1 [1]").is_err());
        assert!(logged("logits 0 0 [1, x]").is_err());
    }

    #[test]
    fn the_first_difference_is_named() {
        let host = logged(LOG).unwrap();
        assert_eq!(compare(&host, &host).unwrap(), 2);
        let mut device = host.clone();
        device[1][0][0] += 1;
        let error = compare(&host, &device).unwrap_err().to_string();
        assert!(error.starts_with("task 1, image 0"), "{error}");
        device.pop();
        assert!(compare(&host, &device).is_err());
    }
}
