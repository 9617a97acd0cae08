//! Running other programs: each failure names the command line and how it ended.

use std::{
    ffi::OsStr,
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Runs `command` with its output on the terminal. An exit code other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` {}", line(command), ended(status));
    }
    Ok(())
}

/// Runs `command` and returns what it wrote to standard output. An exit code other than 0 is an
/// error that shows what it wrote.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        let errors = String::from_utf8_lossy(&out.stderr);
        bail!("`{}` {}\n{text}{errors}", line(command), ended(out.status));
    }
    Ok(text)
}

/// Like [`output`], and stops the program and all that it started after `limit`.
pub fn output_within(command: &mut Command, limit: Duration) -> Result<String> {
    // A process group of its own, so that the programs it started end with it.
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| cannot_start(command))?;
    let text = collect(child.stdout.take());
    let errors = collect(child.stderr.take());
    let status = wait(&mut child, limit);
    let text = text.join().unwrap_or_default();
    let errors = errors.join().unwrap_or_default();
    match status? {
        Some(status) if status.success() => Ok(text),
        Some(status) => bail!("`{}` {}\n{text}{errors}", line(command), ended(status)),
        None => bail!("`{}` did not end within {limit:?}\n{text}{errors}", line(command)),
    }
}

/// Whether a program of this name is on the PATH.
pub fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

/// Reads a pipe to its end in a thread.
fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read until an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits at most `limit`; `None` if the program had to be stopped.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > end {
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-KILL", "--", &group]).status()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", line(command))
}

fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("failed with exit code {code}"),
        None => "was ended by a signal".to_owned(),
    }
}

/// The command line as one would type it.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_command_and_exit_code() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c exit 3` failed with exit code 3");
    }

    #[test]
    fn a_program_that_hangs_is_stopped_with_its_children() {
        let start = Instant::now();
        let limit = Duration::from_millis(100);
        let mut command = Command::new("sh");
        let error = output_within(command.args(["-c", "sleep 30 & sleep 30"]), limit).unwrap_err();
        assert!(error.to_string().contains("did not end within 100ms"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
