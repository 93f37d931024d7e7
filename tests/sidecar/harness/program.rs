//! The built program as a process: started with arguments, signalled and ended by its number.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

use super::{until, within};

/// A process that is killed, and waited for, when dropped.
pub(crate) struct Process(Child);

/// What a process that has ended left behind.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process whose output is kept.
pub(crate) struct Running {
    process: Process,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
}

/// Runs the program with `arguments` to its end.
pub(crate) async fn run(arguments: &[&str]) -> Finished {
    Running::start(arguments, "").finished().await
}

impl Running {
    /// Starts the program with `arguments`, and `input` on its standard input.
    pub(crate) fn start(arguments: &[&str], input: &str) -> Self {
        let (stdout, stderr) = (NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap());
        let stdin = NamedTempFile::new().unwrap();
        fs::write(stdin.path(), input).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sidewire"))
            .args(arguments)
            .stdin(stdin.reopen().unwrap())
            .stdout(stdout.reopen().unwrap())
            .stderr(stderr.reopen().unwrap())
            .spawn()
            .unwrap();
        Self {
            process: Process(child),
            stdout,
            stderr,
        }
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.stdout.path()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.stderr.path()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the end.
    pub(crate) async fn finished(self) -> Finished {
        let code = self.process.exit_code().await;
        Finished {
            code,
            stdout: fs::read_to_string(self.stdout.path()).unwrap(),
            stderr: fs::read_to_string(self.stderr.path()).unwrap(),
        }
    }
}

/// Starts to serve `config` and returns once it is ready, with the lines that it printed before.
pub(crate) async fn serve(config: &Path, log: &Path) -> (Process, Vec<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidewire"))
        .args(["run", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(log).unwrap())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let process = Process(child);
    let lines = spawn_blocking(move || lines_until_ready(stdout));
    match within("the ready line", lines).await.unwrap() {
        Some(lines) => (process, lines),
        None => panic!("not ready:\n{}", fs::read_to_string(log).unwrap()),
    }
}

fn lines_until_ready(stdout: ChildStdout) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.ok()?;
        if line == "sidewire: ready" {
            return Some(lines);
        }
        lines.push(line);
    }
    None
}

impl Process {
    pub(crate) const fn new(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits for the end of one that was told to end, where waiting must block.
    pub(crate) fn wait(mut self) {
        self.0.wait().unwrap();
    }

    /// Waits for the end.
    pub(crate) async fn exit_code(mut self) -> Option<i32> {
        let child = &mut self.0;
        let status = until("the end of the process", || {
            let ended = child.try_wait().unwrap();
            async move { ended }
        });
        status.await.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already wants no more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
